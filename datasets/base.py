"""What every benchmark looks like to the rest of the program: a mapping from sequence names to sequences.

A loader is one file with one class registered under the benchmark's name. It finds the files, states what their numbers
mean in a `DatasetInfo`, and hands out `Sequence` objects that read nothing until asked.
"""

from __future__ import annotations

import copy
import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.archives import TreePath, folder_or_zip, open_tree, possible_roots
from mosam.datasets.names import check_names
from mosam.datasets.obtain import Obtain
from mosam.errors import MissingDataError, MosamError, UnknownNameError
from mosam.registry import Registry
from mosam.system.arguments import instance, path_like, whole
from mosam.types import Image, Mask, Prompt, Size

if TYPE_CHECKING:
    from mosam.datasets.made import TreePlan

DATASETS: Registry[DatasetLoader] = Registry("dataset", "mosam.datasets")
DATA_VARIABLE = "MOSAM_DATA"


class FrameSource(Protocol):
    """The pictures of one sequence, read one at a time, wherever they are stored."""

    def __len__(self) -> int:
        """Number of frames."""

    def size(self) -> Size:
        """(height, width) of the first frame; every frame must have it."""

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3); DataError where it is damaged or of another size."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxTruth:
    """Box annotation of one single-object sequence.

    Attributes:
        boxes: (T, 4) float64 x, y, w, h, exactly as annotated (zero and negative sizes included); NaN = not annotated.
        absent: (T,) bool, True where the benchmark flags the object as not visible.
        cover: (T,) visible share of the object in [0, 1] (GOT-10k), or None.
    """

    boxes: NDArray[np.float64]
    absent: NDArray[np.bool_]
    cover: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.boxes)


class MaskTruth(Protocol):
    """Mask annotation of one sequence, read frame by frame."""

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """Annotated frames, ascending."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object of the sequence, ascending; ids may have gaps."""

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) by object id; an object without pixels on this frame may be left out or all False."""

    def void(self, frame_index: int) -> Mask | None:
        """Pixels that do not count (DAVIS label 255), or None where the benchmark has none."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video with its annotation; everything heavy is read when asked for.

    Attributes:
        name: the benchmark's name of it.
        source: its frames; has length 0 where a tree holds annotations only (enough for scoring).
        frame_names: one stem per frame, as result files must name it (`00000`, `00000001` ...).
        result_frames: the frames a result must hold where that is not all of them: every frame is tracked, the others
            are not written (YouTube-VOS, SA-V); None = all.
        object_ids: permanent ids of the objects to track, ascending.
        load_prompts: reads the prompts that start each object.
        load_truth: reads the annotation, or None where the split publishes none.
        attributes: what makes the sequence hard, in the benchmark's own words.
        load_unsupervised: reads the annotation of the unsupervised task, where there is another for it (DAVIS 2017).
        load_size: (height, width); read from the first frame or, without frames, from the annotation; None = not known.
    """

    name: str
    source: FrameSource
    frame_names: tuple[str, ...]
    object_ids: tuple[int, ...]
    load_prompts: Callable[[], tuple[Prompt, ...]]
    load_truth: Callable[[], BoxTruth | MaskTruth] | None = None
    attributes: frozenset[str] = frozenset()
    load_size: Callable[[], Size | None] = lambda: None
    result_frames: tuple[int, ...] | None = None
    load_unsupervised: Callable[[], MaskTruth] | None = None

    def __len__(self) -> int:
        return len(self.frame_names)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """One prompt for each object, on the frame where it first appears."""
        return self.load_prompts()

    @property
    def truth(self) -> BoxTruth | MaskTruth:
        """The annotation; MissingDataError where the split publishes none."""
        if self.load_truth is None:
            raise MissingDataError(f"{self.name}: this split has no published ground truth; see mosam submit")
        return self.load_truth()

    @property
    def frames_out(self) -> tuple[int, ...]:
        """The frames a result must hold, ascending."""
        return tuple(range(len(self))) if self.result_frames is None else self.result_frames

    @property
    def size(self) -> Size | None:
        """(height, width) of every frame; None where nothing on disk tells."""
        return self.source.size() if len(self.source) else self.load_size()

    def frames(self, start: int = 0) -> Iterator[Image]:
        """Frames from `start` on, as uint8 RGB (H, W, 3), one at a time."""
        for index in range(start, len(self.source)):
            yield self.source.read(index)


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a benchmark is and what its numbers mean; printed by `mosam data list`.

    Attributes:
        task: `box`, `mask` or `region` (VOT).
        splits: its own names of its splits; `default_split` is the one papers report.
        prompts: kinds of prompt it offers, the default first.
        protocol: the protocol it is scored under unless another is asked for.
        result_format: name of the codec of its raw results.
        mode: how a sequence is tracked, see `mosam.tracking.modes`: `once`, `supervised` or `multistart`.
        official_counts: sequences of each split.
        box_from_mask: how its results turn a mask into a box unless asked otherwise, see `mosam.geometry.mask_to_box`.
        tree: the folder layout expected under the root, shown when a root is wrong.
        no_truth: splits whose ground truth is withheld.
        archive_folder: folder that holds the results in the archive a server takes (empty = the archive's root); None
            where there is no server.
        license, source: terms of use in short, and the benchmark's own page.
        obtain: how to get it, see `mosam.datasets.obtain`; None = nobody says.
    """

    title: str
    task: str
    splits: tuple[str, ...]
    default_split: str
    prompts: tuple[str, ...]
    protocol: str
    result_format: str
    mode: str = "once"
    official_counts: Mapping[str, int] = field(default_factory=dict)
    box_from_mask: str = "exclusive"
    frame_step: int = 1
    void_label: int | None = None
    no_truth: tuple[str, ...] = ()
    archive_folder: str | None = None
    license: str = "see the benchmark's page"
    source: str = ""
    obtain: Obtain | None = None
    metrics: tuple[str, ...] = ()
    tree: str = ""


class DatasetLoader(Protocol):
    """What is registered under a benchmark's name: a subclass of `Dataset`, or what makes an instance of one."""

    @property
    def name(self) -> str:
        """Its registered name."""

    @property
    def info(self) -> DatasetInfo:
        """What the benchmark is."""

    @property
    def generated(self) -> bool:
        """Whether it is made in memory and needs no folder."""

    def __call__(
        self,
        root: str | os.PathLike[str] | None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
    ) -> Dataset:
        """One split; see `Dataset`."""

    def write_tree(self, plan: TreePlan) -> None:
        """See `Dataset.write_tree`."""


class Dataset(Mapping[str, Sequence]):
    """One split of one benchmark on disk: names in official order, each giving a `Sequence`.

    A loader sets `info`, lists its names in `list_names` and builds one sequence in `load`; the methods after `load`
    have defaults that suit a generated benchmark. Nothing but names is read when a dataset is made; `require` then
    says, before a run starts, which of the chosen sequences are not there.

    Args:
        root: the folder of the benchmark, laid out as `info.tree` shows; also such a tree in a zip, or packed as LMDB.
        split: one of `info.splits`; None = the default.
        prompt: `box`, `mask` ...; None = the first of `info.prompts`.
        seed: draw of a generated benchmark; real ones ignore it.
    Raises:
        UnknownNameError: a split or prompt the benchmark does not have.
        MissingDataError: the root is not there or is not laid out as the benchmark.
        DataError: sequence names that results cannot be called by, see `check_names`.

    Attributes:
        subset: `k of n official sequences` where the tree's list or a selection holds fewer than that, else None.
    """

    info: DatasetInfo
    name: str
    generated: ClassVar[bool] = False
    root: TreePath | None

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
    ):
        info = self.info
        self.split = info.default_split if split is None else split
        if self.split not in info.splits:
            raise UnknownNameError("split", self.split, info.splits, where=self.name)
        self.prompt = info.prompts[0] if prompt is None else prompt
        if self.prompt not in info.prompts:
            raise UnknownNameError("prompt", self.prompt, info.prompts, where=self.name)
        self.seed = seed
        self.root = self._check_root(root)
        self._names = self._find_names()
        check_names(self._names, self.name if self.root is None else self.root)
        self.subset = self._describe_subset(self._names)

    @abstractmethod
    def list_names(self) -> Iterable[str]:
        """Sequence names of the split in official order: the tree's own list, else the shipped one."""

    @abstractmethod
    def load(self, name: str) -> Sequence:
        """One sequence; reads file names and small text only."""

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether a sequence's files (with `frames`, its pictures too) are on disk; looks at names only."""
        return True

    def open_frames(self, name: str) -> FrameSource:
        """The frames of a sequence; DataError where its folder holds none."""
        return self.load(name).source

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The files of a sequence that its score depends on, in a fixed order; whether they are sound is not asked."""
        return ()

    def shared_files(self) -> Iterable[TreePath]:
        """The files that belong to no single sequence: lists and metadata; absent ones may be named."""
        return ()

    def official_names(self) -> tuple[str, ...] | None:
        """Every sequence of the official split, or None where no list is known."""
        return None

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """Writes a small tree that this loader reads, for `mosam data make` and tests; see `mosam.datasets.made`."""
        raise MosamError(f"data make: {plan.name} cannot be made, its loader has no write_tree")

    def notes(self) -> Iterable[str]:
        """What is worth knowing of this copy, such as which of several layouts it has."""
        return ()

    def __getitem__(self, name: str) -> Sequence:
        instance(name, str, f"{self.name} {self.split}", "the name of a sequence (list(dataset) has them)")
        if name not in self._names:
            raise UnknownNameError("sequence", name, self._names, where=f"{self.name} {self.split}")
        return self.load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def official_count(self) -> int | None:
        """Sequences the benchmark's split has, or None where nobody fixes it."""
        return self.info.official_counts.get(self.split)

    @property
    def has_truth(self) -> bool:
        """Whether the split's ground truth is published."""
        return self.split not in self.info.no_truth

    def unscored(self) -> str | None:
        """Why results cannot be scored, one line; None = they can."""
        if self.has_truth:
            return None
        return f"{self.name} {self.split}: the ground truth is not published; see mosam submit, or choose a --split"

    def missing(self, *, frames: bool = False) -> tuple[str, ...]:
        """The chosen sequences whose files (with `frames`, also whose pictures) are not on disk."""
        return tuple(name for name in self if not self.is_present(name, frames=frames))

    def require(self, *, frames: bool = False) -> None:
        """Check, without reading them, that all chosen sequences are on disk.

        Args:
            frames: also demand their pictures (a run needs them, scoring does not).
        Raises:
            MissingDataError: some are absent; names the first few and the count.
        """
        absent = self.missing(frames=frames)
        if not absent:
            return
        what = "frames" if frames else "annotation"
        raise MissingDataError(
            f"{self.root}: expected {what} of {len(self)} sequences of {self.name} {self.split}, {len(absent)} are "
            f"absent: {shorten(absent)}; get them, or choose others with --sequences or --limit"
        )

    def select(self, names: Iterable[str] | None = None, *, limit: int | None = None) -> Dataset:
        """A copy holding some of the sequences, marked as a subset.

        Args:
            names: sequence names, kept in official order; None = all.
            limit: then only the first so many.
        Raises:
            UnknownNameError: a name the split does not have.
        """
        chosen = self._names
        if names is not None:
            if isinstance(names, str):
                raise ValueError(f"select: expected a list of names, got the text {names[:40]!r}; put it into one")
            wanted = list(names)
            for name in wanted:
                if name not in self._names:
                    raise UnknownNameError("sequence", name, self._names, where=f"{self.name} {self.split}")
            chosen = tuple(name for name in self._names if name in set(wanted))
        if limit is not None:
            whole(limit, "--limit: number of sequences", 1)
            chosen = chosen[:limit]
        if len(chosen) == len(self._names):
            return self
        other = copy.copy(self)
        other._names = chosen
        other.subset = self._describe_subset(chosen) or f"{len(chosen)} of {len(self._names)} sequences"
        return other

    def annotation_hash(self) -> str:
        """SHA-256 over the chosen names, the seed of a generated benchmark, and the annotation a score depends on."""
        digest = hashlib.sha256(f"{self.name} {self.split} {self.seed if self.generated else ''}\n".encode())
        for name in self:
            digest.update(f"{name}\n".encode())
            for path in self.annotation_files(name):
                content = path.read_bytes()
                digest.update(f"{path.name} {len(content)}\n".encode())
                digest.update(content)
        return digest.hexdigest()

    def layout_error(self, found: str) -> MissingDataError:
        """The error for a root that is not laid out as the benchmark; shows the tree it should be."""
        return MissingDataError(f"{self.root}: expected {self.info.title}, {found}; expected tree:\n{self.info.tree}")

    def _describe_subset(self, names: tuple[str, ...]) -> str | None:
        official = self.official_count
        if official is None or len(names) >= official:
            return None
        return f"{len(names)} of {official} official sequences"

    def _find_names(self) -> tuple[str, ...]:
        """The names; where the root is not laid out as expected, but a folder that it doubles is, that is the root."""
        if self.root is None:
            return tuple(self.list_names())
        first: MissingDataError | None = None
        for root in possible_roots(self.root):
            self.root = root
            try:
                return tuple(self.list_names())
            except MissingDataError as error:
                first = first or error
        assert first is not None
        raise first

    def _check_root(self, root: str | os.PathLike[str] | None) -> TreePath | None:
        if self.generated:
            return None
        if root is None:
            raise MissingDataError(
                f"{self.name}: no folder given; pass --root or set {DATA_VARIABLE} to a folder holding {self.name}/"
            )
        path = open_tree(root)
        if not path.is_dir():
            raise MissingDataError(
                f"{path}: expected the {self.info.title} folder, found nothing; expected tree:\n{self.info.tree}"
            )
        return path


def shorten(names: Iterable[str], limit: int = 3) -> str:
    """Names for a one-line message: the first few and how many more.

    >>> shorten(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    names = list(names)
    text = ", ".join(names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def find_root(
    name: str, root: str | os.PathLike[str] | None = None, data: str | os.PathLike[str] | None = None
) -> Path | None:
    """Where a benchmark is: `root` if given, else `<name>` or `<name>.zip` in `data` or `$MOSAM_DATA`, else None."""
    if root is not None:
        return Path(root)
    base = data or os.environ.get(DATA_VARIABLE)
    return folder_or_zip(Path(base) / name) if base else None


def load_dataset(
    name: str,
    *,
    root: str | os.PathLike[str] | None = None,
    split: str | None = None,
    prompt: str | None = None,
    seed: int = 0,
) -> Dataset:
    """One split of a benchmark, by name.

    Args:
        name: a registered dataset (`mosam data list` prints them).
        root: its folder; None = `$MOSAM_DATA/<name>`.
        split: None = the split papers report.
        prompt: kind of prompt; None = the benchmark's usual.
        seed: draw of a generated benchmark.
    Raises:
        UnknownNameError: unknown dataset, split or prompt (lists the known, suggests the nearest).
        MissingDataError: the folder or a listed sequence is not there.
        ValueError: an argument of another type.
    """
    cls = DATASETS[name]
    if root is not None and not hasattr(root, "iterdir"):
        path_like(root, "load_dataset: root")
    for what, value in (("split", split), ("prompt", prompt)):
        if value is not None:
            instance(value, str, f"load_dataset: {what}", "a word or None")
    whole(seed, "load_dataset: seed", 0)
    return cls(find_root(DATASETS.canonical(name), root), split=split, prompt=prompt, seed=seed)
