"""VOT's results: `<experiment>/<sequence>/<name>_001.txt` or `.bin`, one region a frame, with `_time.value` beside it.

The names are the toolkit's. One pass: `<sequence>_001`, with several objects `<sequence>_<object>_001`. Supervised runs
are repeated as `_001` to `_015`. A run from an anchor is `<sequence>_<frame, 8 digits>`, frames in the order played.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.base import CODECS, CodecOptions, FrameWriter, MaskResult, ResultWriter
from mosam.codecs.images import labels_of_masks
from mosam.codecs.text import format_number
from mosam.errors import DataError, MissingDataError
from mosam.geometry import mask_to_box
from mosam.regions.files import read_trajectory, write_trajectory
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import INITIALIZED, UNKNOWN, Region, Special, Trajectory, box_region, mask_region
from mosam.system.text import decode_text
from mosam.types import Box, FrameOutput, Mask, ObjectOutput, Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

REPETITIONS = 15
TEXT, BINARY = ".txt", ".bin"
TIME, CONFIDENCE = "time", "confidence"


@dataclass(frozen=True, slots=True)
class VotCodec:
    """Regions in the VOT toolkit's layout.

    Attributes:
        experiment: the folder below the tracker's; results without it are read too.
        kind: `mask` or `box`: what is written. Either is read.
        suffix: `.bin` or `.txt`: what is written. Either is read, text first where both are there.
        confidence: whether a tracker's confidence is written (long-term).
    """

    experiment: str = "baseline"
    kind: str = "mask"
    suffix: str = BINARY
    confidence: bool = False

    @property
    def boxes(self) -> bool:
        """Regions have a box."""
        return True

    @property
    def masks(self) -> bool:
        """Whether masks are written."""
        return self.kind == "mask"

    @property
    def regions(self) -> bool:
        """What protocols for VOT's regions ask for."""
        return True

    @property
    def non_overlap(self) -> bool:
        """Objects have files of their own and may overlap."""
        return False

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; of one pass from each object's first frame to the end."""
        return _VotWriter(folder, sequence, options, self)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`: the sequence's folder in the experiment's."""
        return (f"{self.experiment}/{sequence.name}",)

    def file_suffix(self, options: CodecOptions) -> str:
        """Suffix of the files that are written: what the options say, else this format's own."""
        return {"text": TEXT, "binary": BINARY}.get(options.region_files, self.suffix)

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`."""
        return tuple(
            f"{self.experiment}/{sequence.name}/{name_of_pass(sequence, object_id)}{self.suffix}"
            for object_id in sequence.object_ids
        )

    def listed(self, folder: Path) -> set[str]:
        """See `Codec.listed`."""
        inside = folder / self.experiment
        return {path.name for path in (inside if inside.is_dir() else folder).iterdir() if path.is_dir()}

    def place(self, folder: Path, sequence: Sequence) -> Path:
        """The folder of a sequence's files."""
        inside = folder / self.experiment
        return (inside if inside.is_dir() else folder) / sequence.name

    def find(self, folder: Path, sequence: Sequence, name: str) -> Path | None:
        """The file of a trajectory, or None.

        Args:
            name: without suffix, as `name_of_pass` or `name_of_anchor` gives it.
        """
        place = self.place(folder, sequence)
        return next((path for suffix in (TEXT, BINARY) if (path := place / f"{name}{suffix}").is_file()), None)

    def read(self, folder: Path, sequence: Sequence, name: str) -> Trajectory:
        """One trajectory, rows as in the file.

        Raises:
            MissingDataError: no such file.
            DataError: a damaged file.
        """
        path = self.find(folder, sequence, name)
        if path is None:
            place = self.place(folder, sequence)
            raise MissingDataError(f"{place / name}: expected {name}{TEXT} or {name}{BINARY}, found neither")
        return read_trajectory(path)

    def read_passes(self, folder: Path, sequence: Sequence, object_id: int) -> list[Trajectory]:
        """All repetitions of an object, `_001` first; MissingDataError where there is none, DataError as `read`."""
        names = [name_of_pass(sequence, object_id, number) for number in range(1, REPETITIONS + 1)]
        place = self.place(folder, sequence)
        there = {path.name for path in place.iterdir()} if place.is_dir() else set()
        found = [name for name in names if f"{name}{TEXT}" in there or f"{name}{BINARY}" in there]
        return [self.read(folder, sequence, name) for name in found or names[:1]]

    def read_values(self, folder: Path, sequence: Sequence, name: str, kind: str) -> NDArray[np.float64] | None:
        """Numbers beside a trajectory (`_time.value`, `_confidence.value`), one a frame.

        Returns:
            (T,) float64, `inf` standing for an empty line so that it differs from a written `nan`; None without a file.
        Raises:
            DataError: with the line: something that is no number.
        """
        path = self.place(folder, sequence) / f"{name}_{kind}.value"
        if not path.is_file():
            return None
        values = []
        lines = decode_text(path.read_bytes(), path).split("\n")
        for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
            try:
                values.append(float(line.rstrip(", ")) if line.strip() else math.inf)
            except ValueError:
                raise DataError(path, f"expected a number or an empty line, got {line[:40]!r}", line=number) from None
        return np.array(values, dtype=np.float64)

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """See `Codec.read_boxes`; the first pass, boxes around masks one pixel short (`exclusive`), NaN for codes."""
        return {
            object_id: self.read(folder, sequence, name_of_pass(sequence, object_id)).boxes()
            for object_id in sequence.object_ids
        }

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """See `Codec.read_times`; all objects of a sequence share them. Those of runs from anchors are joined."""
        names = [name_of_pass(sequence, sequence.object_ids[0])]
        place = self.place(folder, sequence)
        if not (place / f"{names[0]}_{TIME}.value").is_file():
            ending = f"_{TIME}.value"
            names = sorted(
                path.name.removesuffix(ending) for path in place.glob(f"{sequence.name}_{'[0-9]' * 8}{ending}")
            )
        times = [self.read_values(folder, sequence, name, TIME) for name in names]
        found = [values[np.isfinite(values)] for values in times if values is not None]
        return np.concatenate(found) if found else None

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """See `Codec.read_masks`; the first pass."""
        size = sequence.size
        if size is None:
            raise MissingDataError(f"{sequence.name}: expected frames, or a size in its annotation, got neither")
        passes = {
            object_id: self.read(folder, sequence, name_of_pass(sequence, object_id))
            for object_id in sequence.object_ids
        }
        return RegionMasks(passes, size)


@dataclass(frozen=True, slots=True)
class RegionMasks:
    """Trajectories seen as masks; see `MaskResult`."""

    objects: dict[int, Trajectory]
    size: Size

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """Masks (H, W) by object id; an object without pixels, or whose result ends before, is left out."""
        masks = {
            object_id: region_mask(trajectory, frame_index, self.size)
            for object_id, trajectory in self.objects.items()
            if frame_index < len(trajectory) and (object_ids is None or object_id in object_ids)
        }
        return {object_id: mask for object_id, mask in masks.items() if mask.any()}

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """(H, W) object ids, 0 = background; where masks overlap the lowest id wins."""
        return labels_of_masks(self.read(frame_index), self.size)


def name_of_pass(sequence: Sequence, object_id: int, number: int = 1) -> str:
    """File name without suffix of a whole pass: the object is named only where there are several."""
    names = getattr(sequence, "object_names", {})
    middle = f"_{names.get(object_id, object_id)}" if len(sequence.object_ids) > 1 else ""
    return f"{sequence.name}{middle}_{number:03d}"


def name_of_anchor(sequence: Sequence, frame_index: int) -> str:
    """File name without suffix of the run from an anchor, 0-based."""
    return f"{sequence.name}_{frame_index:08d}"


def write_run(
    place: Path,
    name: str,
    regions: list[Region],
    *,
    seconds: list[float] | None = None,
    confidence: list[float] | None = None,
    suffix: str = BINARY,
) -> None:
    """One trajectory with its values.

    Args:
        place: the sequence's folder, made where missing.
        name: as `name_of_pass` or `name_of_anchor` gives it.
        regions: one a frame, in the order played; `Special(1)` where the tracker was started.
        seconds: of each frame, NaN = not tracked; None = not written.
        confidence: of each frame, NaN = none; None = not written.
        suffix: `.bin` or `.txt`.
    Raises:
        ValueError: a region that the binary format cannot hold.
    """
    place.mkdir(parents=True, exist_ok=True)
    write_trajectory(place / f"{name}{suffix}", Trajectory.of(regions))
    for kind, values in ((TIME, seconds), (CONFIDENCE, confidence)):
        if values is not None:
            lines = ("" if math.isnan(value) else format_number(value) for value in values)
            (place / f"{name}_{kind}.value").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def region_of_mask(mask: Mask | None, kind: str, options: CodecOptions, last: Box | None = None) -> Region:
    """What is written for one frame.

    Args:
        mask: (H, W), None or empty = absent.
        kind: `mask` or `box`.
        options: what a mask's box is, and the box of an absent object.
        last: the box before, for `absent_as="last"`.
    """
    if kind == "mask":
        return mask_region(np.zeros((0, 0), dtype=bool) if mask is None else mask)
    box = None if mask is None else mask_to_box(mask, convention=options.box_from_mask)
    # one pixel short, a mask one pixel wide or tall has no side: empty to the toolkit, and so to DiDi's authors
    if box is None or np.isnan(box).any() or not box[2:].all():
        absent = {"zeros": np.zeros(4), "nan": np.full(4, np.nan), "minus_one": np.full(4, -1.0)}
        box = absent.get(options.absent_as, np.zeros(4) if last is None else last)
    return box_region(box)


class Regions:
    """The regions of one object in the order it is tracked, as they will be written.

    Args:
        codec: says whether they are masks or boxes.
        options: what a mask's box is, and the box of an absent object.

    Attributes:
        all: so far.
    """

    def __init__(self, codec: VotCodec, options: CodecOptions):
        self._kind, self._options = codec.kind, options
        self._last: Box | None = None
        self.all: list[Region] = []

    def add(self, item: ObjectOutput | None) -> Region:
        """The next frame: the tracker's own box as it is, else its mask; None or an empty mask = absent."""
        if item is not None and item.box is not None:
            self._last = item.box
            self.all.append(box_region(item.box))
            return self.all[-1]
        mask = None if item is None else item.mask
        region = region_of_mask(mask, self._kind, self._options, self._last)
        if self._kind == "box" and mask is not None and mask.any():
            box = mask_to_box(mask, convention=self._options.box_from_mask)
            self._last = box if box[2:].all() else self._last
        self.all.append(region)
        return region

    def add_code(self, code: int) -> None:
        """The next frame, which is no region."""
        self.all.append(Special(code))


class _VotWriter(FrameWriter):
    __slots__ = ("_codec", "_confidence", "_first", "_regions")

    def __init__(self, folder: Path, sequence: Sequence, options: CodecOptions, codec: VotCodec):
        self._codec = codec
        super().__init__(folder, sequence, options)

    def open(self) -> None:
        self._regions = {object_id: Regions(self._codec, self.options) for object_id in self.sequence.object_ids}
        self._confidence: dict[int, list[float]] = {object_id: [] for object_id in self.sequence.object_ids}
        self._first = {prompt.object_id: prompt.frame_index for prompt in self.sequence.prompts}

    def write(self, output: FrameOutput) -> None:
        for object_id, regions in self._regions.items():
            first = self._first.get(object_id, 0)
            item = output.objects.get(object_id)
            if output.frame_index <= first:
                regions.add_code(INITIALIZED if output.frame_index == first else UNKNOWN)
                self._confidence[object_id].append(math.nan)
                continue
            regions.add(item)
            self._confidence[object_id].append(0.0 if item is None else confidence(item))

    def close(self) -> None:
        place = self.folder / self._codec.experiment / self.sequence.name
        for object_id, regions in self._regions.items():
            write_run(
                place,
                name_of_pass(self.sequence, object_id),
                regions.all,
                seconds=self.seconds,
                confidence=self._confidence[object_id] if self._codec.confidence else None,
                suffix=self._codec.file_suffix(self.options),
            )


def confidence(item: ObjectOutput) -> float:
    """How sure the tracker is, in [0, 1]: the probability of presence times the predicted IoU."""
    return item.iou / (1 + math.exp(-max(min(item.object_score, 50.0), -50.0)))


CODECS.register("vot")(VotCodec(kind="mask"))
CODECS.register("vot-box")(VotCodec(kind="box", suffix=TEXT))
CODECS.register("vot-lt")(VotCodec(experiment="longterm", kind="box", suffix=TEXT, confidence=True))
