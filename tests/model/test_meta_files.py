"""Checkpoint files of the official programs of every network: all names both ways, and what is told of other files."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from network_cases import FILES

from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.model import checkpoints
from mosam.model.checkpoints import load_model, model_info
from mosam.model.family import ModelFamily, families, published_names
from mosam.model.library import build
from mosam.model.meta_format import SAM2_NAMES, MetaNames, meta_names, to_meta_state_dict
from mosam.model.sam3 import tracker_weights

FOLDER = Path(__file__).parents[1] / "parity"
POSITIONS = "detector.backbone.vision_backbone.trunk.pos_embed"
POINT = "tracker.sam_prompt_encoder.point_embeddings.1.weight"
COUNTED = "image_encoder.trunk.body.stem.conv1.bn.num_batches_tracked"
SMALL = ["edgetam-mini", "sam3-mini"]
ALL = ["mini", "sam2.0-mini", "efficienttam-mini", *SMALL]
PUBLISHED = [name for name in published_names() if not name.endswith(("-1", "-2", "-512"))]  # told by the name alone


@pytest.fixture(autouse=True)
def _needs(request):
    name = getattr(request.node, "callspec", None)
    if name is not None and any("edgetam" in str(value) for value in name.params.values()):
        pytest.importorskip("timm", reason="EdgeTAM needs timm")
        pytest.importorskip("transformers", minversion="5.24", reason="EdgeTAM needs a newer library")


def family_of(size: str) -> ModelFamily:
    return next(family for family in families() if size in family.random_sizes)


def names_of(size: str) -> MetaNames:
    family = family_of(size)
    return family.names() if hasattr(family, "names") else SAM2_NAMES


def official(size: str) -> dict:
    return json.loads((FOLDER / f"{FILES[size.removesuffix('-mini') + '-mini']}_official.json").read_text())


def is_detector(name: str) -> bool:
    """What only SAM 3's detector uses, or what is computed from nothing."""
    return ".vision_backbone.convs." in name or name.endswith(".freqs_cis")


def as_a_file(size: str, module) -> dict[str, torch.Tensor]:
    """Weights as the program of a network stores them, with what the tracker does not need."""
    weights = to_meta_state_dict(module.state_dict(), names_of(size))
    if size != "sam3-mini":
        return weights
    weights[POSITIONS] = torch.cat((torch.ones_like(weights[POSITIONS][:, :1]), weights[POSITIONS]), dim=1)
    more = {name: shape for name, shape in official(size)["mini"].items() if is_detector(name)}
    kinds = {True: torch.complex64, False: torch.float32}
    return weights | {name: torch.ones(shape, dtype=kinds["freqs" in name]) for name, shape in more.items()}


@cache
def module_of(size: str):
    return family_of(size).random(size, 4)


def saved(weights, path: Path, **around) -> str:
    torch.save(around or {"model": weights}, path)
    return str(path)


# names


@pytest.mark.parametrize("size", SMALL)
def test_names_and_shapes_are_those_of_the_program(size):
    weights = as_a_file(size, module_of(size))
    assert {name: list(value.shape) for name, value in weights.items()} == official(size)["mini"]


@pytest.mark.parametrize("size", ["edgetam", "sam3"])
def test_the_published_size_has_the_names_and_shapes_of_the_program(size):
    family, theirs = family_of(size), official(size)["published"]
    with torch.device("meta"):
        own = build(family.config(size), family.model).state_dict()
    shapes = {name: list(value.shape) for name, value in to_published(own, names_of(size)).items()}
    if size == "sam3":
        shapes[POSITIONS][1] += 1
    text = "\n".join(f"{name} {shapes[name]}" for name in sorted(shapes))
    assert {"weights": len(shapes), "sha256": hashlib.sha256(text.encode()).hexdigest()} == theirs
    assert sorted(shapes) == meta_names(own, names_of(size))


def to_published(own, names: MetaNames):
    """As `to_meta_state_dict`, of weights that take no room; it compares two of them."""
    light = {name: torch.zeros(()).expand(value.shape) for name, value in own.items()}
    return to_meta_state_dict(light, names)


# files


@pytest.mark.parametrize("size", ALL)
def test_a_file_is_read_and_known_for_what_it_is(size, tmp_path):
    path = saved(as_a_file(size, module_of(size)), tmp_path / "weights.pt")
    again = load_model(path, device="cpu", precision="fp32")
    own = module_of(size).state_dict()
    assert all(torch.equal(value, own[name]) for name, value in again.model.state_dict().items() if name in own)
    assert again.model.state_dict().keys() == own.keys()
    assert model_info(path).source.endswith(f"({size})")


@pytest.mark.parametrize("size", SMALL)
def test_a_file_of_nothing_but_weights_is_read_too(size, tmp_path):
    weights = as_a_file(size, module_of(size))
    path = saved(None, tmp_path / "weights.pt", **weights)
    assert model_info(path).source.endswith(f"({size})")


@pytest.mark.parametrize("size", ALL)
def test_half_precision_is_read_as_what_it_stands_for(size, tmp_path):
    weights = as_a_file(size, module_of(size))
    halves = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    path = saved(halves, tmp_path / "weights.pt")
    found = load_model(path, device="cpu", precision="fp32").model.state_dict()
    for name, value in module_of(size).state_dict().items():
        assert found[name].dtype == value.dtype
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(found[name], expected)


@pytest.mark.parametrize("size", ["mini", *SMALL])
def test_a_folder_in_half_precision_is_read_as_what_it_stands_for(size, tmp_path):
    import copy

    copy.deepcopy(module_of(size)).half().save_pretrained(tmp_path / "half")
    found = load_model(str(tmp_path / "half"), device="cpu", precision="fp32").model
    assert {value.dtype for value in found.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("size", "missing", "title"),
    [
        ("mini", "no_obj_ptr", "SAM 2.1"),
        ("sam2.0-mini", "no_obj_ptr", "SAM 2.0"),
        ("efficienttam-mini", "no_obj_ptr", "EfficientTAM"),
        ("edgetam-mini", "spatial_perceiver.layers.1.attn.to_kv.weight", "EdgeTAM"),
        ("sam3-mini", "tracker.obj_ptr_tpos_proj.bias", "SAM 3's tracker"),
        ("sam3-mini", "detector.backbone.vision_backbone.sam2_convs.0.conv_1x1.bias", "SAM 3's tracker"),
    ],
)
def test_missing_and_unexpected_weights_are_named(size, missing, title, tmp_path):
    weights = as_a_file(size, module_of(size))
    gone = weights.pop(missing)
    path = saved(weights, tmp_path / "w.pt")
    with pytest.raises(MismatchError, match=f"w.pt: .* weights of {title}, got 1 missing .{missing}.$"):
        load_model(path, device="cpu")
    more = "tracker.more.weight" if size == "sam3-mini" else "more.weight"
    path = saved(weights | {missing: gone, more: torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(MismatchError, match=f"w.pt: .* weights of {title}, got 1 unexpected .{more}.$"):
        load_model(path, device="cpu")


@pytest.mark.parametrize(
    ("size", "name", "value", "words"),
    [
        ("edgetam-mini", "spatial_perceiver.layers.0.attn.to_kv.weight", torch.zeros(127, 64), "of 2 equal parts"),
        ("edgetam-mini", "spatial_perceiver.layers.0.attn.to_kv.weight", torch.zeros(()), "of 2 equal parts"),
        ("edgetam-mini", "spatial_perceiver.latents", torch.zeros(7, 64), r"256 \(edgetam\) or 16 .*, got 7"),
        ("edgetam-mini", COUNTED, torch.zeros(()), "of int64, got float32"),
        ("edgetam-mini", "no_obj_ptr", torch.zeros(1, 128, dtype=torch.int64), "of float32, got int64"),
        ("sam3-mini", POSITIONS, torch.zeros(65, 64), r"of shape \(1, cells \+ 1, C\)"),
        ("sam3-mini", POSITIONS, torch.zeros(1, 60, 64), r"shape \(1, 64, 64\), got \(1, 59, 64\)"),
        ("sam3-mini", "tracker.no_mem_embed", torch.zeros(1, 1, 128).bool(), "an array of numbers"),
        ("sam3-mini", "tracker.no_obj_ptr", torch.zeros(1, 128).to(torch.complex64), "of float32, got complex64"),
        ("sam3-mini", POINT, torch.zeros(9), "embeddings of one shape"),
    ],
)  # fmt: skip
def test_weights_of_another_shape_or_kind_are_refused(size, name, value, words, tmp_path):
    path = saved(as_a_file(size, module_of(size)) | {name: value}, tmp_path / "w.pt")
    with pytest.raises(MosamError, match=words) as caught:
        load_model(path, device="cpu")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path)


def test_the_detector_s_own_weights_are_left_alone():
    weights = {"detector.transformer.x": torch.zeros(1), "tracker.y": torch.zeros(1), "z": torch.zeros(1)}
    assert sorted(tracker_weights(weights, where="here")) == ["tracker.y", "z"]


@pytest.mark.parametrize("size", ["sam3-mini"])
def test_a_detector_without_a_tracker_says_what_is_missing(size, tmp_path):
    weights = {k: v for k, v in as_a_file(size, module_of(size)).items() if k.startswith("detector.")}
    with pytest.raises(MismatchError, match=r"weights of SAM 3's tracker, got \d+ missing \(tracker\."):
        load_model(saved(weights, tmp_path / "w.pt"), device="cpu")


@pytest.mark.parametrize("key", ["state_dict", "ema"])
def test_weights_under_another_key_say_where_they_are(key, tmp_path):
    path = saved(None, tmp_path / "w.pt", **{key: to_meta_state_dict(module_of("mini").state_dict()), "epoch": 3})
    with pytest.raises(MismatchError, match=f"a 'model' entry, got its weights in '{key}'; save them as"):
        load_model(path, device="cpu")


def test_weights_deeper_than_the_model_entry(tmp_path):
    path = saved({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "w.pt")
    with pytest.raises(MismatchError, match="a 'model' entry"):
        load_model(path, device="cpu")


def test_a_bare_safetensors_file_says_what_to_give_instead(tmp_path):
    module_of("mini").save_pretrained(tmp_path)
    with pytest.raises(MissingDataError, match=rf"model\.json, got no such file; use --model {tmp_path}$"):
        load_model(str(tmp_path / "model.safetensors"), device="cpu")


def test_a_safetensors_file_of_other_shapes(tmp_path):
    from safetensors.torch import load_file, save_file

    module_of("mini").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {"no_object_pointer": torch.zeros(1, 7)}, path, metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"no_object_pointer of shape \(1, \d+\), got \(1, 7\)") as caught:
        load_model(str(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sam2", "edgetam", "sam3", "sam", "cutie"])
def test_a_folder_of_another_kind_is_named(kind, tmp_path):
    module_of("mini").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": kind}))
    with pytest.raises(MismatchError, match=rf"expected a model of EdgeTAM, .*, got '{kind}'; use a checkp"):
        load_model(str(tmp_path), device="cpu")


# other networks than asked for


@cache
def published_weights(name: str) -> dict[str, torch.Tensor]:
    """Weights of a published network's names and shapes, which take no room."""
    family = family_of(name)
    with torch.device("meta"):
        if family.title == "EfficientTAM":
            from mosam.model.efficienttam import build as build_own
            from mosam.model.families.efficienttam import VARIANTS

            module = build_own(VARIANTS[name])
        else:
            module = build(family.config(name), getattr(family, "model", "Sam2VideoModel"))
    return to_published(module.state_dict(), names_of(name))


PAIRS = [(asked, other) for asked in PUBLISHED for other in PUBLISHED if asked != other]


@pytest.mark.parametrize(("asked", "other"), PAIRS)
def test_the_weights_of_another_network_are_named(asked, other, monkeypatch):
    monkeypatch.setattr(checkpoints, "_read_file", lambda path: published_weights(other))
    for where in ("hub_file", "find_file"):
        monkeypatch.setattr(checkpoints, where, lambda name, **_: Path("some.pt"))
    monkeypatch.setattr(checkpoints, "cached_folder", lambda name: None)
    with pytest.raises(MismatchError) as caught:
        load_model(asked, device="cpu")
    title = family_of(other).title
    assert str(caught.value) == (
        f"some.pt: expected the weights of {asked}, but this looks like {title} ({other}); use --model {other}"
    )


@pytest.mark.parametrize("asked", [name for name in PUBLISHED if "efficienttam" not in name])
@pytest.mark.parametrize("other", ["mini", "sam2.0-mini", *SMALL])
def test_the_folder_of_another_network_is_named(asked, other, monkeypatch, tmp_path):
    own = family_of(other)
    own.config(other).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not looked at")
    monkeypatch.setattr(checkpoints, "hub_folder", lambda *_, **__: tmp_path)
    monkeypatch.setattr(checkpoints, "cached_folder", lambda name: tmp_path)
    if asked in own.repositories and own.size_of_config({}) is None and len(own.repositories) == 1:
        pytest.skip("one network, whose folders do not tell their size")
    with pytest.raises(MismatchError, match=f"expected the weights of {asked}, but this looks like {own.title}"):
        load_model(asked, device="cpu")
