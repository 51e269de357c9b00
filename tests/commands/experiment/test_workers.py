from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from mosam.commands.experiment.study import (
    Experiment,
    Row,
    load_study,
    planned_runs,
    run_experiment,
)
from mosam.commands.experiment.tables import experiment_table
from mosam.commands.experiment.workers import track_one, track_rows
from mosam.errors import MosamError
from mosam.tracking.plan import RunOptions

SHIPPED = Path(__file__).parents[3] / "experiments"


@pytest.mark.parametrize(("name", "split"), [("policies", "test"), ("ablation", "val")])
def test_the_shipped_experiments_name_trackers_and_groups_that_exist(name, split):
    from mosam.datasets.toy import SCENARIOS
    from mosam.policies.base import load_policy, parse_tracker

    [experiment] = load_study(SHIPPED / f"{name}.toml").experiments
    assert (experiment.split, experiment.seeds, experiment.main) == (split, (0, 1, 2), "jf_mean")
    for row in experiment.rows:
        tracker, options = parse_tracker(row.tracker)
        load_policy(tracker, **options)
    known = {tag for scenario in SCENARIOS for tag in scenario.attributes}
    assert {tag for group in experiment.groups.values() for tag in group} <= known


def test_a_wrong_name_is_told_before_any_process_starts(tmp_path):
    experiment = Experiment("t", "toy", (Row("a", "sam2"), Row("b", "nope")), ("jf_mean",))
    with pytest.raises(MosamError, match="unknown tracker 'nope'"):
        track_rows(experiment, RunOptions("", results=tmp_path / "none"), workers=2)
    assert not (tmp_path / "none").exists()


def test_workers_track_the_runs_that_are_scored(tmp_path, monkeypatch):
    """What the file says of prompt and settings holds for both, and unsupported rows have no run."""
    rows = (Row("a", "sam2"), Row("theirs", "", unsupported="no code"), Row("b", "samurai"))
    experiment = Experiment(
        "t", "toy", rows, ("jf_mean",), split="val", prompt="box", settings="published", seeds=(0, 1)
    )
    options = RunOptions("", device="cpu", model="random:nano", limit=1, results=tmp_path)
    planned = planned_runs(experiment, options)
    assert [(row.label, seed) for row, seed, _ in planned] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert {(one.prompt, one.settings, one.split) for _, _, one in planned} == {("box", "published", "val")}
    assert planned_runs(replace(experiment, unsupported="no code"), options) == []
    tracked = []

    class Pool:
        def __init__(self, *arguments, **named):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def submit(self, work, one):
            tracked.append(one)
            done = Future()
            done.set_result({})
            return done

    monkeypatch.setattr("mosam.commands.experiment.workers.process_pool", Pool)
    track_rows(experiment, options, workers=2)
    assert tracked == [one for _, _, one in planned]


def test_one_run_tells_errors_that_travel(tmp_path):
    import pickle

    with pytest.raises(MosamError, match="unknown tracker 'nope'") as caught:
        track_one(RunOptions("toy", tracker="nope", results=tmp_path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.slow
def test_several_processes_give_the_same_table(tmp_path):
    rows = (Row("a", "sam2"), Row("b", "mosam"), Row("again", "sam2"))
    experiment = Experiment("t", "toy", rows, ("jf_mean",), split="val", baseline="a")
    options = RunOptions("", device="cpu", model="random:nano", limit=1, results=tmp_path / "one")
    alone = experiment_table(experiment, run_experiment(experiment, options))
    told = []
    options = replace(options, results=tmp_path / "two")
    track_rows(experiment, options, workers=2, report=told.append)
    assert len(told) == 2, "two rows are one run"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.png")}
    assert before
    assert experiment_table(experiment, run_experiment(experiment, options)) == alone
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.png")}
