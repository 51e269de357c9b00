"""EfficientTAM: the eight published networks, and small ones for tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import MismatchError
from mosam.model.family import MODELS, ModelFamily, Shape
from mosam.model.networks import STRIDE

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.backbone import Backbone

REPOSITORY = "yunyangx/efficient-track-anything"
POSITIONS = "image_encoder.trunk.pos_embed"


@dataclass(frozen=True, slots=True)
class Variant:
    """Shape of a network.

    Attributes:
        channels: of the image encoder.
        heads: of its attention.
        depth: its blocks.
        whole: indices of the blocks that see the whole picture.
        window: side of what the others see, cells.
        image: side of the input, pixels.
        width: channels of the top map.
        pooling: 1 or 2: memory attention takes means of two by two cells, in that variant's way; 0: it takes all.
    """

    channels: int
    heads: int
    depth: int = 12
    whole: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    image: int = 1024
    width: int = 256
    pooling: int = 0


SIZES = {
    "efficienttam-mini": Variant(48, 3, depth=4, whole=(1, 3), window=7, image=256, width=128),
    "efficienttam-ti": Variant(192, 3),
    "efficienttam-s": Variant(384, 6),
}
KINDS: dict[str, dict[str, Any]] = {"": {}, "-1": {"pooling": 1}, "-2": {"pooling": 2}, "-512": {"image": 512}}
VARIANTS = {
    size + kind: replace(variant, **change)
    for size, variant in SIZES.items()
    for kind, change in KINDS.items()
    if (size, kind) != ("efficienttam-mini", "-512")
}
PUBLISHED = tuple(name for name in VARIANTS if not name.startswith("efficienttam-mini"))


def file_of(name: str) -> str:
    """The official file of a network.

    >>> file_of("efficienttam-s"), file_of("efficienttam-ti-512")
    ('efficienttam_s.pt', 'efficienttam_ti_512x512.pt')
    """
    return name.replace("-512", "-512x512").replace("-", "_") + ".pt"


@MODELS.register("efficienttam")
class EfficientTam(ModelFamily):
    """Networks of `mosam.model.efficienttam`.

    The files of a size differ in nothing but their numbers, so that their names tell which variant they are of.
    """

    title = "EfficientTAM"
    license = "Apache-2.0"
    repositories = dict.fromkeys(PUBLISHED, REPOSITORY)
    files = {name: file_of(name) for name in PUBLISHED}  # noqa: RUF012
    random_sizes = tuple(VARIANTS)
    images = range(64, 2048 + 1, 2 * STRIDE)

    def name_of(self, text: str) -> str | None:
        """See `ModelFamily.name_of`: all networks are in one repository, so that only names are known."""
        return text if text in self.repositories else None

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        variant = VARIANTS[size]
        return Shape(variant.image, variant.image // STRIDE, variant.width, _count(variant) if count else None)

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        variant, parameters = module.variant, sum(p.numel() for p in module.parameters())
        return Shape(variant.image, variant.image // STRIDE, variant.width, parameters)

    def resized(self, module: Any, image: int) -> Any:
        """See `ModelFamily.resized`: the stored positions are stretched over the picture."""
        from mosam.model.efficienttam import build

        other = build(replace(module.variant, image=image))
        other.load_state_dict(module.state_dict())
        return other

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.efficienttam import build
        from mosam.model.random_weights import draw_weights

        module = build(VARIANTS[size])
        draw_weights(module, seed)
        return module.eval()

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`: the library has no such model."""
        return False

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        raise MismatchError(f"{folder}: expected a file {file_of('efficienttam-s')} or the like, got a folder")

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return POSITIONS in weights and "image_encoder.neck.convs.0.conv_1x1.weight" in weights

    def size_of(self, weights: Mapping[str, Tensor], where: Path) -> str:
        """See `ModelFamily.size_of`: the weights tell the channels, the name of the file the rest."""
        size, kind = _size_of(weights, where), _kind_of(where.stem)
        return size + kind if size + kind in VARIANTS else size

    def from_weights(self, weights: dict[str, Tensor], size: str, where: Path) -> Any:
        """See `ModelFamily.from_weights`."""
        from mosam.model.efficienttam import build
        from mosam.model.meta_format import MetaNames, from_meta
        from mosam.model.state import fill

        module = build(VARIANTS[size])
        names = MetaNames(self.title)
        fill(module, from_meta(weights, module.state_dict(), where=str(where), names=names), where=str(where))
        return module.eval()

    def backbone(self, module: Any, **options: Any) -> Backbone:
        """See `ModelFamily.backbone`."""
        from mosam.model.efficienttam import EfficientTamBackbone

        return EfficientTamBackbone(module, **options)


def _size_of(weights: Mapping[str, Tensor], where: Path) -> str:
    """Which size weights are of, by the channels of their image encoder."""
    found = weights[POSITIONS].shape[-1]
    for name, variant in SIZES.items():
        if variant.channels == found:
            return name
    known = ", ".join(f"{variant.channels} ({name})" for name, variant in SIZES.items())
    raise MismatchError(f"{where}: expected an image encoder of {known} channels, got {found}; use another checkpoint")


def _kind_of(stem: str) -> str:
    """The variant that the name of a file tells: `efficienttam_s_512x512`, `efficienttam_ti_1`.

    >>> [_kind_of(stem) for stem in ("efficienttam_s", "efficienttam_ti_2", "efficienttam_s_512x512")]
    ['', '-2', '-512']
    """
    found = re.search(r"[_-](1|2|512)(x512)?$", stem)
    return f"-{found[1]}" if found else ""


def _count(variant: Variant) -> int:
    """Learned values of a network, counted without making them."""
    import torch

    from mosam.model.efficienttam import build

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(variant).parameters())
