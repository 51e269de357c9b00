"""A kind of network that is a video model of the `transformers` library and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mosam.errors import MismatchError
from mosam.model.family import ModelFamily, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from mosam.model.meta_format import MetaNames


class LibraryFamily(ModelFamily):
    """Weights come from folders of the library, or files of the official program.

    Class attributes:
        model: name of the library's class.
        kinds: values of `model_type` in a folder's `config.json`.
        own_prefixes: of the names of weights that only the official program's file has.
        mark: a weight of that file whose length along the first axis tells the size.
        marks: that length -> size.
        shapes: of all `random_sizes`.
    """

    model: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    own_prefixes: ClassVar[tuple[str, ...]]
    mark: ClassVar[str]
    marks: ClassVar[Mapping[int, str]]
    shapes: ClassVar[Mapping[str, Shape]]

    @abstractmethod
    def config(self, size: str) -> Any:
        """The library's configuration of a named size."""

    @abstractmethod
    def names(self) -> MetaNames:
        """The names of weights in the official program's file."""

    def shape(self, size: str, *, count: bool = False) -> Shape:
        """See `ModelFamily.shape`."""
        from mosam.model.library import parameter_count

        known = self.shapes[size]  # a list of networks needs no library
        return replace(known, parameters=parameter_count(self.config(size), self.model)) if count else known

    def shape_of(self, module: Any) -> Shape:
        """See `ModelFamily.shape_of`."""
        vision, parameters = module.config.vision_config, sum(p.numel() for p in module.parameters())
        return Shape(module.config.image_size, vision.backbone_feature_sizes[-1][0], vision.fpn_hidden_size, parameters)

    def random(self, size: str, seed: int) -> Any:
        """See `ModelFamily.random`."""
        from mosam.model.library import draw

        return draw(self.config(size), seed, self.model)

    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """See `ModelFamily.fits_config`."""
        return config.get("model_type") in self.kinds

    def read_folder(self, folder: Path) -> Any:
        """See `ModelFamily.read_folder`."""
        from mosam.model.library import read_folder

        return read_folder(folder, self.model, self.title)

    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """See `ModelFamily.fits_weights`."""
        return any(name.startswith(self.own_prefixes) for name in weights)

    def size_of(self, weights: Mapping[str, Tensor], where: Path) -> str:
        """See `ModelFamily.size_of`."""
        found = weights.get(self.mark)
        if found is None or found.ndim == 0:
            raise MismatchError(f"{where}: expected the weights of {self.title}, got no {self.mark}")
        if len(found) not in self.marks:
            known = " or ".join(f"{length} ({size})" for length, size in self.marks.items())
            raise MismatchError(f"{where}: expected {self.mark} of length {known}, got {len(found)}")
        return self.marks[len(found)]

    def from_weights(self, weights: dict[str, Tensor], size: str, where: Path) -> Any:
        """See `ModelFamily.from_weights`."""
        from mosam.model.library import build
        from mosam.model.meta_format import from_meta
        from mosam.model.state import fill

        module = build(self.config(size), self.model)
        own = from_meta(weights, module.state_dict(), where=str(where), names=self.names())
        fill(module, own, where=str(where), title=self.title)
        return module.eval()
