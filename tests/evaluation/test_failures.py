from __future__ import annotations

from pathlib import Path

import numpy as np

from mosam.evaluation.failures import (
    Pick,
    absences,
    first_loss,
    first_recovery,
    largest_disagreement,
    pick_frames,
    worst_frame,
)
from mosam.evaluation.framewise import ObjectFrames, TrackedSequence


def make_object(iou, *, visible=None, object_id=1, start=0, failed=()) -> ObjectFrames:
    values = np.array(iou, dtype=np.float64)
    count = len(values)
    shown = np.ones(count, dtype=bool) if visible is None else np.array(visible, dtype=bool)
    marks = np.isin(np.arange(count), failed)
    nothing = np.full(count, np.nan)
    frames = np.arange(start, start + count)
    return ObjectFrames(object_id, "", start, frames, shown, values > 0, values, nothing, nothing, marks)


def make_tracked(name: str, *objects: ObjectFrames) -> TrackedSequence:
    return TrackedSequence(name, None, Path(name), objects, lambda frame: {})


LOST = [1.0] * 5 + [0.05] * 12 + [0.3, 0.6] + [0.9] * 6


def test_loss_and_recovery():
    item = make_object(LOST)
    assert (first_loss(item), first_recovery(item)) == (5, 18)
    assert first_loss(make_object([1.0] * 5 + [0.0] * 9 + [1.0])) is None
    assert first_recovery(make_object([1.0] + [0.0] * 20)) is None
    assert first_loss(make_object([1.0] * 30)) is None


def test_a_gone_object_is_not_lost():
    visible = [True] * 5 + [False] * 12 + [True] * 8
    assert first_loss(make_object(LOST, visible=visible)) is None


def test_failures_of_vot_are_taken_as_written():
    assert first_loss(make_object([1.0] * 20, failed=(7,))) == 7


def test_disagreement_looks_only_where_both_have_a_number():
    one, other = (
        make_object([1, 0.9, 0.8, np.nan]),
        make_object([0.9, 0.1, 0.0, 0.0], visible=[True, True, False, True]),
    )
    assert largest_disagreement([one, other]) == (1, 0.8)
    assert largest_disagreement([make_object([0.5]), make_object([0.5], start=3)]) is None


def test_worst_frame_is_after_the_start():
    assert worst_frame(make_object([0.0, 0.5, 0.2, 0.4])) == 2
    assert worst_frame(make_object([0.0])) is None


def test_picks_tell_what_happened():
    good = make_object([1.0] * 5 + [0.9] * 20)
    picks = pick_frames([make_tracked("a", make_object(LOST)), make_tracked("b", good)])
    assert picks[0] == Pick(0, ("start",))
    told = {pick.frame: pick.reasons for pick in picks if pick.reasons}
    assert told == {
        0: ("start",),
        5: ("first loss: a", "largest disagreement"),
        18: ("recovery: a",),
    }
    assert len(picks) == 6
    assert [pick.frame for pick in picks] == sorted(pick.frame for pick in picks)


def test_two_that_fail_together_are_both_named():
    picks = pick_frames([make_tracked("a", make_object(LOST)), make_tracked("b", make_object(LOST))])
    assert ("first loss: a, b",) in [pick.reasons for pick in picks]
    assert not any("disagreement" in reason for pick in picks for reason in pick.reasons)


def test_one_tracker_shows_its_worst():
    picks = pick_frames([make_tracked("a", make_object([1, 0.9, 0.4, 0.9]))], count=3)
    assert Pick(2, ("lowest overlap",)) in picks


def test_objects_are_named_where_there_are_several():
    item = make_tracked("a", make_object([1.0] * 25), make_object(LOST, object_id=4))
    assert ("first loss: a, object 4", "lowest overlap, object 4") in [pick.reasons for pick in pick_frames([item])]


def test_short_sequences_have_fewer_picks():
    assert pick_frames([make_tracked("a", make_object([1.0]))]) == [Pick(0, ("start",))]


def test_absences_are_shares_of_the_objects():
    one = make_object([1] * 6, visible=[1, 0, 0, 0, 1, 1])
    two = make_object([1] * 4, visible=[0, 0, 1, 1], start=2)
    assert absences([one]) == [(1, 3, 1.0)]
    assert absences([one, two]) == [(1, 3, 1.0)]
    three = make_object([1] * 6, object_id=3)
    assert absences([one, three]) == [(1, 3, 0.5)]
