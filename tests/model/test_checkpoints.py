"""Names of models, files of every kind, and their errors."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from mosam.errors import DataError, MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.model import checkpoints, devices
from mosam.model.checkpoints import fetch_model, list_models, load_model, model_info, save_weights
from mosam.model.devices import choose_device, choose_precision
from mosam.model.family import published_names
from mosam.model.library import build_random
from mosam.model.meta_format import FOURIER_COPIES, to_meta_state_dict
from mosam.model.networks import NETWORKS
from mosam.model.state import weights_hash

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def nano():
    return build_random(NETWORKS["nano"], 0)


@pytest.fixture(scope="module")
def meta_file(nano, tmp_path_factory):
    path = tmp_path_factory.mktemp("meta") / "sam.pt"
    torch.save({"model": to_meta_state_dict(nano.state_dict())}, path)
    return path


@pytest.fixture(scope="module")
def folder(nano, tmp_path_factory):
    path = tmp_path_factory.mktemp("folder") / "mine"
    nano.save_pretrained(path)
    return path


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache and no way to fill it."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def test_a_seed_gives_the_same_weights_and_another_seed_others(nano):
    assert weights_hash(build_random(NETWORKS["nano"], 0).state_dict()) == weights_hash(nano.state_dict())
    assert weights_hash(build_random(NETWORKS["nano"], 1).state_dict()) != weights_hash(nano.state_dict())


def test_random_weights_are_the_same_on_every_machine():
    assert load_model("random:nano", device="cpu").weights_hash.startswith("a0dfc5b6a48989b2")


def test_loading_leaves_the_random_stream_of_the_caller_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_random(NETWORKS["nano"], 0)
    assert torch.equal(torch.rand(4), expected)


def test_a_random_model_says_so():
    model = load_model("random:nano", device="cpu", seed=0)
    assert (model.random, model.name, model.precision) == (True, "random:nano", "fp32")
    assert model_info("random:nano").source == "random weights, seed 0"


@pytest.mark.parametrize("kind", ["meta", "folder", "ours"])
def test_every_kind_of_file_gives_the_same_weights(kind, nano, meta_file, folder, tmp_path):
    path = {"meta": meta_file, "folder": folder}.get(kind)
    path = path or save_weights(nano, NETWORKS["nano"], tmp_path, "mine", {"steps": 1})
    model = load_model(str(path), device="cpu")
    assert model.weights_hash == weights_hash(nano.state_dict())
    assert (model.random, model.sizes.image, sum(p.numel() for p in model.model.parameters())) == (False, 128, 2301266)
    assert model_info(str(path)).weights_hash == model.weights_hash


def test_shipped_form_keeps_its_notes(nano, tmp_path):
    save_weights(nano, NETWORKS["nano"], tmp_path, "mine", {"steps": 7})
    record = json.loads((tmp_path / "mine.json").read_text())
    assert (record["notes"], record["sha256"]) == ({"steps": 7}, weights_hash(nano.state_dict()))


def test_a_file_of_the_shipped_name_is_not_the_shipped_one(nano, tmp_path):
    path = save_weights(nano, NETWORKS["nano"], tmp_path, "nano", {})
    assert model_info(str(path)).source == f"file {path}"
    assert model_info("nano").source == "shipped with mosam"


@pytest.mark.parametrize("absent", FOURIER_COPIES)
def test_a_folder_that_leaves_out_one_fourier_copy_is_completed(absent, nano, folder, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights[absent]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert load_model(str(tmp_path), device="cpu").weights_hash == weights_hash(nano.state_dict())


def test_a_folder_with_a_missing_weight_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["no_object_pointer"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(MismatchError, match=r"1 missing \(no_object_pointer\)"):
        load_model(str(tmp_path), device="cpu")


def test_folders_that_are_something_else(folder, tmp_path):
    with pytest.raises(MissingDataError, match=r"no config\.json and no model\.safetensors"):
        load_model(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(MismatchError, match="got 'bert'"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(MosamError, match=str(tmp_path)):
        load_model(str(tmp_path))


def test_checkpoint_files_that_are_something_else(tmp_path, nano):
    path = tmp_path / "a.pt"
    path.write_text("no checkpoint")
    with pytest.raises(DataError, match=r"a\.pt: expected a SAM 2 checkpoint"):
        load_model(str(path))
    torch.save([1], path)
    with pytest.raises(MismatchError, match="'model' entry"):
        load_model(str(path))
    torch.save({"model": {"fc.weight": torch.zeros(1)}}, path)
    with pytest.raises(MismatchError, match=r"another model's \(fc\.weight"):
        load_model(str(path))
    weights = to_meta_state_dict(nano.state_dict())
    del weights["no_obj_ptr"]
    torch.save({"model": weights}, path)
    with pytest.raises(MismatchError, match=r"1 missing \(no_obj_ptr\)"):
        load_model(str(path))
    torch.save({"model": {**weights, "no_obj_ptr": torch.zeros(1, 7)}}, path)
    with pytest.raises(MismatchError, match=r"shape \(1, 128\), got \(1, 7\)"):
        load_model(str(path))


class _Harm:
    def __reduce__(self):
        return (print, ("a checkpoint must not run code",))


def test_a_checkpoint_cannot_run_code(tmp_path, capsys):
    path = tmp_path / "a.pt"
    torch.save({"model": _Harm()}, path, pickle_module=pickle)
    with pytest.raises(DataError):
        load_model(str(path))
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tiny", "sam2.1-hiera-tiny", "facebook/sam2.1-hiera-tiny", "somebody/model"])
def test_without_network_one_line_says_what_to_do(name, no_network):
    with pytest.raises(MissingDataError, match="not in the local cache") as caught:
        load_model(name)
    assert "mosam model fetch" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_gated_weights_say_how_to_get_access(no_network):
    with pytest.raises(MissingDataError, match=r"ask for access on https://huggingface\.co/facebook/sam3, log in"):
        load_model("sam3")
    with pytest.raises(MissingDataError) as caught:
        load_model("edgetam")
    assert "sam2.1" not in str(caught.value)
    assert "--from meta" not in str(caught.value)


def test_what_is_known_without_weights(no_network):
    info = model_info("tiny")
    assert (info.parameters, info.weights_hash, info.license) == (38962498, None, "Apache-2.0")
    assert [model.name for model in list_models()] == ["nano", *published_names()]


def test_the_hub_cache_is_used_without_network(folder, no_network, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--facebook--sam2.1-hiera-tiny" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    for file in checkpoints.HUB_FILES:
        (snapshot / file).write_bytes((folder / file).read_bytes())
    assert fetch_model("tiny") == snapshot
    with pytest.raises(MismatchError, match=r"weights of tiny, but this looks like SAM 2\.1 \(nano\); use --model"):
        load_model("tiny")
    monkeypatch.setattr(checkpoints, "_check_wanted", lambda *_: None)
    model = model_info("sam2.1-hiera-tiny")
    assert (model.name, model.source) == ("tiny", "hub: facebook/sam2.1-hiera-tiny, revision abc")


def test_a_shipped_model_that_is_not_there_yet(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(MissingDataError, match="use random:nano"):
        load_model("nano")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nanoo", "did you mean nano"),
        ("random:huge", "unknown model size 'huge'"),
        ("gone.pt", "expected a checkpoint file, got nothing"),
    ],
)
def test_names_that_mean_nothing(name, pattern):
    with pytest.raises(MosamError, match=pattern):
        load_model(name)


@pytest.mark.parametrize(
    "option", [{"precision": "fp8"}, {"formulas": "mine"}, {"resize": "nearest"}, {"device": "tpu"}]
)
def test_options_that_mean_nothing_list_the_known_ones(option):
    with pytest.raises(UnknownNameError, match="known: "):
        load_model("random:nano", **option)


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MosamError, match="expected a cuda device, got none"):
        choose_device("cuda:1")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("device", ["cuda:2", "cuda:-1", "cuda:x", "cuda:", "cudax", "cpu:1"])
def test_a_number_that_no_device_has(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(MosamError) as caught:
        choose_device(device)
    assert "\n" not in str(caught.value)


def test_automatic_precision(monkeypatch):
    monkeypatch.setattr(devices, "bf16_units", lambda: "matrix units")
    assert choose_precision("tiny", CPU) == "bf16"
    assert choose_precision("nano", CPU) == choose_precision("random:nano", CPU) == "fp32"
    monkeypatch.setattr(devices, "bf16_units", lambda: None)
    assert choose_precision("tiny", CPU) == "fp32"
    assert choose_precision("large", torch.device("mps")) == "bf16"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16", "amx_bf16"}, "matrix units"),
        ({"avx512_bf16"}, "16-bit products"),
        ({"avx2", "avx512f"}, None),
        (set(), None),
    ],
)
def test_what_a_processor_multiplies_16_bits_with(monkeypatch, flags, expected):
    monkeypatch.setattr("mosam.model.widened.cpu_flags", lambda: flags)
    assert devices.bf16_units() == expected
