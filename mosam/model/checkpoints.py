"""From the name of a model to a network with weights.

Names: `nano` (shipped), `tiny`, `small`, `base-plus`, `large` (SAM 2.1, from the hub's cache or the network), a hub id,
a local folder in `transformers` format, a Meta `.pt` file, and `random:<size>` for tests and timing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mosam.errors import DataError, MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.model.fetch import check_hub_folder, fetch_file, find_file, is_offline, published_file
from mosam.model.networks import NETWORKS, Network, library_config
from mosam.system.files import replacing, write_text
from mosam.system.typed import read_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mosam.model.formulas import Formulas
    from mosam.model.preprocess import Resize
    from mosam.model.sam2 import Precision, Sam2Backbone

PUBLISHED = ("tiny", "small", "base-plus", "large")
HUB_PREFIX = "facebook/sam2.1-hiera-"
ORIGINS = ("hub", "meta")
SHIPPED = "nano"
RANDOM_PREFIX = "random:"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
SAM_LICENSE = OUR_LICENSE = "Apache-2.0"
HUB_FILES = ("config.json", "model.safetensors")
LIBRARY_TYPE = "sam2_video"


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
    """A library model with weights, fp32 on the CPU."""

    name: str
    model: Any
    source: str
    license: str
    random: bool = False


def list_models() -> list[ModelInfo]:
    """The models that have a name, without reading any weights."""
    shipped = ModelInfo(SHIPPED, "shipped with mosam, trained on generated videos", OUR_LICENSE, here=_place(SHIPPED))
    hub = [
        ModelInfo(size, f"hub: {HUB_PREFIX}{size}", SAM_LICENSE, here=_place(size), bytes=published_file(size).bytes)
        for size in PUBLISHED
    ]
    return [_with_shape(info, NETWORKS[info.name]) for info in (shipped, *hub)]


def load_model(
    name: str,
    *,
    device: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    seed: int = 0,
    formulas: Formulas = "official",
    resize: Resize = "pil_bicubic",
    compile: bool = False,
) -> Sam2Backbone:
    """Load a network.

    Args:
        name: `nano`, `tiny`, `small`, `base-plus`, `large`, a hub id, a folder, a `.pt` file or `random:<size>`.
        device: `auto` (cuda, else mps, else cpu) or a torch device name.
        precision: `auto`, `fp32`, `bf16` or `fp16`; see `choose_precision`.
        seed: of the weights of `random:<size>`; not used otherwise.
        formulas: `official` or `library` rounding, see `mosam.model.formulas`.
        resize: filter that brings frames to the input size, see `mosam.model.preprocess`.
        compile: whether its heaviest parts are compiled, see `Sam2Backbone.compile`.
    Raises:
        UnknownNameError: no model, file or folder of that name, or an unknown option.
        MissingDataError: weights that are not on this machine and cannot be fetched.
        MismatchError: a checkpoint of another model.
        DataError: a damaged file.
        ValueError: an argument of another type.
    """
    from mosam.model.formulas import FORMULAS
    from mosam.model.preprocess import RESIZES
    from mosam.model.sam2 import PRECISIONS, Sam2Backbone
    from mosam.system.arguments import instance, switch, whole

    instance(name, str, "load_model", "a name")
    instance(device, str, "load_model: device", "a name")
    whole(seed, "load_model: seed", 0)
    switch(compile, "load_model: compile")
    for kind, value, known in (
        ("precision", precision, ("auto", *PRECISIONS)),
        ("formulas", formulas, FORMULAS),
        ("resize", resize, RESIZES),
    ):
        instance(value, str, f"load_model: {kind}", "a word")
        if value not in known:
            raise UnknownNameError(kind, value, known, where="load_model")
    place = choose_device(device)
    loaded = _load(name, seed=seed, local_only=False)
    backbone = Sam2Backbone(
        loaded.model,
        name=loaded.name,
        device=place,
        precision=choose_precision(loaded.name, place) if precision == "auto" else precision,
        formulas=formulas,
        resize=resize,
        random=loaded.random,
        weights_hash=weights_hash(loaded.model.state_dict()),
    )
    if compile:
        backbone.compile()
    return backbone


def choose_device(device: str) -> torch.device:
    """`auto` -> cuda, else mps, else cpu; any other name is taken as it is.

    Raises:
        MosamError: the device is not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, found in available.items() if found))
    kind = device.split(":")[0]
    if kind not in available:
        raise UnknownNameError("device", device, ["auto", *available], where="load_model")
    if not available[kind]:
        found = ", ".join(name for name, there in available.items() if there)
        raise MosamError(f"load_model: expected a {kind} device, got none; use --device auto or one of: {found}")
    count = {"cuda": count_gpus()}.get(kind, 1)
    number = device.removeprefix(kind).removeprefix(":") if device != kind else "0"
    if not (number.isascii() and number.isdigit() and int(number) < count):
        known = kind if count == 1 else f"{kind}, {kind}:0 to {kind}:{count - 1}"
        raise MosamError(f"load_model: expected a device that is there ({known}), got {device!r}")
    return torch.device(device)


def count_gpus() -> int:
    """CUDA GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision that is fastest without harm: bf16 where the hardware has products for it, else fp32.

    `nano` is too small to gain from 16 bits and stays fp32, and so do its random twins.
    """
    import torch

    if name.removeprefix(RANDOM_PREFIX) in (SHIPPED, "mini"):
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "mps":
        return "bf16"
    return "bf16" if bf16_units() else "fp32"


def bf16_units() -> str | None:
    """What this processor has to multiply bf16 matrices with, if that is faster than fp32: `docs/benchmarks.md`."""
    from mosam.model.widened import cpu_flags

    names = {"amx_bf16": "matrix units", "avx512_bf16": "16-bit products"}
    flags = cpu_flags()
    return next((name for flag, name in names.items() if flag in flags), None)


def model_info(name: str) -> ModelInfo:
    """What is known of a model; reads its weights where they are on this machine, downloads nothing.

    Raises:
        UnknownNameError: no model, file or folder of that name.
        MismatchError: a checkpoint of another model.
    """
    try:
        loaded = _load(name, seed=0, local_only=True)
    except MissingDataError:
        size = _published_size(name)
        if size is None and name != SHIPPED:
            raise
        info = next(info for info in list_models() if info.name == (size or SHIPPED))
        return replace(info, parameters=_parameter_count(NETWORKS[info.name]))
    config = loaded.model.config
    return ModelInfo(
        loaded.name,
        loaded.source,
        loaded.license,
        parameters=sum(p.numel() for p in loaded.model.parameters()),
        image=config.image_size,
        grid=config.vision_config.backbone_feature_sizes[-1][0],
        width=config.vision_config.fpn_hidden_size,
        weights_hash=weights_hash(loaded.model.state_dict()),
        random=loaded.random,
        here=_place(loaded.name) if loaded.name in (SHIPPED, *PUBLISHED) else None if loaded.random else name,
    )


def fetch_model(name: str, origin: str = "hub", watch: Callable[[int, int], None] | None = None) -> Path:
    """Download a model, or find it in the cache, and check it against its SHA-256; goes on where it was interrupted.

    Args:
        name: `tiny`, `small`, `base-plus`, `large`, or a hub id.
        origin: `hub` (a folder in the hub's cache) or `meta` (Meta's own `.pt` file in the cache of `mosam`).
        watch: called with (bytes so far, bytes there are); the hub shows its own progress.
    Returns:
        The folder or the file.
    Raises:
        MissingDataError: not reachable and not in the cache.
        MismatchError: what arrived is not what was published.
        UnknownNameError: not the name of a model that can be fetched, or an unknown origin.
    """
    size = _published_size(name)
    if origin not in ORIGINS:
        raise UnknownNameError("origin", origin, ORIGINS, where="model fetch --from")
    if size is None and (name.count("/") != 1 or origin == "meta"):
        raise UnknownNameError("model to fetch", name, PUBLISHED, where="model fetch")
    if origin == "meta":
        assert size is not None
        return fetch_file(size, watch)
    folder = _hub_folder(HUB_PREFIX + size if size else name, local_only=False)
    check_hub_folder(folder)
    return folder


def _place(name: str) -> str | None:
    """Where the weights of a named model are on this machine."""
    if name == SHIPPED:
        path = WEIGHTS_FOLDER / f"{SHIPPED}.safetensors"
        return str(path) if path.is_file() else None
    found = _cached_hub_folder(HUB_PREFIX + name) or find_file(name)
    return None if found is None else str(found)


def weights_hash(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of a state dict in fp32, sorted by name: equal for every file format."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


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


def build_random(network: Network, seed: int) -> Any:
    """A library model of a shape with every weight drawn from a seed, in eval mode."""
    from mosam.model.random_weights import draw_weights

    model = _build(library_config(network))
    draw_weights(model, seed)
    return model.eval()


def _load(name: str, *, seed: int, local_only: bool) -> _Loaded:
    """Find out what a name means and read it."""
    if name.startswith(RANDOM_PREFIX):
        size = name.removeprefix(RANDOM_PREFIX)
        if size not in NETWORKS:
            raise UnknownNameError("model size", size, NETWORKS, where=name)
        return _Loaded(name, build_random(NETWORKS[size], seed), f"random weights, seed {seed}", OUR_LICENSE, True)
    if name == SHIPPED:
        return _load_ours(WEIGHTS_FOLDER / f"{SHIPPED}.safetensors", SHIPPED)
    published = _published_size(name)
    if published is not None:
        repository = HUB_PREFIX + published
        file = None if _cached_hub_folder(repository) else find_file(published)
        if file is not None:
            return replace(_load_meta(file), name=published, license=SAM_LICENSE)
        return replace(_load_folder(_hub_folder(repository, local_only=local_only), repository), name=published)
    path = Path(name).expanduser()
    if path.is_dir():
        return _load_folder(path, str(path))
    if path.suffix == ".safetensors" and path.is_file():
        return _load_ours(path, path.stem)
    if path.is_file():
        return _load_meta(path)
    if path.suffix in (".pt", ".pth", ".safetensors"):
        raise MissingDataError(f"{name}: expected a checkpoint file, got nothing there; check the path")
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _load_folder(_hub_folder(name, local_only=local_only), name)
    known = [SHIPPED, *PUBLISHED, *(RANDOM_PREFIX + size for size in NETWORKS)]
    raise UnknownNameError("model", name, known)


def _published_size(name: str) -> str | None:
    """`tiny`, `sam2.1-hiera-tiny` or the hub id -> `tiny`; None for anything else."""
    size = name.removeprefix("facebook/").removeprefix("sam2.1-hiera-")
    return size if size in PUBLISHED else None


def is_local(name: str) -> bool:
    """Whether the weights of a hub model are on this machine; asks no network and does not read them."""
    from huggingface_hub import try_to_load_from_cache

    size = _published_size(name)
    repository = HUB_PREFIX + size if size else name
    return all(isinstance(try_to_load_from_cache(repository, file), str) for file in HUB_FILES)


def _hub_folder(repository: str, *, local_only: bool) -> Path:
    """Folder of a hub model in the cache, downloaded when needed and allowed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    cached = _cached_hub_folder(repository)
    if cached is not None:
        return cached
    local_only = local_only or is_offline()
    try:
        found = snapshot_download(repository, allow_patterns=list(HUB_FILES), local_files_only=local_only)
    except (HfHubHTTPError, OSError, ValueError, RuntimeError) as error:  # not found, no access, no network, bad name
        reason = "offline" if local_only else _first_line(error)
        size = _published_size(repository)
        meta = f"`mosam model fetch {size} --from meta`, or " if size else ""
        raise MissingDataError(
            f"{repository}: not in the local cache and could not be downloaded ({reason}); run `mosam model fetch "
            f"{size or repository}` with a network connection, {meta}give --model a local folder or a "
            "sam2.1_hiera_*.pt file"
        ) from error
    return Path(found)


def _cached_hub_folder(repository: str) -> Path | None:
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


def _load_folder(folder: Path, name: str) -> _Loaded:
    """A folder with `config.json` and `model.safetensors` as the library writes them."""
    from transformers import Sam2VideoModel
    from transformers.utils import logging

    missing = [file for file in HUB_FILES if not (folder / file).is_file()]
    if missing:
        raise MissingDataError(f"{folder}: expected {' and '.join(HUB_FILES)}, got no {' and no '.join(missing)}")
    kind = read_json(folder / "config.json", _Config, unknown=True).model_type
    if kind != LIBRARY_TYPE:
        raise MismatchError(f"{folder}: expected a {LIBRARY_TYPE} model, got {kind!a:.60}; use a SAM 2.1 checkpoint")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        loaded: Any = Sam2VideoModel.from_pretrained(folder, output_loading_info=True, local_files_only=True)
        model, report = loaded
    except Exception as error:  # the library lets a damaged file fail wherever it happens to
        raise DataError(folder, f"expected a SAM 2.1 model, got {_reason(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    _complete(model, set(report["missing_keys"]), set(report["unexpected_keys"]), where=str(folder))
    license = SAM_LICENSE if name.startswith("facebook/") else "unknown"
    source = f"hub: {name}, revision {folder.name[:12]}" if folder.parent.name == "snapshots" else f"folder {folder}"
    return _Loaded(name if source.startswith("hub") else folder.name, model.float().eval(), source, license)


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


def _load_ours(path: Path, name: str) -> _Loaded:
    """A model in the form of `save_weights`."""
    from safetensors.torch import load_file

    described = path.with_suffix(".json")
    for file in (path, described):
        if not file.is_file():
            hint = f"; use {RANDOM_PREFIX}{SHIPPED} for random weights" if name == SHIPPED else ""
            raise MissingDataError(f"{name}: expected trained weights in {file}, got no such file{hint}")
    record = read_json(described, _Described, unknown=True)
    network = Network.from_json(record.network, str(described))
    try:
        weights = load_file(path)
    except Exception as error:  # its errors, the system's, and torch's about sizes
        raise DataError(path, f"expected a safetensors file, got {_reason(error)}") from error
    _check_tensors(weights, where=path)
    if network not in NETWORKS.values():  # a shape of the file's own: nothing is allocated before it fits the weights
        _check_shapes(weights, _build_empty(network, where=described), where=str(path))
    model = _build(library_config(network))
    _fill(model, weights, where=str(path))
    source = "shipped with mosam" if name == SHIPPED else f"file {path}"
    return _Loaded(name, model.eval(), source, record.license)


def _load_meta(path: Path) -> _Loaded:
    """A checkpoint file of the official program."""
    import warnings

    import torch

    from mosam.model.meta_format import from_meta, network_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler of damaged bytes raises whatever comes up: a dozen kinds are known
        reason = _reason(error)
        raise DataError(path, f"expected a SAM 2.1 checkpoint (a torch file of weights), got: {reason}") from error
    weights = content.get("model") if isinstance(content, dict) else None
    if not isinstance(weights, dict):
        raise MismatchError(f"{path}: expected a SAM 2.1 checkpoint with a 'model' entry, got another torch file")
    _check_tensors(weights, where=path)
    size, network = network_of(weights, where=str(path))
    model = _build(library_config(network))
    _fill(model, from_meta(weights, model.state_dict(), where=str(path)), where=str(path))
    return _Loaded(path.stem, model.eval(), f"file {path} ({size})", "unknown")


@dataclass(frozen=True, slots=True)
class _Config:
    """Of a `config.json`, what tells whose it is."""

    model_type: str | None = None


@dataclass(frozen=True, slots=True)
class _Described:
    """What `save_weights` writes beside weights."""

    network: Any
    license: str = "unknown"


def _reason(error: Exception) -> str:
    """The first line of somebody else's error."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error).strip().partition("\n")[0])
    return " ".join(text.split())[:120] or type(error).__name__


def _check_tensors(weights: dict[Any, Any], *, where: Path) -> None:
    """DataError unless these are plain arrays of numbers by name."""
    import torch

    for name, value in weights.items():
        if not isinstance(name, str) or not name.isprintable():
            raise DataError(where, f"expected weights by name, got {ascii(name)[:60]}")
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not plain or not value.is_floating_point():
            raise DataError(where, f"{name[:80]}: expected an array of numbers, got another {type(value).__name__}")


def _build_empty(network: Network, *, where: Path) -> Any:
    """A model without memory for its weights; DataError where the sizes do not fit each other."""
    import torch

    try:
        with torch.device("meta"):
            return _build(library_config(network))
    except Exception as error:
        raise DataError(where, f"network: expected sizes that fit each other, got {_reason(error)}") from error


def _build(config: Any) -> Any:
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


def _fill(model: Any, weights: dict[str, Tensor], *, where: str) -> None:
    """Copy weights into a model, strictly."""
    _check_shapes(weights, model, where=where)
    model.load_state_dict(weights)


def _check_shapes(weights: dict[str, Tensor], model: Any, *, where: str) -> None:
    """MismatchError unless weights have the names and shapes of a model's."""
    from mosam.model.meta_format import check_keys

    own = model.state_dict()
    check_keys(set(weights), set(own), where=where)
    for name, value in weights.items():
        if value.shape != own[name].shape:
            raise MismatchError(
                f"{where}: expected {name} of shape {tuple(own[name].shape)}, got {tuple(value.shape)}; "
                "the checkpoint is of another model"
            )


def _parameter_count(network: Network) -> int:
    """Learned values of a network, counted without making them."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _build(library_config(network)).parameters())


def _with_shape(info: ModelInfo, network: Network) -> ModelInfo:
    """Fill in what the shape alone tells."""
    from mosam.model.networks import STRIDE

    return replace(info, image=network.image, grid=network.image // STRIDE, width=network.width)
