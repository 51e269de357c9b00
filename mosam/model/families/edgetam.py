"""EdgeTAM: one published network, and a small one for tests; its image encoder needs `timm` (`mosam[edgetam]`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import MosamError
from mosam.model.family import MODELS, Shape
from mosam.model.library_family import LibraryFamily

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone
    from mosam.model.meta_format import MetaNames

SMALL = "edgetam-mini"
LIBRARY = (5, 24)


@MODELS.register("edgetam")
class EdgeTam(LibraryFamily):
    """Networks of `mosam.model.edgetam`."""

    title = "EdgeTAM"
    license = "Apache-2.0"
    repositories = {"edgetam": "yonigozlan/EdgeTAM-hf"}  # noqa: RUF012
    random_sizes = (SMALL, "edgetam")
    model = "EdgeTamVideoModel"
    kinds = ("edgetam_video",)
    own_prefixes = ("spatial_perceiver.",)
    mark = "spatial_perceiver.latents"
    marks = {256: "edgetam", 16: SMALL}  # noqa: RUF012
    shapes = {"edgetam": Shape(1024, 64, 256), SMALL: Shape(256, 16, 128)}  # noqa: RUF012

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.edgetam import EdgeTamBackbone

        return EdgeTamBackbone(module, **options)

    def names(self) -> MetaNames:
        """See `LibraryFamily.names`."""
        from mosam.model.edgetam import NAMES

        return NAMES

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        _need_timm()
        return super().read_folder(folder)

    def config(self, size: str) -> Any:
        """The library's configuration: that of the published network, or a small one."""
        from mosam.model.library import need

        need(LIBRARY, "EdgeTAM")  # older ones ask the hub for parts of a configuration that is complete
        _need_timm()
        from transformers import EdgeTamVideoConfig, EdgeTamVisionConfig, TimmWrapperConfig
        from transformers.models.edgetam_video.configuration_edgetam_video import (
            EdgeTamVideoMaskDecoderConfig,
            EdgeTamVideoPromptEncoderConfig,
        )

        small = size == SMALL
        image, width, windows, layers = (256, 128, 4, 2) if small else (1024, 256, 16, 2)
        encoder = TimmWrapperConfig(
            architecture="repvit_m0_9" if small else "repvit_m1",
            model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        )
        vision = EdgeTamVisionConfig(
            backbone_config=encoder,
            backbone_channel_list=[384, 192, 96, 48],
            backbone_feature_sizes=[[image // stride] * 2 for stride in (4, 8, 16)],
            fpn_hidden_size=width,
        )
        return EdgeTamVideoConfig(
            vision_config=vision,
            prompt_encoder_config=EdgeTamVideoPromptEncoderConfig(hidden_size=width, image_size=image),
            mask_decoder_config=EdgeTamVideoMaskDecoderConfig(hidden_size=width),
            image_size=image,
            enable_occlusion_spatial_embedding=False,
            enable_temporal_pos_encoding_for_object_pointers=False,
            memory_attention_hidden_size=width,
            memory_attention_num_layers=layers,
            memory_attention_rope_feat_sizes=[image // 16] * 2,
            memory_attention_rope_k_sizes=[windows] * 2,
            perceiver_resampler_num_latents=windows * windows,
            perceiver_resampler_num_latents_2d=windows * windows,
            memory_encoder_hidden_size=width,
            mask_downsampler_embed_dim=width,
            memory_fuser_embed_dim=width,
            memory_fuser_intermediate_dim=4 * width,
        )


def _need_timm() -> None:
    """MosamError where the package of the image encoder is not there or does not work here."""
    try:
        import timm  # noqa: F401
    except ImportError as error:
        from mosam.model.state import reason

        got = reason(error)
        raise MosamError(f"EdgeTAM: expected the package timm, got {got}; pip install 'mosam[edgetam]'") from error
