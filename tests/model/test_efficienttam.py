"""EfficientTAM against its own program's names, sizes and stored runs; pooled attention against its definition."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from efficienttam_cases import CASES, FRAMES, build_model
from parity_cases import SIZE, clip, prompt
from recording import RecordingEngine

from mosam.engine.engine import Engine
from mosam.engine.parity import Parity
from mosam.errors import MismatchError, MosamError
from mosam.model.backbone import MemoryRead
from mosam.model.checkpoints import list_models, load_model, model_info
from mosam.model.efficienttam import merge_cells, merge_to_shifted, merge_to_sums
from mosam.model.families.efficienttam import PUBLISHED, VARIANTS, EfficientTam, file_of
from mosam.model.meta_format import from_meta, meta_names, to_meta_state_dict
from mosam.policies.base import POLICIES, load_policy
from mosam.types import Prompt

FOLDER = Path(__file__).parents[1] / "parity"
TOLERANCE = 1e-4
KINDS = ("", "-1", "-2")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def official():
    return json.loads((FOLDER / "efficienttam_official.json").read_text())


@pytest.fixture(scope="module")
def stored():
    with np.load(FOLDER / "efficienttam_official.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return load_model(f"random:efficienttam-mini{request.param}@128", device="cpu")


# names and sizes


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_program_both_ways(official, kind):
    module = EfficientTam().random(f"efficienttam-mini{kind}", 3)
    theirs = to_meta_state_dict(module.state_dict())
    assert {name: list(value.shape) for name, value in theirs.items()} == official["mini"]
    ours = from_meta(theirs, module.state_dict(), where="here")
    assert all(torch.equal(ours[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("size", ["s", "ti"])
def test_published_sizes_are_the_official_ones(official, size):
    from mosam.model.efficienttam import build

    with torch.device("meta"):
        names = meta_names(build(VARIANTS[f"efficienttam-{size}"]).state_dict())
    counted = EfficientTam().shape(f"efficienttam-{size}", count=True).parameters
    assert {"weights": len(names), "parameters": counted} == official["published"][size]


def test_the_eight_names():
    assert [file_of(name) for name in PUBLISHED] == [
        f"efficienttam_{size}{kind}.pt" for size in ("ti", "s") for kind in ("", "_1", "_2", "_512x512")
    ]
    shapes = {info.name: info for info in list_models()}
    assert (shapes["efficienttam-s"].image, shapes["efficienttam-ti-512"].image) == (1024, 512)
    assert shapes["efficienttam-ti-512"].grid == 32


@pytest.mark.parametrize(("stem", "size"), [("any", "mini"), ("efficienttam_mini_1", "mini-1"), ("x_2", "mini-2")])
def test_a_file_of_the_program_is_read_and_its_name_tells_the_variant(stem, size, tmp_path):
    plain = load_model("random:efficienttam-mini", device="cpu")
    path = tmp_path / f"{stem}.pt"
    torch.save({"model": to_meta_state_dict(plain.model.state_dict())}, path)
    again = load_model(str(path), device="cpu")
    assert (again.weights_hash, again.name) == (plain.weights_hash, stem)
    assert again.model.variant == VARIANTS[f"efficienttam-{size}"]
    assert model_info(str(path)).source.endswith(f"(efficienttam-{size})")


def test_a_published_file_is_taken_from_the_cache_of_the_hub(tmp_path, monkeypatch):
    weights = to_meta_state_dict(load_model("random:efficienttam-mini", device="cpu").model.state_dict())
    torch.save({"model": weights}, tmp_path / "efficienttam_s_1.pt")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repository, file, **_: str(tmp_path / file))
    with pytest.raises(MismatchError, match=r"but this looks like EfficientTAM \(efficienttam-mini-1\)"):
        load_model("efficienttam-s-1", device="cpu")
    monkeypatch.setattr("mosam.model.checkpoints._check_wanted", lambda *_: None)
    found = load_model("efficienttam-s-1", device="cpu")
    assert (found.name, found.model.variant.pooling) == ("efficienttam-s-1", 1)


def test_without_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSAM_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MosamError, match=r"mosam model fetch efficienttam-s` .* a file efficienttam_s\.pt"):
        load_model("efficienttam-s", device="cpu")
    assert model_info("efficienttam-s").parameters == 34055842


@pytest.mark.parametrize("change", ["missing", "unexpected", "channels"])
def test_other_weights_are_refused(change, tmp_path):
    weights = to_meta_state_dict(load_model("random:efficienttam-mini", device="cpu").model.state_dict())
    if change == "missing":
        del weights["no_obj_ptr"]
    elif change == "unexpected":
        weights["no_obj_embed_spatial"] = torch.zeros(1, 64)
        weights["sam_mask_decoder.conv_s0.weight"] = torch.zeros(1)
    else:
        weights["image_encoder.trunk.pos_embed"] = torch.zeros(1, 197, 100)
    torch.save({"model": weights}, tmp_path / "efficienttam_s.pt")
    with pytest.raises(MismatchError):
        load_model(str(tmp_path / "efficienttam_s.pt"), device="cpu")


@pytest.mark.parametrize("image", ["100", "4096"])
def test_sizes_that_cannot_be_are_refused(image):
    with pytest.raises(MosamError, match=f"EfficientTAM: expected an input size .*, got @{image}"):
        load_model(f"random:efficienttam-mini@{image}", device="cpu")


# its own program


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_program_s_runs_replayed(stored, case):
    theirs = {key.partition("/")[2]: value for key, value in stored.items() if key.startswith(f"{case.name}/")}
    backbone = EfficientTam().backbone(build_model(case.kind), name="mini")
    parity = Parity.official(post_processing=case.post_processing)
    engine = RecordingEngine(backbone, load_policy("sam2"), parity=parity)
    video = engine.open([prompt(1, 0, case.prompt)], size=SIZE, num_frames=FRAMES)
    areas = [int(engine.step({video: image})[video].objects[1].mask.sum()) for image in clip()[0][:FRAMES]]
    engine.drain(video)
    records = engine.records[1]
    logits = np.stack([records[t].low_res[0].numpy() for t in range(FRAMES)])
    ious = np.array([records[t].ious for t in range(1, FRAMES)])
    scores = np.array([records[t].object_score for t in range(FRAMES)])
    assert np.abs(logits[:, ::8, ::8] - theirs["logits_sample"]).max() <= TOLERANCE
    assert np.abs(logits[-1] - theirs["logits_last"]).max() <= TOLERANCE
    assert np.abs(ious - theirs["ious"][1:]).max() <= TOLERANCE
    assert np.abs(np.stack([records[t].pointer.numpy() for t in range(FRAMES)]) - theirs["pointer"]).max() <= TOLERANCE
    assert np.abs(scores - theirs["object_score"]).max() <= 10 * TOLERANCE  # scaled by 80
    assert np.abs(np.array(areas) - theirs["area"]).max() <= 2  # pixels whose logit is nearly 0


def test_the_runs_take_every_branch(stored):
    best, scores = set(), []
    for case in CASES:
        best |= set(np.argmax(stored[f"{case.name}/ious"][1:], axis=1))
        scores += list(stored[f"{case.name}/object_score"][1:])
    assert {1, 2} <= best
    assert sum(score <= 0 for score in scores) > 10
    assert sum(score > 0 for score in scores) > 40


# attention to means


def a_read(sizes, rows, slots, bias=None):
    generator = torch.Generator().manual_seed(2)
    return MemoryRead(
        memory=torch.randn(rows, slots, sizes.tokens, sizes.memory, generator=generator).bfloat16(),
        temporal=torch.arange(slots).expand(rows, -1),
        pointers=torch.randn(rows, 3, sizes.width, generator=generator),
        positions=torch.zeros(rows, 3),
        bias=bias,
    )


def test_means_are_of_two_by_two_cells():
    key = torch.arange(2 * 16 + 3.0)[None, :, None].expand(1, -1, 5)
    merged, _, bias = merge_cells(key, key, None, 2, 16)
    assert bias is None
    assert merged[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5, 18.5, 20.5, 26.5, 28.5, 32, 33, 34]


def test_the_two_ways_of_counting_four_cells():
    key = torch.randn(1, 35, 8)
    plain, _, _ = merge_cells(key, key, None, 2, 16)
    sums, _, bias = merge_to_sums(key, key, None, 2, 16)
    assert torch.equal(sums, plain)
    assert torch.allclose(bias, torch.tensor([math.log(4)] * 8 + [0] * 3))
    shifted, value, none = merge_to_shifted(key, key, None, 2, 16)
    assert none is None
    assert torch.equal(value, plain)
    assert torch.allclose(shifted - plain, torch.tensor([math.log(4)] * 8 + [0] * 3)[None, :, None])


@pytest.mark.parametrize("merge", [merge_to_sums, merge_to_shifted])
def test_one_memory_is_not_merged(merge):
    key = torch.randn(1, 19, 8)
    assert merge(key, key, None, 1, 16) == (key, key, None)


@pytest.mark.parametrize("merge", [merge_to_sums, merge_to_shifted])
def test_a_bias_of_nothing_changes_nothing_and_a_hidden_cell_has_no_part(merge):
    key, bias = torch.randn(1, 35, 8), torch.zeros(1, 35)
    for ours, without in zip(merge(key, key, bias, 2, 16)[:2], merge(key, key, None, 2, 16)[:2], strict=True):
        assert torch.allclose(ours, without, atol=1e-6)
    bias[0, [0, 1, 4, 5]] = -torch.inf  # a whole mean
    bias[0, 2] = -torch.inf  # and one of four
    other = key.clone()
    other[0, [0, 1, 2, 4, 5]] = 100.0
    (first, _, mine), (second, _, same) = merge(key, key, bias, 2, 16), merge(other, other, bias, 2, 16)
    assert mine[0, 0] == -torch.inf
    assert torch.equal(mine, same)
    assert torch.allclose(first[0, 1:], second[0, 1:])
    assert mine[0, 1] - mine[0, 2] == pytest.approx(math.log(3 / 4))


def test_rows_do_not_touch_each_other(model):
    pixels = torch.from_numpy(np.random.RandomState(0).standard_normal((2, 3, 128, 128)).astype(np.float32))
    rows = torch.tensor([0, 1, 1])
    with torch.inference_mode():
        features = model.encode(pixels)
        assert features.high == ()
        assert torch.allclose(model.encode(pixels[1:]).top, features.top[1:], atol=1e-5)
        read = a_read(model.sizes, 3, 3)
        together = model.attend(features, rows, read)
        masks = model.decode(together, features, rows, model.no_prompt(3), outputs="all").masks
        for i in range(3):
            one = MemoryRead(read.memory[i : i + 1], read.temporal[:1], read.pointers[i : i + 1], read.positions[:1])
            alone = model.attend(features, rows[i : i + 1], one)
            assert torch.allclose(alone[0], together[i], atol=1e-5)
            mine = model.decode(alone, features, rows[i : i + 1], model.no_prompt(1), outputs="all").masks
            assert torch.allclose(mine[0], masks[i], atol=1e-4 * float(masks.abs().max()))


def test_a_row_among_longer_rows_is_what_it_is_alone(model):
    """Rows that lack slots and pointers have them hidden; a row of one slot is not merged, whatever is beside it."""
    sizes, lengths = model.sizes, (1, 3, 2, 1)
    pixels = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 3, 128, 128)).astype(np.float32))
    read = a_read(sizes, 4, 3)
    parts, slots = model.tokens_per_pointer, torch.zeros(4, 3, sizes.tokens)
    pointers = torch.zeros(4, 3, parts)
    for row, length in enumerate(lengths):
        slots[row, length:], pointers[row, length:] = -torch.inf, -torch.inf
    slots[3, 0], slots[3, 2] = -torch.inf, 0.0  # the one slot is the last
    scale = torch.tensor([[0.9, 1.1, 1.0]]).expand(4, -1)
    padded = replace(read, bias=torch.cat((slots.flatten(1), pointers.flatten(1)), dim=1), slot_scale=scale)
    with torch.inference_mode():
        features = model.encode(pixels)
        together = model.attend(features, torch.zeros(4, dtype=torch.int64), padded)
        for row, length in enumerate(lengths):
            which = [2] if row == 3 else list(range(length))
            one = MemoryRead(
                memory=read.memory[row : row + 1, which],
                temporal=read.temporal[row : row + 1, which],
                pointers=read.pointers[row : row + 1, :length],
                positions=read.positions[row : row + 1, :length],
                slot_scale=scale[row : row + 1, which],
            )
            alone = model.attend(features, torch.zeros(1, dtype=torch.int64), one)
            assert torch.allclose(alone[0], together[row], atol=1e-5)


def test_half_precision_stays_close(model):
    pixels = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 3, 128, 128)).astype(np.float32))
    kind = model.name.removeprefix("random:")
    half = load_model(f"random:{kind}", device="cpu", precision="bf16")
    read, row = a_read(model.sizes, 1, 2), torch.zeros(1, dtype=torch.int64)
    with torch.inference_mode():
        exact, near = ((m.attend(f := m.encode(pixels), row, read), f) for m in (model, half))
    assert near[1].top.dtype == torch.float32
    assert (exact[0] - near[0]).abs().mean() < 0.05 * exact[0].abs().mean()


# the engine


def prompts() -> list[Prompt]:
    mask = np.zeros((60, 80), dtype=bool)
    mask[20:40, 20:45] = True
    return [Prompt(1, mask=mask), Prompt(2, 1, box=np.array([30.0, 10.0, 20.0, 25.0]))]


def shots() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (4, 60, 80, 3), dtype=np.uint8))


TRACKERS = [*((name, {}) for name in sorted(POLICIES)), ("mosam", {"pix_mode": "drop"})]


@pytest.mark.usefixtures("drawn_weights")
@pytest.mark.parametrize(("tracker", "options"), TRACKERS)
def test_every_tracker_runs(model, tracker, options):
    engine = Engine(model, load_policy(tracker, **options))
    video = engine.open(prompts(), size=(60, 80), num_frames=4)
    for shot in shots():
        engine.step({video: shot})
    outputs = engine.drain(video) + engine.close(video)
    assert [sorted(output.objects) for output in outputs] == [[1], [1, 2], [1, 2], [1, 2]]
