"""What a result format is: a codec with a writer that takes frames in order, and readers of what anybody wrote."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mosam.geometry import BOX_FROM_MASK
from mosam.registry import Registry
from mosam.types import FrameOutput, Mask

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

ABSENT_AS = ("zeros", "last", "nan", "minus_one")
REGION_FILES = ("auto", "text", "binary")

CODECS: Registry[Codec] = Registry("result format", "mosam.codecs")


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """How a tracker's masks become the numbers of a result file; recorded in `run.json`.

    Attributes:
        absent_as: row written where the object is absent: `zeros`, `last` (the previous row again), `nan` or
            `minus_one`. Scorers treat them differently; PyTracking's refuses `nan` and `minus_one`.
        box_from_mask: `exclusive` or `inclusive`, see `mosam.geometry.mask_to_box`.
        region_files: of VOT: `text`, `binary` (boxes lose digits) or `auto` (boxes as text, masks as binary).
    Raises:
        ValueError: a value that is not one of these.
    """

    absent_as: str = "zeros"
    box_from_mask: str = "exclusive"
    region_files: str = "auto"

    def __post_init__(self) -> None:
        if self.absent_as not in ABSENT_AS:
            raise ValueError(f"absent_as: expected one of {', '.join(ABSENT_AS)}, got {self.absent_as!r}")
        if self.box_from_mask not in BOX_FROM_MASK:
            raise ValueError(f"box_from_mask: expected one of {', '.join(BOX_FROM_MASK)}, got {self.box_from_mask!r}")
        if self.region_files not in REGION_FILES:
            raise ValueError(f"region_files: expected one of {', '.join(REGION_FILES)}, got {self.region_files!r}")

    def describe(self) -> dict[str, str]:
        """What `run.json` records: every choice, but `region_files` only where it was made."""
        chosen = {"absent_as": self.absent_as, "box_from_mask": self.box_from_mask}
        return chosen if self.region_files == "auto" else {**chosen, "region_files": self.region_files}


class ResultWriter(Protocol):
    """Takes the frames of one sequence in order and leaves its files."""

    def add(self, output: FrameOutput, seconds: float) -> None:
        """One frame: what was tracked and how long the tracker took for it."""

    def finish(self) -> None:
        """After the last frame; ValueError where frames are missing."""


class MaskResult(Protocol):
    """Written masks of one sequence, read frame by frame."""

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """Masks (H, W) by object id; an object without pixels is left out. MissingDataError without a file.

        Where masks are files of their own, only those of `object_ids` (None = all) are read.
        """

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """(H, W) object ids, 0 = background."""


class Codec(Protocol):
    """One result format."""

    @property
    def boxes(self) -> bool:
        """Whether results hold boxes."""

    @property
    def masks(self) -> bool:
        """Whether results hold masks."""

    @property
    def non_overlap(self) -> bool:
        """Whether a pixel can belong to one object only."""

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """A writer that makes files below `folder` only."""

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """Files or folders below the result folder that may belong to the sequence; its name alone decides."""

    def listed(self, folder: Path) -> set[str]:
        """Names that sequences would have whose results lie in the folder; other files may add other names."""

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """Every file that a complete result of the sequence has, relative to the result folder."""

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """(T, 4) x, y, w, h by object id, rows exactly as in the file, T as in the file."""

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """(T,) seconds a frame, or None where the result has no times."""

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """The sequence's masks, each read when asked for."""


@dataclass(frozen=True, slots=True)
class _Named:
    """What `Codec.paths` looks at."""

    name: str


def paths_of(result_format: str, name: str) -> tuple[str, ...]:
    """What `Codec.paths` says of a sequence that need not be at hand.

    Args:
        result_format: name of the codec.
        name: of the sequence.
    Raises:
        UnknownNameError: no such format.
    """
    return CODECS[result_format].paths(cast("Sequence", _Named(name)))


def times_path(name: str) -> str:
    """Where seconds a frame are beside results whose format has no place for them, as the GOT-10k toolkit has it.

    They are no part of the results: a server does not get them, and they do not enter the hash in `run.json`.
    """
    return f"times/{name}_time.txt"


# What formats call the files in a sequence's folder; masks have the names of frames, which are anybody's.
_RESULT_FILE = re.compile(r"(\d+/)?([^/]+\.(png|bin|value)|([^/]+_)?(\d+|times?)\.txt)")


def may_be_result(path: str) -> bool:
    """Whether some format's writer gives a file such a name.

    Args:
        path: in a sequence's own folder of results, relative to it.

    >>> [may_be_result(p) for p in ("00000.png", "1.txt", "times.txt", "car_001.txt", "car_001_time.value", "1/00.png")]
    [True, True, True, True, True, True]
    >>> [may_be_result(p) for p in ("notes.txt", "photo.jpg", "mine/00000.png")]
    [False, False, False]
    """
    return _RESULT_FILE.fullmatch(path) is not None


@dataclass(slots=True)
class FrameWriter:
    """What writers share: frames come in order, all of them, with their times; a writer fills in the last methods.

    Attributes:
        folder: where it writes.
        sequence: whose result.
        options: how masks become boxes.
        seconds: of each frame so far.
    """

    folder: Path
    sequence: Sequence
    options: CodecOptions
    seconds: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.open()

    def add(self, output: FrameOutput, seconds: float) -> None:
        """See `ResultWriter.add`."""
        expected = len(self.seconds)
        if output.frame_index != expected:
            raise ValueError(f"{self.sequence.name}: expected frame {expected}, got frame {output.frame_index}")
        self.write(output)
        self.seconds.append(seconds)

    def finish(self) -> None:
        """See `ResultWriter.finish`."""
        if len(self.seconds) != len(self.sequence):
            raise ValueError(f"{self.sequence.name}: expected {len(self.sequence)} frames, got {len(self.seconds)}")
        self.close()

    def open(self) -> None:
        """Before the first frame."""

    def write(self, output: FrameOutput) -> None:
        """One frame."""

    def close(self) -> None:
        """After the last frame."""
