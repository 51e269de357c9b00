"""The scheduler alone: full lanes, longest first, nothing lost and nothing done twice, whatever dies."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.tracking.schedule import MAX_ATTEMPTS, PATIENCE, Job, JobQueue, Lanes, Leases, group, longest_first, share

jobs_of = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 6)), max_size=20).map(
    lambda pairs: [Job(f"v{i}", frames, rows) for i, (frames, rows) in enumerate(pairs)]
)


def test_longest_first_and_equal_ones_in_order():
    jobs = [Job("a", 3), Job("b", 9), Job("c", 3), Job("d", 9, rows=2)]
    assert [job.name for job in longest_first(jobs)] == ["d", "b", "a", "c"]


def test_a_job_that_does_not_fit_is_overtaken_but_not_forever():
    queue = JobQueue([Job("big", 100, rows=5), *(Job(f"s{i}", 10) for i in range(10))])
    assert [queue.take(2).name for _ in range(PATIENCE)] == [f"s{i}" for i in range(PATIENCE)]
    assert queue.take(2) is None
    assert queue.take(None).name == "big"
    assert queue.take(2).name == f"s{PATIENCE}"


@given(jobs_of, st.integers(1, 8), st.randoms(use_true_random=False))
def test_lanes_run_everything_once_and_are_never_overfull(jobs, rows, dice):
    lanes, done = Lanes(JobQueue(jobs), rows), []
    while True:
        while (job := lanes.next()) is not None:
            pass
        if not lanes.open:
            break
        assert sum(job.rows for job in lanes.open) <= rows or len(lanes.open) == 1
        job = dice.choice(lanes.open)
        lanes.close(job.name)
        done.append(job.name)
    assert sorted(done) == sorted(job.name for job in jobs)


@given(jobs_of, st.integers(2, 8), st.randoms(use_true_random=False))
def test_running_out_of_memory_and_failing_batches_lose_nothing(jobs, rows, dice):
    lanes, done = Lanes(JobQueue(jobs), rows), []
    while True:
        while lanes.next() is not None:
            pass
        if not lanes.open:
            break
        what, before = dice.random(), lanes.rows
        if len(lanes.open) > 1 and what < 0.2:
            lanes.back_off()
            assert 1 <= lanes.rows < before
            assert lanes.open == ()
        elif len(lanes.open) > 1 and what < 0.3:
            lanes.retry_alone()
        else:
            job = dice.choice(lanes.open)
            lanes.close(job.name)
            done.append(job.name)
    assert sorted(done) == sorted(job.name for job in jobs)


def test_members_of_a_failed_batch_run_by_themselves():
    lanes = Lanes(JobQueue([Job(name, 5) for name in "abcd"]), 3)
    assert [lanes.next().name for _ in range(3)] == ["a", "b", "c"]
    lanes.retry_alone()
    assert not lanes.careful
    for name in "abc":
        assert lanes.next().name == name
        assert lanes.next() is None
        assert lanes.careful
        lanes.close(name)
    assert lanes.next().name == "d"


@given(jobs_of, st.integers(1, 5), st.integers(0, 10**6))
def test_leases_finish_each_job_once_whoever_dies(jobs, workers, seed):
    dice, now = random.Random(seed), [0.0]
    leases, finished, held = Leases(jobs, seconds=10, clock=lambda: now[0]), [], {}
    for _ in range(1000):
        if not leases.waiting and not leases.leased:
            break
        now[0] += dice.random()
        worker = dice.randrange(workers)
        what = dice.random()
        if what < 0.15:
            leases.lose(worker, "killed")
        elif what < 0.6:
            lease = leases.take(worker, None)
            if lease is not None:
                held[lease.number] = lease
        elif held:
            number = dice.choice(list(held))
            lease = held.pop(number)
            job = leases.finish(number)
            if job is not None:
                assert job.name == lease.job.name
                finished.append(job.name)
        for silent in leases.expired():
            leases.lose(silent, "silent")
    assert sorted([*finished, *leases.given_up]) == sorted(job.name for job in jobs)


def test_a_job_that_kills_its_workers_is_given_up_and_tried_alone_before():
    leases = Leases([Job("a", 5)], seconds=10, clock=lambda: 0.0)
    for attempt in range(MAX_ATTEMPTS):
        lease = leases.take(attempt, None)
        assert lease.job.alone == (attempt > 0)
        leases.lose(attempt, "killed by SIGKILL")
    assert leases.given_up == {"a": "3 workers died over it, the last one: killed by SIGKILL"}
    assert leases.take(9, None) is None


def test_the_longest_sequence_gets_no_company_that_would_make_it_the_last():
    jobs = [Job("long", 1000), *(Job(f"s{n}", 100) for n in range(10))]
    leases = Leases(jobs, seconds=10, clock=lambda: 0.0, workers=2)
    assert leases.take(1, None).job.name == "long"
    assert leases.take(1, 7) is None  # half of the work is its share already
    own = [leases.take(2, None), *(leases.take(2, 8 - n) for n in range(1, 8))]
    assert all(lease is not None for lease in own)
    leases.progress("long", 900)
    assert leases.take(1, 7).job.name == "s8"


def test_alone_a_worker_fills_its_lanes():
    leases = Leases([Job(f"s{n}", 100 + n) for n in range(20)], seconds=10, clock=lambda: 0.0)
    assert all(leases.take(1, 8 - n if n else None) is not None for n in range(8))


@given(jobs_of, st.integers(1, 8), st.integers(1, 9))
def test_groups_hold_every_job_once_and_are_never_overfull(jobs, rows, workers):
    groups = group(jobs, rows, workers)
    assert sorted(job.name for members in groups for job in members) == sorted(job.name for job in jobs)
    assert all(len(members) == 1 or sum(job.rows for job in members) <= rows for members in groups)


def test_only_the_bookkeepers_own_clock_counts():
    """A worker whose clock is a day off changes nothing: no time of its own reaches the book."""
    now = [1000.0]
    leases = Leases([Job("a", 5)], seconds=10, clock=lambda: now[0])
    leases.take(1, None)
    now[0] += 9
    leases.renew(1)
    now[0] += 9
    assert leases.expired() == set()
    now[0] += 2
    assert leases.expired() == {1}


def test_parts_are_of_about_equal_length():
    jobs = [Job(f"v{n}", frames) for n, frames in enumerate([900, 100, 200, 300, 400, 500])]
    loads = [sum(job.frames for job in part) for part in share(jobs, 3)]
    assert sorted(loads) == [700, 800, 900]


def test_lanes_must_be_positive():
    with pytest.raises(ValueError, match="lanes: expected at least 1"):
        Lanes(JobQueue(), 0)
