"""SAM 3's tracker behind the `Backbone` interface, over the modules of `transformers`' `Sam3TrackerVideoModel`.

It is SAM 2.1 with another image encoder (a plain ViT of patches of 14 pixels), on 1008 pixels, whose masks go into
memory at 16 pixels a cell instead of 14. Its program and the port differ in when masks are brought to that size: the
program resizes prompts as they are, and the values of memory after the sigmoid; the port resizes binary prompts to the
input size, and logits. `formulas` says which.

Source: Carion et al., SAM 3, 2025; `sam3_tracker_base.py` of facebookresearch/sam3 at 99d02f2; `transformers` 5.24.0.
Its rule of memory is the tracker `sam3`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.model.attention import LibraryModule
from mosam.model.backbone import BackboneSizes, ImageFeatures, MaskPrompts
from mosam.model.logits import mask_prompts, memory_values
from mosam.model.sam2 import Sam2Backbone
from mosam.types import Prompt

GRAY = (0.5, 0.5, 0.5)
MASK_CELL = 16  # pixels of a cell of the grid in the masks that memory takes


class Sam3Backbone(Sam2Backbone):
    """The network of SAM 3's tracker; see `Sam2Backbone` for the arguments."""

    def _read_sizes(self, model: LibraryModule) -> BackboneSizes:
        self._pyramid = _pyramid
        config, sizes = model.config, super()._read_sizes(model)
        grid = sizes.image // config.prompt_encoder_config.patch_size
        self._mask_side = MASK_CELL * grid
        return replace(
            sizes,
            grid=grid,
            mask=4 * grid,
            tokens=grid * grid,
            mask_input=self._mask_side if self.formulas == "official" else sizes.image,
            mean=GRAY,
            std=GRAY,
            conditioning=None if config.max_cond_frame_num < 0 else config.max_cond_frame_num,
        )

    def mask_prompt(self, prompts: Sequence[Prompt]) -> MaskPrompts:
        """Mask prompts at network size: bilinear with antialias; the port also takes `>= 0.5`."""
        if self.formulas != "official":
            return super().mask_prompt(prompts)
        planes = [torch.from_numpy(np.asarray(prompt.mask, dtype=np.float32))[None, None] for prompt in prompts]
        masks = torch.cat([_resized(plane, self.sizes.mask_input) for plane in planes])
        return mask_prompts(masks.to(self.device), self.sizes.mask)

    def mask_dense_prompt(self, mask: Tensor) -> Tensor:
        """(R, 1, mask_input, mask_input) -> (R, 1, mask, mask)."""
        return _resized(super().mask_dense_prompt(mask), self.sizes.mask)

    def memorize(
        self, features: ImageFeatures, rows: Tensor, logits: Tensor, present: Tensor, binarize: Tensor | None = None
    ) -> Tensor:
        """(R, tokens, memory) bfloat16 memory of masks; absent objects get the no-object vector."""
        if self.formulas == "official":
            values = _resized(memory_values(logits, binarize), self._mask_side)
        else:
            values = memory_values(_resized(logits, self._mask_side), binarize)
        (memory,) = self._calls["memorize"](features.top, rows, values, present)
        return memory


def _resized(planes: Tensor, side: int) -> Tensor:
    """(R, 1, S, S) -> (R, 1, side, side), bilinear with antialias; as it is where the size is right."""
    if planes.shape[-2:] == (side, side):
        return planes
    return F.interpolate(planes.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)


def _pyramid(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
    return list(encoder(pixels).fpn_hidden_states[:3])
