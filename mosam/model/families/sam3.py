"""SAM 3's tracker: the published network, whose weights Meta gives on request, and a small one for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import MismatchError
from mosam.model.family import MODELS, ModelFamily, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.backbone import Backbone

CLASS = "Sam3TrackerVideoModel"
SMALL = "sam3-mini"
PATCH = 14


@MODELS.register("sam3")
class Sam3(ModelFamily):
    """Networks of `mosam.model.sam3`."""

    title = "SAM 3"
    license = "SAM License"
    repositories = {"sam3": "facebook/sam3"}  # noqa: RUF012
    random_sizes = ("sam3", SMALL)
    access = "ask for access on https://huggingface.co/facebook/sam3, log in with `hf auth login`"

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        from mosam.model.library import parameter_count

        image, width = (224, 128) if size == SMALL else (1008, 256)
        return Shape(image, image // PATCH, width, parameter_count(_config(size), CLASS) if count else None)

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        vision, parameters = module.config.vision_config, sum(p.numel() for p in module.parameters())
        return Shape(module.config.image_size, vision.backbone_feature_sizes[-1][0], vision.fpn_hidden_size, parameters)

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.library import draw

        return draw(_config(size), seed, CLASS)

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`: of the tracker, or of the whole model that holds it."""
        return config.get("model_type") in ("sam3_tracker_video", "sam3_video")

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        from mosam.model.library import read_folder

        return read_folder(folder, CLASS, self.title)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return any(name.startswith("tracker.") for name in weights)

    def from_weights(self, weights: dict[str, Tensor], where: Path) -> tuple[Any, str]:
        """See `ModelFamily.from_weights`."""
        raise MismatchError(
            f"{where}: expected a folder of the transformers library, got SAM 3's own checkpoint; use --model sam3 "
            f"({self.repositories['sam3']}, after access was granted on its page)"
        )

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.sam3 import Sam3Backbone

        return Sam3Backbone(module, **options)


def _config(size: str) -> Any:
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
        memory_fuser_intermediate_dim=256,
    )
