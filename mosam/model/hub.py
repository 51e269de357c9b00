"""Folders of the hub: in its cache on this machine, or downloaded."""

from __future__ import annotations

from pathlib import Path

from mosam.errors import MissingDataError
from mosam.model.family import find_published
from mosam.model.fetch import is_offline, published_bytes

HUB_FILES = ("config.json", "model.safetensors")


def is_local(name: str) -> bool:
    """Whether the weights of a hub model are on this machine; asks no network and does not read them."""
    from huggingface_hub import try_to_load_from_cache

    repository = repository_of(name)
    return all(isinstance(try_to_load_from_cache(repository, file), str) for file in HUB_FILES)


def repository_of(name: str) -> str:
    """The hub id of a published network; other names are hub ids themselves."""
    found = find_published(name)
    return name if found is None else found[0].repositories[found[1]]


def hub_folder(repository: str, *, local_only: bool) -> Path:
    """Folder of a hub model in the cache, downloaded when needed and allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    cached = cached_folder(repository)
    if cached is not None:
        return cached
    local_only = local_only or is_offline()
    try:
        folder = snapshot_download(repository, allow_patterns=list(HUB_FILES), local_files_only=local_only)
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:  # not found, no access, no network, bad name
        reason = "offline" if local_only else _first_line(error)
        raise MissingDataError(
            f"{repository}: not in the local cache and could not be downloaded ({reason}); {_instead(repository)}"
        ) from error
    return Path(folder)


def _instead(repository: str) -> str:
    """What to do where a folder of the hub cannot be had."""
    found = find_published(repository)
    if found is None:
        return f"run `mosam model fetch {repository}` with a network connection, or give --model a local folder"
    family, name = found
    if family.access:
        return f"{family.access}, and run `mosam model fetch {name}` with a network connection, or give a local folder"
    if published_bytes(name) is None:
        return f"run `mosam model fetch {name}` with a network connection, or give --model a local folder"
    return (
        f"run `mosam model fetch {name}` with a network connection, `mosam model fetch {name} --from meta`, or give "
        "--model a local folder or a sam2.1_hiera_*.pt file"
    )


def file_of(name: str) -> str | None:
    """The file of its own program that a published network is fetched as; None for a folder of the library."""
    found = find_published(name)
    return None if found is None else found[0].files.get(found[1])


def hub_file(name: str, *, local_only: bool) -> Path:
    """Such a file in the cache, downloaded when needed and allowed."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    repository, file = repository_of(name), file_of(name)
    assert file is not None
    local_only = local_only or is_offline()
    try:
        return Path(hf_hub_download(repository, file, local_files_only=local_only))
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:  # not found, no access, no network
        reason = "offline" if local_only else _first_line(error)
        raise MissingDataError(
            f"{repository}: {file} is not in the local cache and could not be downloaded ({reason}); run `mosam model "
            f"fetch {name}` with a network connection, or give --model a file {file}"
        ) from error


def cached_file(name: str) -> Path | None:
    """Such a file in the cache; never asks the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository_of(name), file_of(name) or "")
    return Path(found) if isinstance(found, str) else None


def cached_folder(repository: str) -> Path | None:
    """Folder of a hub model that is complete in the cache; never asks the network."""
    from huggingface_hub import try_to_load_from_cache

    try:
        files = [try_to_load_from_cache(repository, file) for file in HUB_FILES]
    except ValueError:  # a bad name
        return None
    found = [Path(file) for file in files if isinstance(file, str)]
    return found[0].parent if len(found) == len(HUB_FILES) else None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:160]
