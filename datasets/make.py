"""`mosam data make`: a small valid tree of any benchmark, filmed from `toy`; frames, annotation, lists and metadata.

What a real tree has that loaders trip over is in it where it can be: names without a final newline, frames that are not
zero-padded, ids with gaps, objects that start late, masks that overlap, absent objects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mosam.codecs import format_number, labels_of_masks, write_labels
from mosam.codecs.coco import encode_rle
from mosam.codecs.masks import object_folder
from mosam.datasets.annotations import official_list
from mosam.datasets.base import DATASETS, DatasetInfo, load_dataset
from mosam.datasets.sav import FRAME_STEP
from mosam.errors import MosamError, UnknownNameError
from mosam.geometry import mask_to_box
from mosam.registry import Registry
from mosam.types import Image, Mask

FRAMES = 12
SEQUENCES = 2
SCALE = 2
JPEG_QUALITY = 95
_ONE_OBJECT = ("full_occlusion-1", "scale-1", "camera-1", "rotation-1")
_SEVERAL = ("late-1", "crossing-1")
_ABSENT_SHARE = 0.01  # of the picture; an object that shows less counts as absent in a made tree


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """One video to lay out.

    Attributes:
        images: uint8 RGB (H, W, 3), one a frame.
        masks: on each frame the objects that show, bool (H, W) by id 1 ... N.
    """

    images: tuple[Image, ...]
    masks: tuple[Mapping[int, Mask], ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object that shows on any frame, ascending."""
        return tuple(sorted({object_id for masks in self.masks for object_id in masks}))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images[0].shape[0], self.images[0].shape[1]

    def boxes(self, object_id: int) -> NDArray[np.float64]:
        """(T, 4) x, y, w, h around an object's pixels; NaN where it does not show."""
        empty = np.zeros(self.size, dtype=bool)
        return np.stack([mask_to_box(masks.get(object_id, empty), convention="inclusive") for masks in self.masks])

    def renumbered(self, ids: Mapping[int, int]) -> Footage:
        """With other ids; objects without a new one are left out."""
        masks = tuple({ids[key]: mask for key, mask in frame.items() if key in ids} for frame in self.masks)
        return Footage(self.images, masks)

    def starting(self) -> Footage:
        """With the objects of the first frame only."""
        return self.renumbered({object_id: object_id for object_id in self.masks[0]})


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What to write.

    Attributes:
        root: the folder to fill.
        name: the dataset's.
        info: its descriptor.
        split: one of its splits.
        single: videos of one object.
        several: videos of several, one of them late in the first.
    """

    root: Path
    name: str
    info: DatasetInfo
    split: str
    single: tuple[Footage, ...]
    several: tuple[Footage, ...]

    @property
    def hidden(self) -> bool:
        """Whether the split withholds its annotation."""
        return self.split in self.info.no_truth


LAYOUTS: Registry[Callable[[Order], None]] = Registry("tree that can be made")


def make_tree(
    name: str,
    out: str | os.PathLike[str],
    *,
    split: str | None = None,
    sequences: int = SEQUENCES,
    frames: int = FRAMES,
    seed: int = 0,
    scale: int = SCALE,
) -> Path:
    """Write a small tree of a benchmark, valid for its loader.

    Args:
        name: a registered dataset that is not generated itself.
        out: folder to make; must be new or empty.
        split: one of its splits; None = its default.
        sequences: how many videos.
        frames: of each, taken from all of a toy video; >= 6.
        seed: of the toy videos.
        scale: pixels of toy that make one here, each way.
    Returns:
        The root, to be given to the loader.
    Raises:
        UnknownNameError: a dataset or split that is not known, or that cannot be made.
        MosamError: the folder holds files, or a number is out of range.
    """
    cls = DATASETS[name]
    name = DATASETS.canonical(name)
    split = cls.info.default_split if split is None else split
    if split not in cls.info.splits:
        raise UnknownNameError("split", split, cls.info.splits, where=name)
    write = _layout(name)
    if sequences < 1 or frames < 6 or scale < 1:
        raise MosamError(
            f"data make: expected sequences >= 1, frames >= 6 and scale >= 1, got {sequences}, {frames} and {scale}"
        )
    root = Path(out)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise MosamError(f"{root}: expected a new or empty folder, found files; choose another with --out")
    single, several = (
        tuple(_film(scenes, number, frames, seed, scale) for number in range(sequences))
        for scenes in (_ONE_OBJECT, _SEVERAL)
    )
    write(Order(root, name, cls.info, split, tuple(f.renumbered({1: 1}) for f in single), several))
    return root


def _layout(name: str) -> Callable[[Order], None]:
    """What writes a benchmark's tree; UnknownNameError where nothing does."""
    if name.startswith("vots"):
        return _vots
    if name.startswith("vot"):
        year, variant = int(name[3:7]), name[8:]
        if variant in ("st", "stb"):
            return _vot("mask" if variant == "st" else "box", anchors=True)
        return _vot("box" if variant == "lt" or year == 2013 else "polygon")
    if name not in LAYOUTS:
        raise UnknownNameError("tree that can be made", name, LAYOUTS, where="data make")
    return LAYOUTS[name]


@lru_cache(maxsize=16)
def _film(scenes: tuple[str, ...], number: int, frames: int, seed: int, scale: int) -> Footage:
    """One toy video, of which `frames` frames are taken; the first object shows on the first and the last."""
    sequence = load_dataset("toy", seed=seed + number // len(scenes))[scenes[number % len(scenes)]]
    truth = sequence.truth
    chosen = [round(index) for index in np.linspace(0, len(sequence) - 1, frames)]
    images = tuple(np.ascontiguousarray(sequence.source.read(index)[::scale, ::scale]) for index in chosen)
    masks = []
    for index in chosen:
        small = {key: mask[::scale, ::scale].copy() for key, mask in truth.read(index).items()}  # type: ignore[union-attr]
        masks.append({key: mask for key, mask in small.items() if mask.mean() >= _ABSENT_SHARE})
    return Footage(images, tuple(masks))


# ---- files -----------------------------------------------------------------------------------------------------------


def _write_frames(folder: Path, footage: Footage, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, footage.images, strict=True):
        PillowImage.fromarray(image).save(folder / f"{name}.jpg", quality=JPEG_QUALITY)


def _write_maps(
    folder: Path, footage: Footage, names: list[str], frames: set[int] | None = None, *, factor: int = 1
) -> None:
    """Label maps of some frames (None = all), labels times a factor."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, masks) in enumerate(zip(names, footage.masks, strict=True)):
        if frames is None or index in frames:
            write_labels(folder / f"{name}.png", labels_of_masks(masks, footage.size) * np.uint8(factor))


def _write_lines(path: Path, lines: list[str], *, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end, encoding="ascii")


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")


def _rows(boxes: NDArray[np.float64], number: Callable[[float], str] = format_number) -> list[str]:
    """Lines `x,y,w,h`; zeros where there is no box."""
    return [",".join(number(float(value)) for value in row) for row in np.nan_to_num(boxes)]


def _numbers(pattern: str, count: int, *, base: int = 0, step: int = 1) -> list[str]:
    return [pattern % (base + step * index) for index in range(count)]


def _firsts(footage: Footage) -> dict[int, int]:
    """First frame of each object."""
    return {key: next(t for t, masks in enumerate(footage.masks) if key in masks) for key in footage.object_ids}


# ---- boxes -----------------------------------------------------------------------------------------------------------


def _write_lasot_sequences(order: Order, names: tuple[str, ...], listing: str, origin: int) -> None:
    for name, footage in zip(names, order.single, strict=False):
        folder = order.root / name.rpartition("-")[0] / name
        boxes = footage.boxes(1)
        absent = np.isnan(boxes).any(axis=1).astype(int)
        _write_frames(folder / "img", footage, _numbers("%08d", len(footage), base=1))
        _write_lines(folder / "groundtruth.txt", _rows(boxes + np.array([origin, origin, 0, 0])))
        _write_lines(folder / "full_occlusion.txt", [",".join(map(str, absent))])
        _write_lines(folder / "out_of_view.txt", [",".join("0" * len(footage))])
        _write_lines(folder / "nlp.txt", ["a textured shape that moves"])
    _write_lines(order.root / listing, list(names[: len(order.single)]), end="")


@LAYOUTS.register("lasot")
def _lasot(order: Order) -> None:
    listing = {"test": "testing_set.txt", "train": "training_set.txt"}[order.split]
    _write_lasot_sequences(order, official_list(f"lasot_{order.split}"), listing, origin=1)


@LAYOUTS.register("lasot-ext")
def _lasot_ext(order: Order) -> None:
    _write_lasot_sequences(order, official_list("lasot_ext_test"), "testing_set.txt", origin=0)


@LAYOUTS.register("got10k")
def _got10k(order: Order) -> None:
    folder = order.root / order.split
    names = [f"GOT-10k_{order.split.capitalize()}_{number + 1:06d}" for number in range(len(order.single))]
    for name, footage in zip(names, order.single, strict=True):
        boxes = footage.boxes(1) + np.array([1, 1, 0, 0])
        height, width = footage.size
        _write_frames(folder / name, footage, _numbers("%08d", len(footage), base=1))
        rows = _rows(boxes, "{:.4f}".format)
        _write_lines(folder / name / "groundtruth.txt", rows[:1] if order.hidden else rows)
        metadata = {
            "url": "https://example.org/toy",
            "begin": "00:00:00",
            "end": f"00:00:{len(footage) / 10:02.0f}",
            "anno_fps": "10Hz",
            "object_class": "shape",
            "motion_class": "move",
            "major_class": "toy",
            "root_class": "object",
            "motion_adverb": "smoothly",
            "resolution": f"({width}, {height})",
        }
        _write_lines(folder / name / "meta_info.ini", ["[METAINFO]", *(f"{k}: {v}" for k, v in metadata.items())])
        if not order.hidden:
            absent = np.isnan(boxes).any(axis=1).tolist()
            _write_lines(folder / name / "absence.label", [str(int(flag)) for flag in absent])
            _write_lines(folder / name / "cover.label", ["0" if flag else "8" for flag in absent])
            _write_lines(folder / name / "cut_by_image.label", ["0"] * len(footage))
    _write_lines(folder / "list.txt", names)


@LAYOUTS.register("trackingnet")
def _trackingnet(order: Order) -> None:
    folder = order.root / order.split.upper()
    official = official_list("trackingnet_test") if order.split == "test" else ()
    for number, footage in enumerate(order.single):
        name = official[number] if official else f"abcdefghij{number}_0"
        rows = _rows(footage.boxes(1))
        _write_frames(folder / "frames" / name, footage, _numbers("%d", len(footage)))
        _write_lines(folder / "anno" / f"{name}.txt", rows[:1] if order.hidden else rows)


# ---- masks -----------------------------------------------------------------------------------------------------------


def _write_davis(order: Order, year: str, videos: tuple[Footage, ...], *, factor: int = 1) -> None:
    names = official_list(f"davis{year}_{order.split}")[: len(videos)]
    for name, footage in zip(names, videos, strict=True):
        stems = _numbers("%05d", len(footage))
        _write_frames(order.root / "JPEGImages" / "480p" / name, footage, stems)
        annotated = {0} if order.hidden else None
        _write_maps(order.root / "Annotations" / "480p" / name, footage, stems, annotated, factor=factor)
    _write_lines(order.root / "ImageSets" / year / f"{order.split}.txt", list(names))


@LAYOUTS.register("davis2016")
def _davis2016(order: Order) -> None:
    _write_davis(order, "2016", order.single, factor=255)


@LAYOUTS.register("davis2017")
def _davis2017(order: Order) -> None:
    _write_davis(order, "2017", tuple(footage.starting() for footage in order.several))


def _lvos(order: Order) -> None:
    folder = order.root / order.split
    videos: dict[str, object] = {}
    names = [official_list("lvos_unseen")[0], *(f"toy{number:05d}" for number in range(1, len(order.several)))]
    for name, footage in zip(names, order.several, strict=True):
        stems = _numbers("%08d", len(footage), base=1, step=5)
        firsts = _firsts(footage)
        _write_frames(folder / "JPEGImages" / name, footage, stems)
        _write_maps(folder / "Annotations" / name, footage, stems, set(firsts.values()) if order.hidden else None)
        spans = {}
        for object_id, first in firsts.items():
            last = max(t for t, masks in enumerate(footage.masks) if object_id in masks)
            span = {"start": str(1 + 5 * first), "end": str(1 + 5 * last), "frame_nums": str(last - first + 1)}
            spans[str(object_id)] = {"frame_range": span}
        videos[name] = {"objects": spans}
    _write_json(folder / f"{order.split}_meta.json", {"videos": videos})


def _mose(order: Order) -> None:
    folder = order.root / order.split
    for number, footage in enumerate(order.several):
        footage = footage.starting()
        name = f"toy{number:05d}"
        stems = _numbers("%05d", len(footage))
        _write_frames(folder / "JPEGImages" / name, footage, stems)
        _write_maps(folder / "Annotations" / name, footage, stems, {0} if order.hidden else None)


def _ytvos(order: Order) -> None:
    """All frames apart; ids with gaps; every fifth frame listed, an object only from where it appears."""
    step = order.info.frame_step
    folder, everything = order.root / order.split, order.root / f"{order.split}_all_frames"
    videos: dict[str, object] = {}
    for number, footage in enumerate(order.several):
        name = f"toy{number:05d}"
        footage = footage.renumbered({object_id: 2 * object_id - 1 for object_id in footage.object_ids})
        sampled = set(range(0, len(footage), step))
        listed = Footage(footage.images, tuple(m if t in sampled else {} for t, m in enumerate(footage.masks)))
        firsts = _firsts(listed)
        stems = _numbers("%05d", len(footage))
        _write_frames(everything / "JPEGImages" / name, footage, stems)
        images = [image for t, image in enumerate(footage.images) if t in sampled]
        _write_frames(folder / "JPEGImages" / name, Footage(tuple(images), ()), [stems[t] for t in sorted(sampled)])
        _write_maps(folder / "Annotations" / name, listed, stems, set(firsts.values()) if order.hidden else sampled)
        frames = {key: [stems[t] for t in sorted(sampled) if t >= first] for key, first in firsts.items()}
        objects = {str(key): {"category": "shape", "frames": names} for key, names in frames.items()}
        videos[name] = {"objects": objects}
    _write_json(folder / "meta.json", {"videos": videos})


for _name in ("lvos-v1", "lvos-v2"):
    LAYOUTS.register(_name)(_lvos)
for _name in ("mose", "mose-v2"):
    LAYOUTS.register(_name)(_mose)
for _name in ("ytvos2018", "ytvos2019"):
    LAYOUTS.register(_name)(_ytvos)


@LAYOUTS.register("sav")
def _sav(order: Order) -> None:
    folder = order.root / f"sav_{order.split}"
    if order.split == "train":
        _sav_train(order, folder / "sav_000")
        return
    names = [f"sav_{number:06d}" for number in range(len(order.several))]
    for name, footage in zip(names, order.several, strict=True):
        footage = footage.starting()
        stems = _numbers("%05d", len(footage))
        _write_frames(folder / "JPEGImages_24fps" / name, footage, stems)
        for object_id in footage.object_ids:
            maps = folder / "Annotations_6fps" / name / object_folder(object_id)
            maps.mkdir(parents=True)
            for t in range(0, len(footage), FRAME_STEP):
                mask = _grown(footage.masks[t].get(object_id, np.zeros(footage.size, dtype=bool)))
                write_labels(maps / f"{stems[t]}.png", mask.astype(np.uint8))
    _write_lines(folder / f"sav_{order.split}.txt", names)


def _sav_train(order: Order, folder: Path) -> None:
    for number, footage in enumerate(order.several):
        name = f"sav_{number:06d}"
        _write_video(folder / f"{name}.mp4", footage)
        empty = np.zeros(footage.size, dtype=bool)
        annotated = footage.masks[::FRAME_STEP]
        ids = sorted({object_id for masks in annotated for object_id in masks})
        masklets = [[encode_rle(masks.get(object_id, empty)) for object_id in ids] for masks in annotated]
        _write_json(folder / f"{name}_manual.json", {"video_id": name, "masklet": masklets})


def _write_video(path: Path, footage: Footage) -> None:
    """As MPEG-4 at 24 frames a second, in the colors that every decoder knows."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = footage.size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 8_000_000
        for image in footage.images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _grown(mask: Mask) -> Mask:
    """A mask with its surroundings, so that objects overlap."""
    padded = np.pad(mask, 3)
    height, width = mask.shape
    shifts = ((y, x) for y in range(7) for x in range(7))
    return np.logical_or.reduce([padded[y : y + height, x : x + width] for y, x in shifts])


@LAYOUTS.register("folder")
def _folder(order: Order) -> None:
    """Videos given with masks and with boxes in turn."""
    for number, footage in enumerate(order.several):
        footage = footage.starting()
        name = f"toy{number:05d}"
        _write_frames(order.root / name, footage, _numbers("%05d", len(footage)))
        if number % 2 == 0:
            write_labels(order.root / f"{name}.png", labels_of_masks(footage.masks[0], footage.size))
        else:
            _write_lines(order.root / f"{name}.txt", _rows(np.stack([footage.boxes(i)[0] for i in footage.object_ids])))


# ---- regions ---------------------------------------------------------------------------------------------------------


def _region_text(footage: Footage, object_id: int, kind: str) -> list[str]:
    """One region a line: `box`, `polygon` or `mask`; a code or NaN where the object does not show."""
    from mosam.regions.files import format_text
    from mosam.regions.trajectory import Polygon, Rectangle, Region, Special, Trajectory, mask_region

    regions: list[Region] = []
    for masks, box in zip(footage.masks, footage.boxes(object_id), strict=True):
        x, y, w, h = (float(value) for value in box)
        if kind == "mask":
            regions.append(mask_region(masks.get(object_id, np.zeros(footage.size, dtype=bool))))
        elif object_id not in masks:
            regions.append(Special(0))
        elif kind == "polygon":
            corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
            regions.append(Polygon(tuple(map(tuple, corners.tolist()))))
        else:
            regions.append(Rectangle(x, y, w, h))
    return format_text(Trajectory.of(regions)).splitlines()


def _write_vot(order: Order, videos: tuple[Footage, ...], kind: str) -> Iterator[tuple[Path, Footage]]:
    """Frames, regions, tags and metadata of each video; gives its folder for what else a challenge has."""
    names = [f"toy{number}" for number in range(len(videos))]
    _write_lines(order.root / "list.txt", names)
    for name, footage in zip(names, videos, strict=True):
        folder = order.root / name
        height, width = footage.size
        _write_frames(folder / "color", footage, _numbers("%08d", len(footage), base=1))
        metadata = {"name": name, "fps": 30, "format": "default", "length": len(footage), "width": width}
        metadata |= {"height": height, "channels.color": "color/%08d.jpg"}
        _write_lines(folder / "sequence", [f"{key}={value}" for key, value in metadata.items()])
        ids = footage.object_ids
        for object_id in ids:
            suffix = f"_{object_id}" if len(ids) > 1 else ""
            lines = _region_text(footage, object_id, kind)
            _write_lines(folder / f"groundtruth{suffix}.txt", lines[:1] if order.hidden else lines)
        hidden = [str(int(not masks)) for masks in footage.masks]
        _write_lines(folder / "occlusion.tag", hidden)
        _write_lines(folder / "camera_motion.tag", ["1"])  # a short file is padded with 0
        yield folder, footage


def _vot(kind: str, *, anchors: bool = False) -> Callable[[Order], None]:
    def write(order: Order) -> None:
        for folder, footage in _write_vot(order, order.single, kind):
            if anchors:
                values = ["0"] * len(footage)
                values[0], values[-1] = "1", "-1"
                _write_lines(folder / "anchor.value", values)

    return write


def _vots(order: Order) -> None:
    for _ in _write_vot(order, tuple(footage.starting() for footage in order.several), "mask"):
        pass


@LAYOUTS.register("didi")
def _didi(order: Order) -> None:
    for folder, footage in _write_vot(order, order.single, "box"):
        _write_lines(folder / "first_frame_segm.txt", _region_text(footage, 1, "mask")[:1])
