"""Plugins through the whole command: loaded everywhere, recorded, never loaded because a file of results says so."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_cases import TRACKER, no_plugins, write_plugin

from mosam.cli import run_command
from mosam.system import plugins
from mosam.tracking.launch.start import PlannedRunSpec
from mosam.tracking.plan import RunOptions, plan_runs

__all__ = ["no_plugins"]
pytestmark = pytest.mark.usefixtures("no_plugins")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"
TINY = ("--model", "random:mini", "--device", "cpu")
HOSTILE = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"
DATASET = '''
from mosam.datasets.toy import Toy


class Mine(Toy):
    """The toy benchmark under a name of ours."""

    name = "my-toy"
'''
PROTOCOL = """
from mosam.evaluation.protocols.base import PROTOCOLS, protocol
from mosam.evaluation.figures.base import figure, new_axes

@protocol("my-protocol", needs="masks")
class Toy(PROTOCOLS["toy"]):
    '''Ours.'''


@figure("my-figure", title="Mine")
def mine(scores):
    '''An empty picture.'''
    return new_axes()[0]
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def fails(capfd, *words: str) -> str:
    """The one line of an error, behind the title of a run."""
    capfd.readouterr()
    assert run_command([*words]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if " with random:mini on " not in line]
    assert len(lines) == 1, lines
    return lines[0]


def test_the_worked_example_of_the_documents_runs(here, capfd):
    text = PAGE.read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [lines] = re.findall(r"```\n(mosam .*?)```", text, re.DOTALL)
    (here / "every_third.py").write_text(code, encoding="utf-8")
    run, score, info = (line.split()[1:] for line in lines.splitlines())
    assert run_command([*run, *TINY]) == 0
    [record] = here.glob("results/toy/*/run.json")
    content = json.loads(record.read_text())
    assert content["tracker"] == "every_third"
    assert content["plugins"]["every_third.py"] == {"version": "0.1", "sha256": plugins.loaded()[0].sha256}
    assert run_command(score) == 0
    capfd.readouterr()
    assert run_command(info) == 0
    assert re.search(r"stride +whole number +1\.\.100 +3 +distance between", capfd.readouterr().out)
    changed = {**content["plugins"]["every_third.py"], "sha256": "0" * 64}
    record.write_text(json.dumps({**content, "plugins": {"every_third.py": changed}}))
    (record.parent / "run.json.bak").unlink(missing_ok=True)
    assert "run: plugins.every_third.py.sha256: 0000" in fails(capfd, *run, *TINY)


def test_a_run_without_plugins_says_nothing_of_them(here):
    assert run_command(["run", "toy", "--tracker", "sam2[memory=off]", "--limit", "1", *TINY]) == 0
    [record] = here.glob("results/toy/*/run.json")
    assert "plugins" not in json.loads(record.read_text())


def test_a_worker_on_another_machine_loads_the_same(here):
    plugins.load([str(write_plugin(here / "own.py"))])
    write_plugin(here / "lab_for_test.py", TRACKER.replace("mine", "other"))
    for tracker in ("mine", "lab_for_test:Mine"):
        spec = PlannedRunSpec.of(plan_runs(RunOptions(tracker=tracker, results=here))[0])
        (here / "spec").write_bytes(pickle.dumps(spec))
        code = "import pickle; print(pickle.load(open('spec', 'rb')).policy.label)"
        environment = {"PYTHONPATH": f"{here}:{Path(plugins.__file__).parents[2]}", "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout.split() == [{"mine": "mine"}.get(tracker, "other")], done.stderr


def test_processes_that_score_know_classes_of_files(here):
    plugins.load([str(write_plugin(here / "own.py", TRACKER + "\n\ndef double(name):\n    return 2 * name\n"))])
    double = sys.modules[plugins.loaded()[0].module].double
    from mosam.system.processes import process_pool

    with process_pool(1, fork=False) as pool:
        assert list(pool.map(double, ["a"])) == ["aa"]


def test_a_class_stands_where_a_name_is_taken(here, capfd):
    write_plugin(here / "data_for_test.py", DATASET)
    write_plugin(here / "more_for_test.py", PROTOCOL)
    write_plugin(here / "own_for_test.py")
    assert run_command(["data", "check", "data_for_test:Mine", "--limit", "1"]) == 0
    assert "my-toy val: 1 sequences" in capfd.readouterr().err
    for group, name in (
        ("tracker", "own_for_test:Mine"),
        ("protocol", "more_for_test:Toy"),
        ("figure", "more_for_test:mine"),
    ):
        assert run_command([group, "info", name]) == 0
    out = capfd.readouterr().out
    assert re.findall(r"^(\S+): .*\nsource: ", out, re.MULTILINE) == ["mine", "my-protocol", "my-figure"]
    assert "source: own_for_test 1.2 (" in out
    assert "expected a file (.py) or a module" in fails(capfd, "run", "toy", "--tracker", "nowhere_at_all:X")
    assert "no module nowhere_at_all" in fails(capfd, "run", "toy", "--model", "nowhere_at_all:X")


def test_shells_complete_the_names_of_plugins(here):
    from click.shell_completion import ShellComplete

    from mosam.cli import app

    write_plugin(here / "own.py", TRACKER.replace('"mine"', '"zebra"'))
    shell = ShellComplete(app, {}, "mosam", "_MOSAM_COMPLETE")
    for words, found in ((["--plugin", "own.py"], ["zebra"]), (["--plugin", "nope.py"], [])):
        assert [item.value for item in shell.get_completions(["tracker", "info", *words], "zeb")] == found


def test_kept_scores_of_a_protocol_go_with_its_source(here):
    from mosam.datasets.base import load_dataset
    from mosam.evaluation.cache import score_key
    from mosam.evaluation.protocols.base import parse_protocol

    path = write_plugin(here / "own.py", PROTOCOL)
    plugins.load([str(path)])
    dataset, chosen = load_dataset("toy").select(limit=1), parse_protocol("my-protocol")
    key = score_key(dataset, list(dataset), here / "results", (chosen,))
    assert score_key(dataset, list(dataset), here / "results", (chosen,)) == key
    path.write_text(PROTOCOL + "\n# another\n")
    assert score_key(dataset, list(dataset), here / "results", (chosen,)) != key


@pytest.mark.parametrize("group", ["tracker", "protocol", "figure"])
def test_lists_name_what_there_is_and_where_it_is_from(here, capfd, group):
    write_plugin(here / "own.py", TRACKER + PROTOCOL)
    assert run_command([group, "list", "--plugin", "own.py"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "about", "source"]
    assert any(re.search(rf"own\.py 1\.2 \({re.escape(str(here))}/own\.py\)$", line) for line in lines)
    assert any(re.search(r"mosam \(\w+\.py\)$", line) for line in lines)


def test_every_info_has_a_meaning_for_every_option(capfd):
    from mosam.policies.base import POLICIES
    from mosam.system.describe import fields_of

    for name in POLICIES:
        assert run_command(["tracker", "info", name]) == 0
        for field in fields_of(POLICIES[name].Config):
            assert field.meaning, (name, field.name)
            assert field.range or field.kind not in ("number", "whole number"), (name, field.name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tracker list --plugin nope.py", "--plugin nope.py: expected a Python file, got: No such file"),
        ("score toy --results x --plugin bad.py", "bad.py:1: ZeroDivisionError: division by zero"),
        ("table --plugin empty.py x", "--plugin empty.py: expected it to register something"),
        ("data list --plugin twice.py", "tracker 'samurai' is registered twice, by "),
    ],
)
def test_what_is_wrong_with_a_plugin_is_one_line(here, capfd, words, message):
    write_plugin(here / "bad.py", "1 / 0\n")
    write_plugin(here / "empty.py", "x = 1\n")
    write_plugin(here / "twice.py", TRACKER.replace('"mine"', '"samurai"'))
    assert message in fails(capfd, *words.split())


def test_the_environment_is_as_good_as_the_option(here, capfd, monkeypatch):
    write_plugin(here / "bad.py", "1 / 0\n")
    monkeypatch.setenv(plugins.VARIABLE, "bad.py")
    assert fails(capfd, "data", "list").startswith("MOSAM_PLUGINS bad.py: ")


def test_results_never_make_anything_load(here, capfd):
    write_plugin(here / "evil_for_test.py", HOSTILE)
    assert run_command(["run", "toy", "--tracker", "sam2[memory=off]", "--limit", "1", *TINY]) == 0
    assert run_command(["score", "toy", "--results", "results"]) == 0
    [folder] = (path.parent for path in here.glob("results/toy/*/run.json"))
    (folder / "run.json.bak").unlink(missing_ok=True)
    evil = "evil_for_test:Thing"
    record = json.loads((folder / "run.json").read_text())
    record |= {"tracker": evil, "plugins": {str(here / "evil_for_test.py"): {"version": "1", "sha256": "0"}}}
    record["policy"] = {"sparse": evil, "dense": evil}
    scores = json.loads((folder / "scores.json").read_text())
    for one in scores if isinstance(scores, list) else [scores]:
        one["tracker"] = evil
    for dataset, protocol in (("toy", "toy"), (evil, "toy"), ("toy", evil), (evil, evil)):
        (folder / "run.json").write_text(json.dumps({**record, "dataset": dataset}))
        texts = [
            {**one, "dataset": dataset, "protocol": protocol}
            for one in (scores if isinstance(scores, list) else [scores])
        ]
        (folder / "scores.json").write_text(json.dumps(texts if isinstance(scores, list) else texts[0]))
        for words in (
            "score toy --results results",
            f"table {folder}/scores.json",
            "plot all results --out plots",
            "report results --out page.html",
            "doctor",
            "run toy --tracker sam2[memory=off] --limit 1",
        ):
            run_command(words.split())
        (folder / "scores.json").unlink()
        run_command(["report", "results", "--out", "page.html"])
        capfd.readouterr()
    assert not (here / "imported").exists()
    assert "evil_for_test" not in sys.modules
