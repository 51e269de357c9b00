"""Small published files of numbers that a policy needs beside the network, by name: fetched, checked, and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError
from mosam.model.fetch import fetch_file, published_file
from mosam.model.state import check_tensors, reason


def load_arrays(name: str) -> dict[str, NDArray[np.float32]]:
    """The arrays of a published file, from the cache or the network.

    Args:
        name: in `published.json`, such as `samosa-motion`.
    Raises:
        MissingDataError: not in the cache and not reachable.
        MismatchError: not the published file.
    """
    try:
        return read_arrays(fetch_file(name))
    except MissingDataError as error:
        instead = published_file(name).instead
        raise MissingDataError(f"{error}, or use {instead}" if instead else str(error)) from error


def read_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a torch file that holds nothing but tensors by name.

    Raises:
        DataError: another file.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler of damaged bytes raises whatever comes up
        raise DataError(path, f"expected a torch file of arrays, got: {reason(error)}") from error
    if not isinstance(content, Mapping):
        raise DataError(path, f"expected a torch file of arrays by name, got a {type(content).__name__}")
    tensors = dict(content)
    check_tensors(tensors, where=path)
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}
