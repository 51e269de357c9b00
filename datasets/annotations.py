"""Reading what benchmarks write beside their frames: rows of numbers, flags, name lists, label maps.

Every reader raises DataError with the file, the line where lines mean something, what was expected and what was found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import LARGEST_LABEL, label_ids, read_labels, read_table
from mosam.datasets.archives import TreePath, as_path
from mosam.datasets.base import shorten
from mosam.datasets.frames import list_files, read_image_size
from mosam.errors import DataError
from mosam.system.text import decode_text
from mosam.types import Mask, Size

SPLITS = Path(__file__).parent / "splits"
MANY_EDGES = 3  # labels without an inner pixel that make a mask a smoothed one, if most are so
_NO_DIGITS = str.maketrans("", "", "0123456789")


# ---- text ------------------------------------------------------------------------------------------------------------


def read_text(path: str | os.PathLike[str]) -> str:
    """A small text file, without byte order mark, all line ends as line feeds; DataError where it cannot be read."""
    try:
        data = as_path(path).read_bytes()
    except OSError as error:
        raise DataError(path, f"expected a text file, got {error.strerror or error}") from None
    return decode_text(data, path)


def read_rows(path: str | os.PathLike[str], *, columns: int = 4) -> NDArray[np.float64]:
    """Rows of numbers: one frame a line, separated by commas, tabs or blanks.

    Args:
        columns: numbers expected on each line.
    Returns:
        (T, columns) float64, T >= 1; `nan` is kept, infinite numbers are refused.
    Raises:
        DataError: no row, a line with another count of numbers, or something that is no number.
    """
    text = read_text(path).rstrip()
    if not text:
        raise DataError(path, f"expected a row of {columns} numbers for each frame, got an empty file")
    rows = _read_whole_numbers(text, columns)
    if rows is None:
        rows = read_table(as_path(path), columns)
        infinite = np.flatnonzero(np.isinf(rows).any(axis=1))
        if infinite.size:
            raise DataError(path, "expected finite numbers or nan, got an infinite one", line=int(infinite[0]) + 1)
    return rows


def _read_whole_numbers(text: str, columns: int) -> NDArray[np.float64] | None:
    """The rows of a file of nothing but digits and commas, 20 times as fast as line by line; None for any other."""
    count = text.count("\n") + 1
    row = "," * (columns - 1)
    fields = text.replace("\n", ",")
    if text.translate(_NO_DIGITS) != "\n".join([row] * count) or ",," in f",{fields},":
        return None
    numbers = np.fromstring(fields, dtype=np.int64, sep=",")
    if numbers.size != count * columns or numbers.max() >= 2**53:  # a longer number is cut off at 2^63
        return None
    return numbers.reshape(count, columns).astype(np.float64)


def read_flags(path: str | os.PathLike[str], count: int) -> NDArray[np.bool_]:
    """0/1 flags, on one line separated by commas or one on each line.

    Args:
        count: flags expected, one for each annotated frame.
    Returns:
        (count,) bool.
    Raises:
        DataError: another count, or something that is neither 0 nor 1.
    """
    text = read_text(path)
    flags = text.replace(",", " ").split()
    if not set(flags) <= {"0", "1"}:
        for number, line in enumerate(text.split("\n"), 1):
            for field in line.replace(",", " ").split():
                if field not in ("0", "1"):
                    raise DataError(path, f"expected flags 0 or 1, got {field[:20]!r}", line=number)
    if len(flags) != count:
        raise DataError(path, f"expected {count} flags, one for each annotated frame, got {len(flags)}")
    return np.array(flags, dtype="U1") == "1"


def numbered(form: str, first: int, count: int) -> tuple[str, ...]:
    """Stems of `count` frames numbered from `first`, shared by sequences: naming takes as long as reading.

    >>> numbered("%04d", 1, 2)
    ('0001', '0002')
    """
    longest = 1 << max(count - 1, 255).bit_length()
    return _numbered(form, first, longest)[:count]


@lru_cache(maxsize=8)
def _numbered(form: str, first: int, count: int) -> tuple[str, ...]:
    return tuple(form % number for number in range(first, first + count))


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """A list of sequence names, one a line; blank lines and lines starting with `#` do not count.

    Raises:
        DataError: no names, a name twice, or one that is not a plain folder name (`..`, `a/b`).
    """
    names: dict[str, int] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        name = line.strip()
        if name and not name.startswith("#"):
            check_name(name, path, number)
            if name in names:
                raise DataError(path, f"expected each name once, got {name} again (line {names[name]})", line=number)
            names[name] = number
    if not names:
        raise DataError(path, "expected sequence names, one a line, got none")
    return tuple(names)


def check_name(name: str, path: str | os.PathLike[str], number: int | None) -> None:
    """DataError unless `name` is a plain folder name: a list must not reach outside its root."""
    if name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise DataError(path, f"expected a sequence name, got {name[:60]!r}", line=number)


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """An object (`{...}`) of a JSON file; DataError where it is anything else, or damaged."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:80]
        raise DataError(path, f"expected JSON, got a fault: {reason}", line=line) from None
    if not isinstance(content, dict):
        raise DataError(path, f"expected a JSON object, got {type(content).__name__}")
    return content


@cache
def official_list(name: str) -> tuple[str, ...]:
    """A list shipped in `splits/`, such as `lasot_test`; its first line states the source."""
    return read_names(SPLITS / f"{name}.txt")


@cache
def official_attributes(name: str) -> Mapping[str, frozenset[str]]:
    """Attributes shipped in `splits/`, by sequence; rows are `sequence,ATTRIBUTE,...`."""
    rows = [line.split(",") for line in read_text(SPLITS / f"{name}.txt").splitlines() if not line.startswith("#")]
    return {row[0]: frozenset(row[1:]) for row in rows}


# ---- label maps ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectRange:
    """Where a benchmark says that an object lives.

    Attributes:
        start, end: 0-based frames, the last one included.
        count: how many frames it says these are (LVOS reserves values for all but two of them).
    """

    start: int
    end: int
    count: int


class LabelMapTruth:
    """Mask annotation stored as one label map for each frame, read when asked for.

    Where nobody says what the objects are, they are as DAVIS counts them: 1 to the highest id of the first map, also
    where one of these ids is not in that map; only objects of the first map are prompted. Ids of other maps that are no
    object are left out (`stray_ids` reports them).

    Args:
        files: the label maps by 0-based frame index.
        void_label: the value of pixels that do not count, or None.
        binary: any value but 0 is object 1.
        object_ids: the objects, where a benchmark lists them; they may appear later and have gaps.
        ranges: first and last frame of each object, where a benchmark lists them (LVOS).
        listed: the frames on which each object counts, where a benchmark lists them (YouTube-VOS).
        groups: `seen` or `unseen` for each object, where its category is known (YouTube-VOS).
    Raises:
        DataError: the first map is unreadable, holds no object (unless they are listed), or ids above 255.

    Attributes:
        first_ids: ids of the first map, ascending; may have gaps.
        object_ids: every object, ascending.
        size: (height, width) of the first map; all must have it.
        ranges, listed, groups: as given, else empty.
    """

    def __init__(
        self,
        files: Mapping[int, TreePath],
        *,
        void_label: int | None = None,
        binary: bool = False,
        object_ids: Iterable[int] | None = None,
        ranges: Mapping[int, ObjectRange] | None = None,
        listed: Mapping[int, tuple[int, ...]] | None = None,
        groups: Mapping[int, str] | None = None,
    ):
        self._files = dict(sorted(files.items()))
        self._void_label = None if binary else void_label
        self._binary = binary
        self._last: tuple[int, NDArray[np.integer]] | None = None
        path = self._files[self.frame_indices[0]]
        self.size: Size = read_image_size(path)
        labels = self._labels(self.frame_indices[0])
        self.first_ids = self._ids(labels)
        self.ranges, self.listed, self.groups = dict(ranges or {}), dict(listed or {}), dict(groups or {})
        if object_ids is not None:
            self.object_ids = tuple(sorted(object_ids))
            return
        if not self.first_ids:
            hint = f" (value {void_label} is void here)" if (labels == self._void_label).any() else ""
            raise DataError(path, f"expected a mask of each object, got no object{hint}; the first mask is the prompt")
        if self.first_ids[-1] > 255:
            raise DataError(path, f"expected object ids up to 255, got {self.first_ids[-1]}; save it as a palette PNG")
        self.object_ids = tuple(range(1, self.first_ids[-1] + 1))

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """Annotated frames, ascending."""
        return tuple(self._files)

    @property
    def binary(self) -> bool:
        """Whether any value but 0 is the only object (DAVIS 2016)."""
        return self._binary

    def path(self, frame_index: int) -> TreePath:
        """The label map of a frame."""
        return self._files[frame_index]

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) by id: objects of the first map, all False where not in this frame, and others that are in it.

        Raises:
            DataError: the map is unreadable or of another size than the first.
        """
        labels = self._labels(frame_index)
        present = {*self.first_ids, *self._ids(labels)}
        return {object_id: labels == object_id for object_id in self.object_ids if object_id in present}

    def void(self, frame_index: int) -> Mask | None:
        """Pixels (H, W) that do not count, or None where the frame has none; DataError as `read`."""
        if self._void_label is None:
            return None
        void = self._labels(frame_index) == self._void_label
        return void if void.any() else None

    def stray_ids(self, frame_index: int) -> tuple[int, ...]:
        """Ids of a frame that are no object; DataError as `read`."""
        return tuple(value for value in self._ids(self._labels(frame_index)) if value not in self.object_ids)

    def first_masks(self) -> dict[int, tuple[int, Mask]]:
        """Each object's first frame and its mask (H, W) there, nothing later: all that a tracker may be shown.

        Raises:
            DataError: a map is unreadable, or an object is on none.
        """
        found: dict[int, tuple[int, Mask]] = {}
        for frame_index in self.frame_indices:
            for object_id in self._ids(self._labels(frame_index)):
                if object_id in self.object_ids and object_id not in found:
                    found[object_id] = (frame_index, self._labels(frame_index) == object_id)
            if len(found) == len(self.object_ids):
                return found
        absent = ", ".join(str(object_id) for object_id in self.object_ids if object_id not in found)
        folder = self._files[self.frame_indices[0]].parent
        raise DataError(
            folder, f"expected a mask of each object, got none of object {absent}; get the annotation again"
        )

    def _ids(self, labels: NDArray[np.integer]) -> tuple[int, ...]:
        return tuple(value for value in label_ids(labels) if value != self._void_label)

    def _labels(self, frame_index: int) -> NDArray[np.integer]:
        last = self._last
        if last is None or last[0] != frame_index:
            labels = read_labels(self._files[frame_index])
            if self._binary:
                labels = (labels != 0).astype(np.uint8)
            if self.size != labels.shape:
                raise DataError(
                    self._files[frame_index],
                    f"expected {self.size[0]}x{self.size[1]} (height x width) as the first mask, "
                    f"got {labels.shape[0]}x{labels.shape[1]}",
                )
            self._last = last = (frame_index, labels)  # read, void and stray_ids of one frame decode it once
        return last[1]


def check_start_mask(path: TreePath, *, white: bool = False) -> None:
    """DataError, with what to do, for a label map that says what to track and holds what is no object.

    Args:
        path: the label map.
        white: whether 255 may be the object of a black and white picture.
    """
    labels = read_labels(path)
    ids = label_ids(labels)
    if (edges := _edge_labels(labels, ids)) >= MANY_EDGES and edges > len(ids) / 2:
        raise DataError(
            path,
            f"expected one value for each object, got {len(ids)} values of which {edges} lie on borders alone, as in a "
            "smoothed mask; save it with hard edges: 0 around the object, 1 on it",
        )
    if ids and ids[-1] > LARGEST_LABEL and not (white and len(ids) == 1):
        raise DataError(
            path,
            f"expected object numbers of 1 to {LARGEST_LABEL}, as results hold no others (255 is void), got {ids[-1]}; "
            "save it as an 8-bit palette or gray PNG whose values are 0 around the objects, 1 on the first, 2 ...",
        )


def _edge_labels(labels: NDArray[np.integer], ids: tuple[int, ...]) -> int:
    """How many labels have no pixel whose four neighbors have the same label."""
    inner = labels[1:-1, 1:-1]
    same = (inner == labels[:-2, 1:-1]) & (inner == labels[2:, 1:-1])
    same &= (inner == labels[1:-1, :-2]) & (inner == labels[1:-1, 2:])
    return len(set(ids) - set(np.unique(inner[same]).tolist()))


def list_label_maps(folder: TreePath) -> dict[str, TreePath]:
    """The PNG files of a folder by stem, in frame order; DataError where there is none."""
    names = list_files(folder, (".png",))
    if not names:
        raise DataError(folder, "expected label maps (.png), got none")
    return {name.rpartition(".")[0]: folder / name for name in names}


def check_same_frames(folder: TreePath, expected: Iterable[str], got: Iterable[str], *, of: TreePath) -> None:
    """Compare two lists of frame names.

    Args:
        folder: what is checked, for the error.
        expected: frame names of `of`.
        got: frame names of `folder`.
        of: the folder it must agree with.
    Raises:
        DataError: `folder` lacks some of the frames of `of`, or holds others.
    """
    expected, got = list(expected), list(got)
    absent, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if absent or extra:
        faults = [f"{shorten(absent)} absent"] * bool(absent) + [f"{shorten(extra)} without a frame"] * bool(extra)
        raise DataError(folder, f"expected the {len(expected)} frames of {of}, got {len(got)}: {', '.join(faults)}")
