"""Trajectories in files: VOT's text (one region a line) and its binary format, both read and written exactly.

Text: `1` a code, `x,y` a point, `x,y,w,h` a rectangle, `x1,y1,x2,y2,...` a polygon, `mx,y,w,h,runs...` a mask; a
rectangle, polygon or point with a NaN is unknown. Binary (little-endian): `<hI` version 1 and the number of rows, then
for each row a type byte and `<I` a code, `<ffff` a rectangle, `<H` and corners `<ff` a polygon, `<hhHHH` and runs `<H`
a mask (x, y, w, h, number of runs), `<ff` a point.
"""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError
from mosam.regions.spans import spread
from mosam.regions.trajectory import MASK, POINT, POLYGON, RECTANGLE, SPECIAL, UNKNOWN, Trajectory
from mosam.system.text import plain_lines

VERSION = 1
LONGEST_RUN = 255 * 255  # longer runs are split in the binary format, with an empty run between the parts
LARGEST_EXACT = 2**53  # whole numbers below are the same as 64-bit floats
MOST_NUMBERS = 65535  # runs of a mask or corners of a polygon in the binary format
_HEADER = struct.Struct("<hI")
_FIXED = {SPECIAL: struct.Struct("<I"), RECTANGLE: struct.Struct("<ffff"), POINT: struct.Struct("<ff")}
_COUNT = struct.Struct("<H")
_MASK_HEAD = struct.Struct("<hhHHH")
_MASK_CROP = 8  # bytes of x, y, w, h


@runtime_checkable
class Readable(Protocol):
    """A path that can be read: `pathlib.Path`, or one inside an archive."""

    def read_bytes(self) -> bytes:
        """The whole file."""


def read_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Regions of a file, text or binary, whichever it is.

    Args:
        path: a file with one region a frame, on disk or in an archive. It counts as binary where it ends in `.bin`.
    Returns:
        the regions, `cropped` where it is text.
    Raises:
        MissingDataError: no such file.
        DataError: with the line of a text file: something that is no region.
    """
    source = path if isinstance(path, Readable) else Path(path)
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected a file of regions, found nothing") from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from None
    return parse_binary(data, path) if os.fspath(path).endswith(".bin") else parse_text(data, path)


def write_trajectory(path: str | os.PathLike[str], trajectory: Trajectory) -> None:
    """Writes regions as binary where the path ends in `.bin`, else as text; ValueError as `format_binary`."""
    path = Path(path)
    data = format_binary(trajectory) if path.suffix == ".bin" else format_text(trajectory).encode("ascii")
    path.write_bytes(data)


# ---- text ------------------------------------------------------------------------------------------------------------


def parse_text(data: bytes, path: str | os.PathLike[str] = "regions") -> Trajectory:
    r"""Regions of a text file's content.

    Args:
        data: the content; numbers separated by commas (or tabs or blanks), one region a line; commas at its end are
            passed over.
        path: named in errors.
    Raises:
        DataError: with the line: something that is no region, or an empty line between two regions.

    >>> list(parse_text(b"1\n2.5,3,10,20\nnan,nan,nan,nan\nm4,5,2,2,1,3"))[1:3]
    [Rectangle(x=2.5, y=3.0, w=10.0, h=20.0), Special(code=0)]
    """
    lines = _split_lines(data, path)
    counts = np.array([line.count(",") for line in lines], dtype=np.int64) + 1
    masks = np.zeros(len(lines), dtype=bool)
    text = ",".join(lines)
    if "m" in text:
        masks[:] = [line.startswith("m") for line in lines]
        if text.count("m") == masks.sum():  # else some stand where no mask begins: then they are no numbers
            text = text.replace(",m", ",").removeprefix("m")
    numbers = _parse_numbers(text, int(counts.sum()))
    if numbers is None:
        raise _bad_number(lines, path)
    kinds = np.array([POLYGON, SPECIAL, POINT, POLYGON, RECTANGLE], dtype=np.uint8)[np.where(counts > 4, 0, counts)]
    kinds[masks] = MASK
    trajectory = Trajectory(kinds, np.concatenate([[0], np.cumsum(counts)]), numbers, cropped=True)
    trajectory = _nan_as_unknown(trajectory)
    fault = trajectory.find_fault()
    if fault is not None:
        raise DataError(path, fault[1], line=fault[0] + 1)
    return trajectory


def format_text(trajectory: Trajectory) -> str:
    r"""The text of a trajectory, each line with a line feed; every number is the shortest that reads back as itself.

    >>> format_text(parse_text(b"1\n2.50,3,10,20\nm4,5,2,2,1,3"))
    '1\n2.5,3.0,10.0,20.0\nm4,5,2,2,1,3\n'
    """
    starts = trajectory.starts.tolist()
    lines = []
    for index, kind in enumerate(trajectory.kinds.tolist()):
        row = trajectory.numbers[starts[index] : starts[index + 1]]
        whole = kind in (SPECIAL, MASK)
        text = ",".join(map(str, (row.astype(np.int64) if whole else row).tolist()))
        lines.append(f"{'m' if kind == MASK else ''}{text}\n")
    return "".join(lines)


def _split_lines(data: bytes, path: str | os.PathLike[str]) -> list[str]:
    data = plain_lines(data, path)
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(path, f"expected text, got the byte {data[error.start]:#04x}", line=line) from None
    text = text.rstrip()
    if not text:
        raise DataError(path, "expected a region for each frame, got an empty file")
    if "\t" in text or " " in text:
        lines = [",".join(line.replace(",", " , ").split()).replace(",,,", ",") for line in text.split("\n")]
    else:
        lines = text.split("\n")
    if any(line.endswith(",") for line in lines):
        lines = [line.rstrip(",") for line in lines]
    if "" in lines:
        raise DataError(path, "expected a region, got an empty line", line=lines.index("") + 1)
    return lines


def _parse_numbers(text: str, count: int) -> NDArray[np.float64] | None:
    """Comma-separated numbers; None where some are none, or there are not `count` of them."""
    whole = not text.encode().translate(None, b"0123456789,-")  # eight times as fast to read
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy says that it stopped before the end
        try:
            numbers = np.fromstring(text, dtype=np.int64 if whole else np.float64, sep=",")
            if whole and max(numbers.max(initial=0), -numbers.min(initial=0)) >= LARGEST_EXACT:
                numbers = np.fromstring(text, dtype=np.float64, sep=",")
        except (DeprecationWarning, ValueError):
            return None
    return numbers.astype(np.float64) if numbers.size == count else None


def _bad_number(lines: list[str], path: str | os.PathLike[str]) -> DataError:
    for number, line in enumerate(lines, start=1):
        body = line.removeprefix("m")
        if _parse_numbers(body, body.count(",") + 1) is None:
            return DataError(path, f"expected numbers separated by commas, got {line[:40]!r}", line=number)
    return DataError(path, "expected numbers separated by commas")


def _nan_as_unknown(trajectory: Trajectory) -> Trajectory:
    nan = np.flatnonzero(np.isnan(trajectory.numbers))
    if not nan.size:
        return trajectory
    rows = np.unique(np.searchsorted(trajectory.starts, nan, side="right") - 1)
    rows = rows[np.isin(trajectory.kinds[rows], (RECTANGLE, POLYGON, POINT))]
    counts = np.diff(trajectory.starts)
    keep = np.ones(len(trajectory.numbers), dtype=bool)
    for row in rows:
        keep[trajectory.starts[row] + 1 : trajectory.starts[row + 1]] = False
    numbers, kinds = trajectory.numbers.copy(), trajectory.kinds.copy()
    numbers[trajectory.starts[rows]] = UNKNOWN
    kinds[rows], counts[rows] = SPECIAL, 1
    return Trajectory(kinds, np.concatenate([[0], np.cumsum(counts)]), numbers[keep], trajectory.cropped)


# ---- binary ----------------------------------------------------------------------------------------------------------


def parse_binary(data: bytes, path: str | os.PathLike[str] = "regions") -> Trajectory:
    """Regions of a binary file's content.

    Args:
        data: the content.
        path: named in errors.
    Raises:
        DataError: another version, an unknown type, an end before the last row or bytes after it, or a bad region.
    """
    if len(data) < _HEADER.size:
        raise DataError(path, f"expected a header of {_HEADER.size} bytes, got {len(data)} bytes")
    version, rows = _HEADER.unpack_from(data)
    if version != VERSION:
        raise DataError(path, f"expected version {VERSION} of the binary format, got {version}")
    smallest = _FIXED[SPECIAL].size + 1
    if rows * smallest > len(data) - _HEADER.size:
        raise DataError(path, f"expected {rows} regions of {smallest} bytes or more, got {len(data)} bytes in all")
    if rows == 0:
        raise DataError(path, "expected a region for each frame, got none")
    kinds, at, counts, end = _find_rows(data, rows, path)
    if end != len(data):
        raise DataError(path, f"expected the end after {rows} regions, got {len(data) - end} bytes more")
    trajectory = _nan_as_unknown(_gather_rows(data, kinds, at, counts))
    fault = trajectory.find_fault()
    if fault is not None:
        raise DataError(path, f"region {fault[0] + 1}: {fault[1]}")
    return trajectory


def format_binary(trajectory: Trajectory) -> bytes:
    """The binary form of a trajectory; coordinates become 32-bit floats.

    Raises:
        ValueError: a mask or polygon that the format cannot hold (offset, or more than 65535 runs or corners).
    """
    starts = trajectory.starts.tolist()
    out = [_HEADER.pack(VERSION, len(trajectory))]
    for index, kind in enumerate(trajectory.kinds.tolist()):
        row = trajectory.numbers[starts[index] : starts[index + 1]]
        out.append(bytes([kind]))
        try:
            out.append(_format_row(kind, row))
        except (struct.error, OverflowError):
            shown = ",".join(f"{number:g}" for number in row[:4])
            raise ValueError(
                f"region {index} ({shown}...): expected what the binary format holds (a mask offset of 16 bits, at "
                f"most {MOST_NUMBERS} runs or corners), got {len(row)} numbers; write text instead"
            ) from None
    return b"".join(out)


def _find_rows(
    data: bytes, rows: int, path: str | os.PathLike[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], int]:
    """Kind of each row, where its numbers begin, how many follow a mask's or polygon's head, and the end of all."""
    kinds, places, counts = bytearray(rows), [0] * rows, [0] * rows
    at = _HEADER.size
    for row in range(rows):
        try:
            kind = data[at]
            if kind == MASK:
                count = _COUNT.unpack_from(data, at + 1 + _MASK_CROP)[0]
                end = at + 1 + _MASK_CROP + _COUNT.size + 2 * count
            elif kind == POLYGON:
                count = 2 * _COUNT.unpack_from(data, at + 1)[0]
                end = at + 1 + _COUNT.size + 4 * count
            else:
                count, end = 0, at + 1 + _FIXED[kind].size
        except (struct.error, IndexError):
            raise _ends_in(path, rows, row) from None
        except KeyError:
            raise DataError(path, f"expected a region type 0 to 4, got {data[at]} in number {row + 1}") from None
        if end > len(data):
            raise _ends_in(path, rows, row)
        kinds[row], places[row], counts[row] = kind, at + 1, count
        at = end
    return np.frombuffer(bytes(kinds), np.uint8), np.array(places), np.array(counts), at


def _ends_in(path: str | os.PathLike[str], rows: int, row: int) -> DataError:
    return DataError(path, f"expected {rows} regions, but the file ends in number {row + 1}")


def _gather_rows(data: bytes, kinds: NDArray[np.uint8], at: NDArray[np.int64], counts: NDArray[np.int64]) -> Trajectory:
    """All numbers of a binary file, kind by kind."""

    def read(rows: NDArray[np.intp], skipped: int, lengths: NDArray[np.int64], kind: str) -> NDArray[np.generic]:
        form = np.dtype(kind)
        begin = at[rows] + skipped
        places = zip(begin.tolist(), (begin + lengths * form.itemsize).tolist(), strict=True)
        return np.frombuffer(b"".join([data[first:end] for first, end in places]), form)

    heads = np.array([1, 4, 0, 4, 2], dtype=np.int64)[kinds]
    lengths = heads + counts
    starts = np.concatenate([[0], np.cumsum(lengths)])
    numbers = np.zeros(starts[-1])
    for kind, form in ((SPECIAL, "<u4"), (RECTANGLE, "<f4"), (POINT, "<f4"), (POLYGON, "<f4")):
        rows = np.flatnonzero(kinds == kind)
        skipped = _COUNT.size if kind == POLYGON else 0
        numbers[spread(starts[rows], lengths[rows])] = read(rows, skipped, lengths[rows], form)
    masks = np.flatnonzero(kinds == MASK)
    if masks.size:
        is_run = np.repeat(kinds == MASK, lengths)
        head = starts[masks][:, None] + np.arange(4)
        is_run[head] = False
        crop = read(masks, 0, np.full(len(masks), 4), "<u2").reshape(-1, 4)
        numbers[head[:, :2]] = crop[:, :2].astype(np.int16)  # x and y have a sign, w and h none
        numbers[head[:, 2:]] = crop[:, 2:]
        numbers[is_run] = read(masks, _MASK_CROP + _COUNT.size, counts[masks], "<u2")
    return _join_runs(Trajectory(kinds, starts, numbers))


def _format_row(kind: int, row: NDArray[np.float64]) -> bytes:
    if kind == MASK:
        x, y, w, h = row[:4].astype(np.int64).tolist()
        runs = _split_runs(row[4:].astype(np.int64))
        return _MASK_HEAD.pack(x, y, w, h, len(runs)) + runs.astype("<u2").tobytes()
    if kind == POLYGON:
        return _COUNT.pack(len(row) // 2) + row.astype("<f4").tobytes()
    return _FIXED[kind].pack(*(row.astype(np.int64) if kind == SPECIAL else row).tolist())


def _join_runs(trajectory: Trajectory) -> Trajectory:
    """Undoes `_split_runs` in all masks."""
    longest = np.flatnonzero(trajectory.numbers == LONGEST_RUN)
    if not longest.size:
        return trajectory
    rows = np.searchsorted(trajectory.starts, longest, side="right") - 1
    kept = np.ones(len(trajectory.numbers), dtype=bool)
    numbers = trajectory.numbers.copy()
    for at, row in zip(longest[::-1].tolist(), rows[::-1].tolist(), strict=True):
        inside = trajectory.starts[row] + 4 <= at and at + 2 < trajectory.starts[row + 1]
        if trajectory.kinds[row] == MASK and inside and numbers[at + 1] == 0:
            numbers[at] += numbers[at + 2]
            kept[at + 1 : at + 3] = False
    lost = np.add.reduceat(~kept, trajectory.starts[:-1])
    counts = np.diff(trajectory.starts) - lost
    return Trajectory(trajectory.kinds, np.concatenate([[0], np.cumsum(counts)]), numbers[kept], trajectory.cropped)


def _split_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    if runs.max(initial=0) <= LONGEST_RUN:
        return runs
    parts: list[int] = []
    for run in runs.tolist():
        while run > LONGEST_RUN:
            parts += [LONGEST_RUN, 0]
            run -= LONGEST_RUN
        parts.append(run)
    return np.array(parts, dtype=np.int64)
