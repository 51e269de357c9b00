"""A GPU against the processor with the trained network: memory read, candidates chosen, masks."""

from __future__ import annotations

import pytest
import torch
from gpu_cases import least_iou, network, play

from mosam.model import graphs
from mosam.model.graphs import OFTEN, Graphed


@pytest.mark.parametrize("tracker", ["sam2", "mosam"])
def test_fp32_decides_and_draws_as_the_processor_does(device, tracker):
    expected = play(network(torch.device("cpu")), tracker)
    found = play(network(device), tracker)
    assert found.decisions == expected.decisions
    assert least_iou(found, expected, pixels=4) >= 0.995  # rounding, at the threshold alone


def test_bf16_draws_what_fp32_does(device):
    expected, found = (play(network(device, precision), "sam2") for precision in ("fp32", "bf16"))
    assert {key: d["slots"] for key, d in found.decisions.items()} == {
        key: d["slots"] for key, d in expected.decisions.items()
    }
    assert least_iou(found, expected, pixels=4) >= 0.95


@pytest.mark.parametrize("tracker", ["sam2", "mosam"])
def test_lanes_change_nothing(device, tracker):
    net = network(device)
    expected, found = play(net, tracker), play(net, tracker, lanes=3)
    assert found.decisions == expected.decisions
    assert least_iou(found, expected, pixels=2) >= 0.999


def test_encoding_ahead_changes_no_bit(device):
    net = network(device)
    expected, found = play(net, "sam2", lanes=3), play(net, "sam2", lanes=3, ahead=True)
    assert found.decisions == expected.decisions
    assert least_iou(found, expected) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("ahead", [False, True])
def test_graphs_are_used_and_change_no_bit(device, precision, ahead, monkeypatch):
    if device.type == "cpu":  # there a graph saves nothing
        monkeypatch.setattr(graphs, "SLOWER", 1e9)
    frames = 16 + OFTEN + 3  # until memory is full, until its graph is recorded, and some of it
    net, plain = network(device, precision, graphs=True), network(device, precision)
    found = play(net, "sam2", lanes=3, frames=frames, ahead=ahead)
    expected = play(plain, "sam2", lanes=3, frames=frames)
    assert {name for name, call in net._calls.items() if isinstance(call, Graphed) and call.made} >= {
        "encode",
        "decode",
        "memorize",
    }
    assert found.decisions == expected.decisions
    assert least_iou(found, expected) == 1


@pytest.mark.timeout(900)
def test_compiled_code_draws_what_plain_code_does(device):
    from mosam.model.sam2 import can_compile

    if not can_compile(device):
        pytest.skip("torch cannot compile here")
    expected = play(network(device), "sam2", lanes=3)
    net = network(device)
    net.compile()
    for ahead in (False, True):
        found = play(net, "sam2", lanes=3, ahead=ahead)
        assert found.decisions == expected.decisions
        assert least_iou(found, expected, pixels=2) >= 0.98
