"""Memory attention over the library's projections.

Why not the library's module: it takes no bias and no key scale, its own caller only works with one row, and it repeats
the first layer's self-attention for every object of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mosam.model.blocked import attend
from mosam.model.formulas import Rotary
from mosam.model.norms import add_norm

LibraryModule = Any  # modules of `transformers`, which declares no types for their members
# projected and turned keys, values, (R, K) bias or None, slots, cells of a slot -> fewer keys, values, their bias
Merge = Callable[[Tensor, Tensor, Tensor | None, int, int], tuple[Tensor, Tensor, Tensor | None]]


def attend_to_memory(
    module: LibraryModule,
    rotary: Rotary,
    frames: Tensor,
    rows: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    slots: int,
    bias: Tensor | None = None,
    feed_forward: Callable[[LibraryModule, Tensor], Tensor] | None = None,
    merge: Merge | None = None,
) -> Tensor:
    """Condition the features of R rows on their memories.

    Args:
        module: a `Sam2VideoMemoryAttention`.
        rotary: position table of the feature grid.
        frames: (B, N, C) features of the frames with their position code added.
        rows: (R,) int64 frame of each row.
        keys: (R, K, memory) memories with their position code added, scaled where wanted; those of the slots get the
            rotary code, those after them (pointers) none.
        values: (R, K, memory) memories.
        slots: memory slots among the K.
        bias: (R, K) added to the logits of every query; -inf hides a key (its content must still be finite). None takes
            the kernel without a mask.
        feed_forward: of a layer and normalized features; None = that of SAM 2.
        merge: makes fewer keys of those of the slots; None = every key is attended to.
    Returns:
        (R, N, C).
    """
    feed_forward = feed_forward or _feed_forward
    first = module.layers[0]
    # The first self-attention sees only the frame: once per frame when several rows share it, else once per row.
    if rows.shape[0] >= frames.shape[0]:
        x = gather(_self_attention(first, rotary, frames), rows)
    else:
        x = _self_attention(first, rotary, gather(frames, rows))
    for layer in module.layers:
        if layer is not first:
            x = _self_attention(layer, rotary, x)
        x = _cross_attention(layer, rotary, x, keys, values, slots, bias, merge)
        x = x + layer.dropout3(feed_forward(layer, add_norm(layer.layer_norm3, x)[1]))
    return module.layer_norm(x)


def _feed_forward(layer: LibraryModule, x: Tensor) -> Tensor:
    return layer.linear2(layer.dropout(layer.activation(layer.linear1(x))))  # type: ignore[no-any-return]


def gather(frames: Tensor, rows: Tensor) -> Tensor:
    """Rows of a frame batch: (B, ...) -> (R, ...); a batch of one frame is expanded, not copied."""
    if frames.shape[0] == 1:
        return frames.expand(rows.shape[0], *frames.shape[1:])
    return frames.index_select(0, rows)


def _self_attention(layer: LibraryModule, rotary: Rotary, x: Tensor) -> Tensor:
    attention = layer.self_attn
    _, normed = add_norm(layer.layer_norm1, x)
    query = rotary.rotate_(attention.q_proj(normed), 1)
    key = rotary.rotate_(attention.k_proj(normed), 1)
    return x + layer.dropout1(_attend(attention, query, key, attention.v_proj(normed), None))


def _cross_attention(
    layer: LibraryModule,
    rotary: Rotary,
    x: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: int,
    bias: Tensor | None,
    merge: Merge | None,
) -> Tensor:
    attention = layer.cross_attn_image
    query = rotary.rotate_(attention.q_proj(add_norm(layer.layer_norm2, x)[1]), 1)
    key = rotary.rotate_keys_(attention.k_proj(keys), slots)
    value = attention.v_proj(values)
    if merge is not None:
        key, value, bias = merge(key, value, bias, slots, x.shape[1])
    return x + layer.dropout2(_attend(attention, query, key, value, bias))


def _attend(attention: LibraryModule, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """One-head attention of (R, N, C) queries over (R, K, C) keys, and the output projection."""
    mask = None if bias is None else bias.to(query.dtype)[:, None, None, :]
    dropout = attention.dropout_p if attention.training else 0.0
    out = attend(query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), mask, dropout)
    return attention.o_proj(out.squeeze(1))
