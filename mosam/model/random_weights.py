"""Seeded random weights: the same values on every machine and with every version of torch and numpy.

A fresh library model is no use for tests: many of its vectors start at zero and its layers shrink the signal, so most
paths do nothing. Here every value is drawn anew.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from mosam.model.meta_format import FOURIER_COPIES

NORM_SPREAD = 0.1  # of the scale (around 1) and shift (around 0) of normalizations, and of all biases
BATCH_NORM_SCALE = 0.8  # of batch norms, which divide by 1 here, not by a spread: at 1 a deep encoder grows without end
VECTOR_STD = 0.2  # of embeddings and free vectors: token tables, position tables, no-object vectors
BLOCK_SCALE_STD = 0.3  # of the scale of a memory encoder block
MATRIX_GAIN = 1.0  # std of a matrix is this / sqrt(inputs)


def draw_weights(model: nn.Module, seed: int) -> None:
    """Redraw every weight and stored buffer of a library model, in place.

    Uniform values from numpy's `RandomState`, whose stream is frozen and which needs no library function that rounds
    differently elsewhere. The two copies of the random Fourier matrix are made equal, as in trained models.
    """
    generator = np.random.RandomState(seed)
    norms = {id(p) for m in model.modules() if isinstance(m, nn.LayerNorm) for p in (m.weight, m.bias)}
    batch = {id(p) for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in (m.weight, m.bias)}
    state = dict(model.named_parameters()) | {name: model.get_buffer(name) for name in FOURIER_COPIES}
    with torch.no_grad():
        for name in sorted(state):
            value = state[name]
            std, mean = _spread(name, value, is_norm=id(value) in norms | batch)
            mean *= BATCH_NORM_SCALE if id(value) in batch else 1
            drawn = (generator.random_sample(tuple(value.shape)) * 2 - 1) * (std * math.sqrt(3)) + mean
            value.copy_(torch.from_numpy(drawn.astype(np.float32)))
        state[FOURIER_COPIES[1]].copy_(state[FOURIER_COPIES[0]])


def _spread(name: str, value: torch.Tensor, *, is_norm: bool) -> tuple[float, float]:
    """Standard deviation and mean of a weight's values."""
    if name in FOURIER_COPIES:
        return 1.0, 0.0
    if is_norm:
        return NORM_SPREAD, 1.0 if name.endswith("weight") else 0.0
    if name.endswith(".scale"):
        return BLOCK_SCALE_STD, 0.0
    if name.endswith(".bias"):
        return NORM_SPREAD, 0.0
    if value.ndim < 2 or name.rsplit(".", 1)[0].endswith(("embed", "_token", "_tokens")) or "." not in name:
        return VECTOR_STD, 0.0
    if "pos_embed" in name:
        return VECTOR_STD, 0.0
    inputs = value[0].numel() if "upscale_conv" not in name else value.shape[0]
    return MATRIX_GAIN / math.sqrt(inputs), 0.0
