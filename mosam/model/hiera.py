"""Forward pass of the image encoder over the library's modules: Hiera, then the feature pyramid.

The library's own forward also computes, on every frame, products of attention heads that it throws away, the sine maps
of all levels and a fourth level that nobody reads, and rounds the top level to 16 bits under autocast, where the
official one stays fp32. The numbers in fp32 are the same.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mosam.model.attention import LibraryModule
from mosam.model.blocked import attend
from mosam.model.norms import add_norm


def pyramid(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
    """Feature maps of a batch of images.

    Args:
        encoder: a `Sam2VisionModel`.
        pixels: (B, 3, image, image) normalized.
    Returns:
        Three maps (B, width, h, w), highest resolution first: strides 4, 8 and 16.
    """
    stages = _stages(encoder.backbone, pixels)
    neck = encoder.neck
    maps: list[Tensor] = []
    above: Tensor | None = None
    for level in reversed(range(len(stages))):
        lateral = neck.convs[len(stages) - 1 - level](stages[level].permute(0, 3, 1, 2))
        if above is not None and level in neck.fpn_top_down_levels:
            lateral = lateral + F.interpolate(above.float(), scale_factor=2.0, mode="nearest")
        above = lateral
        maps.append(lateral)
    return maps[::-1][: encoder.num_feature_levels]


def _stages(backbone: LibraryModule, pixels: Tensor) -> list[Tensor]:
    """Outputs (B, h, w, C) of the stages of Hiera, highest resolution first."""
    x = backbone.patch_embed(pixels)
    x = x + backbone._get_pos_embed(x.shape[1:3])
    ends = set(backbone.stage_ends)
    outputs = []
    added: Tensor | None = None
    for index, block in enumerate(backbone.blocks):
        x, added = transform(block, x, added)
        if index in ends:
            x, added = x + added, None
            outputs.append(x)
    return outputs


def transform(block: LibraryModule, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor]:
    """One block: windowed or global attention, with pooled queries where the resolution halves, then the MLP.

    Args:
        block: the library's, or one of `mosam.model.plain_vit`.
        x: (B, h, w, C).
        added: what the block before adds to `x`, or None; added together with the normalization.
    Returns:
        the features after attention, and what the MLP adds to them.
    """
    x, normed = add_norm(block.layer_norm1, x, added)
    residual = x if block.dim == block.dim_out else _pool(block.proj(normed), block.query_stride)
    window = block.window_size
    if window:
        attended = _attend(block.attn, _to_windows(normed, window))
        if block.query_stride:
            window //= block.query_stride[0]
        attended = _from_windows(attended, window, residual.shape[0], residual.shape[1], residual.shape[2])
    else:
        attended = _attend(block.attn, normed)
    x, normed = add_norm(block.layer_norm2, residual, attended)
    return x, block.mlp(normed)


def _attend(attention: LibraryModule, x: Tensor) -> Tensor:
    """Multi-head attention within each of (B, h, w, C)."""
    batch, height, width, _ = x.shape
    heads = attention.num_attention_heads
    query, key, value = attention.qkv(x).reshape(batch, height * width, 3, heads, -1).unbind(2)
    if attention.query_stride:
        query = _pool(query.reshape(batch, height, width, -1), attention.query_stride)
        height, width = query.shape[1:3]
        query = query.reshape(batch, height * width, heads, -1)
    out = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return attention.proj(out.transpose(1, 2).reshape(batch, height, width, -1))


def _pool(x: Tensor, stride: list[int] | None) -> Tensor:
    """Max-pool (B, h, w, C) in space."""
    if stride is None:
        return x
    return F.max_pool2d(x.permute(0, 3, 1, 2), kernel_size=stride, stride=stride).permute(0, 2, 3, 1)


def _to_windows(x: Tensor, window: int) -> Tensor:
    """(B, h, w, C) -> (B * windows, window, window, C), padded at the lower right where it does not fit."""
    batch, height, width, channels = x.shape
    if width % window or height % window:  # padding by nothing is a copy
        x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    x = x.reshape(batch, x.shape[1] // window, window, x.shape[2] // window, window, channels)
    return x.transpose(2, 3).reshape(-1, window, window, channels)


def _from_windows(x: Tensor, window: int, batch: int, height: int, width: int) -> Tensor:
    """Inverse of `_to_windows`, padding cut off."""
    rows, columns = -(-height // window), -(-width // window)
    x = x.reshape(batch, rows, columns, window, window, -1).transpose(2, 3)
    return x.reshape(batch, rows * window, columns * window, -1)[:, :height, :width]
