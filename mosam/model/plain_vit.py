"""The image encoder of EfficientTAM: a plain vision transformer and a neck of one level.

Modules hold weights, whose names are the library's ways; what computes is shared with Hiera.

Source: Li et al., ViTDet, 2022; Xiong et al., EfficientTAM, 2024 (`vitdet.py` and `image_encoder.py` at abcd061).
"""

from __future__ import annotations

from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosam.model.hiera import transform

EPSILON = 1e-6
MLP_RATIO = 4
STORED = 14  # side of the stored position map


class PlainVit(nn.Module):
    """Encoder of square pictures into one map.

    Args:
        channels: of the transformer.
        heads: of its attention.
        depth: blocks.
        whole: indices of the blocks that see the whole picture; the others see a window.
        window: side of that window, cells.
        patch: side of a cell, pixels.
        width: channels of the map.
    """

    def __init__(
        self, channels: int, heads: int, depth: int, whole: tuple[int, ...], window: int, patch: int, width: int
    ):
        super().__init__()
        blocks = [Block(channels, heads, 0 if index in whole else window) for index in range(depth)]
        self.backbone = Trunk(channels, patch, blocks)
        self.neck = Neck(channels, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, image, image) normalized -> (B, width, grid, grid)."""
        return self.neck(self.backbone(pixels).permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """Patches, their positions, and blocks."""

    def __init__(self, channels: int, patch: int, blocks: list[Block]):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + STORED**2, channels))
        self.patch_embed = Patches(channels, patch)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, image, image) -> (B, grid, grid, channels)."""
        x = self.patch_embed(pixels)
        x = x + self.positions(x.shape[1])
        added = None
        for block in self.blocks:
            x, added = transform(block, x, added)
        return x if added is None else x + added

    def positions(self, grid: int) -> Tensor:
        """(1, grid, grid, channels): the stored map, stretched; its first row stands for no cell."""
        stored = self.pos_embed[:, 1:]
        side = isqrt(stored.shape[1])
        stored = stored.unflatten(1, (side, side))
        if side == grid:
            return stored
        return F.interpolate(stored.permute(0, 3, 1, 2), size=(grid, grid), mode="bicubic").permute(0, 2, 3, 1)


class Patches(nn.Module):
    """Pixels of a cell to channels."""

    def __init__(self, channels: int, patch: int):
        super().__init__()
        self.projection = nn.Conv2d(3, channels, patch, patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, image, image) -> (B, grid, grid, channels)."""
        return self.projection(pixels).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Weights of one block, and what `mosam.model.hiera.transform` asks of it."""

    query_stride = None

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.dim = self.dim_out = channels
        self.window_size = window
        self.layer_norm1 = nn.LayerNorm(channels, eps=EPSILON)
        self.attn = Attention(channels, heads)
        self.layer_norm2 = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = FeedForward(channels)


class Attention(nn.Module):
    """Weights of multi-head attention."""

    query_stride = None

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.num_attention_heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)


class FeedForward(nn.Module):
    """Two layers with GELU between."""

    def __init__(self, channels: int):
        super().__init__()
        self.proj_in = nn.Linear(channels, MLP_RATIO * channels)
        self.proj_out = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> the same shape."""
        return self.proj_out(F.gelu(self.proj_in(x)))  # type: ignore[no-any-return]


class Neck(nn.Module):
    """One map of the width that the rest of the network has."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv_1x1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm_0 = MapNorm(width)
        self.conv_3x3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm_1 = MapNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, grid, grid) -> (B, width, grid, grid)."""
        return self.norm_1(self.conv_3x3(self.norm_0(self.conv_1x1(x))))  # type: ignore[no-any-return]


class MapNorm(nn.LayerNorm):
    """Layer normalization over axis 1 of (B, C, H, W)."""

    data_format = "channels_first"  # by which `use_channel_norm` finds it

    def __init__(self, width: int):
        super().__init__(width, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
