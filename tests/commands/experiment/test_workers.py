from dataclasses import replace
from pathlib import Path

import pytest

from mosam.errors import MosamError
from mosam.commands.experiment.study import Experiment, Row, experiment_table, load_experiment, run_experiment
from mosam.commands.experiment.workers import track_one, track_rows
from mosam.tracking.plan import RunOptions

SHIPPED = Path(__file__).parents[1] / "experiments"


@pytest.mark.parametrize(("name", "split"), [("policies", "test"), ("ablation", "val")])
def test_the_shipped_experiments_name_trackers_and_groups_that_exist(name, split):
    from mosam.datasets.toy import SCENARIOS
    from mosam.policies.base import load_policy, parse_tracker

    experiment = load_experiment(SHIPPED / f"{name}.toml")
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
    track_rows(experiment, options, workers=2, tell=told.append)
    assert len(told) == 2, "two rows are one run"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.png")}
    assert before
    assert experiment_table(experiment, run_experiment(experiment, options)) == alone
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "two").rglob("*.png")}
