"""Modules of the `transformers` library's `Sam2VideoModel`: built from a shape, drawn from a seed, or read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mosam.errors import DataError
from mosam.model.networks import Network, library_config
from mosam.model.state import reason


def build_random(network: Network, seed: int) -> Any:
    """A library model of a shape with every weight drawn from a seed, in eval mode."""
    from mosam.model.random_weights import draw_weights

    model = build(library_config(network))
    draw_weights(model, seed)
    return model.eval()


def build(config: Any) -> Any:
    """A library model on the CPU; on the meta device its position buffers, which no file holds, would stay empty."""
    import torch
    from transformers import Sam2VideoModel
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    state = torch.random.get_rng_state()  # building draws numbers that are overwritten; leave the caller's stream alone
    try:
        return Sam2VideoModel(config).eval()
    finally:
        torch.random.set_rng_state(state)
        logging.set_verbosity(verbosity)


def build_empty(network: Network, *, where: Path) -> Any:
    """A model without memory for its weights; DataError where the sizes do not fit each other."""
    import torch

    try:
        with torch.device("meta"):
            return build(library_config(network))
    except Exception as error:
        raise DataError(where, f"network: expected sizes that fit each other, got {reason(error)}") from error


def parameter_count(network: Network) -> int:
    """Learned values of a network, counted without making them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(library_config(network)).parameters())


def read_folder(folder: Path) -> Any:
    """A folder with `config.json` and `model.safetensors` as the library writes them."""
    from transformers import Sam2VideoModel
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        loaded: Any = Sam2VideoModel.from_pretrained(folder, output_loading_info=True, local_files_only=True)
        model, report = loaded
    except Exception as error:  # the library lets a damaged file fail wherever it happens to
        raise DataError(folder, f"expected a SAM 2.1 model, got {reason(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    _complete(model, set(report["missing_keys"]), set(report["unexpected_keys"]), where=str(folder))
    return model.float().eval()


def _complete(model: Any, missing: set[str], unexpected: set[str], *, where: str) -> None:
    """Fill in the copy of the Fourier matrix that older files leave out; anything else missing is an error."""
    import torch

    from mosam.model.meta_format import FOURIER_COPIES, check_keys

    for absent, present in (FOURIER_COPIES, FOURIER_COPIES[::-1]):
        if absent in missing and present not in missing:
            with torch.no_grad():
                model.get_buffer(absent).copy_(model.get_buffer(present))
            missing = missing - {absent}
    expected = set(model.state_dict())
    check_keys((expected - missing) | unexpected, expected, where=where)
