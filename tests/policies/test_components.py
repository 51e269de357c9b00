import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosam.policies.components import largest_component


def picture(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (picture("#..", ".#.", "..#"), picture("#..", ".#.", "..#")),
        (picture("##.#", "...#", "...#"), picture("...#", "...#", "...#")),
        (picture("#.#", "#.#", "###"), picture("#.#", "#.#", "###")),
        (picture("#.#", "...", "#.#"), picture("#..", "...", "...")),
        (picture("..", ".."), picture("..", "..")),
    ],
    ids=["corners touch", "larger of two", "joined below", "first of equals", "nothing"],
)
def test_worked(mask, expected):
    assert (largest_component(mask) == expected).all()


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_equals_opencv(mask):
    import cv2

    ours = largest_component(mask)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        assert not ours.any()
        return
    areas = stats[1:, cv2.CC_STAT_AREA]
    assert ours.sum() == areas.max()
    assert len(np.unique(labels[ours])) == 1, "one component"
