"""The newest and the best: by trying all, and slots by rank."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.policies.base import Entry
from mosam.policies.topk import newest_and_best, slots_by_rank


@given(st.lists(st.integers(0, 5), max_size=9), st.integers(1, 7))
def test_no_other_choice_with_the_newest_is_worth_more(worth, count):
    items = list(enumerate(worth))
    chosen = newest_and_best(items, count, lambda those: np.array([value for _, value in those], dtype=float))
    assert list(chosen) == sorted(chosen)
    assert len(chosen) == min(count, len(items))
    if items:
        assert chosen[-1] == items[-1]
        best = max(
            sum(value for _, value in some) for some in itertools.combinations(items[:-1], min(count, len(items)) - 1)
        )
        assert sum(value for _, value in chosen[:-1]) == best


def test_of_equal_ones_the_newer_is_read():
    assert newest_and_best("abcde", 3, lambda those: np.zeros(len(those))) == ("c", "d", "e")


def test_the_newest_has_the_vector_of_one_frame_back():
    entries = [Entry(frame, "track", 1.0, 0.9, 5) for frame in (4, 7, 9)]
    assert [(slot.entry.frame, slot.temporal) for slot in slots_by_rank(entries)] == [(4, 2), (7, 1), (9, 0)]
    assert slots_by_rank([]) == ()


def test_scores_are_not_asked_for_where_all_are_taken():
    assert newest_and_best((1, 2), 2, lambda those: pytest.fail("asked")) == (1, 2)
