"""The tracker of docs/writing-a-policy.md: its blocks are one file, which runs and does what the page says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from drive import Offer, drive, live_features, pointers, slots
from plugin_cases import no_plugins
from simulate import info

from mosam.cli import run_command
from mosam.policies.base import POLICIES, Candidate, Entry, load_policy
from mosam.system import plugins

__all__ = ["no_plugins"]
pytestmark = pytest.mark.usefixtures("no_plugins")
PAGE = (Path(__file__).resolve().parents[1] / "docs" / "writing-a-policy.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
TINY = ("--model", "random:mini", "--device", "cpu")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with `steady.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steady.py").write_text(CODE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def steady(here):
    plugins.load(["steady.py"])
    return lambda **options: load_policy("steady", **options)


def test_the_commands_of_the_page_run(here, capfd):
    [lines] = re.findall(r"```\n(mosam .*?)```", PAGE, re.DOTALL)
    run, score = (line.split()[1:] for line in lines.splitlines())
    assert run_command([*run, *TINY]) == 0
    [record] = here.glob("results/toy/*/run.json")
    assert json.loads(record.read_text())["tracker"] == "steady"
    [log] = here.glob("results/toy/*/log/*.jsonl")
    text = log.read_text()
    assert '"likeness"' in text
    assert '"prompt_box"' in text or '"withheld": "no doubt"' in text
    assert run_command(score) == 0


def test_only_sure_frames_are_read_and_as_many_are_kept(steady):
    policy = steady(sure=0.7)
    assert "steady" in POLICIES
    steps = drive(policy, lambda t, trace: Offer((0.9 if t % 3 else 0.6, 0.1, 0.1), 4.0), 40)
    assert slots(steps[-1].plans[0]) == [(0, 6), (31, 5), (32, 4), (34, 3), (35, 2), (37, 1), (38, 0)]
    assert pointers(steps[-1].plans[0])[1:3] == [(38, 1), (37, 2)]
    assert max(live_features(step) for step in steps) <= policy.live_features(info(41))


def test_forgetting_changes_nothing(steady):
    def plans(keep_everything):
        policy = steady()
        policy.keep_everything = keep_everything
        presence = {t: -3.0 if t % 7 == 0 else 4.0 for t in range(61)}
        steps = drive(policy, lambda t, trace: Offer((0.9 if t % 4 else 0.5, 0.8, 0.1), presence[t]), 60)
        return [(slots(step.plans[0]), step.choices[0].candidate) for step in steps]

    assert plans(True) == plans(False)


@pytest.mark.parametrize(("size", "taken"), [(0.0, 0), (0.5, 1)])
def test_a_mask_of_the_size_before_is_preferred(steady, size, taken):
    policy = steady(size=size)
    state = policy.start(info(10), Entry(0, "prompt", 10.0, 1.0, 100)).state
    offered = [Candidate(0, "free", k, iou, 4.0, area) for k, (iou, area) in enumerate(((0.8, 20), (0.7, 90)))]
    assert policy.choose([state], 1, offered)[0].candidate == taken


def test_the_prompt_is_motion_s_and_only_decoded_in_doubt(steady):
    policy = steady(doubt=0.6)

    class Found:
        box = np.array([0.1, 0.1, 0.5, 0.5])

    assert policy.guide(None, 1, lambda: None) is None
    assert np.array_equal(policy.guide(None, 1, Found).box, Found.box)
    sure, unsure = (Candidate(0, "free", 0, iou, 4.0, 9) for iou in (0.7, 0.5))
    assert policy.skip_guided_decode(None, 1, [sure, unsure]) == "no doubt"
    assert policy.skip_guided_decode(None, 1, [unsure]) is None
