"""EfficientTAM behind the `Backbone` interface: the modules of SAM 2.1 after an image encoder of our own.

It differs from SAM 2.1 in a plain vision transformer of one level, so that the decoder gets no finer features, and in
having neither a vector for absent objects nor a time code of pointers. Two of its variants attend to the means of two
by two cells as soon as there is more than one memory. With a bias, means are weighted by it, so that a hidden cell has
no part in them, and a row all of whose slots but one are hidden is treated as a row of one slot; that is ours, its
program knows no bias.

Source: Xiong et al., EfficientTAM, 2024; yformer/EfficientTAM at abcd061.
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mosam.model.attention import LibraryModule, attend_to_memory
from mosam.model.backbone import BackboneSizes, ImageFeatures, MemoryRead
from mosam.model.library import build as build_library
from mosam.model.networks import STRIDE, Network, library_config
from mosam.model.plain_vit import PlainVit
from mosam.model.sam2 import Sam2Backbone

if TYPE_CHECKING:
    from mosam.model.families.efficienttam import Variant

CELLS = 4  # of a mean
TINY = 1e-20  # weight of a mean all of whose cells are hidden
STAND_IN = {"channels": (8, 16, 32, 64), "heads": (1, 1, 1, 1), "blocks": (1, 1, 1, 1), "global_blocks": ()}


def build(variant: Variant) -> Any:
    """The modules of a variant, on the CPU; its shape is their `variant`."""
    network = Network(**STAND_IN, image=variant.image, width=variant.width, fuser_mlp=4 * variant.width)  # type: ignore[arg-type]
    config = library_config(network)
    config.enable_occlusion_spatial_embedding = False
    config.enable_temporal_pos_encoding_for_object_pointers = False
    module = build_library(config)
    with torch.random.fork_rng(devices=[]):
        module.vision_encoder = PlainVit(
            variant.channels, variant.heads, variant.depth, variant.whole, variant.window, STRIDE, variant.width
        )
    del module.mask_decoder.conv_s0, module.mask_decoder.conv_s1
    module.variant = variant
    return module.eval()


class EfficientTamBackbone(Sam2Backbone):
    """The network of EfficientTAM; see `Sam2Backbone` for the arguments."""

    def _read_sizes(self, model: LibraryModule) -> BackboneSizes:
        self._pyramid = _levels
        if model.variant.pooling:
            self._attend_to_memory = _attend_to_sums if model.variant.pooling == 1 else _attend_to_shifted
        return super()._read_sizes(model)

    def attend(self, features: ImageFeatures, rows: Tensor, read: MemoryRead) -> Tensor:
        """See `Backbone`; rows that see one slot only are attended to by themselves, as their cells are not merged."""
        seen = _seen_slots(read) if self.model.variant.pooling else None
        if seen is None or not (alone := seen.sum(dim=1) == 1).any():
            return super().attend(features, rows, read)
        several, one = (~alone).nonzero()[:, 0], alone.nonzero()[:, 0]
        parts = [(one, _only_slot(_rows_of(read, one), seen[one].int().argmax(dim=1)))]
        if len(several):
            parts.append((several, _rows_of(read, several)))
        attended = torch.cat([super(EfficientTamBackbone, self).attend(features, rows[i], part) for i, part in parts])
        return attended[torch.cat([i for i, _ in parts]).argsort()]

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        with self._compute():
            return (self._pyramid(self.model.vision_encoder, pixels)[-1].float(),)

    def _upscale(self, image: Tensor, *levels: Tensor) -> Tensor:
        """Decoder features at mask resolution, (R, width / 8, mask, mask)."""
        decoder = self.model.mask_decoder
        x = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image)))
        return decoder.activation(decoder.upscale_conv2(x))  # type: ignore[no-any-return]


def _seen_slots(read: MemoryRead) -> Tensor | None:
    """(R, S) whether a row sees anything of a slot; None where every row sees all."""
    slots, tokens = read.memory.shape[1:3]
    if read.bias is None or slots <= 1:
        return None
    return ~read.bias[:, : slots * tokens].unflatten(1, (slots, tokens)).isneginf().all(dim=2)


def _rows_of(read: MemoryRead, rows: Tensor) -> MemoryRead:
    """Some rows of what is read."""
    values = (getattr(read, field.name) for field in fields(read))
    return MemoryRead(*(None if value is None else value[rows] for value in values))  # type: ignore[arg-type]


def _only_slot(read: MemoryRead, slot: Tensor) -> MemoryRead:
    """Of each row (R,) one slot, and all pointers."""
    slots, tokens = read.memory.shape[1:3]
    each = torch.arange(len(slot), device=slot.device)
    bias = read.bias
    if bias is not None:
        cells = bias[:, : slots * tokens].unflatten(1, (slots, tokens))
        bias = torch.cat((cells[each, slot], bias[:, slots * tokens :]), dim=1)
    return replace(
        read,
        memory=read.memory[each, slot][:, None],
        temporal=read.temporal[each, slot][:, None],
        slot_scale=None if read.slot_scale is None else read.slot_scale[each, slot][:, None],
        bias=bias,
    )


def _levels(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
    return [encoder(pixels)]


def _attend_to_sums(*arguments: Any, **named: Any) -> Tensor:
    return attend_to_memory(*arguments, **named, merge=merge_to_sums)


def _attend_to_shifted(*arguments: Any, **named: Any) -> Tensor:
    return attend_to_memory(*arguments, **named, merge=merge_to_shifted)


def merge_to_sums(
    key: Tensor, value: Tensor, bias: Tensor | None, slots: int, tokens: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Variant 1: a mean counts as the four cells it stands for; see `merge_cells` for the arguments."""
    if slots <= 1:
        return key, value, bias
    key, value, bias = merge_cells(key, value, bias, slots, tokens)
    counted = torch.arange(key.shape[1], device=key.device) < slots * tokens // CELLS
    added = (counted * math.log(CELLS)).expand(key.shape[:2])
    return key, value, added if bias is None else bias + added


def merge_to_shifted(
    key: Tensor, value: Tensor, bias: Tensor | None, slots: int, tokens: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Variant 2: log 4 is added to every component of a mean key instead, as its program does."""
    if slots <= 1:
        return key, value, bias
    key, value, bias = merge_cells(key, value, bias, slots, tokens)
    means = slots * tokens // CELLS
    return torch.cat((key[:, :means] + math.log(CELLS), key[:, means:]), dim=1), value, bias


def merge_cells(
    key: Tensor, value: Tensor, bias: Tensor | None, slots: int, tokens: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Means of two by two cells of every slot, before the keys of pointers.

    Args:
        key, value: (R, slots * tokens + pointers, C), projected and turned.
        bias: (R, slots * tokens + pointers) or None; the cells of a mean are weighted by its exponential.
        slots: memory slots.
        tokens: cells of a slot, of a square.
    """
    cells, side = slots * tokens, isqrt(tokens)
    if bias is None:
        merged = [torch.cat((_means(x[:, :cells], slots, side), x[:, cells:]), dim=1) for x in (key, value)]
        return merged[0], merged[1], None
    weights = bias[:, :cells, None].float().exp()
    total = _means(weights, slots, side)
    merged = [
        torch.cat((_means(x[:, :cells] * weights, slots, side) / total.clamp(min=TINY), x[:, cells:]), dim=1).to(x)
        for x in (key, value)
    ]
    return merged[0], merged[1], torch.cat((total[..., 0].log(), bias[:, cells:]), dim=1)


def _means(x: Tensor, slots: int, side: int) -> Tensor:
    """(R, slots * side * side, C) -> (R, slots * side * side / 4, C)."""
    return x.unflatten(1, (slots, side // 2, 2, side // 2, 2)).mean(dim=(3, 5)).flatten(1, 3)
