"""The runs whose official numbers are stored in `tests/parity/{edgetam,sam3_network}_official.*`; see the README there.

Clips and prompts are those of `policy_cases` (long) and `parity_cases` (two objects). The programs that made the
numbers import this module for their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import parity_cases
import policy_cases

from mosam.engine.parity import Parity
from mosam.types import Prompt

LONG = 40
FILES = {"edgetam-mini": "edgetam", "sam3-mini": "sam3_network"}  # `sam3` is the policy


@dataclass(frozen=True)
class Heads:
    """How the heads of a network with random weights are scaled, so that its runs take every branch; found by trial.

    Attributes:
        seed: of the weights.
        iou: scale and four biases of the head that predicts IoU.
        presence: scale and bias of the presence head.
        shrink: how much smaller to make each of the four masks.
        mask: how much stronger the mask speaks in memory.
    """

    seed: int
    iou: tuple[float, tuple[float, ...]]
    presence: tuple[float, float]
    shrink: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    mask: float = 5.0


HEADS = {
    "edgetam-mini": Heads(3, (20.0, (0.0, -4.6, -11.2, 10.9)), (-40.0, 14.1), (0.3, 0.3, 0.3, 0.3)),
    "sam3-mini": Heads(3, (20.0, (0.0, -4.6, -13.0, 20.6)), (-40.0, 10.0), (0.3, 0.3, 0.3, 0.3)),
}


@dataclass(frozen=True)
class Case:
    """One run of an official predictor.

    Attributes:
        name: key in the stored files.
        network: whose.
        prompts: object id, frame and kind (`mask`, `box` or `click`) of each prompt.
        post_processing: stability fallback, binarized memory of prompted frames, holes filled (EdgeTAM); SAM 3 always
            has the first two and never the third.
        tracker: ours that does the same.
    """

    name: str
    network: str
    prompts: tuple[tuple[int, int, str], ...]
    post_processing: bool = False
    tracker: str = "sam2"

    @property
    def file(self) -> str:
        """Where the numbers are."""
        return FILES[self.network]

    @property
    def pair(self) -> bool:
        """Whether it runs over the clip of two objects."""
        return any(object_id == 2 for object_id, _, _ in self.prompts)

    @property
    def frames(self) -> int:
        """Length of the clip."""
        return len(self.clip()[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its frames."""
        return parity_cases.SIZE if self.pair else policy_cases.SIZE

    @property
    def parity(self) -> Parity:
        """What our engine imitates."""
        if self.network == "sam3-mini":
            return Parity.official(post_processing=True, holes=False)
        return Parity.official(post_processing=self.post_processing)

    def clip(self) -> tuple[list[np.ndarray], dict[int, list[np.ndarray]]]:
        """uint8 RGB frames, and the bool masks of each object."""
        if self.pair:
            return parity_cases.clip()
        frames, masks = policy_cases.clip()
        return frames[:LONG], {1: masks[:LONG]}

    def ours(self) -> list[Prompt]:
        """The prompts, from the objects' true masks."""
        return [self._prompt(*prompt) for prompt in self.prompts]

    def _prompt(self, object_id: int, frame: int, kind: str) -> Prompt:
        mask = self.clip()[1][object_id][frame]
        if kind == "mask":
            return Prompt(object_id, frame, mask=mask)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y = float(columns[0]), float(rows[0])
        w, h = float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)
        if kind == "box":
            return Prompt(object_id, frame, box=np.array([x, y, w, h]))
        return Prompt(object_id, frame, points=np.array([[x + w / 2, y + h / 2]]), labels=np.array([1]))


EDGETAM = (
    Case("mask", "edgetam-mini", ((1, 0, "mask"),)),
    Case("box-post", "edgetam-mini", ((1, 0, "box"),), post_processing=True),
    Case("click-post", "edgetam-mini", ((1, 0, "click"),), post_processing=True),
    Case("two", "edgetam-mini", ((1, 0, "mask"), (2, 0, "mask"))),
    Case("late", "edgetam-mini", ((2, 5, "box"),)),
)
SAM3 = (
    Case("mask", "sam3-mini", ((1, 0, "mask"),)),
    Case("box", "sam3-mini", ((1, 0, "box"),)),
    Case("click", "sam3-mini", ((1, 0, "click"),)),
    Case("two", "sam3-mini", ((1, 0, "mask"), (2, 0, "mask"))),
    Case("late", "sam3-mini", ((2, 5, "mask"),)),
    Case("selection", "sam3-mini", ((1, 0, "mask"),), tracker="sam3"),
)
CASES = EDGETAM + SAM3


def build_model(network: str) -> Any:
    """The library model of a network with the weights of the runs, fp32."""
    import torch

    from mosam.model.family import families

    heads = HEADS[network]
    model = next(family for family in families() if network in family.random_sizes).random(network, heads.seed)
    decoder = model.mask_decoder
    with torch.no_grad():
        decoder.iou_prediction_head.proj_out.weight.mul_(heads.iou[0])
        decoder.iou_prediction_head.proj_out.bias.copy_(torch.tensor(heads.iou[1]))
        decoder.pred_obj_score_head.proj_out.weight.mul_(heads.presence[0])
        decoder.pred_obj_score_head.proj_out.bias.fill_(heads.presence[1])
        for mlp, less in zip(decoder.output_hypernetworks_mlps, heads.shrink, strict=True):
            mlp.proj_out.bias.sub_(less)
        model.mask_downsample.bias.zero_()
        model.memory_encoder.mask_downsampler.final_conv.weight.mul_(heads.mask)
    return model
