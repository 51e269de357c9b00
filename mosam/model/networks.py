"""The sizes of every network that has a name: the four published SAM 2.1 models and our own small ones.

Only the numbers that differ are written down here. `library_config` turns them into the configuration object of the
`transformers` modules; everything it does not set is the library's default, which is the official value.

The published numbers are those of `sam2/configs/sam2.1/*.yaml` (facebookresearch/sam2 at 2b90b9f). Most of them have no
parameter of their own, so a wrong one loads without an error: `tests/model/test_networks.py` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from mosam.errors import MismatchError
from mosam.system.typed import from_data

if TYPE_CHECKING:
    from transformers import Sam2VideoConfig

STRIDE = 16  # input pixels of one cell of the top feature map
MASK_STRIDE = 4  # input pixels of one low-resolution mask logit


_LIMITS = {
    "channels": (1, 4096), "heads": (1, 64), "blocks": (1, 128), "global_blocks": (0, 511), "windows": (1, 128),
    "background": (1, 128), "image": (32, 4096), "width": (1, 2048), "memory": (1, 2048), "attention_layers": (1, 64),
    "decoder_heads": (1, 64), "mask_channels": (1, 1024), "dropout": (0, 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Network:
    """Shape of a network of the SAM 2.1 family.

    Attributes:
        channels: channels of the four stages of the image encoder.
        heads: attention heads of the four stages.
        blocks: blocks of the four stages.
        global_blocks: indices of the blocks that see the whole image; the others see a window.
        windows: side of that window in the four stages.
        background: size of the stored position map that is stretched over the image.
        image: side of the square input, a multiple of 32.
        width: channels of the top feature map; a multiple of `memory`.
        memory: channels of a memory feature; the library's cross-attention is built for 64 only.
        attention_layers: layers of the memory attention.
        attention_mlp: hidden units of its feed-forward part.
        decoder_heads: attention heads of the mask decoder.
        decoder_mlp: hidden units of its feed-forward part.
        iou_hidden: hidden units of the head that predicts IoU.
        fuser_mlp: hidden units of a memory encoder block.
        mask_channels: channels in which a mask prompt is embedded.
        dropout: of the memory attention, in training only.
    """

    channels: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    global_blocks: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background: tuple[int, int] = (7, 7)
    image: int = 1024
    width: int = 256
    memory: int = 64
    attention_layers: int = 4
    attention_mlp: int = 2048
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    iou_hidden: int = 256
    fuser_mlp: int = 1024
    mask_channels: int = 16
    dropout: float = 0.1

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored beside the weights of our own models."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object, where: str) -> Network:
        """Inverse of `to_json`.

        Raises:
            MismatchError: a field is missing or not known; `where` is named.
            DataError: a value of another kind, or sizes that cannot be.
        """
        known = {field.name for field in fields(cls)}
        wrong = sorted(set(values) ^ known) if isinstance(values, Mapping) else []
        if wrong:
            shown = ", ".join(ascii(name)[:40] for name in wrong[:5])
            raise MismatchError(f"{where}: expected the network fields {sorted(known)}, got a difference in {shown}")
        return from_data(cls, values, where, "network")

    def __post_init__(self) -> None:
        """ValueError for sizes no network has, so that a damaged file cannot ask for all the memory there is."""
        for name, value in asdict(self).items():
            least, most = _LIMITS.get(name, (1, 16384))
            for number in value if isinstance(value, tuple) else (value,):
                if not least <= number <= most:
                    raise ValueError(f"{name}: expected {least} to {most}, got {number}")
        if self.image % (2 * STRIDE):
            raise ValueError(f"image: expected a multiple of {2 * STRIDE}, got {self.image}")
        if self.width % self.memory:
            raise ValueError(f"width: expected a multiple of memory={self.memory}, got {self.width}")
        if any(width % heads for width, heads in zip(self.channels, self.heads, strict=True)):
            raise ValueError(f"heads: expected divisors of channels {self.channels}, got {self.heads}")


NETWORKS: dict[str, Network] = {
    "tiny": Network((96, 192, 384, 768), (1, 2, 4, 8), (1, 2, 7, 2), (5, 7, 9)),
    "small": Network((96, 192, 384, 768), (1, 2, 4, 8), (1, 2, 11, 2), (7, 10, 13)),
    "base-plus": Network((112, 224, 448, 896), (2, 4, 8, 16), (2, 3, 16, 3), (12, 16, 20), background=(14, 14)),
    "large": Network((144, 288, 576, 1152), (2, 4, 8, 16), (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
    # Ours: trained on generated videos on a processor, for tests, the toy benchmark and the demonstration.
    "nano": Network(
        (24, 48, 96, 192), (1, 2, 4, 8), (1, 2, 3, 1), (5,), windows=(8, 4, 8, 4), image=128, width=128,
        attention_layers=2, attention_mlp=256, decoder_heads=4, decoder_mlp=256, iou_hidden=128, fuser_mlp=256,
        dropout=0.0,
    ),
    # Never trained: the published architecture in miniature, for parity with the official program.
    "mini": Network(
        (16, 32, 64, 128), (1, 2, 4, 8), (1, 2, 3, 1), (4,), windows=(8, 4, 7, 4), image=256, width=128, fuser_mlp=512
    ),
}  # fmt: skip


def library_config(network: Network) -> Sam2VideoConfig:
    """Configuration of the `transformers` modules for a network."""
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VisionConfig
    from transformers.models.sam2_video.configuration_sam2_video import (
        Sam2VideoMaskDecoderConfig,
        Sam2VideoPromptEncoderConfig,
    )

    size = network.image
    grids = [[size // stride] * 2 for stride in (4, 8, STRIDE)]
    backbone = Sam2HieraDetConfig(
        hidden_size=network.channels[0],
        num_attention_heads=network.heads[0],
        image_size=[size, size],
        blocks_per_stage=list(network.blocks),
        embed_dim_per_stage=list(network.channels),
        num_attention_heads_per_stage=list(network.heads),
        window_size_per_stage=list(network.windows),
        global_attention_blocks=list(network.global_blocks),
        window_positional_embedding_background_size=list(network.background),
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=list(network.channels[::-1]),
        backbone_feature_sizes=grids,
        fpn_hidden_size=network.width,
    )
    # Objects, not dicts: the library took a dict for the decoder as a prompt encoder configuration in 5.17.
    prompt = Sam2VideoPromptEncoderConfig(
        hidden_size=network.width, image_size=size, patch_size=STRIDE, mask_input_channels=network.mask_channels
    )
    decoder = Sam2VideoMaskDecoderConfig(
        hidden_size=network.width,
        mlp_dim=network.decoder_mlp,
        num_attention_heads=network.decoder_heads,
        iou_head_hidden_dim=network.iou_hidden,
    )
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder,
        image_size=size,
        memory_attention_hidden_size=network.width,
        memory_attention_num_layers=network.attention_layers,
        memory_attention_feed_forward_hidden_size=network.attention_mlp,
        memory_attention_dropout=network.dropout,
        memory_attention_rope_dropout=network.dropout,
        memory_attention_rope_feat_sizes=grids[-1],
        memory_encoder_hidden_size=network.width,
        memory_encoder_output_channels=network.memory,
        mask_downsampler_embed_dim=network.width,
        memory_fuser_embed_dim=network.width,
        memory_fuser_intermediate_dim=network.fuser_mlp,
    )
