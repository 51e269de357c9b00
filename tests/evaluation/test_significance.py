"""Paired tests of trackers: the test itself, Holm's correction, and what is tested."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.evaluation.metrics.paired import holm, sign_flip_test
from mosam.evaluation.scores import Scores
from mosam.evaluation.significance import paired_tests


def scores(tracker, values, *, counts=None, overall=None):
    names = [f"s{number}" for number in range(len(values))]
    weights = np.ones(len(values)) if counts is None else np.array(counts, dtype=float)
    known = ~np.isnan(values)
    mean = float(np.average(np.array(values)[known], weights=weights[known])) if overall is None else overall
    kept = {name: {"x": float(v)} for name, v in zip(names, values, strict=True)}
    weighed = {} if counts is None else {name: {"x": float(c)} for name, c in zip(names, counts, strict=True)}
    return Scores("d", "test", tracker, None, "p", {"x": mean}, kept, counts=weighed)


def test_few_sequences_have_the_p_of_all_signs():
    differences = np.array([[0.3], [0.2], [0.5], [0.1]])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1)
    exact = np.mean(np.abs(signs.T @ differences[:, 0]) >= differences.sum() - 1e-9)
    assert exact == 2 / 16
    assert sign_flip_test(differences)[0] == pytest.approx(exact, abs=0.005)


def test_a_large_sample_agrees_with_the_t_test():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    differences = rng.normal(0.2, 1.0, (200, 6))
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert sign_flip_test(differences) == pytest.approx(expected, abs=0.01)


def test_no_difference_is_never_sure_and_undefined_stays_so():
    p = sign_flip_test(np.stack([np.zeros(10), np.full(10, np.nan), np.full(10, 0.2)], axis=1), flips=2000)
    assert p[0] == 1
    assert np.isnan(p[1])
    assert p[2] < 0.01


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(0.1, 100))
def test_scale_and_direction_do_not_matter(values, factor):
    column = np.array(values)[:, None]
    p = sign_flip_test(column, flips=500)
    assert 0 < p[0] <= 1
    assert sign_flip_test(-column, flips=500)[0] == p[0]
    assert sign_flip_test(column * factor, flips=500)[0] == pytest.approx(p[0], abs=0.01)


def test_holm_is_that_of_the_paper_and_leaves_out_undefined():
    assert holm(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert holm(np.array([0.5, 0.6])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).size == 0


def test_trackers_that_differ_everywhere_differ():
    rng = np.random.default_rng(1)
    base = rng.uniform(0.3, 0.6, 40)
    found = paired_tests([scores("a", base + 0.2), scores("b", base), scores("c", base + 0.0001)], "x")
    assert found.differences[0, 1] == pytest.approx(0.2)
    assert found.differences[1, 0] == pytest.approx(-0.2)
    assert (found.verdict(0, 1), found.verdict(1, 0), found.verdict(0, 2)) == (1, -1, 1)
    assert np.isnan(found.p[0, 0])
    assert found.p[0, 1] == found.p[1, 0]


def test_only_sequences_that_both_have_and_that_weigh_the_same_count():
    one = scores("a", [0.5, 0.5, 0.9, 0.2], counts=[1, 3, 2, 1])
    other = scores("b", [0.4, 0.1, np.nan, 0.9], counts=[1, 3, 2, 5])
    assert paired_tests([one, other], "x").differences[0, 1] == pytest.approx((0.1 + 3 * 0.4) / 4)


def test_what_is_no_mean_over_sequences_has_no_test():
    items = [scores("a", [0.5, 0.6]), scores("b", [0.5, 0.6], overall=0.9)]
    assert paired_tests(items, "x") is None
    assert paired_tests(items[:1], "x") is None
    assert paired_tests([dataclasses.replace(one, sequences={}) for one in items], "x") is None
