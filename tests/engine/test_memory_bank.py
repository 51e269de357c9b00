import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mosam.engine.memory_bank import MemoryBank, RowPool
from mosam.policies.base import Entry


def pool(capacity: int = 2) -> RowPool:
    return RowPool((3,), torch.bfloat16, torch.device("cpu"), capacity)


def test_rows_come_back_when_the_last_reader_is_gone():
    p = pool()
    [row] = p.allocate(1)
    p.hold(row)
    p.drop(row)
    assert len(p) == 1
    p.drop(row)
    assert len(p) == 0
    assert p.allocate(1) == [row]


def test_growth_keeps_what_is_stored():
    p = pool(1)
    [a] = p.allocate(1)
    p.write([a], torch.tensor([[1.0, 2, 3]]))
    b, c = p.allocate(2)
    p.write([b, c], torch.tensor([[4.0, 5, 6], [7, 8, 9]]))
    assert p.capacity == 4
    assert p.gather(torch.tensor([[a, c]])).float().tolist() == [[[1, 2, 3], [7, 8, 9]]]


@pytest.mark.parametrize("action", ["hold", "drop"])
def test_a_freed_row_is_nobodys(action):
    p = pool()
    [row] = p.allocate(1)
    p.drop(row)
    with pytest.raises(AssertionError):
        getattr(p, action)(row)


@given(st.lists(st.sampled_from(["allocate", "hold", "drop"]), max_size=60), st.randoms())
def test_counts_match_a_model(actions, random):
    p, held = pool(), []
    for action in actions:
        if action == "allocate":
            held += p.allocate(1)
        elif held and action == "hold":
            row = random.choice(held)
            p.hold(row)
            held.append(row)
        elif held:
            row = held.pop(random.randrange(len(held)))
            p.drop(row)
        assert len(p) == len(set(held))


def test_bank_holds_features_and_pointers_apart():
    bank = MemoryBank(tokens=2, memory=3, width=4, device=torch.device("cpu"), capacity=2)
    entry = Entry(0, "prompt", 1.0, 1.0, 5)
    [entry.feature_row], [entry.pointer_row] = bank.features.allocate(1), bank.pointers.allocate(1)
    bank.hold([entry], [entry])
    bank.drop([entry], [entry])
    bank.drop([entry], [])
    assert (len(bank.features), len(bank.pointers)) == (0, 1)


def test_an_entry_without_memory_cannot_be_read():
    bank = MemoryBank(tokens=2, memory=3, width=4, device=torch.device("cpu"), capacity=2)
    with pytest.raises(AssertionError, match="never stored"):
        bank.hold([Entry(3, "track", 1.0, 1.0, 5)], [])
