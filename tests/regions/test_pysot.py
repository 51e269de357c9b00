from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.geometry import box_iou
from mosam.regions.files import parse_text
from mosam.regions.pysot import clip_polygons, exact_overlaps, intersection_area, pysot_overlaps, signed_area
from mosam.regions.trajectory import Point, Polygon, Rectangle, Special, Trajectory

SIZE = (100, 120)
boxes = st.tuples(*[st.integers(1, 30)] * 4)


def overlap(a: str, b: str, size=SIZE, exact: bool = False) -> float:
    compute = exact_overlaps if exact else pysot_overlaps
    return float(compute(parse_text(a.encode()), parse_text(b.encode()), size)[0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("10,10,4,4", "10,10,4,4", 1.0),
        ("10,10,4,4", "12,10,4,4", 15 / 35),  # 5 x 5 pixels each, ends included
        ("10,10,4,4", "30,30,4,4", 0.0),
        ("10,10,4,4", "10,10,14,10,14,14,10,14", 1.0),
        ("10,10,0,4", "10,10,4,4", 0.0),  # a box without width has no pixels
        ("10,10.5,4,4", "10,11,4,4", 1.0),  # halves are rounded away from zero
        ("1", "10,10,4,4", np.nan),
        ("0", "1", np.nan),
        ("118,10,10,4", "118,10,4,4", 1.0),  # cut to columns 0 to 120
        ("200,10,10,4", "200,10,10,4", 0.0),
    ],
)
def test_worked_overlaps(a, b, expected):
    assert overlap(a, b) == pytest.approx(expected, abs=1e-7, nan_ok=True)


@settings(deadline=None, max_examples=40)
@given(boxes, boxes)
def test_boxes_count_like_their_polygons(a, b):
    def polygon(box):
        x, y, w, h = box
        return f"{x},{y},{x + w},{y},{x + w},{y + h},{x},{y + h}"

    texts = [",".join(map(str, box)) for box in (a, b)]
    found = overlap(texts[0], texts[1])
    assert found == overlap(polygon(a), texts[1]) == overlap(texts[0], polygon(b)) == overlap(polygon(a), polygon(b))
    # triangles fan out of a box with a doubled corner: no upright box any more, so rows are really filled
    x, y, w, h = a
    five = f"{x},{y},{x + w},{y},{x + w},{y + h},{x},{y + h},{x},{y + h}"
    assert overlap(five, polygon(b)) == pytest.approx(found, abs=1e-7)


@settings(deadline=None, max_examples=40)
@given(boxes, boxes)
def test_exact_overlap_of_boxes_is_their_iou(a, b):
    expected = float(box_iou(np.array(a, dtype=float), np.array(b, dtype=float)))
    assert overlap(",".join(map(str, a)), ",".join(map(str, b)), exact=True) == pytest.approx(expected, abs=1e-12)


def test_exact_overlap_is_cut_to_the_image():
    assert overlap("-10,0,20,10", "0,0,10,10", exact=True) == pytest.approx(1.0)
    assert overlap("200,0,20,10", "200,0,20,10", exact=True) == 0.0


def test_area_of_polygons_that_are_not_convex():
    arrow = np.array([[[0.0, 0], [4, 2], [0, 4], [1, 2]]])
    square = np.array([[[0.0, 0], [4, 0], [4, 4], [0, 4]]])
    assert np.abs(signed_area(arrow)) == pytest.approx([6.0])
    assert intersection_area(arrow, square) == pytest.approx([6.0])
    assert intersection_area(square, arrow) == pytest.approx([6.0])
    left = np.array([[[0.0, 0], [1, 0], [1, 4], [0, 4]]])
    assert intersection_area(left, arrow) == pytest.approx(intersection_area(arrow, left))
    assert np.abs(signed_area(clip_polygons(arrow, left + 10))) == pytest.approx([0.0])


def test_other_regions_are_refused():
    with pytest.raises(ValueError, match="got masks or points"):
        pysot_overlaps(Trajectory.of([Point(1, 2)]), Trajectory.of([Rectangle(1, 2, 3, 4)]), SIZE)
    with pytest.raises(ValueError, match="one length"):
        exact_overlaps(Trajectory.of([Special(1)]), Trajectory.of([Special(1), Special(0)]), SIZE)


def test_pairs_of_any_number_of_corners():
    triangle, star = Polygon(((0, 0), (20, 0), (0, 20))), Polygon(((0, 0), (20, 0), (20, 20), (10, 5), (0, 20)))
    first = Trajectory.of([triangle, star, Rectangle(0, 0, 20, 20), Special(1)])
    second = Trajectory.of([star, star, triangle, triangle])
    found = pysot_overlaps(first, second, SIZE)
    assert found[1] == 1
    assert 0 < found[0] < 1
    assert 0.4 < found[2] < 0.6
    assert np.isnan(found[3])
