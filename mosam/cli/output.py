"""What commands print: results to standard output, notes to standard error, never what would steer a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mosam.errors import printable

if TYPE_CHECKING:
    from mosam.evaluation.scores import Scores


class Lossy:
    """A standard stream whose reader may go (`| head`): what is written then is lost, and the command goes on."""

    def __init__(self, stream: TextIO | None):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text."""
        if self._stream is not None:  # None: the stream was closed before the command began
            try:
                self._stream.write(text)
            except BrokenPipeError:
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._lose()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def _lose(self) -> None:
        """Lets the rest, what the stream still holds included, go nowhere; the interpreter flushes it at its end."""
        assert self._stream is not None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Printable(Lossy):
    """Standard output that takes any text: what would steer a terminal, or it has no letters for, becomes escapes."""

    def write(self, text: str) -> int:
        """Writes a text."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        super().write(printable(text, keep="\n\t\r").encode(encoding, "backslashreplace").decode(encoding))
        return len(text)


def note(line: str) -> None:
    """A line on standard error."""
    print(printable(line, keep="\n\t"), file=sys.stderr, flush=True)


def aligned(rows: Collection[tuple[str, ...]]) -> str:
    """Rows of words in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def show_scores(
    scores: list[Scores],
    json_file: Path | None,
    *,
    profile: bool = False,
    intervals: bool = False,
    paired: bool = False,
    apart: bool = False,
) -> None:
    """Prints the table, the best first, with `profile` one by attribute too, and writes the scores.

    Args:
        scores: one of each tracker.
        json_file: where they are written too.
        profile, intervals, paired: what else is shown.
        apart: a table for each protocol, as there are several frame rates.
    """
    from mosam.evaluation import tables
    from mosam.evaluation.scores import save_scores

    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        save_scores(json_file, scores)
    groups = list({item.protocol: None for item in scores}) if apart else [None] * bool(scores)
    shown = [[item for item in scores if group in (None, item.protocol)] for group in groups]
    if shown:
        # differences are from the first tracker named, which stays first
        shown = [items if paired else tables.by_score(items) for items in shown]
        how: dict[str, Any] = {"intervals": intervals, "differences": paired, "mark": len(scores) > 1}
        print("\n\n".join(tables.tabulate(items, **how) for items in shown))
    for items in shown if profile else ():
        table = tables.profile_table(items)
        if table is not None:
            print(f"\n{tables.render(table, 'text', mark=len(items) > 1)}")
