"""The runs whose official numbers are stored in `tests/parity/{samurai,sam2long,dam4sam}_official.*`.

Everything is made from seeds with whole numbers, so that it is the same on every machine. The programs that made the
numbers import this module for their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mosam.engine.parity import Parity
from mosam.types import Prompt

SIZE = (288, 384)
FRAMES = 64
GONE = (*range(22, 30), *range(47, 52))  # the object is not there


@lru_cache(maxsize=3)
def clip(seed: int = 11) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A textured ellipse and its twin over a moving texture whose brightness changes.

    Args:
        seed: of the textures.
    Returns:
        uint8 RGB frames of `SIZE`, and the bool masks of the object.
    """
    generator = np.random.RandomState(seed)
    height, width = (side // 2 for side in SIZE)
    coarse = generator.randint(30, 190, (60, 80, 3)).astype(np.uint8)
    background = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    skin = np.repeat(np.repeat(generator.randint(0, 256, (height // 3, width // 3, 3)), 3, 0), 3, 1)
    light = np.repeat((-22, -28, -12, -24, -34, -18, -26, -10), FRAMES // 8)
    y, x = np.mgrid[:height, :width]
    frames, masks = [], []
    for t in range(FRAMES):
        frame = background[2 * t : 2 * t + height, 3 * t : 3 * t + width].astype(np.int64) + light[t]
        cx, cy = 50 + (3 * t) % 90, 60 + abs(40 - t) // 2
        inside = (x - cx) ** 2 * 400 + (y - cy) ** 2 * 600 < 400 * 600
        twin = (x - 150 + t) ** 2 * 300 + (y - 100) ** 2 * 500 < 300 * 500
        if t in GONE:
            inside = np.zeros_like(inside)
        if 12 <= t < 58:
            frame[twin] = skin[twin] // 2 + 90
        frame[inside] = skin[inside] // 2 + 100 + light[t]
        frames.append(np.clip(frame, 0, 255).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1))
        masks.append(inside.repeat(2, axis=0).repeat(2, axis=1))
    return frames, masks


def build_model(
    seed: int,
    iou: tuple[float, tuple[float, ...]],
    presence: tuple[float, float],
    shrink: tuple[float, ...],
    network: str = "mini",
    dense: float | None = None,
) -> Any:
    """The library model of size `mini` with random weights, fp32.

    Args:
        seed: of the weights.
        iou: scale and four biases of the head that predicts IoU.
        presence: scale and bias of the presence head.
        shrink: how much smaller to make each of the four masks (features are mostly positive).
        network: `mini`, or `sam2.0-mini`.
        dense: how much a mask prompt changes the embedding of having none; None = as drawn, which is much.
    """
    import torch

    from mosam.model.family import families

    model = next(family for family in families() if network in family.random_sizes).random(network, seed)
    decoder = model.mask_decoder
    with torch.no_grad():
        decoder.iou_prediction_head.proj_out.weight.mul_(iou[0])
        decoder.iou_prediction_head.proj_out.bias.copy_(torch.tensor(iou[1]))
        decoder.pred_obj_score_head.proj_out.weight.mul_(presence[0])
        decoder.pred_obj_score_head.proj_out.bias.fill_(presence[1])
        for mlp, less in zip(decoder.output_hypernetworks_mlps, shrink, strict=True):
            mlp.proj_out.bias.sub_(less)
        if dense is not None:
            model.prompt_encoder.mask_embed.conv3.weight.mul_(dense)
            model.prompt_encoder.mask_embed.conv3.bias.copy_(model.prompt_encoder.no_mask_embed.weight[0])
        model.mask_downsample.bias.zero_()
        model.mask_downsample.weight.neg_()  # so that the object is present in the decoder pass of a mask prompt
    return model


def point_scores(t: int) -> list[float]:
    """What a point tracker is made to say of three masks on frame `t`, in [0, 1]."""
    return [float(score) / 100 for score in np.random.RandomState(1000 + t).randint(0, 101, 3)]


def motion_weights(seed: int, box: tuple[float, float]) -> dict[str, np.ndarray]:
    """Weights of SAMOSA's motion model that expect a box of about this width and height where the first one was.

    The published ones are not ours to ship.
    """
    generator = np.random.RandomState(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (generator.randint(-1000, 1001, shape) / 8000).astype(np.float32)

    arrays = {}
    for layer in range(4):
        arrays[f"rnn.weight_ih_l{layer}"] = drawn(256, 64 if layer else 8)
        arrays[f"rnn.weight_hh_l{layer}"] = drawn(256, 64)
        arrays[f"rnn.bias_ih_l{layer}"] = drawn(256)
        arrays[f"rnn.bias_hh_l{layer}"] = drawn(256)
    width, height = box
    arrays["fc.weight"] = 20 * drawn(8, 64)
    arrays["fc.bias"] = np.array([-width / 2, -height / 2, width, height, 0, 0, 0, 0], dtype=np.float32)
    return arrays


@dataclass(frozen=True)
class Case:
    """One run of an official program.

    Attributes:
        name: key in the stored files.
        policy: ours that does the same, and the file the numbers are in.
        prompt: `box` or `mask`, on frame 0.
        post_processing: binarized memory of prompted frames, stability fallback.
        holes: and holes filled.
        resize: filter that brings frames to the input size.
        iou, presence, shrink: of `build_model`; found by trial so that the run takes every branch.
        options: of the policy, where the program did not run with its defaults.
        network: `mini`, or `sam2.0-mini`.
        seed: of the weights.
        clip: seed of the clip.
        motion: seed of the weights of SAMOSA's motion model, and the box it expects.
        dense: of `build_model`.
    """

    name: str
    policy: str
    prompt: str
    post_processing: bool
    iou: tuple[float, tuple[float, ...]]
    presence: tuple[float, float]
    shrink: tuple[float, ...]
    resize: str = "pil_bicubic"
    holes: bool = True
    options: tuple[tuple[str, Any], ...] = ()
    network: str = "mini"
    seed: int = 6
    clip: int = 11
    motion: tuple[int, tuple[float, float]] | None = None
    dense: float | None = None

    def model(self) -> Any:
        """The library model of this case."""
        return build_model(self.seed, self.iou, self.presence, self.shrink, self.network, self.dense)

    @property
    def file(self) -> str:
        """Where the numbers are."""
        return self.policy if self.network == "mini" else self.network.removesuffix("-mini")

    @property
    def parity(self) -> Parity:
        """What our engine imitates."""
        return Parity.official(post_processing=self.post_processing, holes=self.holes)

    def prompts(self) -> Prompt:
        """The prompt, from the object's true mask."""
        mask = clip(self.clip)[1][0]
        if self.prompt == "mask":
            return Prompt(1, mask=mask)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y = float(columns[0]), float(rows[0])
        box = np.array([x, y, columns[-1] + 1 - x, rows[-1] + 1 - y])
        return Prompt(1, box=box)


SAMURAI_IOU, SAMURAI_SHRINK = (60.0, (0.0, -13.3, -11.5, -18.3)), (0.6, 0.9, 0.65, 0.8)
DEFECTS = (("codes", "reversed"), ("pointers", "shifted"))  # of HiM2SAM's program
HIM2SAM = (*DEFECTS, ("mark_distance", 0.25), ("stable_frames", 6))
POINTS = (("points", "lk"), ("clip", "previous"))  # what it says is `point_scores`
SEED_9 = {"iou": (60.0, (0.0, 7.0, 14.5, 26.0)), "presence": (40.0, -21.4), "shrink": (0.6, 0.7, 0.7, 0.7), "seed": 9}
SEED_7 = {"iou": (40.0, (0.0, 8.2, -8.0, -8.6)), "presence": (40.0, -16.6), "shrink": (0.6, 1.0, 0.7, 0.8), "seed": 7}
SAMITE = (("follows", "free"), ("stable_frames", 6), ("cycle", 0.3))
CASES = (
    Case("samurai-box", "samurai", "box", True, SAMURAI_IOU, (40.0, 22.6), SAMURAI_SHRINK),
    Case("samurai-mask", "samurai", "mask", False, SAMURAI_IOU, (40.0, 23.7), SAMURAI_SHRINK),
    Case("sam2long", "sam2long", "mask", False, (40.0, (0.0, -7.8, -6.6, -10.4)), (40.0, 23.6), (0.6, 0.3, 0.3, 0.3)),
    Case(
        "dam4sam",
        "dam4sam",
        "mask",
        True,
        (20.0, (0.0, -2.9, -4.4, -4.8)),
        (40.0, 23.4),
        (0.6, 1.15, 0.5, 1.1),
        resize="tv_bilinear",
        holes=False,
    ),
    Case(
        "dam4sam-box",
        "dam4sam",
        "box",
        True,
        (20.0, (0.0, -2.9, -4.4, -4.8)),
        (40.0, 23.4),
        (0.6, 1.15, 0.5, 0.1),
        resize="tv_bilinear",
        holes=False,
    ),
    Case("rcms", "rcms", "mask", False, SAMURAI_IOU, (40.0, 23.7), SAMURAI_SHRINK, options=(("quality", 0.45),)),
    Case("rcms-box", "rcms", "box", True, SAMURAI_IOU, (40.0, 22.9), SAMURAI_SHRINK, options=(("quality", 0.45),)),
    Case(
        "him2sam",
        "him2sam",
        "mask",
        False,
        (60.0, (0.0, -11.3, -10.2, -17.3)),
        (40.0, 23.7),
        SAMURAI_SHRINK,
        options=HIM2SAM,
    ),
    Case(
        "him2sam-points",
        "him2sam",
        "mask",
        False,
        (60.0, (0.0, -11.3, -10.2, -17.3)),
        (40.0, 23.7),
        SAMURAI_SHRINK,
        options=HIM2SAM + POINTS,
    ),
    Case("him2sam-seed9", "him2sam", "mask", False, options=HIM2SAM + POINTS, **SEED_9),
    Case("him2sam-default", "him2sam", "mask", False, options=DEFECTS + POINTS, **SEED_7),
    Case("rcms-default", "rcms", "mask", False, (60.0, (0.0, -10.3, -8.5, -15.3)), (40.0, 22.6), (0.2, 0.3, 0.2, 0.3)),
    Case(
        "rcms-seed7",
        "rcms",
        "mask",
        False,
        (40.0, (0.0, 12.7, -2.5, -2.6)),
        (40.0, -16.7),
        (0.2, 0.3, 0.3, 0.3),
        options=(("quality", 0.45),),
        seed=7,
    ),
    Case(
        "samosa-a",
        "samosa",
        "box",
        True,
        SAMURAI_IOU,
        (40.0, 22.6),
        SAMURAI_SHRINK,
        options=(("after_empty", "error"),),
        motion=(3, (200.0, 200.0)),
    ),
    Case(
        "samosa-b",
        "samosa",
        "box",
        False,
        (46.4, (0.0, -8.97, -31.92, -10.52)),
        (24.5, 4.55),
        SAMURAI_SHRINK,
        options=(("preset", "b"), ("after_empty", "error")),
        seed=8,
        clip=12,
        motion=(4, (160.0, 160.0)),
    ),
    Case(
        "samite",
        "samite",
        "box",
        False,
        SAMURAI_IOU,
        (40.0, 22.6),
        (0.3, 0.3, 0.3, 0.3),
        options=SAMITE,
        dense=0.1,
    ),
    Case(
        "samite-2",
        "samite",
        "box",
        False,
        (46.4, (0.0, -8.97, -31.92, -10.52)),
        (24.5, 6.6),
        (0.3, 0.3, 0.25, 0.25),
        options=(*SAMITE[:2], ("cycle", 0.12)),
        seed=8,
        clip=12,
        dense=0.1,
    ),
    Case("sam2.0-box", "sam2", "box", True, SAMURAI_IOU, (40.0, 33.0), SAMURAI_SHRINK, network="sam2.0-mini"),
)
