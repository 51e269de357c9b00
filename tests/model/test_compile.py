"""Compiled parts of the network, on the processor, where a C++ compiler is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mosam.cli import run_command
from mosam.engine.engine import Engine
from mosam.errors import MosamError
from mosam.geometry import mask_iou
from mosam.model import blocked, devices, sam2
from mosam.model.checkpoints import load_model
from mosam.policies.base import load_policy
from mosam.types import Prompt


def track(model, pictures):
    engine = Engine(model, load_policy("sam2"))
    video = engine.open([Prompt(1, 0, box=np.array([20.0, 20, 60, 60]))], size=pictures[0].shape[:2])
    return [engine.step({video: picture})[video].objects[1].mask for picture in pictures]


@pytest.mark.slow
@pytest.mark.skipif(not sam2.can_compile(torch.device("cpu")), reason="no C++ compiler")
def test_a_compiled_network_tracks_as_the_plain_one_does(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)] * 12  # the number of memories grows to the end
    plain, compiled = load_model("nano", device="cpu"), load_model("nano", device="cpu", compile=True)
    assert (plain.compiled, compiled.compiled) == (False, True)
    pixels = plain.preprocess(pictures[:1])
    with torch.inference_mode():
        difference = (plain.encode(pixels).top - compiled.encode(pixels).top).abs().max()
    assert difference < 1e-4
    for expected, found in zip(track(plain, pictures), track(compiled, pictures), strict=True):
        assert not expected.any() or mask_iou(expected, found) > 0.98


@pytest.mark.slow
@pytest.mark.skipif(not sam2.can_compile(torch.device("cpu")), reason="no C++ compiler")
def test_blocks_of_16_bits_stay_as_they_are(monkeypatch):
    calls = []
    inner = blocked.attend_in_blocks
    monkeypatch.setattr(blocked, "attend_in_blocks", lambda *tensors: calls.append(1) or inner(*tensors))
    monkeypatch.setattr(blocked, "pays", lambda: True)
    monkeypatch.setattr(blocked, "WORTH", 1)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)] * 3
    model = load_model("nano", device="cpu", precision="bf16", compile=True)
    with torch.inference_mode():
        model.encode(model.preprocess(pictures[:1]))
    assert not calls  # the compiled image encoder keeps the library's kernel
    found = track(model, pictures)
    assert calls  # memory attention is not compiled
    for expected, mask in zip(track(load_model("nano", device="cpu", precision="bf16"), pictures), found, strict=True):
        assert not expected.any() or mask_iou(expected, mask) > 0.95


@pytest.mark.slow
@pytest.mark.skipif(not sam2.can_compile(torch.device("cpu")), reason="no C++ compiler")
def test_a_run_says_that_it_was_compiled(tmp_path):
    options = ["--limit", "1", "--results", str(tmp_path), "--device", "cpu", "--tracker", "sam2"]
    assert run_command(["run", "toy", *options, "--compile"]) == 0
    record = json.loads((tmp_path / "toy" / "sam2-nano" / "run.json").read_text())
    assert record["environment"]["compiled"] is True


def test_where_nothing_can_be_compiled_a_line_says_so(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: None)
    with pytest.raises(MosamError, match=r"^compile: expected a torch that can compile for cpu .*leave out --compile$"):
        load_model("nano", device="cpu", compile=True)
