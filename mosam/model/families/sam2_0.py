"""SAM 2.0 of July 2024: SAM 2.1 without a vector for absent objects and without a time code of pointers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosam.model.families.sam2_1 import Sam21
from mosam.model.family import MODELS
from mosam.model.networks import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor


@MODELS.register("sam2.0")
class Sam20(Sam21):
    """The four published sizes, and small ones for tests."""

    title = "SAM 2.0"
    prefix = "sam2.0-"
    repositories = {  # noqa: RUF012
        f"sam2.0-{size}": f"facebook/sam2-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")
    }
    random_sizes = tuple(f"sam2.0-{size}" for size in NETWORKS)

    def config(self, size: str) -> Any:
        """The library's configuration of a named size."""
        config = super().config(size)
        config.enable_occlusion_spatial_embedding = False
        config.enable_temporal_pos_encoding_for_object_pointers = False
        return config

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`."""
        return config.get("model_type") == "sam2_video" and not super().fits_config(config)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        others = {"no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "image_encoder.neck.convs.0.conv_1x1.weight"}
        return "maskmem_tpos_enc" in weights and not others & set(weights)
