"""VOT: short-term 2013-2022, long-term 2018-2022 and VOTS, one folder a sequence in the toolkit's layout.

A sequence's annotation is a `RegionTruth`: regions of every object, tags and values of every frame, and the anchors
that multistart runs begin at. What `mosam.tracking.modes` needs for resets and anchors is there too:
`RegionSequence.prompt_at` for any frame, `RegionTruth.anchors` with the frames in tracking order, and
`RegionTruth.restart` after a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import read_table
from mosam.datasets.annotations import numbered, read_names, read_text
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, Dataset, DatasetInfo, FrameSource, Sequence
from mosam.datasets.frames import FrameFolder, NoFrames, StoredFrames, frames_or_none
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.geometry import mask_to_box
from mosam.regions.files import read_trajectory
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import MASK, SPECIAL, Point, Trajectory
from mosam.types import Image, Mask, Prompt, Size

SINGLE = "groundtruth.txt"
SEVERAL = "groundtruth_"
IGNORE = "_ignore"  # object whose pixels do not count
ANCHOR = "anchor"  # value: > 0 forward from this frame, < 0 backward
METADATA = "sequence"
LIST = "list.txt"
SKIP_AFTER_FAILURE = 5
MOST_UNKNOWN = 1_000_000  # frames without annotation that a length may claim: more is a damaged file
TREE = """\
<root>/ or <root>/sequences/
  list.txt                       (optional: sequence names, one a line)
  <sequence>/
    groundtruth.txt              (one region a line; several objects: groundtruth_<object>.txt)
    sequence                     (name=value lines; absent in old archives)
    color/00000001.jpg ...       (old archives: 00000001.jpg ...; not needed for scoring)
    <tag>.tag, <value>.value     (one number a line)"""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a multistart run begins.

    Attributes:
        frame: 0-based.
        forward: towards the end; else towards frame 0.
    """

    frame: int
    forward: bool

    def frames(self, count: int) -> range:
        """The frames of a run in a sequence of `count`, in the order they are played.

        >>> list(Anchor(2, forward=False).frames(5))
        [2, 1, 0]
        """
        return range(self.frame, count) if self.forward else range(self.frame, -1, -1)


@dataclass(frozen=True, eq=False)
class RegionTruth:
    """Regions of one sequence, all in memory; also a `MaskTruth`.

    Attributes:
        objects: by object id, T regions each.
        image_size: (height, width), or None where nothing tells.
        tags: (T,) bool by name, in file order.
        values: (T,) float64 by name.
        ignore: T regions whose pixels do not count, or None.
    """

    objects: Mapping[int, Trajectory]
    image_size: Size | None = None
    tags: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    ignore: Trajectory | None = None

    def __len__(self) -> int:
        return len(next(iter(self.objects.values())))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object, ascending."""
        return tuple(sorted(self.objects))

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """All frames: each has a region or a code."""
        return tuple(range(len(self)))

    @property
    def single(self) -> Trajectory:
        """The only object's regions; MismatchError where there are several."""
        if len(self.objects) != 1:
            raise MismatchError(f"expected one object, got {len(self.objects)}; choose a protocol for several objects")
        return next(iter(self.objects.values()))

    @property
    def size(self) -> Size:
        """(height, width); MissingDataError where nothing tells."""
        if self.image_size is None:
            raise MissingDataError("expected the size of the frames: width= and height= in `sequence`, or the frames")
        return self.image_size

    @cached_property
    def anchors(self) -> tuple[Anchor, ...]:
        """Anchors as the toolkit visits them: all forward ones, then all backward ones; none without `anchor.value`."""
        value = self.values.get(ANCHOR, np.zeros(0))
        forward = [Anchor(int(frame), True) for frame in np.flatnonzero(value > 0)]
        return (*forward, *(Anchor(int(frame), False) for frame in np.flatnonzero(value < 0)))

    def first_frame(self, object_id: int) -> int:
        """The first frame with a region of an object; DataError where there is none."""
        shown = np.flatnonzero(self.objects[object_id].kinds != SPECIAL)
        if not shown.size:
            raise MismatchError(f"object {object_id}: expected a region on some frame, got codes only")
        return int(shown[0])

    def restart(self, failure: int, *, skip: int = SKIP_AFTER_FAILURE) -> int | None:
        """The frame at which a tracker that failed is started again, or None where the sequence ends before.

        Args:
            failure: the frame of the failure.
            skip: frames from it to the next start; a frame without a region is passed over too.
        """
        shown = np.flatnonzero(self.single.kinds[failure + skip :] != SPECIAL)
        return failure + skip + int(shown[0]) if shown.size else None

    def prompt(self, object_id: int, frame_index: int, kind: str) -> Prompt:
        """An object's annotation on any frame, to start a tracker with.

        Args:
            kind: `box` or `mask`; a point is a point whichever is asked for. A polygon's box is the one around it, a
                mask's the one around its pixels.
        Raises:
            MismatchError: no region there, an empty one, or one that is no mask where a mask is asked for.
        """
        trajectory = self.objects[object_id].take(np.array([frame_index]))
        where = f"object {object_id}, frame {frame_index}"
        region = trajectory[0]
        if isinstance(region, Point):
            point = np.array([[region.x, region.y]])
            return Prompt(object_id, frame_index, points=point, labels=np.ones(1, dtype=np.int64))
        if trajectory.kinds[0] == MASK:
            mask = region_mask(trajectory, 0, self.size)
            if not mask.any():
                raise MismatchError(f"{where}: expected a region to start with, got an empty mask")
            if kind == "mask":
                return Prompt(object_id, frame_index, mask=mask)
            return Prompt(object_id, frame_index, box=mask_to_box(mask, convention="inclusive"))
        box = trajectory.boxes()[0]
        if kind == "mask":
            raise MismatchError(f"{where}: expected an annotated mask, got {region}; choose --prompt box")
        if not ((box[2:] > 0).all() and np.isfinite(box).all()):
            raise MismatchError(f"{where}: expected a region with width and height to start with, got {region}")
        return Prompt(object_id, frame_index, box=box)

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) of all objects on a frame, by id; all False where an object is not there."""
        return {object_id: region_mask(regions, frame_index, self.size) for object_id, regions in self.objects.items()}

    def void(self, frame_index: int) -> Mask | None:
        """Pixels (H, W) that do not count, or None where the sequence has none."""
        return None if self.ignore is None else region_mask(self.ignore, frame_index, self.size)


@dataclass(frozen=True, slots=True)
class RegionSequence(Sequence):
    """A sequence annotated with regions.

    Attributes:
        object_names: names of the objects in file names, by id.
        eao_interval: lengths that its challenge's expected average overlap is a mean over, or None.
        prompt_kind: `box` or `mask`: what a tracker is started with.
    """

    object_names: Mapping[int, str] = field(default_factory=dict)
    eao_interval: tuple[int, int] | None = None
    prompt_kind: str = "box"

    @property
    def regions(self) -> RegionTruth:
        """The annotation, also where it is only that of the first frames."""
        truth = self.truth
        assert isinstance(truth, RegionTruth)
        return truth

    def prompt_at(self, object_id: int, frame_index: int) -> Prompt:
        """What starts a tracker on any frame; MismatchError as `RegionTruth.prompt`."""
        try:
            return self.regions.prompt(object_id, frame_index, self.prompt_kind)
        except MismatchError as error:
            raise MismatchError(f"{self.name}: {error}") from None


class RegionDataset(Dataset):
    """Sequences in the VOT toolkit's layout; a subclass says which challenge it is.

    Attributes:
        eao_interval: lengths that expected average overlap is a mean over, or None.
    """

    eao_interval: ClassVar[tuple[int, int] | None] = None

    def list_names(self) -> Iterable[str]:
        """The names of `list.txt`, else every folder with an annotation."""
        root = self._sequences()
        if (root / LIST).is_file():
            names = read_names(root / LIST)
        else:
            names = tuple(sorted(path.name for path in root.iterdir() if self._is_sequence(path)))
        if not any(self._is_sequence(root / name) for name in names):
            raise self.layout_error(f"found none of {len(names)} listed sequences" if names else "found no sequence")
        return names

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's annotation (with `frames`, also its pictures) is there."""
        folder = self._sequences() / name
        return self._is_sequence(folder) and (not frames or len(self.open_frames(name)) > 0)

    def open_frames(self, name: str) -> StoredFrames:
        """The pictures of the default channel, or none where the tree holds annotation only."""
        folder = self._present(name)
        return self._frames(folder, _read_metadata(folder))

    @staticmethod
    def _frames(folder: TreePath, metadata: Mapping[str, str]) -> StoredFrames:
        channel = metadata.get("channels.color")
        if channel is not None:
            return frames_or_none(folder.joinpath(*_channel_folder(channel)))
        if (folder / "color").is_dir():
            return frames_or_none(folder / "color")
        has_pictures = any(path.suffix.lower() in (".jpg", ".jpeg", ".png") for path in folder.iterdir())
        return FrameFolder(folder, upright=False) if has_pictures else NoFrames(folder / "color")

    def folder_of(self, name: str) -> TreePath:
        """Where a sequence lies; DataError where it does not."""
        return self._present(name)

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where there is one."""
        path = self._sequences() / LIST
        return (path,) if path.is_file() else ()

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """Regions, tags, values and metadata."""
        folder = self._present(name)
        found = [path for path in folder.iterdir() if path.suffix in (".tag", ".label", ".value")]
        found += list(folder.glob("groundtruth*.txt"))
        found += [path for path in (folder / METADATA,) if path.is_file()]
        return sorted(path for path in found if not path.name.startswith("."))

    def load(self, name: str) -> Sequence:
        """One sequence; reads its metadata and lists its files, regions when they are asked for.

        Raises:
            DataError: metadata, regions, tags or values that are damaged or of different lengths.
        """
        folder = self._present(name)
        metadata = _read_metadata(folder)
        source = LateFrames(lambda: self._frames(folder, metadata))
        files = _region_files(folder)
        names = _number_objects(files)
        trajectories = {object_id: read_trajectory(files[key]) for object_id, key in names.items()}
        count = _count_frames(folder, metadata, source, trajectories)
        sizes: list[Size | None] = []

        def size() -> Size | None:
            if not sizes:
                sizes.append(_size(metadata) or (source.size() if len(source) else None))
            return sizes[0]

        tags, values = _read_columns(folder, count)
        loaded: list[RegionTruth] = []

        def truth() -> RegionTruth:
            if not loaded:
                ignore = read_trajectory(files[IGNORE]).padded(count) if IGNORE in files else None
                padded = {object_id: regions.padded(count) for object_id, regions in trajectories.items()}
                loaded.append(RegionTruth(padded, size(), tags, values, ignore))
            return loaded[0]

        return RegionSequence(
            name=name,
            source=LateFrames(lambda: _first_frames(folder, self._frames(folder, metadata), count)),
            frame_names=numbered("%08d", 1, count),
            object_ids=tuple(names),
            load_prompts=lambda: self.prompts(truth(), folder),
            load_truth=truth if self.has_truth else None,
            attributes=frozenset(tag for tag, flags in tags.items() if flags.any()),
            load_size=size,
            object_names=names,
            eao_interval=self.eao_interval,
            prompt_kind=self.prompt,
        )

    def prompts(self, truth: RegionTruth, folder: TreePath) -> tuple[Prompt, ...]:
        """What starts each object: its region on the first frame that has one; DataError where that cannot be."""
        try:
            return tuple(truth.prompt(i, truth.first_frame(i), self.prompt) for i in truth.object_ids)
        except (MismatchError, MissingDataError) as error:
            raise DataError(folder, str(error)) from None

    def _sequences(self) -> TreePath:
        assert self.root is not None
        inner = self.root / "sequences"
        return inner if inner.is_dir() else self.root

    @staticmethod
    def _is_sequence(folder: TreePath) -> bool:
        return (folder / SINGLE).is_file() or any(folder.glob(f"{SEVERAL}*.txt"))

    def _present(self, name: str) -> TreePath:
        folder = self._sequences() / name
        if not self._is_sequence(folder):
            raise DataError(folder, f"expected {SINGLE} or {SEVERAL}<object>.txt, found neither; get the sequence")
        return folder


# ---- files -----------------------------------------------------------------------------------------------------------


def _read_metadata(folder: TreePath) -> dict[str, str]:
    path = folder / METADATA
    if not path.is_file():
        return {}
    metadata: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            key, equals, value = line.partition("=")
            if not equals:
                raise DataError(path, f"expected name=value, got {line[:40]!r}", line=number)
            metadata[key.strip()] = value.strip()
    return metadata


def _channel_folder(pattern: str) -> tuple[str, ...]:
    """Folder of a channel such as `color/%08d.jpg`, below its sequence's."""
    parts = [part for part in pattern.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or pattern.startswith("/"):
        raise MismatchError(f"channel {pattern!r}: expected a folder of the sequence")
    return tuple(parts[:-1] if parts and "." in parts[-1] else parts)


def _region_files(folder: TreePath) -> dict[str, TreePath]:
    """Files of regions by object name; the single object is called `object`."""
    several = sorted(path for path in folder.glob(f"{SEVERAL}*.txt") if not path.name.startswith("."))
    if not several:
        return {"object": folder / SINGLE}
    return {path.name[len(SEVERAL) : -len(".txt")]: path for path in several}


def _number_objects(files: Mapping[str, TreePath]) -> dict[int, str]:
    """Object ids >= 1: the numbers in the names where all are different ones, else counted in order."""
    names = [name for name in files if not name.startswith("_")]
    if names and all(name.isdecimal() and int(name) >= 1 for name in names):
        numbered = {int(name): name for name in names}
        if len(numbered) == len(names):
            return dict(sorted(numbered.items()))
    return dict(enumerate(names, start=1))


def _count_frames(
    folder: TreePath, metadata: Mapping[str, str], source: FrameSource, trajectories: Mapping[int, Trajectory]
) -> int:
    """Frames of a sequence: `length`, else its pictures, else its regions, of which there may be fewer but not more."""
    if not trajectories:
        raise DataError(folder, f"expected {SEVERAL}<object>.txt of some object, got {SEVERAL}{IGNORE}.txt alone")
    rows = max(len(regions) for regions in trajectories.values())
    length = metadata.get("length", "")
    if length and not length.isdecimal():
        raise DataError(folder / METADATA, f"expected a whole number of frames in length=, got {length!r}")
    count = int(length) if length else len(source) or rows
    if rows > count:
        raise DataError(folder, f"expected at most {count} regions, one a frame, got {rows}")
    if count > MOST_UNKNOWN + 10 * rows:
        raise DataError(folder / METADATA, f"expected a length near the {rows} annotated frames, got {count}")
    return count


def _size(metadata: Mapping[str, str]) -> Size | None:
    height, width = metadata.get("height", ""), metadata.get("width", "")
    return (int(height), int(width)) if height.isdecimal() and width.isdecimal() else None


def _read_columns(folder: TreePath, count: int) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.float64]]]:
    """Tags and values of each frame by name, from files of one number a line; short ones are filled up with zeros.

    Raises:
        DataError: a line that is no number, or more lines than frames.
    """
    tags: dict[str, NDArray[np.bool_]] = {}
    values: dict[str, NDArray[np.float64]] = {}
    for name in sorted(path.name for path in folder.iterdir()):
        stem, _, suffix = name.rpartition(".")
        if suffix not in ("tag", "label", "value") or not stem or name.startswith("."):
            continue
        column = _read_column(folder / name)
        if len(column) > count:
            raise DataError(folder / name, f"expected at most {count} lines, one a frame, got {len(column)}")
        column = np.concatenate([column, np.zeros(count - len(column))])
        if suffix == "value":
            values[stem] = column
        else:
            tags[stem] = column == 1
    return tags, values


def _read_column(path: TreePath) -> NDArray[np.float64]:
    """Numbers of a file, one a line; DataError with the line of anything else."""
    text = read_text(path).rstrip()
    try:
        return np.array(text.split("\n") if text else [], dtype=np.float64)
    except ValueError:
        return read_table(path, 1)[:, 0]  # names the line, or accepts what it can


def _first_frames(folder: TreePath, source: StoredFrames, count: int) -> StoredFrames:
    """The `count` annotated frames; DataError where there are pictures, but fewer."""
    if 0 < len(source) < count:
        raise DataError(folder, f"expected {count} frames, got {len(source)} pictures; get the missing ones")
    longer = isinstance(source, FrameFolder) and len(source) > count
    return FrameFolder(source.folder, count=count, upright=False) if longer else source


class LateFrames:
    """Frames that are looked for when first asked for: scoring needs none, and a folder of them takes long to list.

    Args:
        find: gives them.
    """

    def __init__(self, find: Callable[[], StoredFrames]):
        self._find = find
        self._found: StoredFrames | None = None

    @property
    def found(self) -> StoredFrames:
        """The frames, looked for now."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def __len__(self) -> int:
        return len(self.found)

    def size(self) -> Size:
        """See `FrameSource.size`."""
        return self.found.size()

    def read(self, index: int) -> Image:
        """See `FrameSource.read`."""
        return self.found.read(index)


# ---- challenges ------------------------------------------------------------------------------------------------------

_TERMS = "research use; each sequence keeps the terms of its source"


def _challenge(name: str, interval: tuple[int, int] | None, info: DatasetInfo) -> None:
    """Registers one challenge's dataset, a class of this module so that it can be sent to other processes."""
    class_name = "".join(part.capitalize() for part in name.split("-"))
    members = {"name": name, "info": info, "eao_interval": interval, "__module__": __name__}
    members["__doc__"] = f"{info.title}; see `RegionDataset`."
    globals()[class_name] = DATASETS.register(name)(type(class_name, (RegionDataset,), members))


def _info(
    title: str,
    protocol: str,
    *,
    year: int,
    prompts: tuple[str, ...],
    result_format: str,
    metrics: tuple[str, ...],
    mode: str = "once",
    count: int | None = None,
    splits: tuple[str, ...] = ("test",),
    no_truth: tuple[str, ...] = (),
) -> DatasetInfo:
    return DatasetInfo(
        title=title,
        task="region",
        splits=splits,
        default_split=splits[0],
        prompts=prompts,
        protocol=protocol,
        result_format=result_format,
        mode=mode,
        official_counts={} if count is None else {splits[0]: count},
        no_truth=no_truth,
        archive_folder="" if no_truth else None,
        license=_TERMS,
        source=f"https://www.votchallenge.net/vot{'s' if year >= 2023 else ''}{year}/",
        metrics=metrics,
        tree=TREE,
    )


def _register_all() -> None:
    supervised = {2013: (16, None), 2014: (25, None), 2015: (60, (108, 371)), 2016: (60, (108, 371))}
    supervised |= {2017: (60, (100, 356)), 2018: (60, (100, 356)), 2019: (60, (46, 291))}
    for year, (count, interval) in supervised.items():
        metrics = (*(("eao",) if interval else ()), "accuracy", "robustness", "failures")
        info = _info(
            f"VOT{year}",
            "vot",
            year=year,
            prompts=("box",),
            result_format="vot-box",
            metrics=metrics,
            mode="supervised",
            count=count,
        )
        _challenge(f"vot{year}", interval, info)
    multistart = (
        ("2020-st", "mask", 60),
        ("2021-st", "mask", 60),
        ("2022-st", "mask", None),
        ("2022-stb", "box", None),
    )
    for suffix, kind, number in multistart:
        info = _info(
            f"VOT-ST{'b' if kind == 'box' else ''}{suffix[:4]}",
            "multistart",
            year=int(suffix[:4]),
            prompts=("mask", "box") if kind == "mask" else ("box",),
            result_format="vot" if kind == "mask" else "vot-box",
            metrics=("eao", "accuracy", "robustness"),
            mode="multistart",
            count=number,
        )
        _challenge(f"vot{suffix}", (115, 755), info)
    for year, count in {2018: 35, 2019: 50, 2020: 50, 2021: 50, 2022: 50}.items():
        info = _info(
            f"VOT-LT{year}",
            "vot-lt",
            year=year,
            prompts=("box",),
            result_format="vot-lt",
            metrics=("f", "precision", "recall"),
            count=count,
        )
        _challenge(f"vot{year}-lt", None, info)
    for year, number in {2023: 144, 2024: 144, 2025: 144, 2026: None}.items():
        info = _info(
            f"VOTS{year}",
            "vots",
            year=year,
            prompts=("mask", "box"),
            result_format="vot",
            metrics=("quality", "accuracy", "robustness", "nre", "dre", "adq"),
            count=number,
            splits=("test", "val"),
            no_truth=("test",),
        )
        _challenge(f"vots{year}", None, info)


_register_all()
