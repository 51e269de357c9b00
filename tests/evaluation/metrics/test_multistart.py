from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.evaluation.metrics.multistart import AnchorRun, accuracy_robustness, frames_before_failure


@pytest.mark.parametrize(
    ("bad", "empty", "expected"),
    [
        ("......", "......", 6),
        ("..xx..", "......", 6),
        ("..xxx.", "......", 2),
        ("xxx...", "......", 0),
        ("...xxx", "......", 3),
        ("..xxx.", "...x..", 6),  # nothing to find on one of them
        ("xx.xxx", "......", 3),
    ],
)
def test_failure_is_so_many_bad_frames_in_a_row(bad, empty, expected):
    overlaps = np.array([0.1 if letter == "x" else 0.11 for letter in bad])
    nothing = np.array([letter == "x" for letter in empty])
    assert frames_before_failure(overlaps, nothing, grace=3) == expected


@given(st.lists(st.tuples(st.floats(0, 0.3), st.booleans()), max_size=40), st.integers(1, 6))
def test_failure_counted_frame_by_frame(frames, grace):
    overlaps, empty = np.array([o for o, _ in frames]), np.array([e for _, e in frames], dtype=bool)
    expected, left = len(frames), grace
    for index, (overlap, nothing) in enumerate(frames):
        left = left - 1 if overlap <= 0.1 and not nothing else grace
        if left == 0:
            expected = index + 1 - grace
            break
    assert frames_before_failure(overlaps, empty, grace=grace) == expected


def test_accuracy_and_robustness_of_a_sequence():
    runs = [AnchorRun(np.array([0.0, 0.8, 0.6, 0.0]), 3), AnchorRun(np.array([0.0, 0.4]), 2)]
    accuracy, robustness, kept = accuracy_robustness(runs)
    assert (accuracy, robustness, kept) == (pytest.approx(1.8 / 5), pytest.approx(5 / 6), 5)
    assert runs[0].run.failed
    assert runs[0].run.overlaps.tolist() == [0, 0.8, 0.6, 0]
    assert not runs[1].run.failed
    assert accuracy_robustness([AnchorRun(np.zeros(4), 0)]) == (0.0, 0.0, 0)
