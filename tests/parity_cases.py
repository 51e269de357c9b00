"""The runs whose official numbers are stored in `tests/parity/sam2_official.*`: network, clip and prompts of each.

Everything is made from seeds with whole numbers or plain arithmetic, so that it is the same on every machine; see
`tests/parity/README.md`. The program that made the numbers imports this module for its inputs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mosam.types import Prompt

FOLDER = Path(__file__).parent / "parity"
SEED = 7
SIZE = (180, 240)
GONE = range(8, 11)  # the first object is not there

# Found by trial: about a third of the tracked frames is absent, each of the three candidates wins on some, and the
# object is present on every prompted frame, also in the decoder pass of a mask prompt.
IOU_SCALE, IOU_BIAS = 10.0, (0.0, 0.2, 2.0, -3.6)
SCORE_SCALE, SCORE_BIAS = -80.0, 44.5


@dataclass(frozen=True)
class Case:
    """One run of the official predictor.

    Attributes:
        name: key in the stored files.
        prompts: object id, frame and kind (`mask`, `box` or `click`) of each prompt; a later prompt of the same object
            is given when its frame is reached.
        frames: length of the clip.
        post_processing: stability fallback and binarized memory of prompted frames.
        fill_holes: area of the holes filled, 0 = off.
    """

    name: str
    prompts: tuple[tuple[int, int, str], ...]
    frames: int = 20
    post_processing: bool = False
    fill_holes: int = 0


CASES = (
    Case("mask", ((1, 0, "mask"),)),
    Case("box", ((1, 0, "box"),)),
    Case("click", ((1, 0, "click"),)),
    Case("mask-post", ((1, 0, "mask"),), post_processing=True, fill_holes=8),
    Case("box-post", ((1, 0, "box"),), post_processing=True, fill_holes=8),
    Case("click-post", ((1, 0, "click"),), post_processing=True, fill_holes=8),
    Case("box-post-unfilled", ((2, 0, "box"),), post_processing=True),
    Case("mask-late", ((2, 5, "mask"),)),
    Case("box-late-post", ((2, 3, "box"),), post_processing=True, fill_holes=8),
    Case("mask-short", ((1, 0, "mask"),), frames=10),
    Case("mask-twice", ((1, 0, "mask"), (1, 12, "mask"))),
    Case("two-objects", ((1, 0, "mask"), (2, 0, "mask"))),
)


@lru_cache(maxsize=1)
def clip() -> tuple[list[np.ndarray], dict[int, list[np.ndarray]]]:
    """Twenty frames of two textured ellipses over a moving texture.

    Returns:
        uint8 RGB frames of `SIZE`, and for object 1 and 2 their bool masks; object 1 is missing on the frames `GONE`.
    """
    generator = np.random.RandomState(SEED)
    height, width = SIZE
    coarse = generator.randint(40, 200, (40, 50, 3)).astype(np.uint8)
    background = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    skins = {k: np.repeat(generator.randint(0, 256, (height // 3, width // 3, 3)), 3, 0).repeat(3, 1) for k in (1, 2)}
    y, x = np.mgrid[:height, :width]
    frames, masks = [], {1: [], 2: []}
    for t in range(20):
        frame = background[2 * t : 2 * t + height, 3 * t : 3 * t + width].copy()
        ellipses = {1: (60 + 5 * t, 70 + 2 * t, 34, 26 + t // 2), 2: (180 - 4 * t, 110 - t, 24 + t // 3, 30)}
        for k, (cx, cy, a, b) in ellipses.items():
            inside = (x - cx) ** 2 * b * b + (y - cy) ** 2 * a * a < a * a * b * b
            if k == 1 and t in GONE:
                inside = np.zeros(SIZE, bool)
            frame[inside] = np.clip(skins[k] // 2 + 60 * k, 0, 255).astype(np.uint8)[inside]
            masks[k].append(inside)
        masks[1][t] = masks[1][t] & ~masks[2][t]
        frames.append(frame)
    return frames, masks


def prompt(object_id: int, frame_index: int, kind: str) -> Prompt:
    """One prompt of a case, from the object's true mask."""
    mask = clip()[1][object_id][frame_index]
    if kind == "mask":
        return Prompt(object_id, frame_index, mask=mask)
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    x, y = float(columns[0]), float(rows[0])
    w, h = float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)
    if kind == "box":
        return Prompt(object_id, frame_index, box=np.array([x, y, w, h]))
    return Prompt(object_id, frame_index, points=np.array([[x + w / 2, y + h / 2]]), labels=np.array([1]))


def build_model() -> Any:
    """The library model with the weights of the parity runs, fp32.

    Random weights with the heads of IoU and presence scaled and shifted, so that the runs take every branch.
    """
    import torch

    from mosam.model.library import build_random
    from mosam.model.networks import NETWORKS

    model = build_random(NETWORKS["mini"], SEED)
    decoder = model.mask_decoder
    with torch.no_grad():
        decoder.iou_prediction_head.proj_out.weight.mul_(IOU_SCALE)
        decoder.iou_prediction_head.proj_out.bias.copy_(torch.tensor(IOU_BIAS))
        decoder.pred_obj_score_head.proj_out.weight.mul_(SCORE_SCALE)
        decoder.pred_obj_score_head.proj_out.bias.fill_(SCORE_BIAS)
        model.mask_downsample.bias.zero_()
    return model


@dataclass(frozen=True)
class Official:
    """Official numbers of one object of a case, one entry per frame it was processed on.

    Attributes:
        frames: (T,) frame indices.
        prompted: (T,) bool.
        object_score: (T,) float32 as stored in the official state (+-10 where a mask was given).
        ious: (T, 3) float32 of the decoder; one value and two NaN where it gave one mask.
        pointer: (T, width) float32.
        logits_sample: (T, 8, 8) float32, every eighth row and column of the low-resolution logits.
        logits: frame index -> (mask, mask) float32, on some frames; after hole filling where that is on.
        memory: frame index -> (tokens, memory) int16, the bits of the bfloat16 memory, on some frames.
        area: (T,) pixels of the mask at video size.
        hashes: per frame, SHA-256 of the bytes of `logits`, `memory`, `pointer` and `mask` (bool at video size).
    """

    frames: np.ndarray
    prompted: np.ndarray
    object_score: np.ndarray
    ious: np.ndarray
    pointer: np.ndarray
    logits_sample: np.ndarray
    area: np.ndarray
    logits: dict[int, np.ndarray] = field(default_factory=dict)
    memory: dict[int, np.ndarray] = field(default_factory=dict)
    hashes: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def chosen(self) -> np.ndarray:
        """(T,) index of the best candidate, -1 where there was only one mask."""
        return np.where(np.isnan(self.ious[:, 1]), -1, np.argmax(np.nan_to_num(self.ious, nan=-1), axis=1))


FIELDS = ("frames", "prompted", "object_score", "ious", "pointer", "logits_sample", "area")


def digest(values: np.ndarray) -> str:
    """SHA-256 of an array's bytes, in C order."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


@lru_cache(maxsize=1)
def settings() -> dict[str, Any]:
    """`sam2_official.json`: commit, versions and processor behind the numbers, and the hashes."""
    return json.loads((FOLDER / "sam2_official.json").read_text())


def same_kernels() -> bool:
    """Whether this machine computes with the same kernels as the one behind the numbers, so that bits can be compared.

    The caller must also run with `settings()["machine"]["threads"]` threads.
    """
    import torch

    machine, cpuinfo = settings()["machine"], Path("/proc/cpuinfo")
    return (
        torch.__version__.split("+")[0] == machine["torch"]
        and torch.backends.cpu.get_cpu_capability() == machine["capability"]
        and cpuinfo.is_file()
        and machine["vendor"] in cpuinfo.read_text(encoding="utf-8", errors="replace")
    )


@lru_cache(maxsize=1)
def _arrays() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "sam2_official.npz") as file:
        return dict(file)


def official(case: Case, object_id: int) -> Official:
    """The stored numbers of one object of a case."""
    arrays, start = _arrays(), f"{case.name}/{object_id}/"
    by_frame: dict[str, dict[int, np.ndarray]] = {
        kind: {int(key.rsplit("/", 1)[1]): value for key, value in arrays.items() if key.startswith(f"{start}{kind}/")}
        for kind in ("logits", "memory")
    }
    hashes = {int(t): value for t, value in settings()["hashes"][case.name][str(object_id)].items()}
    return Official(**{name: arrays[start + name] for name in FIELDS}, **by_frame, hashes=hashes)
