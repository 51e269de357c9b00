"""The page on trackers of one's own, followed from a folder outside the project."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from plugin_cases import no_plugins  # noqa: F401

from mosam.cli import run_command

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "experiments" / "trackers"
PAGE = (PROJECT / "docs" / "trackers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```[a-z]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SEQUENCE = "fast-1"

pytestmark = pytest.mark.usefixtures("no_plugins")


def block(beginning):
    """The block of the page that begins so."""
    [found] = [text for text in BLOCKS if text.startswith(beginning)]
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with what the page says to save."""
    (tmp_path / "mosse.py").write_text(block('"""MOSSE'))
    (tmp_path / "still.py").write_text(block('"""The given'))
    (tmp_path / "ncc_trax.py").write_text(block('"""Template'))
    (tmp_path / "trackers.ini").write_text(block("[NCC]").replace("python3", sys.executable))
    (tmp_path / "lab.toml").write_text(block("[still]").replace('"python3"', f'"{sys.executable}"'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_shows_the_files_of_the_project():
    for path in sorted(EXAMPLES.iterdir()):
        if not path.name.startswith("__"):
            assert path.read_text(encoding="utf-8") in BLOCKS, path


def call(words):
    """Runs a line of the page on one sequence."""
    words = words.replace("--limit 3", f"--sequences {SEQUENCE}").replace("mosam ", "", 1)
    parts = words.split()
    if any("*" in part for part in parts):
        parts = [found for part in parts for found in (sorted(map(str, Path().glob(part))) if "*" in part else [part])]
    return run_command(parts)


def test_a_class_and_a_program_in_one_table_figure_and_report(here, capfd):
    evaluate, table, plot, report = block("mosam eval toy --tracker mosse.py").splitlines()
    assert call(evaluate.replace("opencv:MIL", "lab.toml:still").replace(" --tracker mosam", "")) == 0
    assert re.findall(r"^(mosse|still) \*", capfd.readouterr().out, re.MULTILINE) == ["mosse", "still"]
    assert call(table) == 0
    assert "mosse" in capfd.readouterr().out
    assert call(plot) == 0
    assert (here / "plots/success.png").stat().st_size > 1000
    assert call(report) == 0
    assert "mosse" in (here / "report.html").read_text()


def test_ours_can_be_among_them(here):
    from mosam.tracking.plan import RunOptions, plan_runs

    options = RunOptions("toy", tracker="mosse.py:Mosse,sam2", model="random:mini", frame_timeout=5, limit=1)
    own, ours = plan_runs(options)
    assert (own.title, own.out.name) == ("mosse on toy val (1 of 24 official sequences)", "mosse")
    assert (own.load(lambda *words, **named: "network"), own.policy.limits.frame) == (None, 5)
    assert ours.title == "sam2 with random:mini on toy val (1 of 24 official sequences)"
    assert ours.load(lambda *words, **named: "network") == "network"


def test_workers_write_the_same_files(here, capfd):
    words = "mosam run toy --tracker mosse.py:Mosse[rate=0.05] --sequences scale-1,fast-1"
    assert call(words + " --results one") == 0
    assert call(words + " --results two --jobs 2") == 0
    files = {path.relative_to(here / "one"): path for path in (here / "one").rglob("*.png")}
    assert len(files) > 100
    assert all((here / "two" / name).read_bytes() == path.read_bytes() for name, path in files.items())
    records = [json.loads((here / name / "toy/mosse-rate=0.05/run.json").read_text()) for name in ("one", "two")]
    assert records[0]["plugins"] == records[1]["plugins"]
    assert records[1]["environment"]["workers"] == ["cpu", "cpu"]


def test_the_trax_example_follows(here, capfd):
    pytest.importorskip("trax", reason="vot-trax is not installed")
    assert call(block("mosam eval toy --tracker trackers.ini").strip() + " --json scores.json") == 0
    [scores] = json.loads((here / "scores.json").read_text())
    assert scores["overall"]["success_auc"] > 0.2


def test_the_example_in_python_runs(here, monkeypatch):
    code = block("import mosam\n").replace(".select(limit=2)", f".select(['{SEQUENCE}'])")
    exec(compile(code, "trackers.md", "exec"), {})
    assert (here / "results/toy/own/run.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model nano", "--model: mosse is not a policy over one of our networks"),
        ("--precision bf16", "--precision: mosse is not a policy"),
        ("--settings published", "--settings: mosse is not a policy"),
        ("--tracker sam2 --frame-timeout 0", "Invalid value for '--frame-timeout'"),
    ],
)
def test_what_says_nothing_to_it_is_refused(here, capfd, words, message):
    assert call(f"mosam run toy --tracker mosse.py:Mosse {words} --limit 1") == 2
    assert message in capfd.readouterr().err


def test_a_time_limit_says_nothing_to_a_network(here, capfd):
    assert call("mosam run toy --tracker sam2 --frame-timeout 3") == 2
    assert "--frame-timeout, --sequence-timeout: are for trackers of your own" in capfd.readouterr().err


def test_a_failure_is_named_and_the_exit_code_says_so(here, capfd):
    text = (here / "mosse.py").read_text().replace("        score = (", "        return None\n        score = (")
    (here / "broken.py").write_text(text)
    assert call(f"mosam eval toy --tracker broken.py:Mosse --sequences {SEQUENCE}") == 1
    error = capfd.readouterr().err
    assert f"{SEQUENCE}: failed: frame 1: expected a box x,y,w,h or a mask" in error
    assert "not scored, 1 sequences failed" in error


def test_info_and_list_know_them(here, capfd):
    assert run_command(["tracker", "info", "mosse.py:Mosse"]) == 0
    out = capfd.readouterr().out
    assert re.search(r"rate +number +0\.125 +weight of the newest frame in the filter", out)
    assert re.search(r"source: mosse\.py 1\.0 \(.*/mosse\.py\)", out)
    assert run_command(["tracker", "info", "trackers.ini:NCC"]) == 0
    assert "NCC: a program that speaks trax" in capfd.readouterr().out
    assert run_command(["tracker", "list"]) == 0
    assert re.search(r"opencv:MIL +OpenCV's MIL\.", capfd.readouterr().out)
