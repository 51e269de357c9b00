import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mosam.evaluation.metrics.speed import WARM_UP, after_warm_up, total_time


def test_the_first_five_frames_are_no_part_of_it():
    assert after_warm_up(np.array([9.0, 8, 7, 6, 5, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1])).tolist() == [0.1, 0.2, *[0.1] * 4]


def test_frames_without_a_time():
    assert after_warm_up(np.array([0.0, 9, np.nan, 1, -1])).tolist() == [1]
    assert len(after_warm_up(np.array([0.0, np.nan]))) == 0


@given(st.lists(st.floats(0.001, 10), max_size=30))
def test_at_most_half_of_the_frames_and_five(seconds):
    kept = after_warm_up(np.array(seconds))
    left_out = len(seconds) - len(kept)
    assert left_out == min(WARM_UP, len(seconds) // 2)
    assert kept.tolist() == seconds[left_out:]
    assert total_time(np.array(seconds))[0] == len(seconds)
