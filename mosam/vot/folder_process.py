"""`mosam vot track --protocol folder`: the process that the VOT toolkit starts for a sequence, in a folder.

The folder holds `frames_<channel>.txt`, a path on each line, and for each object `query_<id>.txt`: the frame it starts
on, its region, and further `key=value` lines. The answer is `output_<id>.txt`, a region for each frame or `0` where
there is none, and `output_<id>_confidence.txt`. As `mosam.vot.trax_process`, it holds no network itself.

Source: vot-toolkit 0.9.0, documentation of its protocols.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.errors import DataError, MissingDataError, MosamError
from mosam.system.files import read_regular, write_text

if TYPE_CHECKING:
    from mosam.vot.service import Order, Remote
    from mosam.vot.session import Answer

ERRORS_VARIABLE = "MOSAM_VOT_ERRORS"  # a file for what went wrong: the toolkit passes on an exit code alone
_CHANNEL = "color"
_NOTHING = "0"


@dataclass(frozen=True, slots=True)
class Query:
    """An object that is asked for.

    Attributes:
        name: its id.
        offset: the frame it starts on, from 0.
        region: a line of VOT's text.
    """

    name: str
    offset: int
    region: str


def track_folder(order: Order, folder: Path, *, keep: float) -> None:
    """Answers what a folder asks for.

    Args:
        order: the tracker.
        folder: of the toolkit.
        keep: see `mosam.vot.service.Service`.
    Raises:
        MosamError: whatever went wrong; it is also in the file that `$MOSAM_VOT_ERRORS` names.
    """
    from mosam.vot.service import connect

    try:
        frames, queries = read_frames(folder), read_queries(folder)
        _check(folder, frames, queries)
        remote = connect(order, keep=keep)
        try:
            answers = list(_answers(remote, frames, queries))
        finally:
            remote.close()
    except MosamError as error:
        _report(error)
        raise
    for number, query in enumerate(queries):
        rows = [found[number] for found in answers]
        states = [_NOTHING if row is None else row.region for row in rows]
        confidences = [_NOTHING if row is None else f"{row.confidence:.6f}" for row in rows]
        write_text(folder / f"output_{query.name}_confidence.txt", "".join(f"{value}\n" for value in confidences))
        write_text(folder / f"output_{query.name}.txt", "".join(f"{state}\n" for state in states))


def read_frames(folder: Path) -> list[str]:
    """Paths of the pictures, of the color channel or the only one.

    Raises:
        MissingDataError: no list, or several of which none is of color.
        DataError: no paths.
    """
    found = sorted(folder.glob("frames_*.txt"))
    color = folder / f"frames_{_CHANNEL}.txt"
    if color not in found and len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise MissingDataError(
            f"{folder}: expected {color.name}, found {names}; the VOT toolkit starts this in "
            "such a folder, see mosam vot init"
        )
    lists = color if color in found else found[0]
    paths = [line for line in _lines(lists) if line]
    if not paths:
        raise DataError(lists, "expected paths of pictures, got none")
    return [str(folder / path) for path in paths]


def read_queries(folder: Path) -> list[Query]:
    """Objects that are asked for, by the frame they start on.

    Raises:
        MissingDataError: none.
        DataError: a file that is no query.
    """
    found = [_query(path) for path in sorted(folder.glob("query_*.txt"))]
    if not found:
        raise MissingDataError(f"{folder}: expected query_<id>.txt, found none")
    return sorted(found, key=lambda query: (query.offset, len(query.name), query.name))


def _query(path: Path) -> Query:
    lines = _lines(path)
    offset = lines[0].strip() if lines else ""
    if not (offset.isascii() and offset.isdigit() and len(offset) < 9):
        raise DataError(path, f"expected the number of a frame, got {offset[:40]!r}", line=1)
    if len(lines) < 2:
        raise DataError(path, "expected a region, got nothing", line=2)
    return Query(path.stem.removeprefix("query_"), int(offset), lines[1].strip())


def _check(folder: Path, frames: Sequence[str], queries: Sequence[Query]) -> None:
    for query in queries:
        if query.offset >= len(frames):
            raise DataError(
                folder / f"query_{query.name}.txt", f"expected one of {len(frames)} frames, got {query.offset}", line=1
            )


def _answers(remote: Remote, frames: Sequence[str], queries: Sequence[Query]) -> Iterator[list[Answer | None]]:
    """What each frame gives for each object, None before it starts; frames before any object are not looked at."""
    first = queries[0].offset
    for number, frame in enumerate(frames):
        new = [query.region for query in queries if query.offset == number]
        if number < first:
            yield [None] * len(queries)
            continue
        found = remote.start(frame, new) if number == first else remote.frame(frame, new)
        yield [*found, *[None] * (len(queries) - len(found))]


def _lines(path: Path) -> list[str]:
    try:
        return read_regular(path).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(path, "expected text in UTF-8, got something else") from None


def _report(error: MosamError) -> None:
    place = os.environ.get(ERRORS_VARIABLE)
    if place:
        write_text(place, f"{error}\n")
