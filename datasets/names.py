"""Names of sequences: which ones results can be kept under."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable

from mosam.errors import DataError, printable

LONGEST_NAME = 200  # bytes of a sequence's name: a file may have 255, and results add numbers and endings to it
# Files of a run's folder, where results of a sequence are called by its name.
_OWN_FILES = re.compile(r"run\.json.*|scores(@.*)?\.json|log", re.IGNORECASE)
_SHOWN_NAME = 60


def check_names(names: Iterable[str], where: str | os.PathLike[str]) -> None:
    """Refuse sequence names under which results cannot be kept, before anything is tracked.

    Args:
        names: of all sequences.
        where: the root, named in the error.
    Raises:
        DataError: control characters or bytes that are no text; longer than `LONGEST_NAME`; a path, hidden, or the name
            of a file that every run has; two that differ by case or Unicode form alone, which are one file on some
            disks.
    """
    seen: dict[str, str] = {}
    for name in names:
        fault = _fault_of_name(name)
        if fault is not None:
            shown = printable(name)
            shown = shown if len(shown) <= _SHOWN_NAME else f"{shown[:_SHOWN_NAME]}..."
            raise DataError(where, f"expected sequence names {fault}, got '{shown}'; rename it")
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise DataError(
                where,
                "expected sequence names that differ by more than case or Unicode form, as these are one file on some "
                f"disks, got {other!a} and {name!a}; rename one",
            )


def _fault_of_name(name: str) -> str | None:
    if printable(name) != name:
        return "without line feeds, control characters or bytes that are no UTF-8"
    if len(name.encode()) > LONGEST_NAME:
        return f"of at most {LONGEST_NAME} bytes"
    if not name or name.startswith(".") or any(mark in name for mark in "/\\"):
        return "that are plain and do not begin with a dot"
    return "other than those of a run's own files" if _OWN_FILES.fullmatch(name) else None
