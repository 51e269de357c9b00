"""MoSAM's pixel filter as the engine applies it: one pass over all slots equals the rule token by token."""

import math

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone

from mosam.engine.memory_bank import MemoryBank
from mosam.engine.memory_reader import DROP_LIMIT
from mosam.engine.model_runner import ModelRunner
from mosam.engine.parity import Parity
from mosam.policies.base import Entry, PixelFilter, PointerRead, ReadPlan, SlotRead

TOKENS = FakeBackbone.sizes.tokens


@pytest.fixture
def runner():
    model = FakeBackbone()
    bank = MemoryBank(tokens=TOKENS, memory=4, width=8, device=torch.device("cpu"), capacity=16)
    return ModelRunner(model, bank, Parity())


def stored(runner, values) -> Entry:
    """An entry whose tokens have this reliability in 0..254, 255 = protected."""
    [row], [feature], [pointer] = (
        pool.allocate(1) for pool in (runner.bank.reliability, runner.bank.features, runner.bank.pointers)
    )
    runner.bank.reliability.write([row], torch.tensor(np.asarray(values), dtype=torch.uint8)[None])
    return Entry(1, "track", 5.0, 0.9, 9, feature, pointer, row)


def by_hand(values, rule: PixelFilter) -> list[float]:
    weak = [value < 255 and value / 254 < rule.tau for value in values]
    cut = rule.mode == "drop" and sum(weak) / len(weak) <= DROP_LIMIT
    soft = [math.log(max(value / 254, 0.05)) for value in values]
    return [0.0 if not w else -math.inf if cut else s for w, s in zip(weak, soft, strict=True)]


@pytest.mark.parametrize("mode", ["bias", "drop"])
@pytest.mark.parametrize("tau", [0.5, 0.8, 1.0, 0.0])
def test_all_slots_at_once_equal_the_rule_token_by_token(runner, mode, tau):
    rng = np.random.default_rng(3)
    rule = PixelFilter(mode, tau)
    reliability = [rng.integers(0, 256, TOKENS), rng.integers(120, 256, TOKENS), np.zeros(TOKENS, int)]
    a, b, c = (stored(runner, values) for values in reliability)
    first = ReadPlan(
        (SlotRead(c, 6), SlotRead(a, 1, filtered=True), SlotRead(b, 0, filtered=True)), (PointerRead(a, 1.0),), 16, rule
    )
    pointer = (PointerRead(a, 1.0),)
    second = ReadPlan((SlotRead(a, 6), SlotRead(c, 0, filtered=True), SlotRead(b, 1)), pointer, 16, rule)
    plain = ReadPlan((SlotRead(a, 6), SlotRead(b, 1), SlotRead(c, 0)), pointer, 16)
    bias = runner.reader.bias([first, second, plain])
    assert bias.shape == (3, 3 * TOKENS + FakeBackbone.tokens_per_pointer)
    slots = bias[:, : 3 * TOKENS].view(3, 3, TOKENS)
    free = [0.0] * TOKENS
    wanted = [
        [free, by_hand(reliability[0], rule), by_hand(reliability[1], rule)],
        [free, by_hand(reliability[2], rule), free],
        [free, free, free],
    ]
    assert torch.allclose(slots, torch.tensor(wanted, dtype=torch.float32), atol=1e-6)
    assert (bias[:, 3 * TOKENS :] == 0).all()


def test_a_slot_that_would_lose_most_is_weighted_instead(runner):
    weak = [0] * TOKENS
    entry = stored(runner, weak)
    bias = runner.reader.bias([ReadPlan((SlotRead(entry, 0, filtered=True),), (), 16, PixelFilter("drop", 0.5))])
    assert torch.allclose(bias, torch.full((1, TOKENS), math.log(0.05)))


def test_rows_that_read_alike_and_filter_nothing_need_no_bias(runner):
    entry = stored(runner, [255] * TOKENS)
    assert runner.reader.bias([ReadPlan((SlotRead(entry, 6),), (), 16)] * 2) is None


def test_reliability_of_tokens_protects_sure_ones():
    model = FakeBackbone()
    bank = MemoryBank(tokens=TOKENS, memory=4, width=8, device=torch.device("cpu"), capacity=1)
    side, cell = model.sizes.mask, model.sizes.mask // model.sizes.grid
    low_res = torch.zeros(1, side, side)
    low_res[0, :cell, :cell] = -20.0
    low_res[0, 0, cell] = 4.0  # one sure pixel of a tiny object
    got = ModelRunner(model, bank, Parity()).reliability(low_res)[0]
    assert got[0] == 254
    assert got[1] == 255
    assert (got[2:] == 0).all()
