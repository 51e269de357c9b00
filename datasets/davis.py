"""DAVIS 2016 and 2017: label maps for every frame, or for the first one of a test set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from mosam.datasets.annotations import (
    LabelMapTruth,
    check_name,
    check_same_frames,
    list_label_maps,
    official_attributes,
    official_list,
    read_names,
    read_text,
)
from mosam.datasets.archives import TreePath, open_tree
from mosam.datasets.base import DATASETS, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames, list_files
from mosam.datasets.made import Footage, TreePlan, numbers, write_frames, write_lines, write_maps
from mosam.datasets.obtain import Download, Obtain, WebFile
from mosam.errors import DataError
from mosam.geometry import mask_to_box
from mosam.types import Prompt

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")  # the original 2016 archive calls full resolution 1080p
_TREE = """\
DAVIS/
  JPEGImages/480p/<sequence>/00000.jpg ...     (or Full-Resolution/)
  Annotations/480p/<sequence>/00000.png ...
  ImageSets/{year}/{split}.txt"""
_METRICS = ("jf_mean", "j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")


def _archives_2017(split: str) -> tuple[Download, ...]:
    address = "https://data.vision.ee.ethz.ch/csergi/share/davis/DAVIS-2017-{}-480p.zip"
    if split in ("test-dev", "test-challenge"):
        return (WebFile(address.format(split)),)
    sha256 = "e3d0b5b77c3d031b000a19e0e25e3e2cac65d183755601bc2cf066df1a2aa492"
    return (WebFile(address.format("trainval"), 832_766_765, f"sha256:{sha256}"),)


class _Davis(Dataset):
    """What the two years share: the tree, and one label map a frame.

    Args:
        resolution: `480p` (what papers report), `Full-Resolution`, `1080p`; None = the first of them the tree has.
    """

    year: str
    binary: bool

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
        resolution: str | None = None,
    ):
        self.resolution = resolution or ""
        if root is not None:
            tree = open_tree(root)
            if not (tree / "Annotations").is_dir() and (tree / "DAVIS").is_dir():
                root = tree / "DAVIS"  # the archives unpack into a folder of that name
        super().__init__(root, split=split, prompt=prompt, seed=seed)

    def list_names(self) -> Iterable[str]:
        """The names of the tree's `ImageSets`, else the official ones."""
        assert self.root is not None
        known = [name for name in RESOLUTIONS if (self.root / "Annotations" / name).is_dir()]
        wanted = [self.resolution] if self.resolution else known[:1]
        if not wanted or wanted[0] not in known:
            raise self.layout_error(f"found no Annotations/{self.resolution or RESOLUTIONS[0]}")
        self.resolution = wanted[0]
        return self._tree_names() or official_list(f"davis{self.year}_{self.split}")

    def _tree_names(self) -> tuple[str, ...]:
        for path in self._lists():
            if path.is_file():
                return read_names(path) if path.parent.name == self.year else _read_pairs(path)
        return ()

    def _lists(self) -> list[TreePath]:
        assert self.root is not None
        folders = (self.year, *RESOLUTIONS) if self.year == "2016" else (self.year,)
        return [self.root / "ImageSets" / folder / f"{self.split}.txt" for folder in folders]

    def official_names(self) -> tuple[str, ...] | None:
        """The sequences of the official split."""
        return official_list(f"davis{self.year}_{self.split}")

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's folders are there."""
        return self._masks(name).is_dir() and (not frames or has_frames(self._images(name)))

    def open_frames(self, name: str) -> StoredFrames:
        """The JPEG frames, or none where the tree holds annotation only."""
        return frames_or_none(self._images(name))

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where the tree has one."""
        return (path for path in self._lists() if path.is_file())

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The label maps in frame order, those of the unsupervised task last."""
        folders = (self._masks(name), *self._unsupervised(name))
        return [folder / file for folder in folders for file in list_files(folder, (".png",))]

    def load(self, name: str) -> Sequence:
        """One sequence; decodes its first label map, which says what the objects are.

        Raises:
            DataError: frames and label maps do not agree, or the first map holds no object.
        """
        source, masks = self.open_frames(name), list_label_maps(self._masks(name))
        stems = source.stems or tuple(masks)
        if self.has_truth:
            check_same_frames(self._masks(name), stems, masks, of=self._images(name))
        elif stems[0] not in masks:
            raise DataError(self._masks(name), f"expected {stems[0]}.png, the annotation of the first frame; got none")
        indices = {stem: index for index, stem in enumerate(stems)}
        files = {indices[stem]: path for stem, path in masks.items() if stem in indices}
        load_truth = partial(LabelMapTruth, files, void_label=self.info.void_label, binary=self.binary)
        first = load_truth()
        load_unsupervised = None
        for folder in self._unsupervised(name):
            others = list_label_maps(folder)
            check_same_frames(folder, stems, others, of=self._images(name))
            other_files = {indices[stem]: path for stem, path in others.items()}
            load_unsupervised = partial(LabelMapTruth, other_files, void_label=self.info.void_label, binary=self.binary)
        return Sequence(
            name=name,
            source=source,
            frame_names=stems,
            object_ids=first.first_ids,
            load_prompts=lambda: self._prompts(load_truth(), source),
            load_truth=load_truth if self.has_truth else None,
            attributes=self._attributes(name),
            load_size=lambda: first.size,
            load_unsupervised=load_unsupervised,
        )

    def _prompts(self, truth: LabelMapTruth, source: StoredFrames) -> tuple[Prompt, ...]:
        if len(source) and source.size() != truth.size:
            expected, got = ("{}x{}".format(*size) for size in (source.size(), truth.size))
            raise DataError(truth.path(0), f"expected {expected} (height x width) as the frames, got {got}")
        masks = truth.read(0)
        if self.prompt == "mask":
            return tuple(Prompt(object_id, mask=mask) for object_id, mask in masks.items())
        boxes = {object_id: mask_to_box(mask, convention="inclusive") for object_id, mask in masks.items()}
        return tuple(Prompt(object_id, box=box) for object_id, box in boxes.items())

    def _attributes(self, name: str) -> frozenset[str]:
        known = official_attributes("davis2016_attributes") if self.year == "2016" else {}  # 2017 added none
        return known.get(name, frozenset())

    def _masks(self, name: str) -> TreePath:
        assert self.root is not None
        return self.root / "Annotations" / self.resolution / name

    def _unsupervised(self, name: str) -> tuple[TreePath, ...]:
        """The folder of the unsupervised task's label maps, where the tree has it."""
        assert self.root is not None
        folder = self.root / "Annotations_unsupervised" / self.resolution / name
        return (folder,) if self.has_truth and folder.is_dir() else ()

    def _images(self, name: str) -> TreePath:
        assert self.root is not None
        return self.root / "JPEGImages" / self.resolution / name


@DATASETS.register("davis2016")
class Davis2016(_Davis):
    """DAVIS 2016: one object; whatever is not background is it (masks of 0/255, or of 2017's several objects)."""

    name = "davis2016"
    year = "2016"
    binary = True
    info = DatasetInfo(
        title="DAVIS 2016",
        task="mask",
        splits=("train", "val"),
        default_split="val",
        prompts=("mask", "box"),
        protocol="davis2017",
        result_format="davis",
        official_counts={"train": 30, "val": 20},
        license="research use; the benchmark's page says more",
        source="https://davischallenge.org/davis2016/code.html",
        obtain=Obtain(
            "fetch",
            "One archive of all splits, from its authors: 480p and 1080p.",
            1.9,
            "address and size: data/get_davis.sh of github.com/fperazzi/davis-2017; its MD5 sums differ by revision",
            lambda split: (WebFile("https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip"),),
        ),
        metrics=_METRICS,
        tree=_TREE.format(year="2016", split="{train,val}"),
    )

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        _write_tree(plan, "2016", plan.single, factor=255)


@DATASETS.register("davis2017", "davis")
class Davis2017(_Davis):
    """DAVIS 2017: several objects, ids as in the first label map, 255 = void."""

    name = "davis2017"
    year = "2017"
    binary = False
    info = DatasetInfo(
        title="DAVIS 2017",
        task="mask",
        splits=("train", "val", "test-dev", "test-challenge"),
        default_split="val",
        prompts=("mask", "box"),
        protocol="davis2017",
        result_format="davis",
        official_counts={"train": 60, "val": 30, "test-dev": 30, "test-challenge": 30},
        void_label=255,
        no_truth=("test-dev", "test-challenge"),
        archive_folder="",
        license="research use; the benchmark's page says more",
        source="https://davischallenge.org/davis2017/code.html",
        obtain=Obtain(
            "fetch",
            "Archives of train and val, test-dev and test-challenge in 480p, from its authors.",
            0.8,
            "the benchmark's page; size and SHA-256: video/davis/checksums.tsv of github.com/tensorflow/datasets",
            _archives_2017,
        ),
        metrics=_METRICS,
        tree=_TREE.format(year="2017", split="{train,val,test-dev,test-challenge}")
        + "\n  Annotations_unsupervised/480p/<sequence>/00000.png ...   (optional, for davis2017-unsupervised)",
    )

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        _write_tree(plan, "2017", tuple(footage.starting() for footage in plan.several))


def _read_pairs(path: TreePath) -> tuple[str, ...]:
    """Names of a list of path pairs: `/JPEGImages/480p/<name>/00000.jpg /Annotations/480p/<name>/00000.png` a frame."""
    names: dict[str, None] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        parts = line.split()[0].split("/")
        if len(parts) < 3:
            raise DataError(path, f"expected an image and an annotation path, got {line[:60]!r}", line=number)
        check_name(parts[-2], path, number)
        names[parts[-2]] = None
    if not names:
        raise DataError(path, "expected lines of an image and an annotation path, got none")
    return tuple(names)


def _write_tree(plan: TreePlan, year: str, videos: tuple[Footage, ...], *, factor: int = 1) -> None:
    names = official_list(f"davis{year}_{plan.split}")[: len(videos)]
    for name, footage in zip(names, videos, strict=True):
        stems = numbers("%05d", len(footage))
        write_frames(plan.root / "JPEGImages" / "480p" / name, footage, stems)
        annotated = {0} if plan.hidden else None
        write_maps(plan.root / "Annotations" / "480p" / name, footage, stems, annotated, factor=factor)
    write_lines(plan.root / "ImageSets" / year / f"{plan.split}.txt", list(names))
