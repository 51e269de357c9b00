"""`toy`: a generated benchmark with the difficulties of the real ones and exact annotation, made on the fly.

Every sequence follows a recipe (`toy_scenes.py`) and is drawn again until it measurably is what its attributes say.
Nothing is stored; `export` writes a split to disk in the layout of DAVIS or LaSOT.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import DATASETS, Dataset, DatasetInfo, Sequence
from mosam.datasets.toy_render import Scene, label, paint
from mosam.datasets.toy_scenes import Recipe, build_scene, random_recipe
from mosam.errors import MosamError, UnknownNameError
from mosam.geometry import mask_to_box
from mosam.types import Image, Mask, Prompt, Size

VERSION = 3  # of the generator; a change of any pixel raises it
SIZES: tuple[Size, ...] = ((240, 320), (192, 256), (180, 320), (192, 288))
TRAIN_SEQUENCES = 1000  # for one seed; other seeds give others
MAX_ATTEMPTS = 400
LAYOUTS = ("davis", "lasot")
JPEG_QUALITY = 95

_SPLIT_CODES = {"train": 1, "val": 2, "test": 3}
_LONG_TEST = {"scale": 200, "partial_occlusion": 180, "disappearance": 240}  # frames of the first of each in `test`
_FIRST_SHARE = 0.012  # of the picture that an object shows at least when it is given
_FIRST_VISIBLE = 0.8  # and of itself


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of sequence.

    Attributes:
        name: first part of the sequence names.
        count: sequences of it in `val` and in `test`.
        frames: length in `val`.
        attributes: what its sequences are tagged with; measured tags are added.
        recipe: what happens in it.
        visible: (low, high): the least visible share that any target falls to lies between them; None = not asked.
        away: frames in a row for which the first target must show nothing, each time.
    """

    name: str
    count: int
    frames: int
    attributes: tuple[str, ...]
    recipe: Recipe
    visible: tuple[float, float] | None = (0.45, 1.0)
    away: int = 0


# VOT's words where it has one (camera_motion, illum_change, motion_change, size_change, occlusion), else plain ones.
SCENARIOS: tuple[Scenario, ...] = (
    Scenario("scale", 2, 66, ("size_change",), Recipe(growth=0.4)),
    Scenario("rotation", 1, 66, ("rotation",), Recipe(spin=0.06, deform=0.08)),
    Scenario("fast", 2, 56, ("motion_change", "fast_motion"), Recipe(speed=0.03)),
    Scenario("camera", 2, 66, ("camera_motion",), Recipe(camera=0.15, shake=0.01)),
    Scenario("blur", 1, 56, ("motion_blur", "camera_motion"), Recipe(camera=0.15, shake=0.01, speed=0.02, shutter=5)),
    Scenario("light", 2, 66, ("illum_change",), Recipe(light=0.4)),
    Scenario("partial_occlusion", 2, 66, ("occlusion", "partial_occlusion"), Recipe(posts=2, speed=0.012), (0.3, 0.8)),
    Scenario(
        "crossing", 1, 66, ("crossing", "occlusion"),
        Recipe(targets=3, others=0, cross=True, radius=(0.15, 0.21), speed=0.01), (0.2, 0.8),
    ),
    Scenario("late", 1, 66, ("late_object",), Recipe(targets=2, late=True, others=1)),
    Scenario(
        "full_occlusion", 3, 70, ("occlusion", "full_occlusion", "distractor"),
        Recipe(hide="wall", absence=16, twins=1, unlike=45, spin=0.03, growth=0.2, others=0, radius=(0.15, 0.18)),
        None, 11,
    ),
    Scenario(
        "disappearance", 2, 80, ("occlusion", "full_occlusion", "disappearance", "distractor"),
        Recipe(
            hide="wall", elsewhere=True, absence=28, twins=1, unlike=45, spin=0.03, growth=0.2, others=0,
            radius=(0.13, 0.16),
        ), None, 22,
    ),
    Scenario(
        "out_of_view", 1, 66, ("out_of_view",), Recipe(hide="leave", absence=16, elsewhere=True), None, 10
    ),
    Scenario(
        "return", 1, 66, ("out_of_view", "distractor"),
        Recipe(hide="leave", absence=18, others=0, twins=1, unlike=45, elsewhere=True), None, 11,
    ),
    Scenario(
        "distractor", 3, 66, ("distractor", "crossing"), Recipe(twins=2, unlike=25, meet=True, others=0), (0.08, 0.8)
    ),
)  # fmt: skip


def scenario_recipe(rng: np.random.Generator) -> Recipe:
    """The recipe of one of the benchmark's scenarios with its amounts varied, for training clips."""
    counts = np.array([scenario.count for scenario in SCENARIOS])
    recipe = SCENARIOS[int(rng.choice(len(SCENARIOS), p=counts / counts.sum()))].recipe
    more, (low, high) = np.exp(rng.uniform(-0.5, 0.6, size=5)), recipe.radius
    return replace(
        recipe,
        radius=(low * 0.9, high * 1.1),
        speed=recipe.speed * float(more[0]),
        growth=recipe.growth * float(more[1]),
        spin=recipe.spin * float(more[2]),
        deform=recipe.deform * float(more[3]),
        camera=recipe.camera * float(more[4]),
        unlike=int(rng.integers(15, 71)),
        others=recipe.others + int(rng.random() < 0.25),
        contrast=float(rng.uniform(0.5, 1.0)),
    )


@dataclass(eq=False)
class ToyTruth:
    """Exact annotation of a scene: masks of visible pixels (`MaskTruth`), and boxes and presence for every object.

    Args:
        scene: what the sequence is painted from.
    """

    scene: Scene

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """All frames."""
        return tuple(range(len(self.scene)))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every annotated object, ascending."""
        return tuple(sorted(body.object_id for body in self.scene.bodies if body.object_id))

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Visible pixels of each object on a frame, (H, W) bool by object id; all False where it shows nothing."""
        index = label(self.scene, frame_index).index
        return {body.object_id: index == n + 1 for n, body in enumerate(self.scene.bodies) if body.object_id}

    def void(self, frame_index: int) -> Mask | None:
        """No pixel is left out of the score."""
        return None

    def boxes(self, object_id: int) -> NDArray[np.float64]:
        """(T, 4) x, y, w, h around the visible pixels, `x + w` the exclusive right edge; NaN where there are none."""
        return self._boxes[object_id]

    def absent(self, object_id: int) -> NDArray[np.bool_]:
        """(T,) True where the object shows no pixel."""
        absent: NDArray[np.bool_] = np.isnan(self._boxes[object_id][:, 0])
        return absent

    @cached_property
    def _boxes(self) -> dict[int, NDArray[np.float64]]:
        rows: dict[int, list[NDArray[np.float64]]] = {object_id: [] for object_id in self.object_ids}
        for frame_index in self.frame_indices:
            for object_id, mask in self.read(frame_index).items():
                rows[object_id].append(mask_to_box(mask, convention="inclusive"))
        return {object_id: np.stack(boxes) for object_id, boxes in rows.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Painter:
    """The frames of a scene."""

    scene: Scene

    def __len__(self) -> int:
        return len(self.scene)

    def size(self) -> Size:
        return self.scene.size

    def read(self, index: int) -> Image:
        return paint(self.scene, index)


@DATASETS.register("toy")
class Toy(Dataset):
    """The generated benchmark; `seed` chooses the draw."""

    name = "toy"
    generated = True
    info = DatasetInfo(
        title="toy (generated)",
        task="mask",
        splits=("val", "test", "train"),
        default_split="val",
        prompts=("mask", "box"),
        protocol="toy",
        result_format="toy",
        official_counts={"val": 24, "test": 24},
        box_from_mask="inclusive",  # as its truth: no published number depends on another reading
        license="Apache-2.0",
        source="generated by mosam",
        metrics=("jf_mean", "success_auc", "precision", "presence"),
    )

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
    ):
        if seed < 0:
            raise MosamError(f"toy: expected a seed >= 0, got {seed}")
        super().__init__(root, split=split, prompt=prompt, seed=seed)

    def list_names(self) -> Iterable[str]:
        """`<scenario>-<n>` for val and test, `train-<n>` for train."""
        if self.split == "train":
            return [f"train-{number:04d}" for number in range(TRAIN_SEQUENCES)]
        return [f"{scenario.name}-{number + 1}" for scenario in SCENARIOS for number in range(scenario.count)]

    def load(self, name: str) -> Sequence:
        """One sequence; lays out its scene, paints nothing."""
        number = list(self.list_names()).index(name)
        scene, attributes = _draw(self.split, self.seed, number)
        truth = ToyTruth(scene)
        return Sequence(
            name=name,
            source=_Painter(scene),
            frame_names=tuple(f"{index:05d}" for index in range(len(scene))),
            object_ids=truth.object_ids,
            load_prompts=lambda: _prompts(truth, self.prompt),
            load_truth=lambda: truth,
            attributes=attributes,
            load_size=lambda: scene.size,
        )

    def annotation_hash(self) -> str:
        """SHA-256 over what decides the annotation: generator version, split, seed and names."""
        digest = hashlib.sha256(f"toy {VERSION} {self.split} {self.seed}\n".encode())
        for name in self:
            digest.update(f"{name}\n".encode())
        return digest.hexdigest()


@cache
def _draw(split: str, seed: int, number: int) -> tuple[Scene, frozenset[str]]:
    """Scene and attributes of one sequence, drawn until the scene is what its scenario promises."""
    scenario = _scenario(split, number)
    for attempt in range(MAX_ATTEMPTS):
        rng = np.random.default_rng((seed, _SPLIT_CODES[split], number, attempt))
        size = SIZES[int(rng.integers(len(SIZES)))]
        if scenario is None:
            scene, attributes = build_scene(rng, random_recipe(rng), 48, size), frozenset[str]()
        else:
            frames = _frames(scenario, split, number, rng)
            scene, attributes = build_scene(rng, scenario.recipe, frames, size), frozenset(scenario.attributes)
        if all(_starts_well(scene, start) for start in _starts(scene)) and (
            scenario is None or _keeps_promise(scenario, visible_shares(scene))
        ):
            return scene, attributes
    raise AssertionError(f"toy {split} seed {seed}: no draw of sequence {number} meets its scenario")


def _scenario(split: str, number: int) -> Scenario | None:
    if split == "train":
        return None
    return [scenario for scenario in SCENARIOS for _ in range(scenario.count)][number]


def _frames(scenario: Scenario, split: str, number: int, rng: np.random.Generator) -> int:
    """Length: fixed in `val`, which a laptop tracks in minutes; 40 to 120 and a few longer in `test`."""
    drawn = int(rng.integers(max(40, scenario.frames - 20), 121))
    if split == "val":
        return scenario.frames
    is_first = number == 0 or _scenario(split, number - 1) is not scenario
    return _LONG_TEST.get(scenario.name, drawn) if is_first else drawn


def _targets(scene: Scene) -> list[int]:
    """Positions of the annotated bodies, by object id."""
    return sorted((n for n, body in enumerate(scene.bodies) if body.object_id), key=lambda n: scene.bodies[n].object_id)


def _starts(scene: Scene) -> set[int]:
    """The frames on which objects come into being."""
    return {int(np.argmax(scene.bodies[n].shown)) for n in _targets(scene)}


def _starts_well(scene: Scene, frame_index: int) -> bool:
    """Whether every object that comes into being on a frame is large and nearly whole there, as it is given there."""
    labels = label(scene, frame_index)
    fine = (labels.visible >= _FIRST_VISIBLE * labels.area) & (labels.visible >= _FIRST_SHARE * labels.index.size)
    return all(fine[n] for n in _targets(scene) if int(np.argmax(scene.bodies[n].shown)) == frame_index)


def visible_shares(scene: Scene) -> NDArray[np.float64]:
    """(T, N) share of each object that is seen, in order of object ids; NaN before it comes into being."""
    columns = _targets(scene)
    seen = [label(scene, frame_index) for frame_index in range(len(scene))]
    visible = np.stack([labels.visible[columns] for labels in seen]).astype(np.float64)
    area = np.stack([labels.area[columns] for labels in seen])
    born = np.logical_or.accumulate(np.stack([scene.bodies[n].shown for n in columns], axis=1), axis=0)
    return np.where(born, visible / np.maximum(area, 1), np.nan)


def _keeps_promise(scenario: Scenario, visible: NDArray[np.float64]) -> bool:
    least = np.nanmin(visible, axis=0)
    if scenario.visible is not None:
        low, high = scenario.visible
        return bool((least >= low).all() and least.min() <= high)
    first = visible[:, 0]
    others_fine = bool((least[1:] >= 0.3).all())
    returned = first[-3:].min() >= 0.5
    mostly_there = np.mean(first >= 0.5) >= 0.35
    gone = longest_run(first == 0) >= scenario.away
    return bool(others_fine and returned and mostly_there and gone)


def longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True.

    >>> longest_run(np.array([True, False, True, True]))
    2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _prompts(truth: ToyTruth, kind: str) -> tuple[Prompt, ...]:
    """One prompt for each object on the first frame that shows it."""
    prompts = []
    for object_id in truth.object_ids:
        frame_index = int(np.argmin(truth.absent(object_id)))
        if kind == "mask":
            prompts.append(Prompt(object_id, frame_index, mask=truth.read(frame_index)[object_id]))
        else:
            prompts.append(Prompt(object_id, frame_index, box=truth.boxes(object_id)[frame_index]))
    return tuple(prompts)


def export(dataset: Dataset, out: str | os.PathLike[str], layout: str = "davis") -> None:
    """Write a split of `toy` to disk as another benchmark lays its files out.

    `davis`: JPEG frames, palette label maps and `ImageSets/2017/<split>.txt`; objects that are not on the first frame
    are left out, as that benchmark knows none. `lasot`: one sequence per object, from the frame on which it appears,
    with integer boxes counted from 1 and absence flags. `test`, whose truth DAVIS withholds, is written as its `val`.

    Args:
        dataset: a split of `toy`, or some sequences of it.
        out: folder to make; must be new or empty.
        layout: `davis` or `lasot`.
    Raises:
        UnknownNameError: another layout.
        MosamError: not `toy`, or the folder holds files.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS, where="export")
    if not isinstance(dataset, Toy):
        raise MosamError(f"export: expected the generated benchmark toy, got {dataset.name}")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MosamError(f"{folder}: expected a new or empty folder, found files; choose another")
    write = _export_davis if layout == "davis" else _export_lasot
    names = [name for sequence in map(dataset.__getitem__, dataset) for name in write(sequence, folder)]
    if layout == "davis":
        listing = folder / "ImageSets" / "2017" / f"{'train' if dataset.split == 'train' else 'val'}.txt"
    else:
        listing = folder / f"{'training' if dataset.split == 'train' else 'testing'}_set.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(f"{name}\n" for name in names))


def _export_davis(sequence: Sequence, folder: Path) -> list[str]:
    from mosam.codecs import write_labels

    images = folder / "JPEGImages" / "480p" / sequence.name
    maps = folder / "Annotations" / "480p" / sequence.name
    maps.mkdir(parents=True)
    first = [prompt.object_id for prompt in sequence.prompts if prompt.frame_index == 0]
    truth = _truth(sequence)
    for stem, frame_index in zip(sequence.frame_names, truth.frame_indices, strict=True):
        _write_jpeg(images / f"{stem}.jpg", sequence.source.read(frame_index))
        masks = truth.read(frame_index)
        labels = np.zeros(truth.scene.size, dtype=np.uint8)
        for object_id in first:
            labels[masks[object_id]] = object_id
        write_labels(maps / f"{stem}.png", labels)
    return [sequence.name]


def _export_lasot(sequence: Sequence, folder: Path) -> list[str]:
    truth = _truth(sequence)
    names = []
    outside = "out_of_view" in sequence.attributes
    for prompt in sequence.prompts:
        name = f"{sequence.name}-{prompt.object_id}"
        place = folder / sequence.name / name  # the class is the name up to its last hyphen
        for number, frame_index in enumerate(range(prompt.frame_index, len(sequence))):
            _write_jpeg(place / "img" / f"{number + 1:08d}.jpg", sequence.source.read(frame_index))
        boxes = truth.boxes(prompt.object_id)[prompt.frame_index :] + np.array([1, 1, 0, 0])
        absent = truth.absent(prompt.object_id)[prompt.frame_index :]
        rows = np.where(absent[:, None], 0, boxes).astype(np.int64)
        (place / "groundtruth.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows.tolist()))
        flags = ",".join(map(str, absent.astype(np.int64).tolist())) + "\n"
        none = ",".join("0" for _ in absent) + "\n"
        (place / "full_occlusion.txt").write_text(none if outside else flags)
        (place / "out_of_view.txt").write_text(flags if outside else none)
        (place / "nlp.txt").write_text(f"generated object {prompt.object_id} of {sequence.name}\n")
        names.append(name)
    return names


def _truth(sequence: Sequence) -> ToyTruth:
    truth = sequence.truth
    assert isinstance(truth, ToyTruth)
    return truth


def _write_jpeg(path: Path, image: Image) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    path.write_bytes(data.tobytes())
