from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vot_cases import FOLDER, SIZE, RandomRegions, toolkit_overlaps

from mosam.regions.files import parse_text
from mosam.regions.overlap import is_empty, region_overlaps
from mosam.regions.raster import rasterize
from mosam.regions.trajectory import Rectangle, RunMask, Special, Trajectory, mask_region


def columns(pairs):
    return [parse_text("\n".join(rows).encode()) for rows in zip(*pairs, strict=True)]


def ours(pairs):
    first, second, ignore = columns(pairs)
    raw_first, raw_second = replace(first, cropped=False), replace(second, cropped=False)
    return {
        "text": region_overlaps(first, second, size=SIZE),
        "text_unbounded": region_overlaps(first, second),
        "ignore": region_overlaps(first, second, size=SIZE, ignore=ignore),
        "empty": is_empty(first),
        "binary": region_overlaps(raw_first, raw_second, size=SIZE),
        "binary_unbounded": region_overlaps(raw_first, raw_second),
        "empty_binary": is_empty(raw_first),
    }


def check(pairs, stored):
    found = ours(pairs)
    assert set(found) == set(stored)
    for name, values in found.items():
        wrong = [i for i, (a, b) in enumerate(zip(values.tolist(), stored[name], strict=True)) if a != b]
        assert wrong == [], f"{name}: {[(pairs[i], values[i], stored[name][i]) for i in wrong[:3]]}"


def test_stored_overlaps_of_the_toolkit_are_met_exactly():
    content = json.loads((FOLDER / "regions.json").read_text())
    assert tuple(content["size"]) == SIZE
    check(content["pairs"], content["overlaps"])


@pytest.mark.slow
def test_ten_thousand_pairs_against_the_toolkit_itself(toolkit_python):
    pairs = RandomRegions(2).pairs(10_000)
    check(pairs, toolkit_overlaps(toolkit_python, pairs))


def pixel_overlap(a, b):
    """By counting pixels of whole images."""
    first, second = rasterize(a, SIZE), rasterize(b, SIZE)
    either = (first | second).sum(axis=(1, 2))
    return (first & second).sum(axis=(1, 2)) / np.maximum(either, 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_without_defects_overlap_is_a_count_of_pixels(seed):
    """Of regions that lie in the image (a polygon's edges may fall a pixel elsewhere in another window)."""
    regions = RandomRegions(seed)
    pairs = [(regions.mask(), regions.rectangle(), "0") for _ in range(30)]
    first, second, _ = columns(pairs)
    overlap = region_overlaps(first, second, size=SIZE, defects=False)
    both_empty = is_empty(first, defects=False) & is_empty(second, defects=False)
    np.testing.assert_allclose(overlap[~both_empty], pixel_overlap(first, second)[~both_empty], atol=1e-15)
    assert (overlap[both_empty] == 1).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_overlap_is_symmetric_within_0_and_1_and_the_same_row_by_row(seed):
    first, second, ignore = columns(RandomRegions(seed).pairs(12))
    overlap = region_overlaps(first, second, size=SIZE, ignore=ignore)
    np.testing.assert_array_equal(overlap, region_overlaps(second, first, size=SIZE, ignore=ignore))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    rows = np.random.default_rng(seed).integers(0, 12, 20)
    taken = region_overlaps(first.take(rows), second, size=SIZE, ignore=ignore, rows=rows)
    np.testing.assert_array_equal(taken, overlap[rows])
    np.testing.assert_array_equal(
        region_overlaps(first.take(rows), second, size=SIZE, rows=rows),
        region_overlaps(first, second, size=SIZE)[rows],
    )
    for index in range(len(first)):
        one = np.array([index])
        parts = (trajectory.take(one) for trajectory in (first, second))
        assert region_overlaps(*parts, size=SIZE, ignore=ignore.take(one))[0] == overlap[index]


def test_thin_regions():
    column = mask_region(np.arange(20).reshape(4, 5) % 5 == 2)  # one pixel wide
    thin = Trajectory.of([column], cropped=True)
    wide = Trajectory.of([Rectangle(1, 0, 4, 4)])
    assert is_empty(thin).tolist() == [True]
    assert is_empty(thin, defects=False).tolist() == [False]
    assert region_overlaps(thin, thin, size=(9, 9)).tolist() == [1.0]
    assert region_overlaps(thin, wide, size=(9, 9)).tolist() == [0.0]
    assert region_overlaps(thin, wide, size=(9, 9), defects=False).tolist() == [0.25]
    inside = Trajectory.of([RunMask(0, 0, 5, 1, (4, 1))], cropped=True)  # not in the crop's first column: it stays
    assert region_overlaps(inside, Trajectory.of([Rectangle(3, 0, 2, 2)]), size=(9, 9)).tolist() == [0.25]


def test_codes_are_empty_regions():
    code, box = Trajectory.of([Special(0)]), Trajectory.of([Rectangle(2, 2, 5, 5)])
    assert region_overlaps(code, box, size=(9, 9)).tolist() == [0.0]
    assert region_overlaps(code, code, size=(9, 9)).tolist() == [1.0]


def test_refusals():
    one, two = Trajectory.of([Special(0)]), Trajectory.of([Special(0)] * 2)
    with pytest.raises(ValueError, match="one length, got 1 and 2"):
        region_overlaps(one, two)
    vast = Trajectory.of([Rectangle(0, 0, 1e6, 1e6)])
    with pytest.raises(ValueError, match="give a size"):
        region_overlaps(vast, vast)
    assert region_overlaps(vast, vast, size=(10, 10)).tolist() == [1.0]


def test_tall_runs_cost_only_the_image():
    """A run over 65,535 rows becomes no more spans than the image has rows."""
    huge = Trajectory.of([RunMask(-5, -5, 65535, 65535, (0, 65535 * 65535))] * 50)
    box = Trajectory.of([Rectangle(0, 0, 20, 10)] * 50)
    np.testing.assert_array_equal(region_overlaps(huge, box, size=(10, 20)), 1.0)
