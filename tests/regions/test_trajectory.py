from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mosam.regions.raster import rasterize, region_mask
from mosam.regions.trajectory import (
    Point,
    Polygon,
    Rectangle,
    RunMask,
    Special,
    Trajectory,
    box_region,
    mask_region,
    run_lengths,
)

bool_images = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 15)))
MIXED = (
    Special(1),
    Rectangle(1.5, 2, 3, 4),
    Polygon(((0, 0), (4, 1), (2, 7))),
    RunMask(2, 3, 3, 2, (1, 3, 1, 1)),
    Point(3, 4),
    RunMask(0, 0, 0, 0, (0,)),
)


def test_rows_come_back_as_regions():
    trajectory = Trajectory.of(MIXED)
    assert list(trajectory) == list(MIXED)
    assert trajectory[-2] == Point(3, 4)
    assert trajectory.codes.tolist() == [1, -1, -1, -1, -1, -1]


@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4, 5], [5, 3, 3, 0], [2, 3, 4], [3], []])
@pytest.mark.parametrize("decoded", [False, True])
def test_taking_rows(chosen, decoded):
    trajectory = Trajectory.of(MIXED, cropped=True)
    if decoded:
        rasterize(trajectory, (9, 9))
    part = trajectory.take(np.array(chosen, dtype=np.int64))
    assert list(part) == [MIXED[index] for index in chosen]
    assert part.cropped
    np.testing.assert_array_equal(rasterize(part, (9, 9)), rasterize(trajectory, (9, 9))[chosen])


def test_slices_and_padding():
    trajectory = Trajectory.of(MIXED)
    assert list(trajectory.take(slice(1, 4))) == list(MIXED[1:4])
    assert list(trajectory.take(slice(None, None, -1))) == list(MIXED[::-1])
    assert list(trajectory.padded(8)) == [*MIXED, Special(0), Special(0)]
    assert trajectory.padded(3) == trajectory


def test_boxes_around_regions():
    boxes = Trajectory.of(MIXED).boxes()
    nan = [np.nan] * 4
    expected = [nan, [1.5, 2, 3, 4], [0, 0, 4, 7], [2, 3, 2, 1], nan, nan]
    np.testing.assert_array_equal(boxes, expected)
    np.testing.assert_array_equal(Trajectory.of(MIXED).boxes(convention="inclusive")[3], [2, 3, 3, 2])


def test_boxes_as_rectangles():
    boxes = np.array([[1.0, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
    trajectory = Trajectory.of_boxes(boxes)
    assert list(trajectory) == [Rectangle(1, 2, 3, 4), Special(0), Rectangle(5, 6, 7, 8)]
    assert list(trajectory) == [box_region(box) for box in boxes]
    np.testing.assert_array_equal(trajectory.boxes(), boxes)


@given(bool_images)
def test_a_mask_keeps_its_pixels(image):
    region = mask_region(image)
    np.testing.assert_array_equal(region_mask(Trajectory.of([region]), 0, image.shape), image)
    assert sum(region.runs) == region.w * region.h


@given(bool_images)
def test_runs_of_an_array(image):
    runs = run_lengths(image)
    values = np.arange(len(runs)) % 2 == 1
    np.testing.assert_array_equal(np.repeat(values, runs), image.ravel())


@given(bool_images, st.integers(-4, 4), st.integers(-4, 4))
def test_mask_edges_in_any_crop(image, x, y):
    """Crops with a margin and runs over several rows have the edges of the pixels themselves."""
    runs = tuple(run_lengths(image))
    table = Trajectory.of([RunMask(x, y, image.shape[1], image.shape[0], runs)]).masks
    left, top, right, bottom, empty = (int(edge[0]) for edge in table.edges())
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if rows.size:
        assert (left, top, right, bottom) == (columns[0] + x, rows[0] + y, columns[-1] + x, rows[-1] + y)
    assert empty == (rows.size == 0)
