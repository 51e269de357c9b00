"""The two formulas in which the `transformers` port rounds otherwise than the official program.

Both are equal on paper. With `official` the whole tracker gives the official numbers bit for bit (fp32 on a processor);
with `library` those of the port. Memory is rounded to 16 bits, which blows a difference of 1e-7 up to a whole step of
that type, hence the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Formulas = Literal["official", "library"]
FORMULAS: tuple[Formulas, ...] = get_args(Formulas)

ROPE_BASE = 10000.0


class ChannelNorm(nn.Module):
    """Layer normalization over axis 1 of (B, C, H, W), written out as in SAM 2's `LayerNorm2d`."""

    def __init__(self, norm: nn.LayerNorm):
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        centered = x - x.mean(1, keepdim=True)
        variance = centered.pow(2).mean(1, keepdim=True)
        normed = centered / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


def use_channel_norm(model: nn.Module) -> None:
    """Replace, in place, every 2-D layer norm of a library model by `ChannelNorm`; parameters keep their names."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm) and getattr(child, "data_format", None) == "channels_first":
                setattr(module, name, ChannelNorm(child))


class Rotary:
    """Axial rotary position encoding of a square grid: half of the channel pairs turn with x, half with y.

    Args:
        grid: side of the grid; position i is `x = i % grid`, `y = i // grid`.
        width: channels, a multiple of 4.
        formulas: `official` = product of complex numbers, `library` = pairwise rotation with cosine and sine. On a GPU
            both are the same pairwise rotation: complex products cannot be compiled there, and cost three passes.
    """

    def __init__(self, grid: int, width: int, *, formulas: Formulas, device: torch.device):
        frequencies = 1.0 / (ROPE_BASE ** (torch.arange(0, width, 4).float() / width))
        cells = torch.arange(grid * grid, dtype=torch.float32)
        x, y = cells % grid, torch.div(cells, grid, rounding_mode="floor")
        angles = torch.cat([torch.outer(x, frequencies), torch.outer(y, frequencies)], dim=-1)
        self.tokens = grid * grid
        self.turn: Tensor | None = None
        self.pairs: tuple[Tensor, Tensor] | None = None
        self._kernel: Callable[[Tensor, Tensor, Tensor, int], None] | None = None
        if device.type == "cuda":
            self.pairs = angles.cos().to(device), angles.sin().to(device)
            self._kernel = _find_kernel()
        elif formulas == "official":
            self.turn = torch.polar(torch.ones_like(angles), angles).to(device)
        else:
            self.cos = angles.cos().repeat_interleave(2, dim=-1).to(device)
            self.sin = angles.sin().repeat_interleave(2, dim=-1).to(device)

    def rotate_keys_(self, x: Tensor, slots: int) -> Tensor:
        """Turn the memories of `slots` slots at the beginning of (R, K, width) in place, and return it."""
        return self.rotate_(x, slots)

    def rotate_(self, x: Tensor, slots: int) -> Tensor:
        """Turn the first `slots * tokens` of (R, K, width) in place, each slot by the same table, and return it."""
        count = slots * self.tokens
        if count == 0:
            return x
        if self.pairs is not None:
            if self._kernel is not None and x.is_contiguous() and not _must_trace(x):
                self._kernel(x, *self.pairs, count)
            else:
                turn_pairs(x, *self.pairs, count)
            return x
        head = x[:, :count].unflatten(1, (slots, self.tokens))
        if self.turn is None:
            values = head.float()
            head.copy_(values * self.cos + _turn_quarter(values) * self.sin)
        elif x.dtype == torch.float32:
            torch.view_as_complex(head.unflatten(-1, (-1, 2))).mul_(self.turn)
        else:
            # one slot at a time, so that what is computed in 32 bits stays in the cache
            for part in head.unbind(1):
                values = part.float()
                torch.view_as_complex(values.unflatten(-1, (-1, 2))).mul_(self.turn)
                part.copy_(values)
        return x


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor, count: int) -> None:
    """Turn the first `count` keys of every row in place; as `rotary_kernel.turn_`, in plain torch."""
    tokens, half = cos.shape
    head = x[:, :count].unflatten(1, (count // tokens, tokens))
    a, b = head.float().unflatten(-1, (half, 2)).unbind(-1)
    head.copy_(torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2))


def _find_kernel() -> Callable[[Tensor, Tensor, Tensor, int], None] | None:
    """The rotation as one kernel, where Triton is there."""
    try:
        from mosam.model.rotary_kernel import turn_
    except ImportError:
        return None
    return turn_


def _must_trace(x: Tensor) -> bool:
    """Whether every operation must be torch's own: for gradients, or while torch compiles and fuses them itself."""
    return torch.compiler.is_compiling() or (x.requires_grad and torch.is_grad_enabled())


def _turn_quarter(x: Tensor) -> Tensor:
    """Channel pairs (a, b) -> (-b, a)."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((-b, a), dim=-1).flatten(-2)


def sine_map(grid: int, channels: int) -> Tensor:
    """Fixed 2-D position code of a square grid, (grid * grid, channels) fp32: half of the channels for y, half for x.

    Source: SAM 2 `PositionEmbeddingSine` (normalized), temperature 10000; computed in fp32 whatever the compute type.
    """
    half = channels // 2
    place = torch.arange(1, grid + 1, dtype=torch.float32)
    place = place / (place[-1] + 1e-6) * (2 * torch.pi)
    index = torch.arange(half, dtype=torch.float32)
    period = ROPE_BASE ** (2 * (index // 2) / half)
    angle = place[:, None] / period
    code = torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)
    y = code[:, None, :].expand(grid, grid, half)
    x = code[None, :, :].expand(grid, grid, half)
    return torch.cat((y, x), dim=2).flatten(0, 1)


def sine_code(values: Tensor, channels: int) -> Tensor:
    """1-D position code: (...,) fp32 -> (..., channels), sines first, then cosines; temperature 10000."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=values.device)
    angle = values.unsqueeze(-1) / ROPE_BASE ** (2 * (index // 2) / half)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
