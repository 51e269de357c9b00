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
    images = range(64, 2048 + 1, 2 * STRIDE)
    prefix = ""  # of the names of sizes

    def network(self, size: str) -> str:
        """The shape behind the name of a size."""
        return size.removeprefix(self.prefix)

    def config(self, size: str) -> Any:
        """The library's configuration of a named size."""
        from mosam.model.networks import library_config

        return library_config(NETWORKS[self.network(size)])

    def resized(self, module: Any, image: int) -> Any:
        """See `ModelFamily.resized`: the stored positions are stretched over the picture."""
        from mosam.model.library import resized

        return resized(module, image)

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        from mosam.model.library import parameter_count

        network = NETWORKS[self.network(size)]
        parameters = parameter_count(self.config(size)) if count else None
        return Shape(network.image, network.image // STRIDE, network.width, parameters)

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        vision, parameters = module.config.vision_config, sum(p.numel() for p in module.parameters())
        return Shape(module.config.image_size, vision.backbone_feature_sizes[-1][0], vision.fpn_hidden_size, parameters)

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.library import draw

        return draw(self.config(size), seed)

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`."""
        return config.get("model_type") == "sam2_video" and config.get("enable_occlusion_spatial_embedding", True)

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        from mosam.model.library import read_folder

        return read_folder(folder, title=self.title)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return "no_obj_embed_spatial" in weights

    def size_of(self, weights: Mapping[str, Tensor], where: Path) -> str:
        """See `ModelFamily.size_of`."""
        from mosam.model.meta_format import network_of

        return self.prefix + network_of(weights, where=str(where))[0]

    def size_of_config(self, config: Mapping[str, Any]) -> str | None:
        """See `ModelFamily.size_of_config`."""
        encoder = part_of(part_of(config, "vision_config"), "backbone_config")
        found = encoder.get("hidden_size"), encoder.get("blocks_per_stage")
        sizes = (size for size, network in NETWORKS.items() if (network.channels[0], list(network.blocks)) == found)
        return next((self.prefix + size for size in sizes), None)

    def from_weights(self, weights: dict[str, Tensor], size: str, where: Path) -> Any:
        """See `ModelFamily.from_weights`."""
        from mosam.model.library import build
        from mosam.model.meta_format import MetaNames, from_meta
        from mosam.model.state import fill

        module = build(self.config(size))
        names = MetaNames(self.title)
        fill(module, from_meta(weights, module.state_dict(), where=str(where), names=names), where=str(where))
        return module.eval()

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.sam2 import Sam2Backbone

        return Sam2Backbone(module, **options)


def part_of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table within a table that somebody else wrote; empty where there is none."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
