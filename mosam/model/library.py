"""Video models of the `transformers` library: built from a configuration, drawn from a seed, read, or resized."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mosam.errors import DataError, MismatchError, MosamError
from mosam.model.networks import Network, library_config
from mosam.model.state import reason

SAM2 = "Sam2VideoModel"


def build_random(network: Network, seed: int) -> Any:
    """A SAM 2.1 model of a shape with every weight drawn from a seed, in eval mode."""
    return draw(library_config(network), seed)


def draw(config: Any, seed: int, model: str = SAM2) -> Any:
    """A library model with every weight drawn from a seed, in eval mode."""
    from mosam.model.random_weights import draw_weights

    module = build(config, model)
    draw_weights(module, seed)
    return module.eval()


def build(config: Any, model: str = SAM2) -> Any:
    """A library model on the CPU; on the meta device its position buffers, which no file holds, would stay empty.

    Args:
        config: of the library, for this model.
        model: name of its class.
    """
    import torch
    import transformers

    state = torch.random.get_rng_state()  # building draws numbers that are overwritten; leave the caller's stream alone
    try:
        with _quiet():
            return getattr(transformers, model)(config).eval()
    finally:
        torch.random.set_rng_state(state)


def need(version: tuple[int, int], title: str) -> None:
    """MosamError where the library is older than this."""
    import transformers

    found = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if found < version:
        asked = ".".join(map(str, version))
        raise MosamError(
            f"{title}: expected transformers {asked} or newer, got {transformers.__version__}; pip install -U "
            f"'transformers>={asked}'"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The library says nothing."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def build_empty(network: Network, *, where: Path) -> Any:
    """A model without memory for its weights; DataError where the sizes do not fit each other."""
    import torch

    try:
        with torch.device("meta"):
            return build(library_config(network))
    except Exception as error:
        raise DataError(where, f"network: expected sizes that fit each other, got {reason(error)}") from error


def parameter_count(config: Any, model: str = SAM2) -> int:
    """Learned values of a network, counted without making them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config, model).parameters())


def read_folder(folder: Path, model: str = SAM2, title: str = "SAM 2.1") -> Any:
    """A folder with `config.json` and `model.safetensors` as the library writes them.

    Args:
        folder: where.
        model: name of the class that reads it.
        title: of the network, for the error.
    Raises:
        DataError: a damaged file.
        MismatchError: weights of another model.
    """
    import transformers

    try:
        with _quiet():
            read = getattr(transformers, model).from_pretrained
            module, report = read(folder, output_loading_info=True, local_files_only=True, ignore_mismatched_sizes=True)
    except Exception as error:  # the library lets a damaged file fail wherever it happens to
        raise DataError(folder, f"expected a model of {title}, got {reason(error)}") from error
    for name, found, expected in sorted(report["mismatched_keys"])[:1]:
        raise MismatchError(
            f"{folder}: expected {name} of shape {tuple(expected)}, got {tuple(found)}; its config.json is of another "
            "model"
        )
    _complete(module, set(report["missing_keys"]), set(report["unexpected_keys"]), where=str(folder), title=title)
    return module.float().eval()


def resized(module: Any, image: int, model: str = SAM2) -> Any:
    """The same weights for another input size; position codes are made anew, stored ones are stretched in use."""
    import copy

    config = copy.deepcopy(module.config)
    old = config.image_size
    config.image_size = config.prompt_encoder_config.image_size = image
    vision = config.vision_config
    vision.backbone_feature_sizes = [[side * image // old for side in sides] for sides in vision.backbone_feature_sizes]
    if vision.backbone_config.model_type == "sam2_hiera_det_model":
        vision.backbone_config.image_size = [image, image]
    config.memory_attention_rope_feat_sizes = list(vision.backbone_feature_sizes[-1])
    other = build(config, model)
    other.load_state_dict(module.state_dict())
    return other


def _complete(model: Any, missing: set[str], unexpected: set[str], *, where: str, title: str) -> None:
    """Fill in the copy of the Fourier matrix that older files leave out; anything else missing is an error."""
    import torch

    from mosam.model.meta_format import FOURIER_COPIES, check_keys

    for absent, present in (FOURIER_COPIES, FOURIER_COPIES[::-1]):
        if absent in missing and present not in missing:
            with torch.no_grad():
                model.get_buffer(absent).copy_(model.get_buffer(present))
            missing = missing - {absent}
    expected = set(model.state_dict())
    check_keys((expected - missing) | unexpected, expected, where=where, title=title)
