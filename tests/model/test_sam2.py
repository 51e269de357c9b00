"""Our calls against the library's modules, and rows against rows."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mosam.errors import MismatchError
from mosam.model import attention
from mosam.model.backbone import MemoryRead
from mosam.model.formulas import Rotary, sine_code, sine_map, turn_pairs
from mosam.model.library import build_random
from mosam.model.networks import NETWORKS, library_config
from mosam.model.sam2 import Sam2Backbone
from mosam.types import Prompt

SLOTS, POINTERS = 3, 4


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def library():
    return build_random(NETWORKS["mini"], 5)


@pytest.fixture(scope="module")
def port(library):
    """With the library's formulas: must equal the library."""
    return Sam2Backbone(copy.deepcopy(library), name="port", formulas="library")


@pytest.fixture(scope="module")
def model(library):
    return Sam2Backbone(copy.deepcopy(library), name="official")


@pytest.fixture(scope="module")
def pixels():
    return torch.from_numpy(np.random.RandomState(0).standard_normal((2, 3, 256, 256)).astype(np.float32))


@pytest.fixture(scope="module")
def features(port, pixels):
    return port.encode(pixels)


def numbers(*shape, seed=1):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def a_read(sizes, rows, slots=SLOTS, pointers=POINTERS, seed=1):
    temporal = torch.arange(sizes.slots - 1, sizes.slots - 1 - slots, -1).expand(rows, -1)
    return MemoryRead(
        memory=numbers(rows, slots, sizes.tokens, sizes.memory, seed=seed).bfloat16(),
        temporal=temporal,
        pointers=numbers(rows, pointers, sizes.width, seed=seed + 1),
        positions=torch.arange(1, pointers + 1).expand(rows, -1) / 15,
    )


def take(read, rows):
    """Some rows of a read."""
    return dataclasses.replace(
        read, **{f.name: None if (v := getattr(read, f.name)) is None else v[rows] for f in dataclasses.fields(read)}
    )


def difference(a, b):
    assert a.shape == b.shape
    return (a.float() - b.float()).abs().max().item()


FIRST = torch.zeros(1, dtype=torch.int64)


def test_sizes(model):
    sizes = model.sizes
    assert (sizes.image, sizes.grid, sizes.mask, sizes.tokens) == (256, 16, 64, 256)
    assert (sizes.width, sizes.memory, sizes.slots, sizes.pointers, sizes.candidates) == (128, 64, 7, 16, 3)
    assert (model.tokens_per_pointer, model.dtype, model.device) == (2, torch.float32, torch.device("cpu"))


# against the library


def test_image_features_equal_the_library(library, port, pixels, features):
    theirs = library.get_image_features(pixels, return_dict=True)
    for ours, other in zip((*features.high, features.top), theirs.fpn_hidden_states, strict=True):
        assert difference(ours.flatten(2).permute(2, 0, 1), other) == 0
    position = theirs.fpn_position_encoding[-1][:, 0]
    assert difference(0.1 * position, port._feature_position) == 0


@pytest.mark.parametrize(("slots", "pointers"), [(1, 1), (3, 4), (7, 16)])
def test_memory_attention_equals_the_library(library, port, features, slots, pointers):
    read = a_read(port.sizes, 1, slots, pointers)
    keys, values = port._memory_tokens(read)
    theirs = library.memory_attention(
        current_vision_features=features.top[:1].flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=sine_map(16, 128)[:, None],
        memory=values.transpose(0, 1),
        memory_posision_embeddings=(keys - values).transpose(0, 1),
        num_object_pointer_tokens=pointers * port.tokens_per_pointer,
    )[0]
    ours = port.attend(features, FIRST, read).flatten(2).transpose(1, 2)
    assert ours.std() > 0.1
    assert difference(ours, theirs) < 5e-6  # `keys - values` above rounds


@pytest.mark.parametrize("outputs", ["multi", "single"])
@pytest.mark.parametrize("kind", ["none", "box", "mask"])
def test_decoder_equals_the_library(library, port, features, outputs, kind):
    prompts = port.no_prompt(1)
    if kind == "box":
        prompts = port.prompt_tokens([Prompt(1, box=np.array([3.0, 5, 60, 40]))], [(90, 100)])
    if kind == "mask":
        prompts = dataclasses.replace(
            prompts, mask_logits=port.mask_dense_prompt((numbers(1, 1, 256, 256) > 0).float())
        )
    top = port.without_memory(features, FIRST)
    ours = port.decode(top, features, FIRST, prompts, outputs=outputs)
    library.mask_decoder.dynamic_multimask_via_stability = False
    sparse, dense = library.prompt_encoder(
        input_points=prompts.points[:, None],
        input_labels=prompts.labels[:, None],
        input_boxes=None,
        input_masks=prompts.mask_logits,
    )
    masks, iou, tokens, score = library.mask_decoder(
        image_embeddings=top,
        image_positional_embeddings=library.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=outputs == "multi",
        high_resolution_features=[level[:1] for level in features.high],
    )
    assert ours.masks.shape[1] == (3 if outputs == "multi" else 1)
    assert difference(ours.masks, masks[:, 0]) < 4e-6
    assert difference(ours.iou, iou[:, 0]) < 1e-6
    assert difference(ours.tokens, tokens[:, 0]) < 4e-6
    assert difference(ours.object_score, score[:, 0, 0]) < 4e-6


def test_memory_encoder_equals_the_library(library, port, features):
    logits = numbers(1, 1, 256, 256)
    theirs, position = library.memory_encoder(features.top[:1].contiguous(), torch.sigmoid(logits) * 20 - 10)
    ours = port.memorize(features, FIRST, logits, torch.tensor([True]))
    assert ours.dtype == torch.bfloat16
    assert difference(ours, theirs.bfloat16().flatten(2).transpose(1, 2)) == 0
    assert difference(port._memory_position, position.flatten(2)[0].T) == 0
    absent = port.memorize(features, FIRST, logits, torch.tensor([False]))
    vector = library.occlusion_spatial_embedding_parameter[0]
    assert difference(absent, (theirs.flatten(2).transpose(1, 2) + vector).bfloat16()) == 0


def test_pointers(library, port):
    tokens = numbers(2, 128)
    found = port.pointer(tokens, torch.tensor([True, False]))
    assert difference(found[:1], library.object_pointer_proj(tokens)[:1]) < 1e-6
    assert difference(found[1:], library.no_object_pointer) == 0


def test_position_codes_equal_the_library():
    from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe

    values = torch.tensor([-0.2, 0.0, 1.0, 7.5])
    assert difference(sine_code(values, 128), get_1d_sine_pe(values, 128)) == 0


# official and library formulas


def test_the_formulas_differ_by_rounding_only(model, port, features):
    read = a_read(model.sizes, 1)
    assert 0 < difference(model.attend(features, FIRST, read), port.attend(features, FIRST, read)) < 1e-5


def test_rotation_in_place_equals_the_definition():
    rotary = {kind: Rotary(3, 8, formulas=kind, device=torch.device("cpu")) for kind in ("official", "library")}
    x = numbers(2, 20, 8)  # two slots of nine cells, then two pointers
    turned = {kind: table.rotate_(x.clone(), 2) for kind, table in rotary.items()}
    assert difference(turned["official"], turned["library"]) < 1e-6
    assert torch.equal(turned["official"][:, 18:], x[:, 18:])
    cell, pair = 5, 1  # cell (x=2, y=1); channel pairs 0 and 1 turn with x
    angle = 2 * 10000.0 ** (-4 * pair / 8)
    a, b = x[0, 9 + cell, 2 * pair : 2 * pair + 2]
    expected = torch.stack([a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)])
    assert difference(turned["official"][0, 9 + cell, 2 * pair : 2 * pair + 2], expected) < 1e-6


def test_the_form_that_a_gpu_computes_is_the_same_rotation():
    official = Rotary(3, 8, formulas="official", device=torch.device("cpu"))
    cos, sin = official.turn.real.contiguous(), official.turn.imag.contiguous()
    x = numbers(2, 20, 8)
    turned = x.clone()
    turn_pairs(turned, cos, sin, 18)
    assert difference(turned, official.rotate_(x.clone(), 2)) < 1e-6
    assert torch.equal(turned[:, 18:], x[:, 18:])


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
def test_the_rotation_as_one_kernel_equals_its_plain_form():
    """In Triton's interpreter, which must be chosen before Triton is imported."""
    program = """
import torch
from mosam.model.formulas import turn_pairs
from mosam.model.rotary_kernel import turn_
angles = torch.rand(9, 4) * 6
cos, sin = angles.cos(), angles.sin()
for kind in (torch.float32, torch.bfloat16, torch.float16):
    for rows, keys, count in ((1, 9, 9), (2, 22, 18), (3, 18, 18)):
        x = torch.randn(rows, keys, 8).to(kind)
        plain, kernel = x.clone(), x.clone()
        turn_pairs(plain, cos, sin, count)
        turn_(kernel, cos, sin, count)
        assert torch.equal(kernel[:, count:], x[:, count:])
        # one rounding apart where a product and a sum are fused
        assert (kernel.float() - plain.float()).abs().max() <= {torch.float32: 2e-6}.get(kind, 0.04), kind
print("equal")
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr


def test_fp32_on_a_gpu_is_not_tf32(model, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(model, "device", torch.device("cuda"))
    with model._compute():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_constants_are_made_once_and_anew_when_weights_change():
    with torch.inference_mode(False):  # weights as `load_model` gives them
        model = Sam2Backbone(build_random(NETWORKS["mini"], 5), name="own")
        embedding = model.model.shared_image_embedding.positional_embedding
        with torch.inference_mode():
            first = model._image_position()
            assert model._image_position() is first
        assert model._image_position() is not first  # gradients may flow
        with torch.no_grad():
            embedding.mul_(2)
        with torch.inference_mode():
            assert not torch.equal(model._image_position(), first)


@pytest.mark.parametrize("kind", ["official", "library"])
def test_rotary_code_in_16_bits_is_that_of_32_bits_rounded(kind):
    rotary = Rotary(3, 8, formulas=kind, device=torch.device("cpu"))
    x = torch.randn(2, 2 * 9 + 4, 8).bfloat16()  # two slots, and four pointers that do not turn
    turned = rotary.rotate_(x.clone(), 2)
    assert torch.equal(turned, rotary.rotate_(x.float(), 2).bfloat16())
    assert torch.equal(turned[:, 18:], x[:, 18:])
    assert not torch.equal(turned[:, :18], x[:, :18])


# rows


def test_several_rows_equal_single_rows(model, pixels):
    features = model.encode(pixels)
    rows = torch.tensor([0, 1, 1, 0])
    read = a_read(model.sizes, 4)
    together = model.attend(features, rows, read)
    for i, row in enumerate(rows):
        alone = model.attend(features, row[None], take(read, [i]))
        assert difference(together[i : i + 1], alone) < 5e-6


def test_rows_of_one_frame_share_its_first_layer(model, pixels, monkeypatch):
    seen, real = [], attention._self_attention
    monkeypatch.setattr(attention, "_self_attention", lambda *a: seen.append(a[2].shape[0]) or real(*a))
    features = model.encode(pixels[:1])
    read = take(a_read(model.sizes, 1), [0, 0, 0])
    together = model.attend(features, torch.zeros(3, dtype=torch.int64), read)
    alone = model.attend(features, FIRST, take(read, [0]))
    layers = len(model.model.memory_attention.layers)
    assert seen == [1] + [3] * (layers - 1) + [1] * layers
    assert difference(together, alone.expand_as(together)) < 5e-6  # kernels may round differently for other batches


def test_decode_and_memorize_rows_equal_single_rows(model, pixels):
    features = model.encode(pixels)
    rows = torch.tensor([1, 0, 1])
    top = model.without_memory(features, rows) + numbers(3, 128, 16, 16) * 0.1
    together = model.decode(top, features, rows, model.no_prompt(3), outputs="all")
    logits = numbers(3, 1, 256, 256)
    memory = model.memorize(features, rows, logits, torch.tensor([True, False, True]))
    for i, row in enumerate(rows):
        alone = model.decode(top[i : i + 1], features, row[None], model.no_prompt(1), outputs="all")
        assert difference(together.masks[i : i + 1], alone.masks) < 2e-5
        assert difference(together.object_score[i : i + 1], alone.object_score) < 1e-5
        single = model.memorize(features, row[None], logits[i : i + 1], torch.tensor([i != 1]))
        assert difference(memory[i : i + 1], single) <= 2**-4  # a step of bfloat16 at most


def test_padded_rows_equal_unpadded_rows(model, features):
    sizes, parts = model.sizes, model.tokens_per_pointer
    read = a_read(sizes, 1, 2, 3)
    padded = a_read(sizes, 1, 4, 5, seed=9)
    padded.memory[:, :2], padded.pointers[:, :3] = read.memory, read.pointers
    bias = torch.zeros(1, 4 * sizes.tokens + 5 * parts)
    bias[:, 2 * sizes.tokens : 4 * sizes.tokens] = -torch.inf
    bias[:, 4 * sizes.tokens + 3 * parts :] = -torch.inf
    hidden = model.attend(features, FIRST, dataclasses.replace(padded, bias=bias))
    assert difference(hidden, model.attend(features, FIRST, read)) < 5e-6
    assert difference(model.attend(features, FIRST, padded), hidden) > 1e-3  # the padding would have acted


def test_key_scale_and_bias(model, features):
    read = a_read(model.sizes, 1)
    plain = model.attend(features, FIRST, read)
    ones = dataclasses.replace(read, slot_scale=torch.ones(1, SLOTS), pointer_scale=torch.ones(1, POINTERS))
    assert torch.equal(model.attend(features, FIRST, ones), plain)
    keys = SLOTS * model.sizes.tokens + POINTERS * model.tokens_per_pointer
    zero = dataclasses.replace(read, bias=torch.zeros(1, keys))
    assert difference(model.attend(features, FIRST, zero), plain) < 1e-6
    scaled = dataclasses.replace(read, slot_scale=torch.tensor([[0.5, 1.0, 2.0]]))
    assert difference(model.attend(features, FIRST, scaled), plain) > 1e-3
    ours, _ = model._memory_tokens(dataclasses.replace(read, pointer_scale=torch.tensor([[0.95, 1.0, 1.0, 1.05]])))
    before, _ = model._memory_tokens(read)
    assert difference(ours[:, -2:], 1.05 * before[:, -2:]) < 1e-6
    assert torch.equal(ours[:, -4:-2], before[:, -4:-2])


def test_memory_without_pointers(model, features):
    read = a_read(model.sizes, 1, pointers=0)
    assert torch.isfinite(model.attend(features, FIRST, read)).all()


def test_slots_in_another_order_change_rounding_only(model, features):
    read = a_read(model.sizes, 1)
    order = [2, 0, 1]
    other = dataclasses.replace(read, memory=read.memory[:, order], temporal=read.temporal[:, order])
    assert difference(model.attend(features, FIRST, other), model.attend(features, FIRST, read)) < 5e-6


# prompts


def test_prompts_need_equal_point_counts(model):
    box = Prompt(1, box=np.array([1.0, 1, 4, 4]))
    click = Prompt(2, points=np.array([[2.0, 2]]), labels=np.array([1]))
    with pytest.raises(ValueError, match="same number of points"):
        model.prompt_tokens([box, click], [(8, 8), (8, 8)])
    with pytest.raises(ValueError, match="expected a mask"):
        model.mask_prompt([box])


# training and precision


def test_gradients_reach_every_weight_that_is_used():
    with torch.inference_mode(False), torch.enable_grad():
        model = Sam2Backbone(build_random(NETWORKS["nano"], 0), name="nano")
        model.model.train()
        features = model.encode(numbers(2, 3, 128, 128))
        rows = torch.tensor([0, 1, 1])
        present = torch.tensor([True, False, True])
        mask = (numbers(3, 1, 128, 128) > 0).float()
        dense = dataclasses.replace(model.no_prompt(3), mask_logits=model.mask_dense_prompt(mask))
        box = model.prompt_tokens([Prompt(1, box=np.array([3.0, 5, 60, 40]))] * 3, [(90, 100)] * 3)
        click = Prompt(1, points=np.array([[5.0, 6], [7, 8]]), labels=np.array([0, 1]))
        clicks = model.prompt_tokens([click] * 3, [(90, 100)] * 3)
        start = [
            model.decode(model.without_memory(features, rows), features, rows, prompts, outputs="all")
            for prompts in (dense, box, clicks)
        ]
        memory = model.memorize(features, rows, mask, present, torch.tensor([True] * 3))
        pointers = model.pointer(start[0].tokens[:, 0], present)
        read = MemoryRead(memory[:, None], torch.full((3, 1), 6), pointers[:, None], torch.ones(3, 1))
        top = model.attend(features, rows, read)
        last = model.decode(top, features, rows, model.no_prompt(3), outputs="all")
        sum(d.masks.mean() + d.iou.mean() + d.object_score.mean() for d in (*start, last)).backward()
        without = {name for name, value in model.model.named_parameters() if value.grad is None}
    assert without == {"no_memory_positional_encoding"}  # official files have it, nothing uses it


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("native", [True, False])
def test_sixteen_bits_stay_close_and_keep_the_documented_types(library, model, pixels, precision, native, monkeypatch):
    monkeypatch.setattr("mosam.model.sam2.has_native", lambda dtype: native)
    half = Sam2Backbone(copy.deepcopy(library), name="half", precision=precision)
    exact, found = model.encode(pixels[:1]), half.encode(pixels[:1])
    assert found.top.dtype == torch.float32
    assert found.high[0].dtype == half.dtype
    stored = half.model.memory_attention.layers[0].linear1.weight
    assert stored.dtype == (half.dtype if native else torch.float32)
    assert torch.equal(stored, stored.to(half.dtype).to(stored.dtype))
    assert half.model.memory_attention.layer_norm.weight.dtype == torch.float32
    assert difference(found.top, exact.top) < 0.1 * exact.top.std() * 3
    read = a_read(model.sizes, 1)
    attended = half.attend(found, FIRST, read)
    reference = model.attend(exact, FIRST, read)
    assert torch.nn.functional.cosine_similarity(attended.flatten(), reference.flatten(), dim=0) > 0.995
    decoded = half.decode(attended, found, FIRST, half.no_prompt(1), outputs="multi")
    assert torch.isfinite(decoded.masks).all()
    pointer = half.pointer(decoded.tokens[:, 0], torch.tensor([True]))
    memory = half.memorize(found, FIRST, numbers(1, 1, 256, 256), torch.tensor([True]))
    assert (pointer.dtype, memory.dtype) == (torch.float32, torch.bfloat16)
    keys = SLOTS * model.sizes.tokens + POINTERS * model.tokens_per_pointer
    hidden = dataclasses.replace(read, bias=torch.full((1, keys), -1.0))
    assert torch.isfinite(half.attend(found, FIRST, hidden)).all()


def test_storing_matrices_in_sixteen_bits_changes_nothing(library, pixels, monkeypatch):
    monkeypatch.setattr("mosam.model.sam2.has_native", lambda dtype: True)
    half = Sam2Backbone(copy.deepcopy(library), name="half", precision="bf16")
    full = Sam2Backbone(copy.deepcopy(library), name="full")
    with torch.autocast("cpu", torch.bfloat16):
        expected = full.encode(pixels[:1])
    found = half.encode(pixels[:1])
    assert torch.equal(found.top, expected.top)
    assert torch.equal(found.high[0], expected.high[0])


def test_other_head_counts_are_refused():
    from transformers import Sam2VideoModel

    config = library_config(NETWORKS["nano"])
    config.memory_attention_num_attention_heads = 2
    with pytest.raises(MismatchError, match="2 heads"):
        Sam2Backbone(Sam2VideoModel(config), name="other")
