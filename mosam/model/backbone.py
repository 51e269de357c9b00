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

    from mosam.model.preprocess import Resize

Outputs = Literal["multi", "single", "stable", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSizes:
    """The fixed numbers of a network; in brackets those of the published SAM 2.1.

    Attributes:
        image: side of the square input, pixels (1024).
        grid: side of the top feature map (64).
        mask: side of the low-resolution mask logits (256).
        mask_input: side of the masks that mask prompts are made into (1024).
        width: channels of the top feature map and of an object pointer (256).
        tokens: tokens of one memory entry (4096, one for each cell of the top feature map).
        memory: channels of a memory token (64).
        slots: memory slots, the conditioning one included (7).
        pointers: object pointers attended to, at most (16).
        candidates: masks of one multimask decode (3).
        mean, std: of the RGB pixels in [0, 1], by which they are normalized (ImageNet's).
        resize: filter of its own program that brings frames to the input size.
        conditioning: prompted frames attended to, at most; None = all of them.
        memory_grid: each memory token stands for one cell of the frame, so that cells can be cut out of a memory.
    """

    image: int
    grid: int
    mask: int
    mask_input: int
    width: int
    tokens: int
    memory: int
    slots: int
    pointers: int
    candidates: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Resize
    conditioning: int | None = None
    memory_grid: bool = True


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
class MaskPrompts:
    """Mask prompts of R rows, and what they stand for in place of a decoder's answer.

    Attributes:
        mask: (R, 1, mask_input, mask_input) float32 in [0, 1].
        logits: (R, 1, mask_input, mask_input) float32.
        low_res: (R, 1, mask, mask) float32 logits.
        object_score: (R,) presence logit, positive where the mask is not empty.
    """

    mask: Tensor
    logits: Tensor
    low_res: Tensor
    object_score: Tensor


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
    random: bool

    @property
    def frame_position(self) -> Tensor:
        """(width, grid, grid) code of the cells as memory attention adds it to the top features."""

    def compile(self) -> None:
        """Compile the heaviest parts with `torch.compile`; MosamError where that cannot be."""

    def preprocess(self, images: Sequence[np.ndarray]) -> Tensor:
        """uint8 RGB frames of any sizes -> (B, 3, image, image) normalized pixels on the device."""

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Image features of a batch of frames."""

    def prompt_tokens(self, prompts: Sequence[Prompt], sizes: Sequence[Size]) -> PromptTokens:
        """Box and point prompts with equal token counts -> network coordinates (`x * image / W`)."""

    def no_prompt(self, rows: int) -> PromptTokens:
        """The token pair of a decode without prompt."""

    def mask_prompt(self, prompts: Sequence[Prompt]) -> MaskPrompts:
        """Mask prompts at the sizes of the network."""

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
        outputs: Outputs,
    ) -> Decoded:
        """Masks for R rows: `multi` = outputs 1..3, `single` = output 0, `all` = 0..3; `stable` = output 0, or the best
        of the others where it is unstable.
        """

    def mask_dense_prompt(self, mask: Tensor) -> Tensor:
        """(R, 1, mask_input, mask_input) masks -> (R, 1, mask, mask) dense prompt."""

    def pointer(self, tokens: Tensor, present: Tensor) -> Tensor:
        """(R, width) tokens and (R,) bool presence -> (R, width) float32 object pointers, hard-gated by presence."""

    def release(self) -> None:
        """Give back what is kept for speed alone, after memory ran out."""

    def memorize(
        self, features: ImageFeatures, rows: Tensor, logits: Tensor, present: Tensor, binarize: Tensor | None = None
    ) -> Tensor:
        """Memory of masks.

        Args:
            features: of the frame batch; the raw top map is used.
            rows: (R,) int64 into the batch.
            logits: (R, 1, image, image) of the masks, or (R, 1, mask_input, mask_input) of mask prompts.
            present: (R,) bool; False marks the memory of an absent object.
            binarize: (R,) bool, rows of which `logit > 0` is memorized instead of the sigmoid; None = no row.
        Returns:
            (R, tokens, memory) bfloat16.
        """

    def pool_tokens(self, planes: Tensor, how: Literal["mean", "max"]) -> Tensor:
        """(N, mask, mask) values of pixels -> (N, tokens): mean or largest of the pixels that a memory token stands
        for; 1 for tokens that stand for no place.
        """
