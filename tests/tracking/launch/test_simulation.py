"""The simulated runs: against arithmetic, against bounds no schedule can beat, and against real workers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.tracking.launch.simulation import BENCHMARKS, PUBLISHED, StepCost, benchmark_jobs, simulate
from mosam.tracking.schedule import Job

FRAME = StepCost(0.0, 1.0, 0.0)


def test_by_hand():
    jobs = [Job("a", 4), Job("b", 3), Job("c", 3), Job("d", 2)]
    one = simulate(jobs, FRAME, workers=1, lanes=1)
    assert one.makespan == 12
    assert one.idle == 0
    two = simulate(jobs, FRAME, workers=2, lanes=1)  # a d | b c
    assert two.makespan == 6
    assert two.busy == (6, 6)
    short_last = simulate([Job("x", 1), Job("y", 1), Job("z", 8)], FRAME, workers=2, lanes=1, queue="official")
    assert short_last.makespan == 9
    assert simulate([Job("x", 1), Job("y", 1), Job("z", 8)], FRAME, workers=2, lanes=1).makespan == 8


def test_lanes_share_what_a_step_costs():
    cost = StepCost(step=1.0, frame=0.5, row=0.25)
    jobs = [Job("a", 10), Job("b", 10)]
    assert simulate(jobs, cost, workers=1, lanes=1).makespan == 20 * 1.75
    assert simulate(jobs, cost, workers=1, lanes=2).makespan == 10 * (1 + 2 * 0.75)


def test_one_sequence_longer_than_all_others_is_the_makespan():
    jobs = [Job(f"s{n}", 10) for n in range(50)] + [Job("long", 500)]
    assert simulate(jobs, FRAME, workers=4, lanes=1).makespan == 500
    assert simulate(jobs, FRAME, workers=64, lanes=1).makespan == 500
    assert simulate(jobs, FRAME, workers=4, lanes=1, queue="official").makespan > 600


@given(st.lists(st.integers(1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_within_the_bounds_of_list_scheduling(lengths, workers):
    jobs = [Job(f"v{n}", frames) for n, frames in enumerate(lengths)]
    found = simulate(jobs, FRAME, workers=workers, lanes=1)
    best = max(max(lengths), sum(lengths) / workers)
    assert best <= found.makespan <= sum(lengths) / workers + max(lengths)
    assert sum(found.busy) == pytest.approx(sum(lengths))
    assert 0 <= found.idle < 1


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 5)), min_size=1, max_size=25), st.integers(1, 4))
def test_everything_is_tracked_in_every_kind_of_queue(pairs, workers):
    jobs = [Job(f"v{n}", *pair) for n, pair in enumerate(pairs)]
    for queue in ("shared", "fixed", "official"):
        found = simulate(jobs, StepCost(0, 0, 1.0), workers=workers, lanes=4, queue=queue)
        assert sum(found.busy) == pytest.approx(sum(frames * rows for frames, rows in pairs))


def test_lengths_of_the_benchmarks():
    lasot = benchmark_jobs("lasot")
    assert len(lasot) == 280
    assert sum(job.frames for job in lasot) == 685360
    for name, published in PUBLISHED.items():
        jobs = benchmark_jobs(name)
        assert len(jobs) == published.count
        assert sum(job.frames for job in jobs) / len(jobs) == pytest.approx(published.mean, rel=0.01)
        assert all(published.least <= job.frames <= published.most for job in jobs)
        assert sum(job.rows for job in jobs) / len(jobs) == pytest.approx(published.objects, rel=0.15)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_more_workers_are_never_slower(name):
    jobs = benchmark_jobs(name)[::7]  # a step of the simulation looks at every worker
    spans = [simulate(jobs, FRAME, workers=n, lanes=8).makespan for n in (1, 4, 16)]
    assert all(later <= 1.02 * earlier for earlier, later in pairwise(spans))


def test_no_workers():
    with pytest.raises(ValueError, match="workers: expected at least 1"):
        simulate([], FRAME, workers=0, lanes=1)


def test_the_cost_is_that_of_measured_runs(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "benchmarks"))
    import scaling

    for model, lanes, seconds in (("large", 1, 1 / 22.9), ("large", 16, 16 / 63.8), ("tiny", 16, 16 / 101.3)):
        assert scaling.measured_cost(model).of(lanes, lanes) == pytest.approx(seconds, rel=0.16)
    with pytest.raises(SystemExit, match="nothing was measured of small"):
        scaling.measured_cost("small")
