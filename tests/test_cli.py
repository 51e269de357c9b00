"""The command as a user has it: exit codes, one-line errors, what goes where, and resuming after a kill."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import LENGTHS, SquareDataset, SquareVideo

from mosam.cli import run_command
from mosam.commands.progress import count
from mosam.datasets.base import DATASETS
from mosam.errors import DataError
from mosam.results.record import read_record

TESTS = Path(__file__).parent
MODEL = "random:mini"


@pytest.fixture
def squares(monkeypatch):
    """The squares as a benchmark the command knows."""
    list(DATASETS)  # scanned before the name is added
    monkeypatch.setitem(DATASETS._items, "squares", SquareDataset)


@pytest.fixture
def mosam(capfd, monkeypatch, tmp_path):
    """`mosam("run", ...)` gives exit code, standard output and standard error; results go to a temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOSAM_DATA", raising=False)

    def call(*words):
        capfd.readouterr()
        code = run_command(list(words))
        return code, *capfd.readouterr()

    return call


RUN = ("run", "squares", "--tracker", "sam2", "--model", MODEL, "--device", "cpu")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("evall", "No such command 'evall'"),
        ("run toy --trackr sam2", "--trackr"),
        ("run toy --limit 0", "'--limit'"),
        ("run toy --limit x", "'--limit'"),
        ("run toyy", "unknown dataset 'toyy'; did you mean toy? (known: "),
        ("run toy --tracker samm2", "unknown tracker 'samm2'; did you mean sam2?"),
        ("run toy --tracker sam2[strid=3]", "unknown option 'strid'; did you mean stride? (known: memory, stride)"),
        ("run toy --tracker sam2[stride=x]", "sam2[stride]: expected a"),
        ("run toy --tracker sam2[stride=0]", "stride: expected 1..100, got 0"),
        ("run toy --tracker sam2,sam2", "--tracker: expected different trackers, got sam2 twice"),
        ("run toy --tracker ,", "--tracker: expected at least one name"),
        ("run toy --split vall", "toy: unknown split 'vall'; did you mean val?"),
        ("run toy --prompt point", "unknown prompt 'point'"),
        ("run toy --sequences scale-9", "unknown sequence 'scale-9'; did you mean scale-"),
        ("run toy --sequences ,", "--sequences: expected at least one name"),
        ("run toy --model tinyy", "unknown model 'tinyy'; did you mean tiny?"),
        ("run toy --model nowhere/model.pt", "nowhere/model.pt: expected a checkpoint file"),
        ("run toy --model random:mini --precision fp8", "unknown precision 'fp8'"),
        ("run toy --model random:mini --device tpu", "unknown device 'tpu'"),
        ("run toy --absent-as never", "--absent-as: expected one of zeros, last, nan, minus_one, got 'never'"),
        ("run toy --box-from-mask both", "--box-from-mask: expected one of exclusive, inclusive, got 'both'"),
        ("run toy --settings best", "--settings: expected common or published, got 'best'"),
        ("run davis", "davis2017: no folder given; pass --root or set MOSAM_DATA"),
        ("score toy", "--results"),
        ("score toy --results nowhere", "nowhere: expected a folder of results, found nothing"),
        ("score toyy --results .", "did you mean toy?"),
        ("table nowhere.json", "nowhere.json: expected a scores file, found none"),
        ("data check lasot", "lasot: no folder given"),
        ("data make toy --out x --layout davos", "unknown layout 'davos'"),
        ("data make davis2071 --out x", "unknown dataset 'davis2071'; did you mean davis2017"),
        ("data pack lasot --out x", "lasot: no folder given"),
        ("data pack toy --out x", "toy: expected a benchmark on disk to pack, got a generated one"),
        ("submit lasot --results x --out y", "lasot: no folder given"),
        ("run toy --decoder jpg", "unknown decoder 'jpg'"),
        ("model info tinyy", "did you mean tiny?"),
    ],
)
def test_wrong_calls_are_one_line(mosam, words, text):
    code, out, err = mosam(*words.split())
    assert code == 2
    assert text in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(Path.cwd().iterdir()) == []  # nothing was begun


def test_wrong_root_shows_the_expected_tree(mosam, tmp_path):
    code, _, err = mosam("run", "lasot", "--root", str(tmp_path), "--model", MODEL)
    assert code == 2
    assert "expected LaSOT" in err
    assert "groundtruth.txt" in err


def test_data_variable_is_where_benchmarks_lie(mosam, monkeypatch, tmp_path):
    monkeypatch.setenv("MOSAM_DATA", str(tmp_path))
    assert f"{tmp_path}/lasot: expected the LaSOT folder" in mosam("run", "lasot", "--model", MODEL)[2]


def test_version_and_help(mosam):
    assert mosam("--version")[1].startswith("mosam ")
    code, out, _ = mosam("--help")
    assert code == 0
    for command in ("eval", "run", "score", "table", "data", "model"):
        assert f"\n  {command} " in out


def test_help_is_quick_and_loads_nothing_heavy():
    code = "import sys; from mosam.cli import run_command; run_command(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_lists(mosam):
    out = mosam("data", "list")[1]
    assert "davis2017" in out
    assert "val 30" in out
    assert "base-plus" in mosam("model", "list")[1]
    out = mosam("model", "info", MODEL)[1]
    assert "random: True" in out


def test_run_writes_and_says_what_it_did(mosam, squares):
    code, out, err = mosam(*RUN)
    assert code == 0
    assert out == "results/squares/sam2-random-mini\n"
    lines = err.splitlines()
    assert lines[0] == "sam2 with random:mini on squares val -> results/squares/sam2-random-mini"
    assert [line.split(":")[0] for line in lines[1:]] == ["[1/3] apple", "[2/3] bird", "[3/3] car"]
    assert read_record("results/squares/sam2-random-mini").done == ["apple", "bird", "car"]
    code, _, err = mosam(*RUN)
    assert code == 0
    assert err.splitlines()[1:] == ["3 sequences done before and intact"]


def test_settings_that_are_not_the_usual_have_their_own_folder(mosam, squares):
    words = (*RUN, "--limit", "1", "--split", "test", "--prompt", "box", "--seed", "2", "--settings", "published")
    code, out, err = mosam(*words)
    assert code == 0, err
    assert out == "results/squares/sam2-random-mini@test@box@published@seed2\n"
    assert read_record(out.strip()).settings.precision == "bfloat16"


def test_other_settings_in_the_same_folder_are_refused(mosam, squares):
    mosam(*RUN, "--limit", "1")
    code, _, err = mosam(*RUN, "--absent-as", "last")
    assert code == 2
    assert "output.absent_as: zeros -> last" in err.splitlines()[-1]
    assert mosam(*RUN, "--limit", "1", "--absent-as", "last", "--overwrite")[0] == 0


def test_failed_sequence_is_named_and_exit_code_is_1(mosam, squares, monkeypatch):
    plain = SquareVideo.read

    def read(self, index):
        if self.name == "bird" and index == 2:
            raise DataError("bird/00002.jpg", "expected a whole picture, got half of one")
        return plain(self, index)

    monkeypatch.setattr(SquareVideo, "read", read)
    code, out, err = mosam("eval", *RUN[1:])
    assert code == 1
    assert "[2/3] bird: failed: bird/00002.jpg: expected a whole picture, got half of one" in err
    assert "results/squares/sam2-random-mini: not scored, 1 sequences failed" in err
    code, out, err = mosam("eval", *RUN[1:], "--allow-missing", "--jobs", "1")
    assert code == 1
    assert "sam2" in out
    monkeypatch.undo()


def test_eval_then_score_then_table(mosam, squares, tmp_path):
    trackers = ("--tracker", "sam2,sam2[stride=2]")
    words = ("eval", "squares", *trackers, "--model", MODEL, "--device", "cpu", "--jobs", "1", "--json", "out/all.json")
    code, out, err = mosam(*words)
    assert code == 0, err
    assert "sam2[stride=2]" in out
    assert "random:mini" in out
    saved = json.loads(Path("out/all.json").read_text())
    assert [item["tracker"] for item in saved] == ["sam2", "sam2[stride=2]"]
    assert set(saved[0]["sequences"]) == set(LENGTHS)
    assert (
        json.loads(Path("results/squares/sam2-random-mini/scores.json").read_text())["overall"] == saved[0]["overall"]
    )

    code, scored, err = mosam("score", "squares", "--results", "results", "--jobs", "1", "--json", "score.json")
    assert (code, scored) == (0, out)
    assert json.loads(Path("score.json").read_text()) == saved
    code, one, _ = mosam(
        "score", "squares", "--results", "results/squares", "--tracker", "sam2[stride=2]", "--jobs", "1"
    )
    assert code == 0
    assert "sam2[stride=2]" in one
    assert len(one.splitlines()) < len(out.splitlines())
    assert "did you mean sam2" in mosam("score", "squares", "--results", "results", "--tracker", "sam3")[2]

    table = mosam("table", "out/all.json", "--mark")[1]  # in the order of the file
    assert sorted(table.splitlines()) == sorted(out.splitlines())
    runs = ("results/squares/sam2-random-mini", "results/squares/sam2-stride=2-random-mini")
    assert mosam("table", *runs, "--mark")[1] == table
    markdown = mosam("table", "out/all.json", "--format", "markdown", "--columns", "success_auc")[1]
    assert "| sam2[stride=2] | random:mini |" in markdown


SCORED = """
import sys, fakes
from mosam.cli import run_command
from mosam.datasets.base import DATASETS

list(DATASETS)
DATASETS.register("squares")(fakes.SquareDataset)
code = run_command(["score", "squares", "--results", "results", "--jobs", "1"])
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""


def test_scoring_loads_no_torch(mosam, squares):
    mosam(*RUN, "--limit", "1")
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-c", SCORED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sam2" in done.stdout


def test_foreign_results_are_scored_and_not_written_to(mosam, squares, tmp_path):
    folder = tmp_path / "theirs" / "KCF"
    folder.mkdir(parents=True)
    for name, sequence in SquareDataset(None).items():
        np.savetxt(folder / f"{name}.txt", sequence.truth.boxes, delimiter=",")
    code, _, err = mosam("score", "squares", "--results", "theirs", "--jobs", "1", "--json", "s.json")
    assert code == 0, err
    assert json.loads(Path("s.json").read_text())[0]["overall"]["success_auc"] > 0.94
    assert sorted(p.name for p in folder.iterdir()) == [f"{n}.txt" for n in LENGTHS]


def test_made_tree_passes_its_check(mosam, tmp_path):
    assert mosam("data", "make", "lasot", "--out", "tree", "--limit", "1")[0] == 0
    code, out, err = mosam("data", "check", "lasot", "--root", "tree")
    assert (code, out) == (0, "")
    assert "sound" in err
    next(Path("tree").rglob("00000003.jpg")).write_bytes(b"\xff\xd8 not a picture")
    code, out, err = mosam("data", "check", "lasot", "--root", "tree")
    assert code == 2
    assert "00000003.jpg" in out
    assert out.count("\n") == 1
    assert mosam("data", "make", "lasot", "--out", "tree")[0] == 2


def test_interrupt_is_one_line_and_130(mosam, squares, monkeypatch):
    plain = SquareVideo.read

    def read(self, index):
        if self.name == "bird":
            raise KeyboardInterrupt
        return plain(self, index)

    monkeypatch.setattr(SquareVideo, "read", read)
    code, _, err = mosam(*RUN)
    assert code == 130
    assert err.splitlines()[-1] == "interrupted; finished sequences are kept, the same command goes on from there"
    assert read_record("results/squares/sam2-random-mini").done == ["apple"]


def test_reader_that_stops_early_sees_no_traceback():
    code = "import sys; from mosam.cli import run_command; sys.exit(run_command(['data', 'list']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""


class ManySquares(SquareDataset):
    """Eight short videos, written as masks and boxes."""

    info = dataclasses.replace(SquareDataset.info, result_format="toy")
    name = "many"

    def list_names(self):
        return [f"square-{n}" for n in range(8)]

    def load(self, name):
        return self.make(SquareVideo(name, 3))


MANY = ("run", "many", "--tracker", "sam2", "--model", MODEL, "--device", "cpu", "--precision", "fp32", "--results")
KILLED = """
import sys
from mosam.datasets.base import DATASETS
from test_cli import MANY, ManySquares, run_command

list(DATASETS)
DATASETS.register("many")(ManySquares)
sys.exit(run_command([*MANY, sys.argv[1]]))
"""


def results_of(folder):
    """Bytes of every mask and box file; times differ from run to run."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*/*") if p.is_file() and p.name != "times.txt"}


def test_killed_at_any_moment_then_run_again_gives_the_same_bytes(mosam, monkeypatch):
    list(DATASETS)
    monkeypatch.setitem(DATASETS._items, "many", ManySquares)
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    assert mosam(*MANY, "plain")[0] == 0
    expected = results_of(Path("plain/many/sam2-random-mini"))
    assert len(expected) == 8 * 4

    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, "killed"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert killed.stderr.readline().startswith(b"sam2 with")
    assert killed.stderr.readline().startswith(b"[1/8]")
    time.sleep(random.uniform(0, 0.1))
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    folder = Path("killed/many/sam2-random-mini")
    done = read_record(folder).done
    assert 1 <= len(done) < 8
    for path, data in results_of(folder).items():  # what has its name is whole
        if not path.parts[0].startswith("."):
            assert data == expected[path]

    code, _, told = mosam(*MANY, "killed")
    assert code == 0
    assert f"{count(len(done), 'sequence')} done before and intact" in told
    assert "done again" not in told
    assert results_of(folder) == expected
    assert not list(folder.glob(".*"))


def test_an_unknown_protocol_is_told_before_anything_is_tracked(mosam):
    code, out, error = mosam("eval", "toy", "--model", MODEL, "--protocol", "davis2018")
    assert (code, out) == (2, "")
    assert "unknown protocol 'davis2018'; did you mean davis2017?" in error
    assert not Path("results").exists()


@pytest.mark.parametrize("arguments", [["data", "list"], ["--help"], ["model", "list"], ["no-such-command"]])
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_that_goes_changes_nothing(arguments, both):
    """`mosam ... | head`: no traceback, and the exit code of the command."""
    read, written = os.pipe()
    os.close(read)
    errors = written if both else subprocess.PIPE
    try:
        done = subprocess.run([sys.executable, "-m", "mosam", *arguments], stdout=written, stderr=errors, timeout=120)
    finally:
        os.close(written)
    assert done.returncode == (2 if arguments == ["no-such-command"] else 0)
    assert both or b"Traceback" not in done.stderr
    assert both or b"BrokenPipe" not in done.stderr
