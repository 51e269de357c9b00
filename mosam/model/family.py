"""The registry of networks: one file of `mosam.model.families` for each kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mosam.errors import MosamError
from mosam.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mosam.model.backbone import Backbone
    from mosam.model.formulas import Formulas
    from mosam.model.preprocess import Resize
    from mosam.model.sam2 import Precision

MODELS: Registry[type[ModelFamily]] = Registry("network", "mosam.model.families")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the configuration of a network tells: side of the input, side and channels of the top map, weights."""

    image: int
    grid: int
    width: int
    parameters: int | None = None


class ModelFamily(ABC):
    """Networks of one kind: their names, how their weights are read, and the calls of their modules.

    A module is whatever `backbone` wraps: fp32, on the CPU, with `state_dict()` and `parameters()`.

    Class attributes:
        title: in words.
        license: SPDX identifier of the published weights.
        repositories: name of each published network -> its hub id.
        files: name of a published network -> file of its own program in that repository, where it has no folder of
            the library.
        access: what has to be done before the hub gives the weights; empty where anybody gets them.
        random_sizes: what `random:<size>` may name.
        images: sides of the input that `resized` makes, pixels; empty where the network takes its own only.
    """

    title: ClassVar[str]
    license: ClassVar[str]
    repositories: ClassVar[Mapping[str, str]]
    files: ClassVar[Mapping[str, str]] = {}
    access: ClassVar[str] = ""
    random_sizes: ClassVar[tuple[str, ...]]
    images: ClassVar[range] = range(0)

    def name_of(self, text: str) -> str | None:
        """The published name behind it, a hub id or the last part of one; None for anything else."""
        for name, repository in self.repositories.items():
            if text in (name, repository, repository.partition("/")[2]):
                return name
        return None

    @abstractmethod
    def shape(self, size: str, *, count: bool = False) -> Shape:
        """Shape of a named network, without its weights; `count` counts them."""

    def check_image(self, image: int) -> None:
        """MosamError unless `resized` can make this side; needs no weights."""
        if image in self.images:
            return
        if not self.images:
            expected = "expected no other input size than its own"
            raise MosamError(f"{self.title}: {expected}, got {image}; leave out @{image}")
        step, least, most = self.images.step, self.images[0], self.images[-1]
        raise MosamError(
            f"{self.title}: expected an input size that is a multiple of {step} from {least} to {most}, got @{image}"
        )

    def resized(self, module: Any, image: int) -> Any:
        """The same weights for pictures of another side, one of `images`."""
        raise NotImplementedError(f"{type(self).__name__}: `images` names sizes that nothing makes")

    @abstractmethod
    def shape_of(self, module: Any) -> Shape:
        """Shape of a module."""

    @abstractmethod
    def random(self, size: str, seed: int) -> Any:
        """A module of a size with weights drawn from a seed."""

    @abstractmethod
    def fits_config(self, config: Mapping[str, Any]) -> bool:
        """Whether a folder with this `config.json` is of this kind."""

    @abstractmethod
    def read_folder(self, folder: Path) -> Any:
        """The module of such a folder of the `transformers` library.

        Raises:
            MismatchError, DataError: other weights, a damaged file.
        """

    @abstractmethod
    def fits_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """Whether the weights of a file of the official program are of this kind."""

    @abstractmethod
    def size_of(self, weights: Mapping[str, Tensor], where: Path) -> str:
        """The size that such weights are of, as `random_sizes` names it; nothing is allocated.

        Raises:
            MismatchError: none that is known; `where` is named.
        """

    def size_of_config(self, config: Mapping[str, Any]) -> str | None:
        """The size that a folder with this `config.json` of the kind is of; None where it does not tell."""
        return None

    @abstractmethod
    def from_weights(self, weights: dict[str, Tensor], size: str, where: Path) -> Any:
        """The module of such weights of a size.

        Raises:
            MismatchError: other weights; `where` is named.
        """

    @abstractmethod
    def backbone(
        self,
        module: Any,
        *,
        name: str,
        device: torch.device,
        precision: Precision,
        formulas: Formulas,
        resize: Resize | None,
        random: bool,
        weights_hash: str,
    ) -> Backbone:
        """The network behind the interface that the engine uses.

        Args:
            module: of this kind; moved to `device`.
            name, random, weights_hash: what run.json and tables call it.
            precision: `fp32`, `bf16` or `fp16`.
            formulas: rounding of the official program or of the library.
            resize: filter that brings frames to the input size; None = that of its own program.
        """


def families() -> list[ModelFamily]:
    """One of each kind."""
    return [MODELS[name]() for name in MODELS]


def load_named(name: str | None) -> None:
    """Imports the family that a person typed as `module:Class`; errors as `Registry.load_class`."""
    if name and ":" in name and not name.startswith("random:") and not Path(name).exists():
        MODELS.load_class(name)


def only_network(name: str) -> str:
    """The network of a family that has one; MosamError where there are several to choose from."""
    family = MODELS[name]()
    names = [*family.repositories, *(f"random:{size}" for size in family.random_sizes)]
    if len(names) != 1:
        raise MosamError(f"model {name}: expected a family of one network, got {', '.join(names)}; name one of them")
    return names[0]


def published_names() -> list[str]:
    """Names of all published networks."""
    return [name for family in families() for name in family.repositories]


def find_published(text: str) -> tuple[ModelFamily, str] | None:
    """The family and name of a published network, from its name or hub id."""
    for family in families():
        name = family.name_of(text)
        if name is not None:
            return family, name
    return None
