"""SAM 3's tracker behind the `Backbone` interface, over the modules of `transformers`' `Sam3TrackerVideoModel`.

It is SAM 2.1 with another image encoder (a plain ViT of patches of 14 pixels), on 1008 pixels, whose masks go into
memory at 16 pixels a cell instead of 14. Its program and the port differ in when masks are brought to that size: the
program resizes prompts as they are, and the values of memory after the sigmoid; the port resizes binary prompts to the
input size, and logits. The port's layer norms of the image encoder also add 1e-6 to the variance where the program adds
1e-5. `formulas` says which.

Source: Carion et al., SAM 3, 2025; `sam3_tracker_base.py` of facebookresearch/sam3 at 99d02f2; `transformers` 5.24.0.
Its rule of memory is the tracker `sam3`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.errors import MismatchError
from mosam.model.attention import LibraryModule
from mosam.model.backbone import BackboneSizes, ImageFeatures, MaskPrompts
from mosam.model.constants import ABSENT_LOGIT
from mosam.model.logits import mask_prompts, memory_values
from mosam.model.meta_format import MetaNames
from mosam.model.sam2 import Sam2Backbone
from mosam.types import Prompt

GRAY = (0.5, 0.5, 0.5)
ENCODER_EPSILON = 1e-5  # `norm_layer` of its ViT
MASK_CELL = 16  # pixels of a cell of the grid in the masks that memory takes

_ENCODER = "detector.backbone.vision_backbone."
_TRUNK, _NECK = _ENCODER + "trunk.", _ENCODER + "sam2_convs."
_POSITIONS = _TRUNK + "pos_embed"
_TURNS = ".attn.freqs_cis"  # of a block: computed, not learned
_LEVEL = r"^vision_encoder\.neck\.fpn_layers\."
_BLOCK = r"^vision_encoder\.backbone\.layers\.(\d+)\."

NAMES = MetaNames(
    "SAM 3's tracker",
    before=(
        (r"^vision_encoder\.backbone\.embeddings\.position_embeddings$", _POSITIONS),
        (r"^vision_encoder\.backbone\.embeddings\.patch_embeddings\.projection\.", _TRUNK + "patch_embed.proj."),
        (r"^vision_encoder\.backbone\.layer_norm\.", _TRUNK + "ln_pre."),
        (_BLOCK + r"layer_norm(\d)\.", _TRUNK + r"blocks.\1.norm\2."),
        *(
            (_BLOCK + rf"attention\.{kind}_proj\.(\w+)$", _TRUNK + rf"blocks.\1.attn.qkv.\2#{i}/3")
            for i, kind in enumerate("qkv")
        ),
        (_BLOCK + r"attention\.o_proj\.", _TRUNK + r"blocks.\1.attn.proj."),
        (_BLOCK + r"mlp\.", _TRUNK + r"blocks.\1.mlp."),
        (_LEVEL + r"0\.scale_layers\.0\.", _NECK + "0.dconv_2x2_0."),
        (_LEVEL + r"0\.scale_layers\.2\.", _NECK + "0.dconv_2x2_1."),
        (_LEVEL + r"1\.scale_layers\.0\.", _NECK + "1.dconv_2x2."),
        (_LEVEL + r"(\d)\.proj1\.", _NECK + r"\1.conv_1x1."),
        (_LEVEL + r"(\d)\.proj2\.", _NECK + r"\1.conv_3x3."),
    ),
    after=(
        (r"^(?!detector\.)", "tracker."),
        (r"^tracker\.memory_attention\.", "tracker.transformer.encoder."),
        (r"^tracker\.memory_encoder\.", "tracker.maskmem_backbone."),
        (r"^(tracker\.sam_mask_decoder\.transformer\.layers\.\d\.mlp\.)layers\.0\.", r"\1lin1."),
        (r"^(tracker\.sam_mask_decoder\.transformer\.layers\.\d\.mlp\.)layers\.1\.", r"\1lin2."),
    ),
)


def tracker_weights(weights: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """What the tracker needs of Meta's file: all but the detector's own, and but what is computed.

    The image encoder was trained with one more cell before the picture, whose position comes first and is not used.

    Raises:
        MismatchError: positions of another shape.
    """
    positions = weights.get(_POSITIONS)
    if positions is not None and (positions.ndim != 3 or positions.shape[1] < 2):
        raise MismatchError(f"{where}: expected {_POSITIONS} of shape (1, cells + 1, C), got {tuple(positions.shape)}")
    own = {
        name: value
        for name, value in weights.items()
        if not name.startswith("detector.") or (name.startswith((_TRUNK, _NECK)) and not name.endswith(_TURNS))
    }
    return own if positions is None else own | {_POSITIONS: positions[:, 1:]}


class Sam3Backbone(Sam2Backbone):
    """The network of SAM 3's tracker; see `Sam2Backbone` for the arguments."""

    def _read_sizes(self, model: LibraryModule) -> BackboneSizes:
        self._pyramid = _pyramid
        if self.formulas == "official":
            _use_its_formulas(model, turn=self.device.type == "cpu")
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
        """Mask prompts at network size: bilinear with antialias; the port also takes `>= 0.5`.

        What its program shows and remembers of them are logits of +-1024, resized from the prompt's own size.
        """
        if self.formulas != "official":
            return super().mask_prompt(prompts)
        planes = [torch.from_numpy(np.asarray(prompt.mask, dtype=np.float32))[None, None] for prompt in prompts]
        masks = torch.cat([_resized(plane, self.sizes.mask_input) for plane in planes])
        sure = torch.cat([_resized((plane * 2 - 1) * -ABSENT_LOGIT, self.sizes.mask) for plane in planes])
        return replace(mask_prompts(masks.to(self.device), self.sizes.mask), low_res=sure.to(self.device))

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


def _use_its_formulas(model: LibraryModule, *, turn: bool) -> None:
    """Compute the image encoder as the program does, in place.

    Args:
        turn: also turn keys by products of complex numbers; on a GPU those cost three passes.
    """
    encoder = model.vision_encoder.backbone
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = ENCODER_EPSILON
    for layer in encoder.layers if turn else ():
        layer.attention.forward = partial(_attend_within, layer.attention)
        layer.rotary_emb.forward = partial(_turns, layer.rotary_emb)


def _turns(embedding: LibraryModule, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines as the port's, rounded as the program's complex numbers."""
    angle = position_ids[..., None].float() * embedding.inv_freq.to(x.device, torch.float32)
    turn = torch.polar(torch.ones_like(angle), angle)
    return tuple(embedding.recomposition_frequencies(part) for part in (turn.real, turn.imag))  # type: ignore[return-value]


def _attend_within(
    attention: LibraryModule, x: Tensor, position_embeddings: tuple[Tensor, Tensor], **_: object
) -> tuple[Tensor, None]:
    """Self-attention of (B, H, W, C) as the port's, with the program's products of complex numbers."""
    cos, sin = position_embeddings
    turn = torch.complex(cos[..., ::2].float(), sin[..., ::2].float())
    shape = (len(x), -1, attention.num_attention_heads, attention.head_dim)
    query, key, value = (
        projection(x).view(shape).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = (
        torch.view_as_real(torch.view_as_complex(part.float().unflatten(-1, (-1, 2)).contiguous()) * turn)
        .flatten(3)
        .to(part.dtype)
        for part in (query, key)
    )
    out = F.scaled_dot_product_attention(query, key, value)
    return attention.o_proj(out.transpose(1, 2).reshape(x.shape)), None


def _resized(planes: Tensor, side: int) -> Tensor:
    """(R, 1, S, S) -> (R, 1, side, side), bilinear with antialias; as it is where the size is right."""
    if planes.shape[-2:] == (side, side):
        return planes
    return F.interpolate(planes.float(), (side, side), mode="bilinear", align_corners=False, antialias=True)


def _pyramid(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
    return list(encoder(pixels).fpn_hidden_states[:3])
