import pytest
from simulate import info, walk

from mosam.policies.base import Entry, load_policy


def tracked(t: int) -> Entry:
    return Entry(t, "track", -3.0 if t % 3 == 0 else 4.0, 0.9, 0 if t % 3 == 0 else 9)


@pytest.mark.parametrize("start", [0, 5])
def test_slots_and_pointers_are_the_last_frames_whatever_they_hold(start):
    for t, plan in walk(load_policy("sam2"), info(100, start), tracked, 30):
        expected = [(start, 6)] + [(f, t - f - 1) for f in range(max(start + 1, t - 6), t)]
        assert [(s.entry.frame, s.temporal) for s in plan.slots] == expected
        frames = [start, *range(t - 1, max(start, t - 16), -1)]
        assert [(p.entry.frame, p.position) for p in plan.pointers] == [(f, t - f) for f in frames]
        assert plan.span == 16


def test_short_clip_reads_fewer_pointers():
    for t, plan in walk(load_policy("sam2"), info(5), tracked, 4):
        assert plan.span == 5
        assert len(plan.pointers) == 1 + min(t - 1, 4)


def test_stride_reads_multiples_and_the_newest():
    plans = dict(walk(load_policy("sam2", stride=5), info(100), tracked, 40))
    assert [s.entry.frame for s in plans[38].slots] == [0, 15, 20, 25, 30, 35, 37]
    assert [s.temporal for s in plans[38].slots] == [6, 5, 4, 3, 2, 1, 0]
    assert [s.entry.frame for s in plans[3].slots] == [0, 2]


def test_memory_off_reads_the_prompt_only():
    for _, plan in walk(load_policy("sam2", memory=False), info(100), tracked, 20):
        assert [s.entry.frame for s in plan.slots] == [0]
        assert [p.entry.frame for p in plan.pointers] == [0]
