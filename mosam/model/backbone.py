"""What the engine sees of a network: a few stateless calls and its sizes.

Everything outside `mosam/model/` works with these names only, so that another network of the family can come behind
them. Rows are the batch dimension: one row is one hypothesis of one object of one sequence. No call keeps anything
between two invocations, none switches gradients off (training uses the same calls), and none reads a value back to the
host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from mosam.types import Prompt, Size

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class BackboneSizes:
    """The fixed sizes of a network.

    Attributes:
        image: side of the square input, pixels (1024 for the published SAM 2.1 sizes).
        grid: side of the top feature map (64); `tokens` = grid * grid.
        mask: side of the low-resolution mask logits (256).
        width: channels of the top feature map and of an object pointer (256).
        memory: channels of a memory feature (64).
        slots: memory slots, the conditioning one included (7).
        pointers: object pointers attended to, at most (16).
        candidates: masks of one multimask decode (3).
    """

    image: int
    grid: int
    mask: int
    width: int
    memory: int
    slots: int
    pointers: int
    candidates: int

    @property
    def tokens(self) -> int:
        """Tokens of one memory entry."""
        return self.grid * self.grid


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """Features of a batch of B frames, shared by all objects of a frame.

    Attributes:
        top: (B, width, grid, grid) raw top features.
        high: decoder's high-resolution features, highest first: (B, ch, 4 * grid, 4 * grid) and
            (B, ch', 2 * grid, 2 * grid).
    """

    top: Tensor
    high: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MemoryRead:
    """What R rows attend to; all rows have S slots and P pointers, those that a row lacks are masked by `bias`.

    Attributes:
        memory: (R, S, tokens, memory) features as stored.
        temporal: (R, S) int64 index into the learned temporal vectors.
        pointers: (R, P, width) float32 object pointers; P may be 0.
        positions: (R, P) float32 position value of each pointer, already divided by the norm.
        slot_scale: (R, S) factor on the keys of each slot before projection, or None for 1.
        pointer_scale: (R, P) likewise for pointers, or None for 1.
        bias: (R, S * tokens + P * tokens_per_pointer) added to the attention logits of each key (-inf hides it), or
            None. Slots come first, then the pointers, `tokens_per_pointer` keys for each.
    """

    memory: Tensor
    temporal: Tensor
    pointers: Tensor
    positions: Tensor
    slot_scale: Tensor | None = None
    pointer_scale: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PromptTokens:
    """Prompts of R rows in network coordinates: the same number of points in every row.

    Attributes:
        points: (R, N, 2) float32 x, y in input pixels; a box is two points.
        labels: (R, N) int32: 1 positive, 0 negative, 2 and 3 the corners of a box, -1 "no point".
        mask_logits: (R, 1, mask, mask) dense prompt, or None.
        none: there is no prompt at all, so that its embedding is a constant.
    """

    points: Tensor
    labels: Tensor
    mask_logits: Tensor | None = None
    none: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Answer of the mask decoder for R rows, nothing blanked yet.

    Attributes:
        masks: (R, K, mask, mask) logits.
        iou: (R, K) predicted IoU in [0, 1].
        tokens: (R, K, width) the mask tokens that pointers are made from.
        object_score: (R,) presence logit.
    """

    masks: Tensor
    iou: Tensor
    tokens: Tensor
    object_score: Tensor


class Backbone(Protocol):
    """A network of the SAM 2 family."""

    name: str
    weights_hash: str
    sizes: BackboneSizes
    device: torch.device
    dtype: torch.dtype
    tokens_per_pointer: int

    def preprocess(self, images: Sequence[np.ndarray]) -> Tensor:
        """uint8 RGB frames of any sizes -> (B, 3, image, image) normalized pixels on the device."""

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Image features of a batch of frames."""

    def prompt_tokens(self, prompts: Sequence[Prompt], sizes: Sequence[Size]) -> PromptTokens:
        """Box and point prompts with equal token counts -> network coordinates (`x * image / W`)."""

    def no_prompt(self, rows: int) -> PromptTokens:
        """The token pair of a decode without prompt."""

    def mask_prompt(self, prompts: Sequence[Prompt]) -> Tensor:
        """Mask prompts -> (R, 1, image, image) of 0 and 1: bilinear with antialias, then `>= 0.5`."""

    def attend(self, features: ImageFeatures, rows: Tensor, read: MemoryRead) -> Tensor:
        """Top features of `rows` (R,) int64 into the frame batch, conditioned on memory -> (R, width, grid, grid)."""

    def without_memory(self, features: ImageFeatures, rows: Tensor) -> Tensor:
        """Top features plus the no-memory embedding, for box and point prompts -> (R, width, grid, grid)."""

    def decode(
        self,
        top: Tensor,
        features: ImageFeatures,
        rows: Tensor,
        prompts: PromptTokens,
        *,
        outputs: Literal["multi", "single", "all"],
    ) -> Decoded:
        """Masks for R rows: `multi` = outputs 1..3, `single` = output 0, `all` = 0..3. No stability fallback."""

    def mask_dense_prompt(self, mask: Tensor) -> Tensor:
        """(R, 1, image, image) 0/1 masks through the stride-4 convolution -> (R, 1, mask, mask) dense prompt."""

    def pointer(self, tokens: Tensor, present: Tensor) -> Tensor:
        """(R, width) tokens and (R,) bool presence -> (R, width) float32 object pointers, hard-gated by presence."""

    def release(self) -> None:
        """Give back what is kept for speed alone, after memory ran out."""

    def memorize(self, features: ImageFeatures, rows: Tensor, mask_values: Tensor, present: Tensor) -> Tensor:
        """Memory of masks.

        Args:
            features: of the frame batch; the raw top map is used.
            rows: (R,) int64 into the batch.
            mask_values: (R, 1, image, image), already `20 * sigmoid(logits) - 10` or its binarized form.
            present: (R,) bool; False adds the no-object vector.
        Returns:
            (R, tokens, memory) bfloat16.
        """
