"""The runs whose official numbers are stored in `tests/parity/efficienttam_official.*`; see the README there.

Clip and prompts are those of `parity_cases`; the program that made the numbers imports this module for its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FRAMES = 14
SEED = 5
# found by trial, so that every candidate wins on some frame and the object is there on most
IOU_SCALE, IOU_BIAS = 10.0, (0.0, -2.8, -3.8, -5.0)
SCORE_SCALE, SCORE_BIAS = -80.0, 22.0


@dataclass(frozen=True)
class Case:
    """One run of the official predictor, of object 1 from frame 0.

    Attributes:
        kind: of the variant: ``, `-1` or `-2`.
        prompt: `mask` or `box`.
        post_processing: stability fallback and binarized memory of prompted frames.
    """

    kind: str
    prompt: str
    post_processing: bool = False

    @property
    def name(self) -> str:
        """Key in the stored files."""
        return f"mini{self.kind}-{self.prompt}{'-post' if self.post_processing else ''}"


CASES = tuple(
    Case(kind, prompt, post) for kind in ("", "-1", "-2") for prompt, post in (("mask", False), ("box", True))
)


def build_model(kind: str) -> Any:
    """The modules of `efficienttam-mini` of a kind with the weights of the runs, fp32."""
    import torch

    from mosam.model.families.efficienttam import EfficientTam

    model = EfficientTam().random(f"efficienttam-mini{kind}", SEED)
    decoder = model.mask_decoder
    with torch.no_grad():
        decoder.iou_prediction_head.proj_out.weight.mul_(IOU_SCALE)
        decoder.iou_prediction_head.proj_out.bias.copy_(torch.tensor(IOU_BIAS))
        decoder.pred_obj_score_head.proj_out.weight.mul_(SCORE_SCALE)
        decoder.pred_obj_score_head.proj_out.bias.fill_(SCORE_BIAS)
        model.mask_downsample.bias.zero_()
    return model
