"""Records and commands with the names that options had before are read as if they had the present ones."""

import dataclasses
from pathlib import Path

import pytest

from mosam.errors import MosamError
from mosam.policies.base import load_policy, parse_tracker
from mosam.results.folder import run_folder
from mosam.results.record import read_record

RESULTS = Path(__file__).parents[2] / "experiments" / "runs" / "toy"
SHIPPED = sorted(folder.name for folder in RESULTS.iterdir() if (folder / "run.json").is_file())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_results_are_of_the_present_trackers_and_found(name):
    settings = read_record(RESULTS / name).settings
    tracker, options = parse_tracker(settings.tracker)
    policy = load_policy(tracker, **options)
    assert policy.label == settings.tracker
    assert dataclasses.asdict(policy.config) == settings.policy
    split = None if settings.split == "val" else settings.split
    assert run_folder(RESULTS, policy.label, settings.model, split=split, seed=settings.seed).name == name


def test_a_command_may_use_the_earlier_names():
    old = load_policy("mosam", beside="off", w_beside=0.2, refuse=0.5, doubt=1, n_points=2, rest=0, fill="off")
    assert old.label == (
        "mosam[guide_below_iou=1,num_points=2,distractors=off,distractor_weight=0.2,distractor_reject=0.5]"
    )


def test_an_option_that_was_removed_is_named():
    with pytest.raises(MosamError, match=r"rest was removed, only rest=0 is left"):
        load_policy("mosam", rest=3)


def test_a_folder_by_the_present_name_comes_first(tmp_path):
    earlier, present = (tmp_path / f"mosam-{option}=off-nano" for option in ("beside", "distractors"))
    assert run_folder(tmp_path, "mosam[distractors=off]", "nano") == present
    earlier.mkdir()
    assert run_folder(tmp_path, "mosam[distractors=off]", "nano") == earlier
    present.mkdir()
    assert run_folder(tmp_path, "mosam[distractors=off]", "nano") == present
