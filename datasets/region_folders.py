"""Sequences in the VOT toolkit's layout: a folder each, with regions, tags, values, metadata and frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import read_table
from mosam.datasets.annotations import numbered, read_names, read_text
from mosam.datasets.archives import TreePath
from mosam.datasets.base import Dataset, FrameSource, Sequence
from mosam.datasets.frames import FrameFolder, NoFrames, StoredFrames, frames_or_none
from mosam.datasets.made import Footage, TreePlan, numbers, write_frames, write_lines
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.geometry import mask_to_box
from mosam.regions.files import format_text, read_trajectory
from mosam.regions.trajectory import Polygon, Rectangle, Region, Special, Trajectory, mask_region
from mosam.types import Image, Prompt, Size

SINGLE = "groundtruth.txt"
SEVERAL = "groundtruth_"
IGNORE = "_ignore"  # object whose pixels do not count
METADATA = "sequence"
LIST = "list.txt"
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

    eao_interval: tuple[int, int] | None = None

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


# ---- made trees ------------------------------------------------------------------------------------------------------


def write_sequences(plan: TreePlan, videos: tuple[Footage, ...], kind: str) -> Iterator[tuple[Path, Footage]]:
    """Frames, regions, tags and metadata of each video; gives its folder for what else a benchmark has.

    Args:
        plan: what to write.
        videos: of it.
        kind: of region: `box`, `polygon` or `mask`.
    """
    names = [f"toy{number}" for number in range(len(videos))]
    write_lines(plan.root / LIST, names)
    for name, footage in zip(names, videos, strict=True):
        folder = plan.root / name
        write_frames(folder / "color", footage, numbers("%08d", len(footage), base=1))
        _write_metadata(folder, footage)
        _write_regions(folder, footage, kind, hidden=plan.hidden)
        write_lines(folder / "occlusion.tag", [str(int(not masks)) for masks in footage.masks])
        write_lines(folder / "camera_motion.tag", ["1"])  # a short file is padded with 0
        yield folder, footage


def _write_metadata(folder: Path, footage: Footage) -> None:
    height, width = footage.size
    metadata = {"name": folder.name, "fps": 30, "format": "default", "length": len(footage), "width": width}
    metadata |= {"height": height, "channels.color": "color/%08d.jpg"}
    write_lines(folder / METADATA, [f"{key}={value}" for key, value in metadata.items()])


def _write_regions(folder: Path, footage: Footage, kind: str, *, hidden: bool) -> None:
    ids = footage.object_ids
    for object_id in ids:
        lines = region_lines(footage, object_id, kind)
        name = f"{SEVERAL}{object_id}.txt" if len(ids) > 1 else SINGLE
        write_lines(folder / name, lines[:1] if hidden else lines)


def region_lines(footage: Footage, object_id: int, kind: str) -> list[str]:
    """One region a line: `box`, `polygon` or `mask`; a code or an empty mask where the object does not show."""
    make = {"box": _box, "polygon": _polygon, "mask": _mask}[kind]
    return format_text(Trajectory.of([make(footage, index, object_id) for index in range(len(footage))])).splitlines()


def _mask(footage: Footage, index: int, object_id: int) -> Region:
    return mask_region(footage.mask(index, object_id))


def _box(footage: Footage, index: int, object_id: int) -> Region:
    if object_id not in footage.masks[index]:
        return Special(0)
    return Rectangle(*mask_to_box(footage.mask(index, object_id), convention="inclusive").tolist())


def _polygon(footage: Footage, index: int, object_id: int) -> Region:
    box = _box(footage, index, object_id)
    if not isinstance(box, Rectangle):
        return box
    x, y, w, h = box.x, box.y, box.w, box.h
    return Polygon(((x, y), (x + w, y), (x + w, y + h), (x, y + h)))
