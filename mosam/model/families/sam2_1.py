"""SAM 2.1: the four published sizes and our own small ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.model.family import MODELS, ModelFamily, Shape
from mosam.model.networks import NETWORKS, STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.backbone import Backbone


@MODELS.register("sam2.1")
class Sam21(ModelFamily):
    """Networks of `mosam.model.sam2`, over modules of the `transformers` library."""

    title = "SAM 2.1"
    license = "Apache-2.0"
    repositories = {size: f"facebook/sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")}  # noqa: RUF012
    random_sizes = tuple(NETWORKS)

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        from mosam.model.library import parameter_count

        network = NETWORKS[size]
        parameters = parameter_count(network) if count else None
        return Shape(network.image, network.image // STRIDE, network.width, parameters)

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        vision, parameters = module.config.vision_config, sum(p.numel() for p in module.parameters())
        return Shape(module.config.image_size, vision.backbone_feature_sizes[-1][0], vision.fpn_hidden_size, parameters)

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.library import build_random

        return build_random(NETWORKS[size], seed)

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`."""
        return config.get("model_type") == "sam2_video"

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        from mosam.model.library import read_folder

        return read_folder(folder)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return "no_obj_embed_spatial" in weights

    def from_weights(self, weights: dict[str, Tensor], where: Path) -> tuple[Any, str]:
        """See `ModelFamily.from_weights`."""
        from mosam.model.library import build
        from mosam.model.meta_format import from_meta, network_of
        from mosam.model.networks import library_config
        from mosam.model.state import fill

        size, network = network_of(weights, where=str(where))
        module = build(library_config(network))
        fill(module, from_meta(weights, module.state_dict(), where=str(where)), where=str(where))
        return module.eval(), size

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.sam2 import Sam2Backbone

        return Sam2Backbone(module, **options)
