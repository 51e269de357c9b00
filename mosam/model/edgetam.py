"""EdgeTAM behind the `Backbone` interface, over the modules of `transformers`' `EdgeTamVideoModel`.

It is SAM 2 with another image encoder (RepViT, of `timm`) and a memory of 512 tokens: a perceiver lets 256 latents look
at all cells of a frame, and 256 more at a window of 4 x 4 cells each. Only the latter stand for a place, have a
position code and turn with the rotary one.

Source: Zhou et al., EdgeTAM, 2025; facebookresearch/EdgeTAM at 9cc44bf; `transformers` 5.24.0.
"""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.model.attention import LibraryModule, attend_to_memory
from mosam.model.backbone import BackboneSizes
from mosam.model.formulas import Rotary, sine_map
from mosam.model.meta_format import MetaNames
from mosam.model.sam2 import Sam2Backbone

_LAYER = r"^(spatial_perceiver\.layers\.\d+\.)"

NAMES = MetaNames(
    "EdgeTAM",
    before=(
        (r"^vision_encoder\.backbone\.timm_model\.", "image_encoder.trunk.body."),
        (r"^(memory_attention\.layers\.\d+\.)mlp\.up_proj\.", r"\1linear1."),
        (r"^(memory_attention\.layers\.\d+\.)mlp\.down_proj\.", r"\1linear2."),
        (r"^spatial_perceiver\.latents_1d$", "spatial_perceiver.latents"),
        (_LAYER + r"layer_norm_input\.", r"\1attn.norm_x."),
        (_LAYER + r"layer_norm_latents\.", r"\1attn.norm_latents."),
        (_LAYER + r"layer_norm_self\.", r"\1self_attn.norm."),
        (_LAYER + r"cross_attention\.", r"\1attn."),
        (_LAYER + r"self_attention\.", r"\1self_attn."),
        (_LAYER + r"(\w+)\.q_proj\.", r"\1\2.to_q."),
        (_LAYER + r"(\w+)\.k_proj\.weight$", r"\1\2.to_kv.weight#0/2"),
        (_LAYER + r"(\w+)\.v_proj\.weight$", r"\1\2.to_kv.weight#1/2"),
        (_LAYER + r"(\w+)\.o_proj\.", r"\1\2.to_out."),
        (_LAYER + r"(self_)?mlp\.layer_norm\.", r"\1\2ff.0."),
        (_LAYER + r"(self_)?mlp\.up_proj\.", r"\1\2ff.1."),
        (_LAYER + r"(self_)?mlp\.down_proj\.", r"\1\2ff.3."),
    ),
)


class EdgeTamBackbone(Sam2Backbone):
    """The network of EdgeTAM; see `Sam2Backbone` for the arguments."""

    def _read_sizes(self, model: LibraryModule) -> BackboneSizes:
        config = model.config
        self._global, self._local = config.perceiver_resampler_num_latents, config.perceiver_resampler_num_latents_2d
        self._pyramid = _pyramid
        self._attend_to_memory = _attend
        tokens = self._global + self._local
        return replace(super()._read_sizes(model), tokens=tokens, memory_grid=False)

    def _make_rotary(self) -> Rotary:
        return LatentRotary(
            self._global, isqrt(self._local), self.sizes.grid, self.sizes.width, self.formulas, self.device
        )

    def _make_memory_position(self) -> Tensor:
        # uploaded once: an upload while a call is recorded as a graph is not allowed, and one in each call waits
        self._cell_position = sine_map(self.sizes.grid, self.sizes.memory).to(self.device)
        placed = sine_map(isqrt(self._local), self.sizes.memory)
        return torch.cat((torch.zeros(self._global, self.sizes.memory), placed))

    def _to_tokens(self, memory: Tensor) -> Tensor:
        with self._compute():
            return torch.cat((self._whole(memory), self._windows(memory)), dim=1)

    def _whole(self, memory: Tensor) -> Tensor:
        """(R, latents, memory): latents that look at all cells of (R, memory, grid, grid)."""
        perceiver, cells = self.model.spatial_perceiver, memory.flatten(2).transpose(1, 2)
        place = self._cell_position.to(memory.dtype).repeat(len(memory), 1, 1)  # the library's views need it whole
        latents = perceiver.latents_1d.repeat(len(memory), 1, 1)
        for layer in perceiver.layers:
            latents = layer(latents, cells, place)
        return perceiver.layer_norm(latents)  # type: ignore[no-any-return]

    def _windows(self, memory: Tensor) -> Tensor:
        """(R, latents, memory): latents that each look at the cells of one window.

        The library's own takes one row only.
        """
        perceiver, rows, side = self.model.spatial_perceiver, len(memory), isqrt(self._local)
        cells = memory.unflatten(3, (side, -1)).unflatten(2, (side, -1)).permute(0, 2, 4, 3, 5, 1).flatten(3, 4)
        cells, latents = cells.flatten(0, 2), perceiver.latents_2d.repeat(rows, 1)[:, None]
        for layer in perceiver.layers:
            latents = layer(latents, cells, None)
        return perceiver.layer_norm(latents.unflatten(0, (rows, -1))[:, :, 0])  # type: ignore[no-any-return]

    def pool_tokens(self, planes: Tensor, how: Literal["mean", "max"]) -> Tensor:
        """(N, mask, mask) -> (N, tokens): of the window of each token that has one, 1 for the others."""
        pool = F.avg_pool2d if how == "mean" else F.max_pool2d
        placed = pool(planes[:, None], planes.shape[-1] // isqrt(self._local)).flatten(1)
        return torch.cat((placed.new_ones(len(planes), self._global), placed), dim=1)


class LatentRotary(Rotary):
    """Rotary code of the frame's cells, and of those memory tokens that stand for a window.

    Args:
        first: tokens of a slot that stand for no place.
        side: windows along a side; their coordinates are 0 .. side - 1.
        grid, width, formulas, device: as for `Rotary`.
    """

    def __init__(self, first: int, side: int, grid: int, width: int, formulas: object, device: torch.device):
        super().__init__(grid, width, formulas=formulas, device=device)  # type: ignore[arg-type]
        self._first, self._placed = first, Rotary(side, width, formulas=formulas, device=device)  # type: ignore[arg-type]

    def rotate_keys_(self, x: Tensor, slots: int) -> Tensor:
        """See `Rotary`."""
        size = self._first + self._placed.tokens
        memories = x[:, : slots * size].unflatten(1, (slots, size))[:, :, self._first :]
        turned = self._placed.rotate_(memories.flatten(1, 2).clone(memory_format=torch.contiguous_format), slots)
        memories.copy_(turned.unflatten(1, (slots, -1)))
        return x


def _pyramid(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
    return list(encoder(pixels).fpn_hidden_states)


def _attend(*arguments: object, **named: object) -> Tensor:
    return attend_to_memory(*arguments, **named, feed_forward=lambda layer, x: layer.mlp(x))  # type: ignore[arg-type]
