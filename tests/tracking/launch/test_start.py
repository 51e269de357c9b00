"""From the words of a command to where it is tracked."""

from __future__ import annotations

import pickle

import pytest

from mosam.cli import run_command
from mosam.errors import MosamError
from mosam.tracking.launch.start import PlannedRunSpec, check_options, local_slots, parse_launcher
from mosam.tracking.plan import RunOptions, plan_runs


def test_work_travels_as_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").touch()
    options = RunOptions("toy", tracker="sam2,samurai", model="weights.pt", limit=2, seed=3)
    second = plan_runs(options)[1]
    work = pickle.loads(pickle.dumps(PlannedRunSpec.of(second)))
    assert work.policy.label == "samurai"
    assert list(work.dataset) == list(second.dataset)
    assert work.dataset.annotation_hash() == second.dataset.annotation_hash()
    assert work.options.model == str(tmp_path / "weights.pt")


def test_places(monkeypatch):
    monkeypatch.setattr("mosam.tracking.launch.local.cores", lambda: 4)
    assert local_slots(RunOptions("toy", device="cpu")) == []
    assert local_slots(RunOptions("toy", device="cpu", jobs=1)) == []
    assert [place.threads for place in local_slots(RunOptions("toy", device="cpu", jobs=2))] == [2, 2]
    monkeypatch.setattr("mosam.model.devices.count_gpus", lambda: 3)
    assert [place.device for place in local_slots(RunOptions("toy", gpus="all"))] == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lanes": "0"}, "--lanes: expected a number of at least 1 or auto, got '0'"),
        ({"lanes": "many"}, "--lanes: expected a number of at least 1 or auto"),
        ({"jobs": 0}, "--jobs: expected at least 1, got 0"),
        ({"launcher": "rey"}, "--launcher: unknown launcher 'rey'; did you mean ray?"),
        ({"launcher": "local[jobs=2]"}, "--launcher local: takes no options"),
        ({"launcher": "ray", "gpus": "2"}, "--gpus: is for this machine; write --launcher ray"),
        ({"gpus": "2", "device": "cpu"}, "--gpus 2: does not go with --device cpu"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(MosamError) as caught:
        check_options(RunOptions("toy", **options))
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_launcher_options():
    assert parse_launcher("slurm[jobs=4,partition=gpu]") == ("slurm", {"jobs": "4", "partition": "gpu"})


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--lanes 0", "--lanes: expected a number"),
        ("--jobs 0", "--jobs"),
        ("--gpus 0", "--gpus"),
        ("--launcher ray[adress=x]", "unknown option 'adress'; did you mean address?"),
        ("--launcher ray[cpus=x]", "--launcher ray[cpus]: expected a int, got 'x'"),
        ("--launcher slurm[jobs=0,cluster=local]", "--launcher slurm"),
    ],
)
def test_command_says_what_is_wrong_in_one_line(words, text, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "toy", "--model", "random:nano", "--device", "auto", *words.split()]) == 2
    shown = capfd.readouterr()
    assert text in shown.err
    assert shown.out == ""
    assert not (tmp_path / "results").exists()
