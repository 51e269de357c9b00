"""From the name of a model to a network with weights.

Names: `nano` (shipped), those of the published networks (`tiny`, `small`, `base-plus`, `large` of SAM 2.1, and others,
from the hub's cache or the network), a hub id, a local folder in `transformers` format, a file of the official program,
and `random:<size>` for tests and timing. Which network that is, `mosam.model.family` knows. With `@512` behind it, the
network takes pictures of that size.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mosam.errors import DataError, MismatchError, MissingDataError, UnknownNameError
from mosam.model.devices import choose_device, choose_precision
from mosam.model.family import MODELS, ModelFamily, Shape, families, find_published, only_network, published_names
from mosam.model.fetch import check_hub_file, check_hub_folder, fetch_file, find_file, other_files, published_bytes
from mosam.model.hub import HUB_FILES, cached_file, cached_folder, file_of, hub_file, hub_folder, repository_of
from mosam.model.networks import NETWORKS, Network, library_config
from mosam.model.state import check_shapes, check_tensors, fill, reason, weights_hash
from mosam.system.files import replacing, write_text
from mosam.system.typed import read_json

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone
    from mosam.model.formulas import Formulas
    from mosam.model.preprocess import Resize
    from mosam.model.sam2 import Precision

ORIGINS = ("hub", "meta")
SHIPPED = "nano"
SHIPPED_FAMILY = "sam2.1"  # of `nano` and of what `save_weights` writes
RANDOM_PREFIX = "random:"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
OUR_LICENSE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model.

    Attributes:
        name: the short name where there is one.
        source: where the weights come from, in words.
        license: SPDX identifier, or "unknown" for a file of the user's.
        parameters: learned values, or None where only the weights could tell and they are not on this machine.
        image: side of the input, pixels; None likewise.
        grid: side of the top feature map; None likewise.
        width: channels of that map; None likewise.
        weights_hash: SHA-256 of the weights, or None where they are not on this machine.
        random: the weights are drawn, not trained.
        here: where they are on this machine, or None.
        bytes: what they take to download; None where there is nothing to.
    """

    name: str
    source: str
    license: str
    parameters: int | None = None
    image: int | None = None
    grid: int | None = None
    width: int | None = None
    weights_hash: str | None = None
    random: bool = False
    here: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A module with weights, fp32 on the CPU, and of which kind it is."""

    name: str
    family: ModelFamily
    module: Any
    source: str
    license: str
    random: bool = False


def list_models() -> list[ModelInfo]:
    """The models that have a name, without reading any weights."""
    note = "shipped with mosam, trained on generated videos"
    shipped = ModelInfo(SHIPPED, note, OUR_LICENSE, here=_place(SHIPPED))
    found = [_with_shape(shipped, MODELS[SHIPPED_FAMILY]().shape(SHIPPED))]
    for family in families():
        for name, repository in family.repositories.items():
            info = ModelInfo(name, f"hub: {repository}", family.license, here=_place(name), bytes=published_bytes(name))
            found.append(_with_shape(info, family.shape(name)))
    return found


def load_model(
    name: str,
    *,
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    seed: int = 0,
    formulas: Formulas = "official",
    resize: Resize | None = None,
    compile: bool = False,
) -> Backbone:
    """Load a network.

    Args:
        name: `nano`, `tiny`, `small`, `base-plus`, `large`, a hub id, a folder, a `.pt` file or `random:<size>`.
        device: `auto` (cuda, else mps, else cpu) or a torch device name.
        precision: `auto`, `fp32`, `bf16` or `fp16`; see `choose_precision`.
        seed: of the weights of `random:<size>`; not used otherwise.
        formulas: `official` or `library` rounding, see `mosam.model.formulas`.
        resize: filter that brings frames to the input size, see `mosam.model.preprocess`; None = that of the network's
            own program.
        compile: whether its heaviest parts are compiled, see `Backbone.compile`.
    Raises:
        UnknownNameError: no model, file or folder of that name, or an unknown option.
        MissingDataError: weights that are not on this machine and cannot be fetched.
        MismatchError: a checkpoint of another model.
        DataError: a damaged file.
        ValueError: an argument of another type.
    """
    from mosam.model.formulas import FORMULAS
    from mosam.model.preprocess import RESIZES
    from mosam.model.sam2 import PRECISIONS
    from mosam.system.arguments import instance, switch, whole

    instance(name, str, "load_model", "a name")
    instance(device, str, "load_model: device", "a name")
    whole(seed, "load_model: seed", 0)
    switch(compile, "load_model: compile")
    for kind, value, known in (
        ("precision", precision, ("auto", *PRECISIONS)),
        ("formulas", formulas, FORMULAS),
        ("resize", RESIZES[0] if resize is None else resize, RESIZES),
    ):
        instance(value, str, f"load_model: {kind}", "a word")
        if value not in known:
            raise UnknownNameError(kind, value, known, where="load_model")
    place = choose_device(device)
    loaded = _load(name, seed=seed, local_only=False)
    backbone = loaded.family.backbone(
        loaded.module,
        name=loaded.name,
        device=place,
        precision=choose_precision(loaded.name, place) if precision == "auto" else precision,
        formulas=formulas,
        resize=resize,
        random=loaded.random,
        weights_hash=weights_hash(loaded.module.state_dict()),
    )
    if compile:
        backbone.compile()
    return backbone


def model_info(name: str) -> ModelInfo:
    """What is known of a model; reads its weights where they are on this machine, downloads nothing.

    Raises:
        UnknownNameError: no model, file or folder of that name.
        MismatchError: a checkpoint of another model.
    """
    try:
        loaded = _load(name, seed=0, local_only=True)
    except MissingDataError:
        found = find_published(name) or (MODELS[SHIPPED_FAMILY](), SHIPPED)
        if found[1] == SHIPPED != name:
            raise
        info = next(info for info in list_models() if info.name == found[1])
        return replace(info, parameters=found[0].shape(found[1], count=True).parameters)
    named = loaded.name in (SHIPPED, *published_names())
    info = ModelInfo(
        loaded.name,
        loaded.source,
        loaded.license,
        weights_hash=weights_hash(loaded.module.state_dict()),
        random=loaded.random,
        here=_place(loaded.name) if named else None if loaded.random else name,
    )
    return _with_shape(info, loaded.family.shape_of(loaded.module))


def fetch_model(name: str, origin: str = "hub", watch: Callable[[int, int], None] | None = None) -> Path:
    """Download a model, or find it in the cache, and check it against its SHA-256; resumes after an interruption.

    Args:
        name: `tiny`, `small`, `base-plus`, `large`, a hub id, or a file that a tracker needs (`samosa-motion`).
        origin: `hub` (a folder in the hub's cache) or `meta` (Meta's own `.pt` file in the cache of `mosam`).
        watch: called with (bytes so far, bytes there are); the hub shows its own progress.
    Returns:
        The folder or the file.
    Raises:
        MissingDataError: not reachable and not in the cache.
        MismatchError: what arrived is not what was published.
        UnknownNameError: not the name of a model that can be fetched, or an unknown origin.
    """
    if name in other_files():
        return fetch_file(name, watch)
    found = find_published(name)
    if origin not in ORIGINS:
        raise UnknownNameError("origin", origin, ORIGINS, where="model fetch --from")
    if found is None and (name.count("/") != 1 or origin == "meta"):
        raise UnknownNameError("model to fetch", name, [*published_names(), *other_files()], where="model fetch")
    if origin == "meta":
        assert found is not None
        return fetch_file(found[1], watch)
    if file_of(name):
        file = hub_file(name, local_only=False)
        check_hub_file(file)
        return file
    folder = hub_folder(repository_of(name), local_only=False)
    check_hub_folder(folder)
    return folder


def _place(name: str) -> str | None:
    """Where the weights of a named model are on this machine."""
    if name == SHIPPED:
        path = WEIGHTS_FOLDER / f"{SHIPPED}.safetensors"
        return str(path) if path.is_file() else None
    if file_of(name):
        own = cached_file(name)
        return None if own is None else str(own)
    found = cached_folder(repository_of(name)) or find_file(name)
    return None if found is None else str(found)


def save_weights(model: Any, network: Network, folder: Path, name: str, notes: dict[str, Any]) -> Path:
    """Write a model of ours as `<name>.safetensors` and `<name>.json`, the form in which `nano` is shipped.

    Args:
        model: the library's module, fp32.
        network: its shape.
        folder: created where missing.
        name: file name without suffix.
        notes: anything to keep beside it: training recipe, date, scores.
    Returns:
        The path of the weights.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    path = folder / f"{name}.safetensors"
    with replacing(path) as partial:
        save_file(state, partial)
    record = {"network": network.to_json(), "license": OUR_LICENSE, "sha256": weights_hash(state), "notes": notes}
    write_text(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    return path


def _load(name: str, *, seed: int, local_only: bool) -> _Loaded:
    """Find out what a name means and read it; `name@512` is the same weights for another input size."""
    base, _, image = name.rpartition("@")
    if base and image.isascii() and image.isdigit() and not Path(name).expanduser().exists():
        known = _known_family(base)
        if known is not None:  # before gigabytes are downloaded
            known.check_image(int(image))
        loaded = _load(base, seed=seed, local_only=local_only)
        loaded.family.check_image(int(image))
        module = loaded.family.resized(loaded.module, int(image))
        return replace(loaded, name=f"{loaded.name}@{image}", module=module)
    if name.startswith(RANDOM_PREFIX):
        return _draw(name, seed)
    if ":" in name and name in MODELS:
        return _load(only_network(name), seed=seed, local_only=local_only)
    if name == SHIPPED:
        return _load_ours(WEIGHTS_FOLDER / f"{SHIPPED}.safetensors", SHIPPED)
    published = find_published(name)
    if published is not None:
        return _load_published(*published, local_only=local_only)
    path = Path(name).expanduser()
    if path.is_dir():
        return _load_folder(path, str(path))
    if path.suffix == ".safetensors" and path.is_file():
        return _load_ours(path, path.stem)
    if path.is_file():
        return _load_file(path)
    if path.suffix in (".pt", ".pth", ".safetensors"):
        raise MissingDataError(f"{name}: expected a checkpoint file, got nothing there; check the path")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _load_folder(hub_folder(name, local_only=local_only), name)
    raise UnknownNameError("model", name, [SHIPPED, *published_names(), *_random_names()])


def _known_family(name: str) -> ModelFamily | None:
    """The family that a name alone tells."""
    published = find_published(name)
    if published is not None:
        return published[0]
    size = name.removeprefix(RANDOM_PREFIX)
    return next((family for family in families() if size != name and size in family.random_sizes), None)


def _random_names() -> list[str]:
    return [RANDOM_PREFIX + size for family in families() for size in family.random_sizes]


def _draw(name: str, seed: int) -> _Loaded:
    """A network with random weights."""
    size = name.removeprefix(RANDOM_PREFIX)
    for family in families():
        if size in family.random_sizes:
            module = family.random(size, seed)
            return _Loaded(name, family, module, f"random weights, seed {seed}", OUR_LICENSE, random=True)
    raise UnknownNameError("model size", size, [n.removeprefix(RANDOM_PREFIX) for n in _random_names()], where=name)


def _load_published(family: ModelFamily, name: str, *, local_only: bool) -> _Loaded:
    """A published network: from the hub's folder, or the file of the official program where only that is there."""
    repository = family.repositories[name]
    if name in family.files:
        own = _load_file(hub_file(name, local_only=local_only), name)
        return replace(own, name=name, source=f"hub: {repository}, {family.files[name]}", license=family.license)
    file = None if cached_folder(repository) else find_file(name)
    if file is not None:
        return replace(_load_file(file, name), name=name, license=family.license)
    return replace(_load_folder(hub_folder(repository, local_only=local_only), repository, name), name=name)


def _load_folder(folder: Path, name: str, wanted: str | None = None) -> _Loaded:
    """A folder with `config.json` and `model.safetensors` as the library writes them."""
    missing = [file for file in HUB_FILES if not (folder / file).is_file()]
    if missing:
        raise MissingDataError(f"{folder}: expected {' and '.join(HUB_FILES)}, got no {' and no '.join(missing)}")
    config = read_json(folder / "config.json", dict[str, Any])
    family = next((family for family in families() if family.fits_config(config)), None)
    if family is None:
        known, kind = ", ".join(family.title for family in families()), config.get("model_type")
        raise MismatchError(f"{folder}: expected a model of {known}, got {kind!a:.60}; use a checkpoint of these")
    _check_wanted(wanted, family, family.size_of_config(config), folder)
    module = family.read_folder(folder)
    license = family.license if name.startswith("facebook/") else "unknown"
    source = f"hub: {name}, revision {folder.name[:12]}" if folder.parent.name == "snapshots" else f"folder {folder}"
    return _Loaded(name if source.startswith("hub") else folder.name, family, module, source, license)


def _load_ours(path: Path, name: str) -> _Loaded:
    """A model in the form of `save_weights`."""
    from safetensors.torch import load_file

    from mosam.model.library import build, build_empty

    described = path.with_suffix(".json")
    for file in (path, described):
        if not file.is_file():
            hint = f"; use {RANDOM_PREFIX}{SHIPPED} for random weights" if name == SHIPPED else ""
            if (path.parent / "config.json").is_file():
                hint = f"; use --model {path.parent}"
            raise MissingDataError(f"{name}: expected trained weights in {file}, got no such file{hint}")
    record = read_json(described, _Described, unknown=True)
    network = Network.from_json(record.network, str(described))
    try:
        weights = load_file(path)
    except Exception as error:  # its errors, the system's, and torch's about sizes
        raise DataError(path, f"expected a safetensors file, got {reason(error)}") from error
    check_tensors(weights, where=path)
    if network not in NETWORKS.values():  # a shape of the file's own: nothing is allocated before it fits the weights
        check_shapes(weights, build_empty(network, where=described), where=str(path))
    model = build(library_config(network))
    fill(model, weights, where=str(path))
    source = "shipped with mosam" if path.parent == WEIGHTS_FOLDER else f"file {path}"
    return _Loaded(name, MODELS[SHIPPED_FAMILY](), model.eval(), source, record.license)


def _load_file(path: Path, wanted: str | None = None) -> _Loaded:
    """A checkpoint file of an official program."""
    weights = _read_file(path)
    family = next((family for family in families() if family.fits_weights(weights)), MODELS[SHIPPED_FAMILY]())
    size = family.size_of(weights, path)
    _check_wanted(wanted, family, size, path)
    module = family.from_weights(weights, size, path)
    return _Loaded(path.stem, family, module, f"file {path} ({size})", "unknown")


def _check_wanted(wanted: str | None, family: ModelFamily, size: str | None, path: Path) -> None:
    """MismatchError where a published network was asked for, and these are the weights of another."""
    if wanted is None or size == wanted or (size is None and wanted in family.repositories):
        return
    known = size in family.repositories
    title = f"{family.title} ({size})" if size else family.title
    raise MismatchError(
        f"{path}: expected the weights of {wanted}, but this looks like {title}; use --model {size if known else path}"
    )


def _read_file(path: Path) -> dict[str, Any]:
    """The weights of a torch file."""
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler of damaged bytes raises whatever comes up: a dozen kinds are known
        expected = "expected a SAM 2 checkpoint (a torch file of weights)"
        raise DataError(path, f"{expected}, got: {reason(error)}") from error
    weights = _weights_in(content, path)
    check_tensors(weights, where=path)
    return weights


def _weights_in(content: object, path: Path) -> dict[str, Any]:
    """The weights in what a torch file holds: its `model` entry, or all of it."""
    import torch

    if isinstance(content, dict):
        weights = content.get("model", content)
        flat = isinstance(weights, dict) and not any(isinstance(value, dict) for value in weights.values())
        if flat and (weights is not content or any(isinstance(value, torch.Tensor) for value in weights.values())):
            return weights
        inside = [name for name, value in content.items() if isinstance(name, str) and isinstance(value, dict)]
        if inside:
            raise MismatchError(
                f"{path}: expected a SAM 2 checkpoint with a 'model' entry, got its weights in {inside[0]!a:.40}; "
                f"save them as {{'model': ...}}"
            )
    raise MismatchError(f"{path}: expected a SAM 2 checkpoint with a 'model' entry, got another torch file")


@dataclass(frozen=True, slots=True)
class _Described:
    """What `save_weights` writes beside weights."""

    network: Any
    license: str = "unknown"


def _with_shape(info: ModelInfo, shape: Shape) -> ModelInfo:
    """Fill in what the configuration tells."""
    return replace(info, image=shape.image, grid=shape.grid, width=shape.width, parameters=shape.parameters)
