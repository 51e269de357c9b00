"""EdgeTAM: one published network, and a small one for tests; its image encoder needs `timm` (`mosam[edgetam]`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import MismatchError
from mosam.model.family import MODELS, ModelFamily, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.backbone import Backbone

CLASS = "EdgeTamVideoModel"
SMALL = "edgetam-mini"
LIBRARY = (5, 24)


@MODELS.register("edgetam")
class EdgeTam(ModelFamily):
    """Networks of `mosam.model.edgetam`."""

    title = "EdgeTAM"
    license = "Apache-2.0"
    repositories = {"edgetam": "yonigozlan/EdgeTAM-hf"}  # noqa: RUF012
    random_sizes = ("edgetam", SMALL)

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        from mosam.model.library import parameter_count

        image, width = (256, 128) if size == SMALL else (1024, 256)
        return Shape(image, image // 16, width, parameter_count(_config(size), CLASS) if count else None)

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        vision, parameters = module.config.vision_config, sum(p.numel() for p in module.parameters())
        return Shape(module.config.image_size, vision.backbone_feature_sizes[-1][0], vision.fpn_hidden_size, parameters)

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.library import draw

        return draw(_config(size), seed, CLASS)

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`."""
        return config.get("model_type") == "edgetam_video"

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        from mosam.model.library import read_folder

        return read_folder(folder, CLASS, self.title)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return any(name.startswith("spatial_perceiver.") for name in weights)

    def from_weights(self, weights: dict[str, Tensor], where: Path) -> tuple[Any, str]:
        """See `ModelFamily.from_weights`."""
        raise MismatchError(
            f"{where}: expected a folder of the transformers library, got EdgeTAM's own file; use --model edgetam "
            f"({self.repositories['edgetam']})"
        )

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.edgetam import EdgeTamBackbone

        return EdgeTamBackbone(module, **options)


def _config(size: str) -> Any:
    """The library's configuration: that of the published network, or a small one."""
    from mosam.model.library import need

    need(LIBRARY, "EdgeTAM")  # older ones ask the hub for parts of a configuration that is complete
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
        memory_fuser_intermediate_dim=256 if small else 1024,
    )
