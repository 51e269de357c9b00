"""`mosam score` as a user has it: fast to start, intervals, comparisons, explanations, kept scores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mosam.cli import DONE, WRONG, run_command

NAMES = ("cup-1", "cup-2", "cup-3", "cup-4")
FRAMES = 20
NOT_NEEDED = {
    "torch", "torchvision", "transformers", "pandas", "scipy", "cv2", "matplotlib", "PIL", "pydantic", "lmdb", "av",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small LaSOT, and two trackers' results."""
    rng = np.random.default_rng(0)
    root = tmp_path / "LaSOT"
    for name in NAMES:
        folder = root / "cup" / name
        folder.mkdir(parents=True)
        boxes = np.cumsum(rng.integers(0, 3, (FRAMES, 4)), axis=0) + np.array([10, 10, 40, 30])
        np.savetxt(folder / "groundtruth.txt", boxes, fmt="%d", delimiter=",")
        for flags in ("full_occlusion.txt", "out_of_view.txt"):
            (folder / flags).write_text(",".join("0" * FRAMES))
        for tracker, noise in (("good", 1.0), ("bad", 12.0)):
            place = tmp_path / "results" / tracker
            place.mkdir(parents=True, exist_ok=True)
            rows = boxes + rng.normal(0, noise, boxes.shape) * np.array([1, 1, 0, 0])
            np.savetxt(place / f"{name}.txt", rows, fmt="%.3f", delimiter=",")
    (root / "testing_set.txt").write_text("\n".join(NAMES))
    return tmp_path


def score(data: Path, *options: str) -> int:
    return run_command(
        ["score", "lasot", "--root", f"{data / 'LaSOT'}", "--results", f"{data / 'results'}", "--jobs", "1", *options]
    )


@pytest.mark.parametrize("arguments", [["--help"], []], ids=["help", "score"])
def test_only_what_a_score_needs_is_loaded(data, arguments):
    """The time of a start is what it loads; a clock would measure the machine."""
    call = ["score", *arguments]
    if not arguments:
        call += ["lasot", "--root", f"{data / 'LaSOT'}", "--results", f"{data / 'results'}", "--jobs", "1"]
    code = f"from mosam.cli import run_command\nimport sys\nassert run_command({call!r}) == 0\n"
    code += "print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "200"}
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {name.split(".")[0] for name in loaded} & NOT_NEEDED == set()
    assert not {name for name in loaded if name.startswith(("mosam.engine", "mosam.policies", "mosam.model"))}
    if not arguments:
        assert "mosam.evaluation.protocols.boxes" in loaded
        assert "mosam.evaluation.protocols.vot" not in loaded


def test_intervals_and_differences_beside_the_numbers(data, capsys):
    assert score(data, "--tracker", "good,bad", "--ci", "--paired") == DONE
    shown = capsys.readouterr().out
    assert "AUC - bad [%]" in shown
    assert " to " in shown
    assert "95 % bootstrap intervals over sequences" in shown


def test_every_overall_number_of_vot_has_an_interval(tmp_path, capsys):
    from vot_cases import FOLDER, write_files

    write_files(tmp_path, json.loads((FOLDER / "supervised.json").read_text())["files"])
    call = ["score", "vot2019", "--root", f"{tmp_path}", "--results", f"{tmp_path / 'results'}", "--jobs", "1"]
    assert run_command([*call, "--json", f"{tmp_path / 's.json'}"]) == DONE
    assert "draws" not in {k for item in json.loads((tmp_path / "s.json").read_text()) for k in item if item[k]}
    capsys.readouterr()
    assert run_command(["table", f"{tmp_path / 's.json'}", "--ci"]) == DONE
    assert "no interval, being no mean over sequences: Robustness" in capsys.readouterr().out
    assert run_command([*call, "--ci", "--json", f"{tmp_path / 's.json'}"]) == DONE
    assert "no interval" not in capsys.readouterr().out
    assert run_command(["table", f"{tmp_path / 's.json'}", "--ci"]) == DONE
    assert "no interval" not in capsys.readouterr().out


def test_explanation_is_printed(data, capsys):
    assert score(data, "--tracker", "good", "--explain") == DONE
    shown = capsys.readouterr().out
    assert "lasot test, good, 4 sequences under every protocol" in shown
    assert "each convention on its own, changed from pytracking's" in shown


def test_kept_scores_are_used_and_can_be_refused(data, capsys, monkeypatch):
    assert score(data, "--tracker", "good") == DONE
    first = capsys.readouterr().out
    (kept,) = Path(os.environ["MOSAM_CACHE"]).rglob("*.json")
    content = json.loads(kept.read_text())
    content["overall"]["success_auc"] = 0.123
    kept.write_text(json.dumps(content))
    assert score(data, "--tracker", "good") == DONE
    assert "12.3" in capsys.readouterr().out
    assert score(data, "--tracker", "good", "--no-cache") == DONE
    assert capsys.readouterr().out == first
    (data / "results" / "good" / "cup-1.txt").write_text("1,1,5,5\n" * FRAMES)
    assert score(data, "--tracker", "good") == DONE
    assert "12.3" not in capsys.readouterr().out


def test_values_that_are_wrong_are_still_one_line(data, capsys):
    assert score(data, "--limit", "none") == WRONG
    assert capsys.readouterr().err.startswith("mosam: Invalid value for '--limit'")
    assert score(data, "--limit", "0") == WRONG
    assert "--limit" in capsys.readouterr().err
    assert score(data, "--limit", "2") == DONE


def test_what_lies_deeper_is_named_by_its_tracker_and_said(data, capsys):
    for tracker in ("good", "bad"):
        (data / "results" / tracker).rename(data / f"{tracker}_000")
        (data / "results" / tracker).mkdir()
        (data / f"{tracker}_000").rename(data / "results" / tracker / "param_000")
    assert score(data) == DONE
    shown = capsys.readouterr()
    first = [line.partition(" ")[0] for line in shown.out.splitlines()]
    assert {word for word in first if word in ("bad", "good", "param_000")} == {"bad", "good"}
    assert "bad <- bad/param_000: lasot results, 4 of 4 sequences" in shown.err
