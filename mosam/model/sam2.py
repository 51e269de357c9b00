"""SAM 2.1 behind the `Backbone` interface, over the modules of `transformers`' `Sam2VideoModel`.

Only modules and weights are taken from the library; its session, its per-frame loop and its forward pass are not used.
Precision: fp32, or 16-bit autocast as the official programs run it. The weights of matrices and convolutions are then
stored in 16 bits once, instead of being cast again at every call, which gives the same numbers. Position codes are
computed in fp32, once, and the top features stay fp32. On a GPU fp32 means all 32 bits: TF32, which torch and so the
official programs use in convolutions unless told otherwise, is off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from mosam.errors import MismatchError, MosamError
from mosam.model import blocked
from mosam.model.attention import LibraryModule, attend_to_memory, gather
from mosam.model.backbone import (
    BackboneSizes,
    Decoded,
    ImageFeatures,
    MaskPrompts,
    MemoryRead,
    Outputs,
    PromptTokens,
)
from mosam.model.devices import can_compile
from mosam.model.formulas import Formulas, Rotary, sine_code, sine_map, use_channel_norm
from mosam.model.fp32 import full_fp32
from mosam.model.graphs import CudaRecorder, Graphed, Recorder, Work, graphs_wanted
from mosam.model.hiera import pyramid
from mosam.model.logits import mask_prompts, memory_values, pool_cells, select_outputs
from mosam.model.networks import MASK_STRIDE, STRIDE
from mosam.model.preprocess import MEAN, NO_POINT, STD, Resize, load_mask, load_pixels, prompt_points
from mosam.model.widened import has_native, widen
from mosam.types import Prompt, Size

T = TypeVar("T")

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MATRICES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)  # the modules whose weights autocast takes in 16 bits
CURRENT_POSITION_WEIGHT = 0.1  # of the position code added to the features, `pos_enc_at_input` of SAM 2


class Sam2Backbone:
    """The network of SAM 2.1, of any size.

    The calls are those of `mosam.model.backbone.Backbone`. Gradients flow through all of them; the caller decides on
    `torch.inference_mode`. In fp32 an autocast region of the caller is respected.

    Attributes:
        model: the library's module; its forward is never called.
        name: what run.json and tables call it.
        random: True for weights that were drawn, not trained.
        weights_hash: SHA-256 of the weights as loaded, or "" where none was computed.
        compiled: whether `compile` was called.
        formulas: which of two roundings is used, see `mosam.model.formulas`.
        resize: filter that brings frames to the input size; None = that of its own program.
        precision: `fp32`, `bf16` or `fp16`.
    Args:
        device: where to run; the model is moved there.
    """

    def __init__(
        self,
        model: LibraryModule,
        *,
        name: str,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        formulas: Formulas = "official",
        resize: Resize | None = None,
        random: bool = False,
        weights_hash: str = "",
    ):
        self.name = name
        self.random = random
        self.weights_hash = weights_hash
        self.formulas: Formulas = formulas
        self.precision: Precision = precision
        self.compiled = False
        self._constants: dict[str, tuple[object, Any]] = {}
        self._pyramid: Callable[[LibraryModule, Tensor], list[Tensor]] = pyramid
        self._attend_to_memory: Callable[..., Tensor] = attend_to_memory
        self.dtype = DTYPES[precision]
        self.device = torch.device(device)
        self.sizes = self._read_sizes(model)
        self.resize: Resize = resize or self.sizes.resize
        self.tokens_per_pointer = self.sizes.width // self.sizes.memory
        if formulas == "official":
            use_channel_norm(model)
        self.model = model.to(self.device).eval()
        if self.dtype != torch.float32:
            widened = self.device.type == "cpu" and not has_native(self.dtype)
            for module in self.model.modules():
                if isinstance(module, MATRICES):
                    if widened:
                        widen(module, self.dtype)
                    else:
                        module.to(self.dtype)
        self._rotary = self._make_rotary()
        self._feature_position = CURRENT_POSITION_WEIGHT * sine_map(self.sizes.grid, self.sizes.width).to(self.device)
        self._memory_position = self._make_memory_position().to(self.dtype).float().to(self.device)
        self.use_graphs(CudaRecorder if self.device.type == "cuda" and graphs_wanted() else None)

    def _read_sizes(self, model: LibraryModule) -> BackboneSizes:
        return _sizes(model)

    def _make_rotary(self) -> Rotary:
        return Rotary(self.sizes.grid, self.sizes.width, formulas=self.formulas, device=self.device)

    def _make_memory_position(self) -> Tensor:
        """(tokens, memory) position code of memory tokens."""
        return sine_map(self.sizes.grid, self.sizes.memory)

    @property
    def frame_position(self) -> Tensor:
        """(width, grid, grid) code of the cells as memory attention adds it to the top features."""
        return self._feature_position.T.unflatten(1, (self.sizes.grid, self.sizes.grid))

    def use_graphs(self, recorder: Callable[[torch.device], Recorder] | None) -> None:
        """Replay the network's calls as graphs, where that proves right and no slower (`mosam.model.graphs`).

        Args:
            recorder: makes what records graphs; None = plain calls. Encoding may run on a stream beside the rest,
                so it has a recorder of its own.
        """
        calls: dict[str, Work] = {
            "encode": self._encode,
            "attend": self._attend,
            "decode": self._decode,
            "memorize": self._memorize,
        }
        self._calls: dict[str, Work] = dict(calls)
        self._recorders = [] if recorder is None else [recorder(self.device), recorder(self.device)]
        if self._recorders:
            beside, rest = self._recorders
            for name, work in calls.items():
                self._calls[name] = Graphed(work, beside if name == "encode" else rest, name=name)

    def release(self) -> None:
        """See `Backbone`: graphs are given back, and no more are made."""
        for call in self._calls.values():
            if isinstance(call, Graphed):
                call.forget()
        for recorder in self._recorders:
            recorder.close()

    def compile(self) -> None:
        """Compile the image encoder and memory attention with `torch.compile`, from their next call on.

        The encoder is compiled for each batch size it meets, on a GPU with CUDA graphs; memory attention once for all
        numbers of memories, but not where `mosam.model.blocked` computes it. What was compiled is kept on disk by torch
        (`TORCHINDUCTOR_CACHE_DIR`). Numbers change by rounding, as sums are formed in another order.

        Raises:
            MosamError: this torch cannot compile here.
        """
        if not can_compile(self.device):
            raise MosamError(
                f"compile: expected a torch that can compile for {self.device.type} (Triton for a GPU, a C++ compiler "
                "for a processor), found none; leave out --compile"
            )
        graphs = self.device.type == "cuda"
        compiled = torch.compile(self._pyramid, dynamic=False, mode="reduce-overhead" if graphs else None)

        def encode(encoder: LibraryModule, pixels: Tensor) -> list[Tensor]:
            if not graphs:
                return list(compiled(encoder, pixels))
            torch.compiler.cudagraph_mark_step_begin()
            # a graph writes into the same memory at every call, and features live on: memory is made of them later
            return [level.clone() for level in compiled(encoder, pixels)]

        self._pyramid = encode
        self._calls["encode"] = self._encode_padded
        self._calls["attend"] = self._attend  # a graph of compiled code would be recorded before it is compiled
        if not (self.device.type == "cpu" and self.dtype is torch.bfloat16 and blocked.pays()):  # faster as it is
            self._attend_to_memory = torch.compile(self._attend_to_memory, dynamic=True)
        self.compiled = True

    def _compute(self) -> contextlib.AbstractContextManager[object]:
        """The precision of a call; in fp32 on a CPU that of the caller."""
        if self.dtype == torch.float32:
            return full_fp32() if self.device.type == "cuda" else contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    # Inputs

    def preprocess(self, images: Sequence[np.ndarray]) -> Tensor:
        """uint8 RGB frames of any sizes -> (B, 3, image, image) normalized pixels on the device."""
        sizes = self.sizes
        return load_pixels(images, sizes.image, resize=self.resize, device=self.device, mean=sizes.mean, std=sizes.std)

    def prompt_tokens(self, prompts: Sequence[Prompt], sizes: Sequence[Size]) -> PromptTokens:
        """Box and point prompts with equal point counts -> network coordinates.

        Raises:
            ValueError: a mask prompt, or prompts with different numbers of points.
        """
        pairs = [prompt_points(prompt, size, self.sizes.image) for prompt, size in zip(prompts, sizes, strict=True)]
        counts = {len(labels) for _, labels in pairs}
        if len(counts) > 1:
            raise ValueError(f"prompt_tokens: expected the same number of points in every row, got {sorted(counts)}")
        points = torch.stack([points for points, _ in pairs]).to(self.device)
        return PromptTokens(points, torch.stack([labels for _, labels in pairs]).to(self.device))

    def no_prompt(self, rows: int) -> PromptTokens:
        """The token pair of a decode without prompt: one point that is none; the prompt encoder adds the other."""
        points = torch.zeros(rows, 1, 2, device=self.device)
        labels = torch.full((rows, 1), NO_POINT, dtype=torch.int32, device=self.device)
        return PromptTokens(points, labels, none=True)

    def mask_prompt(self, prompts: Sequence[Prompt]) -> MaskPrompts:
        """Mask prompts at network size: bilinear with antialias, then `>= 0.5`.

        Raises:
            ValueError: a prompt without a mask.
        """
        masks = []
        for prompt in prompts:
            if prompt.mask is None:
                raise ValueError(f"prompt of object {prompt.object_id}: expected a mask, got a {prompt.kind}")
            masks.append(load_mask(prompt.mask, self.sizes.mask_input))
        return mask_prompts(torch.stack(masks).to(self.device), self.sizes.mask)

    # The network

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Image features of a batch of frames."""
        top, *high = self._calls["encode"](pixels)
        return ImageFeatures(top=top, high=tuple(high))

    def _encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        decoder = self.model.mask_decoder
        with self._compute():
            high, middle, top = self._pyramid(self.model.vision_encoder, pixels)
            return top.float(), decoder.conv_s0(high), decoder.conv_s1(middle)

    def _encode_padded(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Compiled code is made for each batch size, and only for a few: the batch is filled up to a power of two."""
        count = len(pixels)
        missing = padded_batch(count) - count
        if missing:
            pixels = torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)])
        return tuple(level[:count] for level in self._encode(pixels))

    def attend(self, features: ImageFeatures, rows: Tensor, read: MemoryRead) -> Tensor:
        """Top features of `rows` conditioned on memory -> (R, width, grid, grid)."""
        (out,) = self._calls["attend"](features.top, rows, *(getattr(read, field.name) for field in fields(read)))
        return out

    def _attend(self, top: Tensor, rows: Tensor, *memories: Tensor | None) -> tuple[Tensor]:
        read = MemoryRead(*memories)  # type: ignore[arg-type]
        with self._compute():
            frames = top.flatten(2).transpose(1, 2) + self._feature_position
            keys, values = self._memory_tokens(read)
            out = self._attend_to_memory(
                self.model.memory_attention,
                self._rotary,
                frames,
                rows,
                keys,
                values,
                slots=read.memory.shape[1],
                bias=read.bias,
            )
            return (out.transpose(1, 2).unflatten(2, (self.sizes.grid, self.sizes.grid)),)

    def _memory_tokens(self, read: MemoryRead) -> tuple[Tensor, Tensor]:
        """Keys (position code added, scaled) and values of all slots, then of all pointers: (R, K, memory) fp32."""
        model, rows = self.model, read.memory.shape[0]
        memory = read.memory.float()
        temporal = model.memory_temporal_positional_encoding[:, 0, 0][read.temporal]
        keys = memory + (self._memory_position + temporal[:, :, None])
        if read.slot_scale is not None:
            keys = keys * self._scale(read.slot_scale)[:, :, None, None]
        keys, values = keys.flatten(1, 2), memory.flatten(1, 2)
        if read.pointers.shape[1] == 0:
            return keys, values
        parts = self.tokens_per_pointer
        pointers = pointer_keys = read.pointers.reshape(rows, -1, self.sizes.memory)
        if model.config.enable_temporal_pos_encoding_for_object_pointers:
            code = sine_code(read.positions, self.sizes.width)
            place = model.temporal_positional_encoding_projection_layer(code).repeat_interleave(parts, dim=1)
            pointer_keys = pointers + place
        if read.pointer_scale is not None:
            pointer_keys = pointer_keys * self._scale(read.pointer_scale).repeat_interleave(parts, dim=1)[:, :, None]
        return torch.cat((keys, pointer_keys), dim=1), torch.cat((values, pointers), dim=1)

    def _scale(self, scale: Tensor) -> Tensor:
        """Key weights in fp32; SAM2Long's program forms them from presence logits, which are bfloat16 in a bf16 run."""
        return scale.bfloat16().float() if self.dtype == torch.bfloat16 else scale

    def without_memory(self, features: ImageFeatures, rows: Tensor) -> Tensor:
        """Top features of `rows` plus the no-memory embedding -> (R, width, grid, grid)."""
        return gather(features.top, rows) + self.model.no_memory_embedding.view(1, -1, 1, 1)

    def decode(
        self,
        top: Tensor,
        features: ImageFeatures,
        rows: Tensor,
        prompts: PromptTokens,
        *,
        outputs: Outputs,
    ) -> Decoded:
        """Masks for R rows: see `Backbone.decode`.

        Args:
            top: (R, width, grid, grid) features to decode from.
            features: of the frame batch, for the high-resolution maps.
            rows: (R,) int64 into that batch.
            prompts: one set of points, and a dense prompt or none, per row.
            outputs: which of the decoder's four masks are wanted.
        """
        none = prompts.none and prompts.mask_logits is None
        given = (None, None, None) if none else (prompts.points, prompts.labels, prompts.mask_logits)
        call = self._calls["decode"] if none else self._decode
        masks, iou, tokens, object_score = call(top, rows, *given, *features.high)
        return select_outputs(masks, iou, tokens, object_score, outputs)

    def _decode(
        self,
        top: Tensor,
        rows: Tensor,
        points: Tensor | None,
        labels: Tensor | None,
        mask_logits: Tensor | None,
        *high: Tensor,
    ) -> tuple[Tensor, ...]:
        """All four masks, their predicted IoU and tokens, and the presence logit."""
        decoder, count = self.model.mask_decoder, top.shape[0]
        with self._compute():
            sparse, dense = self._embed_prompts(count, points, labels, mask_logits)
            fixed = torch.cat((decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight))
            tokens, image = decoder.transformer(
                point_embeddings=torch.cat((fixed.expand(count, 1, *fixed.shape), sparse), dim=2),
                image_embeddings=top + dense,
                image_positional_embeddings=self._image_position().expand(count, -1, -1, -1),
                attention_similarity=None,
            )
            mask_tokens = tokens[:, 0, 2 : 2 + decoder.num_mask_tokens]
            levels = [gather(level, rows) for level in high]
            fine = self._upscale(image[:, 0].transpose(1, 2).reshape(top.shape), *levels)
            weights = [mlp(mask_tokens[:, i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)]
            masks = (torch.stack(weights, dim=1) @ fine.flatten(2)).unflatten(2, fine.shape[2:])
            iou = decoder.iou_prediction_head(tokens[:, 0, 1])
            object_score = decoder.pred_obj_score_head(tokens[:, 0, 0])[:, 0]
        return masks, iou, mask_tokens, object_score

    def _embed_prompts(
        self, count: int, points: Tensor | None, labels: Tensor | None, mask_logits: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sparse (R, 1, N, width) and dense (R, width, grid, grid) embedding of prompts, or of having none."""
        encoder = self.model.prompt_encoder
        if points is not None and labels is not None:
            return encoder(
                input_points=points[:, None], input_labels=labels[:, None], input_boxes=None, input_masks=mask_logits
            )

        def of_none() -> tuple[Tensor, Tensor]:
            tokens = self.no_prompt(1)
            return encoder(
                input_points=tokens.points[:, None],
                input_labels=tokens.labels[:, None],
                input_boxes=None,
                input_masks=None,
            )

        sparse, dense = self._constant(
            "no prompt", of_none, encoder.not_a_point_embed.weight, encoder.no_mask_embed.weight
        )
        return sparse.expand(count, -1, -1, -1), dense.expand(count, -1, -1, -1)

    def _constant(self, name: str, make: Callable[[], T], *weights: Tensor) -> T:
        """What depends on weights alone, made once; made anew while gradients are wanted or after they changed."""
        if not torch.is_inference_mode_enabled():
            return make()
        state = tuple((id(w), 0 if w.is_inference() else w._version) for w in weights)
        kept = self._constants.get(name)
        if kept is None or kept[0] != state:
            kept = self._constants[name] = (state, make())
        return cast(T, kept[1])

    def _image_position(self) -> Tensor:
        """(1, width, grid, grid) random Fourier code of the cells, from the model's buffer."""
        embedding = self.model.shared_image_embedding
        return self._constant("image position", self._make_image_position, embedding.positional_embedding)

    def _make_image_position(self) -> Tensor:
        side = self.sizes.grid
        place = (torch.arange(side, device=self.device, dtype=torch.float32) + 0.5) / side
        y, x = torch.meshgrid(place, place, indexing="ij")
        with torch.autocast(self.device.type, enabled=False):
            code = self.model.shared_image_embedding(torch.stack((x, y), dim=-1))
        return code.permute(2, 0, 1)[None]

    def _upscale(self, image: Tensor, *levels: Tensor) -> Tensor:
        """Decoder features at mask resolution, (R, width / 8, mask, mask)."""
        decoder, (high, middle) = self.model.mask_decoder, levels
        x = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image) + middle))
        return decoder.activation(decoder.upscale_conv2(x) + high)

    def mask_dense_prompt(self, mask: Tensor) -> Tensor:
        """(R, 1, image, image) 0/1 masks through the stride-4 convolution -> (R, 1, mask, mask) dense prompt."""
        with self._compute():
            return self.model.mask_downsample(mask)

    def pointer(self, tokens: Tensor, present: Tensor) -> Tensor:
        """(R, width) tokens and (R,) bool presence -> (R, width) float32 object pointers, hard-gated by presence."""
        with self._compute():
            pointers = self.model.object_pointer_proj(tokens)
        gate = present[:, None].float()
        return gate * pointers + (1 - gate) * self.model.no_object_pointer

    def memorize(
        self, features: ImageFeatures, rows: Tensor, logits: Tensor, present: Tensor, binarize: Tensor | None = None
    ) -> Tensor:
        """(R, tokens, memory) bfloat16 memory of masks; absent objects get the no-object vector."""
        values = memory_values(logits, binarize)
        (memory,) = self._calls["memorize"](features.top, rows, values, present)
        return memory

    def pool_tokens(self, planes: Tensor, how: Literal["mean", "max"]) -> Tensor:
        """(N, mask, mask) -> (N, tokens), one token for each cell."""
        return pool_cells(planes, self.sizes.grid, how)

    def _memorize(self, top: Tensor, rows: Tensor, mask_values: Tensor, present: Tensor) -> tuple[Tensor]:
        encoder = self.model.memory_encoder
        top = top.contiguous()  # the layout in which the official program rounds
        with self._compute():
            if rows.shape[0] >= top.shape[0]:  # once per frame when several rows share it, else once per row
                frames = gather(encoder.feature_projection(top), rows)
            else:
                frames = encoder.feature_projection(gather(top, rows))
            memory = encoder.projection(encoder.memory_fuser(frames + encoder.mask_downsampler(mask_values)))
        occlusion = self.model.occlusion_spatial_embedding_parameter
        if occlusion is not None:
            memory = memory + (1 - present.float()[:, None, None, None]) * occlusion[..., None, None]
        return (self._to_tokens(memory).to(torch.bfloat16).contiguous(),)

    def _to_tokens(self, memory: Tensor) -> Tensor:
        """(R, memory, grid, grid) -> (R, tokens, memory)."""
        return memory.flatten(2).transpose(1, 2)


def padded_batch(count: int) -> int:
    """The next power of two, or of 16 a multiple: 1, 2, 4, 8, 16, 32, 48 ...

    >>> [padded_batch(count) for count in (1, 3, 8, 9, 17)]
    [1, 4, 8, 16, 32]
    """
    return -(-count // 16) * 16 if count > 16 else 1 << (count - 1).bit_length()


def _sizes(model: LibraryModule) -> BackboneSizes:
    """Sizes of a library model.

    Raises:
        MismatchError: a configuration our calls are not written for.
    """
    config = model.config
    width, image = config.vision_config.fpn_hidden_size, config.image_size
    if isinstance(image, (list, tuple)):
        image = image[0]
    heads = config.memory_attention_num_attention_heads, config.memory_attention_downsample_rate
    if heads != (1, 1) or config.memory_attention_hidden_size != width:
        raise MismatchError(
            f"model configuration: expected one memory attention head of {width} channels, got {heads[0]} heads, "
            f"rate {heads[1]}, {config.memory_attention_hidden_size} channels; use a SAM 2.1 checkpoint"
        )
    grid = image // STRIDE
    return BackboneSizes(
        image=image,
        grid=grid,
        mask=image // MASK_STRIDE,
        mask_input=image,
        width=width,
        tokens=grid * grid,
        memory=config.memory_encoder_output_channels,
        slots=config.num_maskmem,
        pointers=config.max_object_pointers_in_encoder,
        candidates=config.mask_decoder_config.num_multimask_outputs,
        mean=MEAN,
        std=STD,
        resize="pil_bicubic",
    )
