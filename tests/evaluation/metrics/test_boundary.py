from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.evaluation.metrics.boundary import BOUNDARY_TOLERANCE, boundary_radius, boundary_scores, boundary_table


def f_by_definition(predicted: np.ndarray, truth: np.ndarray, radius: int) -> float:
    """The DAVIS definition word for word, pixel by pixel: outlines, all distances between them, two ratios."""

    def outline(mask: np.ndarray) -> set[tuple[int, int]]:
        height, width = mask.shape
        at = lambda y, x: mask[min(y, height - 1), min(x, width - 1)]  # noqa: E731
        return {
            (y, x)
            for y in range(height)
            for x in range(width)
            if any(at(y, x) != at(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (1, 1)))
        }

    def share_near(points: set[tuple[int, int]], others: set[tuple[int, int]]) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in points]
        return sum(near) / len(near)

    mine, theirs = outline(predicted), outline(truth)
    if not mine or not theirs:
        return float(len(mine) == len(theirs))
    precision, recall = share_near(mine, theirs), share_near(theirs, mine)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blob(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A few random rectangles, some touching or leaving the border, some pixels of noise."""
    mask = np.zeros(size, bool)
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(-3, size[0]), rng.integers(-3, size[1])
        h, w = rng.integers(1, size[0] + 4), rng.integers(1, size[1] + 4)
        mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] ^= True
    return mask ^ (rng.random(size) < rng.choice([0.0, 0.02]))


def accuracy(a: np.ndarray, b: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F of one pair, within a share of the diagonal."""
    return boundary_scores(a, b, (boundary_radius(a.shape, tolerance),))[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 90), st.sampled_from([0.008, 0.05, 0.2]))
def test_equals_the_definition(seed, height, width, tolerance):
    rng = np.random.default_rng(seed)
    a, b = blob(rng, (height, width)), blob(rng, (height, width))
    expected = f_by_definition(a, b, boundary_radius((height, width), tolerance))
    assert accuracy(a, b, tolerance=tolerance) == expected


def test_equals_the_definition_where_the_disk_is_wider_than_a_word():
    rng = np.random.default_rng(1)
    a, b = np.zeros((40, 300), bool), np.zeros((40, 300), bool)
    a[10:14, 20 + rng.integers(0, 5) : 40] = True
    b[20:30, 105:250] = True
    for tolerance in (0.22, 0.3):
        radius = boundary_radius(a.shape, tolerance)
        assert radius > 64
        assert 0 < accuracy(a, b, tolerance=tolerance) < 1
        assert accuracy(a, b, tolerance=tolerance) == f_by_definition(a, b, radius)


@pytest.mark.parametrize(
    ("size", "radius"),
    [((480, 854), 8), ((1080, 1920), 18), ((120, 160), 2), ((1, 1), 1)],
)
def test_radius_is_rounded_up(size, radius):
    assert boundary_radius(size) == radius


def square(x: int, y: int, side: int = 10, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[y : y + side, x : x + side] = True
    return mask


EMPTY = np.zeros((60, 80), bool)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        pytest.param(EMPTY, EMPTY, 1.0, id="both empty"),
        pytest.param(square(5, 5), square(5, 5), 1.0, id="equal"),
        pytest.param(square(5, 5), EMPTY, 0.0, id="false alarm"),
        pytest.param(EMPTY, square(5, 5), 0.0, id="miss"),
        pytest.param(~EMPTY, ~EMPTY, 1.0, id="the whole picture has no outline"),
        pytest.param(~EMPTY, EMPTY, 1.0, id="so it agrees with an empty mask"),
        pytest.param(square(5, 5), square(6, 5), 1.0, id="off by the tolerance"),
        pytest.param(square(5, 5), square(40, 40), 0.0, id="apart"),
    ],
)
def test_worked_cases(predicted, truth, expected):
    assert accuracy(predicted, truth) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_symmetric_bounded_and_unmoved(seed):
    rng = np.random.default_rng(seed)
    a, b = (np.pad(blob(rng, (20, 30)), 12) for _ in range(2))
    value = accuracy(a, b)
    assert 0 <= value <= 1
    assert accuracy(b, a) == pytest.approx(value, abs=1e-15)
    assert accuracy(np.roll(a, (5, -7), (0, 1)), np.roll(b, (5, -7), (0, 1))) == value


def test_void_is_background_in_both():
    void = square(30, 30, 20)
    assert boundary_table([square(5, 5) | square(35, 35)], [square(5, 5)], void=void) == [[1.0]]
    assert accuracy(square(5, 5) | square(35, 35), square(5, 5)) < 1.0


def test_arguments_are_left_alone():
    a, b, void = square(5, 5), square(7, 5), square(6, 6)
    copies = [x.copy() for x in (a, b, void)]
    accuracy(a, b)
    boundary_table([a], [b], void=void)
    for array, copy in zip((a, b, void), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
