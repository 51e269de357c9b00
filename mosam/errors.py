"""Errors a user can act on: one line that says where, what was expected, what was found and what to do.

The command line prints any `MosamError` in one line and exits with code 2.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from os import PathLike, fspath

_JOINERS = "\u200c\u200d"  # of Persian, Indic and emoji text


def printable(text: str, *, keep: str = "") -> str:
    r"""A text that cannot steer a terminal: control, direction and undecodable characters become escapes.

    Args:
        text: names of files and sequences may hold anything.
        keep: control characters that stay, such as line feeds.

    >>> print(printable("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in keep or letter in _JOINERS or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


class MosamError(Exception):
    """The call or the data is wrong; the message is one complete line for a person, fit for a terminal."""

    def __init__(self, *parts: str):
        super().__init__(*(printable(part, keep="\n") for part in parts))  # an expected tree has lines of its own


class DataError(MosamError):
    """A file is not what its format says.

    Attributes:
        path: the file or folder.
        line: 1-based line number, or None where lines have no meaning.
    """

    def __init__(self, path: str | PathLike[str], message: str, *, line: int | None = None):
        self.path = fspath(path)
        self.line = line
        where = printable(self.path) if line is None else f"{printable(self.path)}:{line}"
        super().__init__(f"{where}: {printable(message)}")


class MissingDataError(MosamError):
    """A dataset, sequence, result or checkpoint is not there; the message says where it was looked for."""


class MismatchError(MosamError):
    """Two things that must agree do not: settings of a resumed run, a checkpoint and its configuration."""


class UnknownNameError(MosamError):
    """A name that is not registered; lists the known ones and the closest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str | None = None):
        names = sorted(known)
        lowered = {known.lower(): known for known in names}  # `laSOT` is as good as `lasot`
        close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
        hint = f"; did you mean {lowered[close[0]]}?" if close else ""
        prefix = f"{where}: " if where else ""
        super().__init__(f"{prefix}unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")


def one_line(error: BaseException) -> str:
    """Any error as one line: our own messages and those about values and files as they are, others with their type.

    >>> one_line(KeyError("a")), one_line(ValueError("expected 3, got 4"))
    ("KeyError: 'a'", 'expected 3, got 4')
    """
    try:
        text = str(error).strip()
    except Exception:  # of somebody's own class
        text = ""
    first = text.splitlines()[0] if text else ""
    if isinstance(error, MosamError | ValueError | FileNotFoundError) and first:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
