"""SAM 3's tracker: the published network, whose weights Meta gives on request, and a small one for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.model.family import MODELS, Shape
from mosam.model.library_family import LibraryFamily

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.backbone import Backbone
    from mosam.model.meta_format import MetaNames

SMALL = "sam3-mini"
PATCH = 14


@MODELS.register("sam3")
class Sam3(LibraryFamily):
    """Networks of `mosam.model.sam3`."""

    title = "SAM 3"
    license = "SAM License"
    repositories = {"sam3": "facebook/sam3"}  # noqa: RUF012
    random_sizes = (SMALL, "sam3")
    access = "ask for access on https://huggingface.co/facebook/sam3, log in with `hf auth login`"
    model = "Sam3TrackerVideoModel"
    kinds = ("sam3_tracker_video", "sam3_video")  # the tracker, or the whole model that holds it
    own_prefixes = ("tracker.", "detector.")
    mark = "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight"
    marks = {1024: "sam3", 64: SMALL}  # noqa: RUF012
    shapes = {"sam3": Shape(1008, 72, 256), SMALL: Shape(224, 16, 128)}  # noqa: RUF012

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.sam3 import Sam3Backbone

        return Sam3Backbone(module, **options)

    def names(self) -> MetaNames:
        """See `LibraryFamily.names`."""
        from mosam.model.sam3 import NAMES

        return NAMES

    def from_weights(self, weights: dict[str, Tensor], size: str, where: Path) -> Any:
        """See `ModelFamily.from_weights`: the tracker of a file that also holds the detector."""
        from mosam.model.sam3 import tracker_weights

        return super().from_weights(tracker_weights(weights, where=str(where)), size, where)

    def config(self, size: str) -> Any:
        """The library's configuration: that of the published network, or a small one."""
        from transformers import Sam3TrackerVideoConfig

        if size != SMALL:
            return Sam3TrackerVideoConfig()
        from transformers.models.sam3.configuration_sam3 import Sam3VisionConfig, Sam3ViTConfig
        from transformers.models.sam3_tracker_video.configuration_sam3_tracker_video import (
            Sam3TrackerVideoMaskDecoderConfig,
            Sam3TrackerVideoPromptEncoderConfig,
        )

        image, width = 224, 128
        grid = image // PATCH
        encoder = Sam3ViTConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, image_size=image,
            window_size=4, global_attn_indexes=[1, 3], pretrain_image_size=112,
        )  # fmt: skip
        return Sam3TrackerVideoConfig(
            vision_config=Sam3VisionConfig(
                backbone_config=encoder,
                fpn_hidden_size=width,
                backbone_feature_sizes=[[4 * grid] * 2, [2 * grid] * 2, [grid] * 2],
            ),
            prompt_encoder_config=Sam3TrackerVideoPromptEncoderConfig(hidden_size=width, image_size=image),
            mask_decoder_config=Sam3TrackerVideoMaskDecoderConfig(hidden_size=width),
            image_size=image,  # type: ignore[call-arg]  # the library takes it as any other key
            memory_attention_hidden_size=width,
            memory_attention_rope_feat_sizes=[grid, grid],
            memory_encoder_hidden_size=width,
            mask_downsampler_embed_dim=width,
            memory_fuser_embed_dim=width,
            memory_fuser_intermediate_dim=4 * width,
        )
