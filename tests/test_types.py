"""Prompts refuse what no tracker can start from."""

from __future__ import annotations

import numpy as np
import pytest

from mosam.types import Prompt

MASK = np.ones((4, 5), dtype=bool)
BOX = np.array([1.0, 2.0, 3.0, 4.0])
POINTS = np.array([[1.0, 2.0]])
LABELS = np.array([1])


@pytest.mark.parametrize(
    ("given", "kind"),
    [({"mask": MASK}, "mask"), ({"box": BOX}, "box"), ({"points": POINTS, "labels": LABELS}, "point")],
)
def test_kinds(given, kind):
    assert Prompt(1, **given).kind == kind


def test_box_with_points_is_a_box():
    assert Prompt(1, box=BOX, points=POINTS, labels=LABELS).kind == "box"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "got none of them"),
        ({"mask": MASK, "box": BOX}, "got both"),
        ({"mask": MASK.astype(np.uint8)}, r"expected a bool \(H, W\) mask, got uint8"),
        ({"mask": MASK[0]}, r"got bool \(5,\)"),
        ({"box": BOX[:3]}, "four finite numbers"),
        ({"box": np.array([0, 0, np.nan, 1])}, "four finite numbers"),
        ({"box": np.array([0.0, 0, 0, 5])}, "w > 0 and h > 0, got w=0 h=5"),
        ({"box": np.array([0.0, 0, 5, -1])}, "got w=5 h=-1"),
        ({"points": POINTS}, "one label, 0 or 1, for each of 1 points"),
        ({"points": POINTS, "labels": np.array([2])}, "one label"),
        ({"points": POINTS[:0], "labels": LABELS[:0]}, "N >= 1"),
        ({"points": POINTS * np.inf, "labels": LABELS}, "finite points"),
        ({"object_id": 0, "mask": MASK}, "object id: expected a whole number >= 1, got 0"),
        ({"frame_index": -1, "mask": MASK}, "frame index: expected a whole number >= 0, got -1"),
    ],
)
def test_refused(given, words):
    with pytest.raises(ValueError, match=words) as caught:
        Prompt(**{"object_id": 1, **given})
    assert str(caught.value).startswith("prompt of object ")
