"""A dataset of three tiny videos, and an engine without a network that follows the bright square in them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mosam.datasets.base import BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.errors import DataError
from mosam.geometry import mask_to_box
from mosam.policies.sam2 import Sam2
from mosam.types import FrameOutput, ObjectOutput, Prompt

SIZE = (24, 32)
LENGTHS = {"apple": 5, "bird": 9, "car": 3}


@dataclass
class SquareVideo:
    """A bright square on black that moves one pixel a frame; `broken` frames cannot be read."""

    name: str
    length: int
    broken: frozenset[int] = frozenset()

    def __len__(self):
        return self.length

    def size(self):
        return SIZE

    def mask(self, index):
        mask = np.zeros(SIZE, dtype=bool)
        mask[4:12, 3 + index : 13 + index] = True
        return mask

    def read(self, index):
        if index in self.broken:
            raise DataError(f"{self.name}/{index:05d}.jpg", "expected a whole picture, got half of one")
        return np.repeat(np.where(self.mask(index), 200, 20).astype(np.uint8)[..., None], 3, axis=2)


class SquareDataset(Dataset):
    """`apple` of 5 frames, `bird` of 9, `car` of 3; written as LaSOT boxes."""

    info = DatasetInfo(
        title="squares",
        task="box",
        splits=("val", "test"),
        default_split="val",
        prompts=("mask", "box"),
        protocol="pytracking",
        result_format="lasot",
    )
    name = "squares"
    generated = True
    broken: dict[str, frozenset[int]] = {}  # noqa: RUF012  # set on an instance by tests
    salt = ""

    def list_names(self):
        return list(LENGTHS)

    def load(self, name):
        return self.make(SquareVideo(name, LENGTHS[name], self.broken.get(name, frozenset())))

    def make(self, video):
        boxes = np.stack([mask_to_box(video.mask(t), convention="inclusive") for t in range(len(video))])

        def prompts():
            if self.prompt == "box":
                return (Prompt(1, box=boxes[0]),)
            return (Prompt(1, mask=video.mask(0)),)

        return Sequence(
            name=video.name,
            source=video,
            frame_names=tuple(f"{t:05d}" for t in range(len(video))),
            object_ids=(1,),
            load_prompts=prompts,
            load_truth=lambda: BoxTruth(boxes, np.zeros(len(boxes), dtype=bool)),
        )

    def annotation_hash(self):
        return super().annotation_hash() + self.salt


@dataclass(frozen=True, slots=True)
class FakeConfig:
    """One parameter, so that two policies can differ."""

    stride: int = 1


class FakePolicy(Sam2):
    """A policy with another name and parameter; the fake engine asks it nothing."""

    name = "fake"
    Config = FakeConfig


@dataclass(frozen=True)
class FakeDevice:
    """Stands for `torch.device`, so that these fakes load without torch."""

    type: str = "cpu"


@dataclass(frozen=True)
class FakeSizes:
    """Sizes of a very small network, see `mosam.model.backbone.BackboneSizes`."""

    image: int = 16
    grid: int = 2
    mask: int = 4
    width: int = 8
    memory: int = 4
    slots: int = 7
    pointers: int = 16
    candidates: int = 3
    tokens: int = 4


@dataclass
class FakeModel:
    """What a run reads of a network."""

    name: str = "fake"
    weights_hash: str = "0" * 64
    random: bool = False
    device: FakeDevice = FakeDevice()
    dtype: str = "torch.float32"
    sizes: FakeSizes = FakeSizes()


class FakeEngine:
    """Finds the bright pixels. `delay` frames pass before an output is final, as with SAM2Long.

    `fail(frames, frame)` is called for every image with the length of its video and may raise.
    """

    ahead = False

    def __init__(self, *, delay=0, fail=None):
        self.delay, self.fail = delay, fail or (lambda video, frame: None)
        self.numbers = itertools.count()
        self.videos, self.batches = {}, []

    def open(self, prompts, *, size, num_frames=None, non_overlap=False):
        video = next(self.numbers)
        self.videos[video] = {"prompts": prompts, "frames": num_frames, "next": 0, "pending": []}
        return video

    def motion_stream(self):
        return None

    def step(self, images, motion=None, next_images=None):
        self.batches.append(len(images))
        outputs = {}
        for video, image in images.items():
            state = self.videos[video]
            self.fail(state["frames"], state["next"])
            outputs[video] = FrameOutput(state["next"], {1: ObjectOutput(image[..., 0] > 100, 1.0, 0.9)})
            state["pending"].append(outputs[video])
            state["next"] += 1
        return outputs

    def drain(self, video):
        pending = self.videos[video]["pending"]
        ready = pending[: max(len(pending) - self.delay, 0)]
        del pending[: len(ready)]
        return ready

    def close(self, video):
        return self.videos.pop(video)["pending"]

    def discard(self, video):
        self.videos.pop(video, None)
