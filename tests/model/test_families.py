"""What every kind of network must do: load its own files, run under every tracker, give each row its own answer."""

import re
import sys

import numpy as np
import pytest
import torch

from mosam.engine.engine import Engine
from mosam.errors import MismatchError, MosamError
from mosam.model.checkpoints import list_models, load_model, model_info
from mosam.model.families.sam2_1 import Sam21
from mosam.model.family import MODELS, families, find_published
from mosam.model.meta_format import to_meta_state_dict
from mosam.policies.base import POLICIES, load_policy
from mosam.types import Prompt

SIZE = (60, 80)
SMALL = [
    "random:mini@128",
    "random:sam2.0-mini@128",
    "random:edgetam-mini",
    "random:sam3-mini",
    "random:efficienttam-mini@128",
    "random:efficienttam-mini-1@128",
]


def network(name: str):
    if "edgetam" in name:
        pytest.importorskip("timm", reason="EdgeTAM needs timm")
        pytest.importorskip("transformers", minversion="5.24", reason="EdgeTAM needs a newer library")
    return load_model(name, device="cpu", precision="fp32")


@pytest.fixture(scope="module", params=SMALL)
def model(request):
    return network(request.param)


def frames(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shots = rng.integers(0, 120, (count, *SIZE, 3), dtype=np.uint8)
    for t, shot in enumerate(shots):
        shot[20:40, 20 + 2 * t : 45 + 2 * t] = (230, 180, 40)
    return list(shots)


def prompts() -> list[Prompt]:
    mask = np.zeros(SIZE, dtype=bool)
    mask[20:40, 20:45] = True
    return [Prompt(1, mask=mask), Prompt(2, 1, box=np.array([30.0, 10.0, 20.0, 25.0]))]


def close(found, expected, share: float) -> bool:
    """Equal but for a share of the largest number: random weights make numbers of any size."""
    return float((found - expected).abs().max()) <= share * max(1.0, float(expected.abs().max()))


def track(model, tracker: str, count: int) -> list:
    engine = Engine(model, load_policy(tracker))
    video = engine.open(prompts(), size=SIZE, num_frames=count)
    for shot in frames(count):
        engine.step({video: shot})
    outputs = engine.drain(video) + engine.close(video)
    assert len(engine.bank.features) == 0, "memory outlives its video"
    return outputs


@pytest.mark.usefixtures("drawn_weights")
@pytest.mark.parametrize("tracker", sorted(POLICIES))
def test_every_tracker_runs_over_every_network(model, tracker):
    if load_policy(tracker).needs_memory_grid and not model.sizes.memory_grid:
        with pytest.raises(MosamError, match="grid of cells"):
            track(model, tracker, 4)
        return
    outputs = track(model, tracker, 4)
    assert [sorted(output.objects) for output in outputs] == [[1], [1, 2], [1, 2], [1, 2]]
    assert outputs[0].objects[1].mask[22:38, 22:43].all(), "the given mask is shown"


def test_a_batch_is_its_rows(model):
    """Within rounding: products of several rows add up in another order."""
    shots = frames(3)
    pixels = model.preprocess(shots)
    with torch.inference_mode():
        together = model.encode(pixels)
        for i in range(3):
            alone = model.encode(pixels[i : i + 1])
            assert close(alone.top[0], together.top[i], 1e-5)
            masks = model.decode(
                model.without_memory(together, torch.tensor([i])),
                together,
                torch.tensor([i]),
                model.no_prompt(1),
                outputs="multi",
            )
            same = model.decode(
                model.without_memory(alone, torch.tensor([0])),
                alone,
                torch.tensor([0]),
                model.no_prompt(1),
                outputs="multi",
            )
            assert close(masks.masks, same.masks, 1e-4)
        rows = torch.arange(3)
        logits = torch.linspace(-5, 5, 3)[:, None, None, None].expand(3, 1, model.sizes.image, model.sizes.image)
        memory = model.memorize(together, rows, logits.contiguous(), torch.tensor([True, False, True]))
        assert memory.shape == (3, model.sizes.tokens, model.sizes.memory)
        for i in range(3):
            one = model.memorize(together, rows[i : i + 1], logits[i : i + 1], torch.tensor([i != 1]))
            assert close(one[0].float(), memory[i].float(), 0.02)


def test_the_names_of_networks_are_their_own():
    names = [name for family in families() for name in (*family.repositories, *family.random_sizes)]
    by_family = [set(family.repositories) | set(family.random_sizes) for family in families()]
    assert len(set().union(*by_family)) == sum(map(len, by_family)), names


@pytest.mark.parametrize("size", ["mini", "sam2.0-mini"])
def test_a_file_of_the_official_program_is_known_for_what_it_is(size, tmp_path):
    plain = load_model(f"random:{size}", device="cpu")
    path = tmp_path / "weights.pt"
    torch.save({"model": to_meta_state_dict(plain.model.state_dict())}, path)
    again = load_model(str(path), device="cpu")
    assert again.weights_hash == plain.weights_hash
    assert model_info(str(path)).source.endswith(f"({size})")


@pytest.mark.parametrize("size", ["mini", "sam2.0-mini", "sam3-mini", "edgetam-mini"])
def test_a_folder_of_the_library_is_known_for_what_it_is(size, tmp_path):
    plain = network(f"random:{size}")
    plain.model.save_pretrained(tmp_path / "folder")
    again = load_model(str(tmp_path / "folder"), device="cpu")
    assert type(again) is type(plain)
    assert again.weights_hash == plain.weights_hash


def test_smaller_pictures_keep_the_weights_and_change_the_name():
    plain, small = (load_model(name, device="cpu") for name in ("random:mini", "random:mini@128"))
    assert small.weights_hash == plain.weights_hash
    assert (small.name, small.sizes.image, small.sizes.grid, small.sizes.mask) == ("random:mini@128", 128, 8, 32)
    assert load_model("nano@64", device="cpu").sizes.image == 64


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("random:mini@100", "expected an input size that is a multiple of 32 from 64 to 2048, got @100"),
        ("random:mini@99999", "got @99999"),
        ("tiny@500", "SAM 2.1: expected an input size that is a multiple of 32 from 64 to 2048, got @500"),
        ("efficienttam-s@16", "EfficientTAM: expected an input size that is a multiple of 32"),
        ("edgetam@512", "EdgeTAM: expected no other input size than its own, got 512; leave out @512"),
        ("sam3@1024", "leave out @1024"),
        ("facebook/sam2-hiera-tiny@500", "SAM 2.0: expected an input size that is a multiple of 32"),
        ("random:sam3-mini@128", "SAM 3: expected no other input size than its own, got 128; leave out @128"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_is_read(name, words, monkeypatch):
    for ask in ("hub_folder", "hub_file"):
        monkeypatch.setattr(f"mosam.model.checkpoints.{ask}", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(MosamError) as caught:
        load_model(name, device="cpu")
    assert words in str(caught.value)


def test_cells_cannot_be_dropped_from_a_memory_that_has_none():
    with pytest.raises(MosamError, match="grid of cells"):
        Engine(network("random:edgetam-mini"), load_policy("mosam", pix_mode="drop"))


def test_one_more_network_is_one_class():
    @MODELS.register("test-net")
    class Own(Sam21):
        title = "a network of a test"
        prefix = "own-"
        repositories = {}  # noqa: RUF012
        random_sizes = ("own-mini",)

    try:
        assert load_model("random:own-mini", device="cpu").sizes.image == 256
    finally:
        for entries in (MODELS._items, MODELS._files):
            entries.pop("test-net")


def test_an_older_library_is_named(monkeypatch):
    import transformers

    monkeypatch.setattr(transformers, "__version__", "5.17.0")
    with pytest.raises(MosamError, match=r"^EdgeTAM: expected transformers 5\.24 or newer, got 5\.17\.0; pip install"):
        load_model("random:edgetam-mini", device="cpu")


@pytest.mark.parametrize("how", ["drawn", "counted", "folder"])
def test_edgetam_without_timm_is_one_line(how, tmp_path, monkeypatch):
    pytest.importorskip("transformers", minversion="5.24", reason="EdgeTAM needs a newer library")
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it fails, whether or not it is installed
    (tmp_path / "config.json").write_text('{"model_type": "edgetam_video"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    calls = {
        "drawn": lambda: load_model("random:edgetam", device="cpu"),
        "counted": lambda: MODELS["edgetam"]().shape("edgetam", count=True),
        "folder": lambda: load_model(str(tmp_path), device="cpu"),
    }
    with pytest.raises(MosamError) as caught:
        calls[how]()
    expected = r"EdgeTAM: expected the package timm, got .+; pip install 'mosam\[edgetam\]'"
    assert re.fullmatch(expected, str(caught.value))


def small_folder(folder, change):
    """A folder of the smallest network whose weights were changed."""
    from safetensors.torch import save_file

    model = load_model("random:nano", device="cpu").model
    model.save_pretrained(folder)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(change(weights), folder / "model.safetensors", metadata={"format": "pt"})
    return model


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_read_as_they_are(dtype, tmp_path):
    plain = small_folder(tmp_path / "half", lambda weights: {k: v.to(dtype) for k, v in weights.items()})
    own = plain.state_dict()
    torch.save({"model": to_meta_state_dict({k: v.to(dtype) for k, v in own.items()})}, tmp_path / "a.pt")
    for place in (tmp_path / "half", tmp_path / "a.pt"):
        found = load_model(str(place), device="cpu", precision="fp32").model.state_dict()
        assert all(torch.equal(value, own[k].to(dtype).float()) for k, value in found.items()), place
        assert {value.dtype for value in found.values()} == {torch.float32}


def test_a_folder_with_a_weight_of_another_shape_names_it(tmp_path):
    small_folder(tmp_path / "odd", lambda weights: {**weights, "no_object_pointer": torch.zeros(3, 7)})
    with pytest.raises(MismatchError) as caught:
        load_model(str(tmp_path / "odd"), device="cpu")
    expected = "expected no_object_pointer of shape (1, 128), got (3, 7); its config.json is of another model"
    assert str(caught.value) == f"{tmp_path / 'odd'}: {expected}"


def test_networks_are_listed_small_to_large():
    names = [model.name for model in list_models()]
    eight = [f"efficienttam-{size}{kind}" for size in ("ti", "s") for kind in ("", "-1", "-2", "-512")]
    sizes = ["tiny", "small", "base-plus", "large"]
    assert names == ["nano", "edgetam", *eight, *(f"sam2.0-{size}" for size in sizes), *sizes, "sam3"]
    for row in (eight[:5:4], sizes[:3]):
        family = find_published(row[0])[0]
        counts = [family.shape(name, count=True).parameters for name in row]
        assert counts == sorted(set(counts)), row


@pytest.mark.parametrize("size", ["edgetam-mini", "sam3-mini", "sam2.0-mini", "mini"])
def test_the_shape_that_is_listed_is_that_of_the_module(size):
    module = network(f"random:{size}").model
    family = next(family for family in families() if size in family.random_sizes)
    assert family.shape(size, count=True) == family.shape_of(module)


def test_the_list_of_networks_needs_no_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    assert {"edgetam", "sam3"} <= {model.name for model in list_models()}
