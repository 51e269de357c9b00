"""`mosam data make`, `pack`, `run` and `submit` on benchmarks of each kind, with a real (untrained) network."""

import itertools
import zipfile
from pathlib import Path

import pytest

from mosam.cli import run_command
from mosam.datasets.base import DATASETS

MODEL = "random:mini"
# One of each result format and each way frames are stored; tests/datasets/test_made_trees.py has all loaders.
CASES = {
    "got10k": "test",
    "ytvos2019": "valid",
    "sav": "train",
}


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


def files(folder):
    """Result files without times and the record."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith("run.json")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if "time" not in path.name}


@pytest.mark.parametrize(("name", "split"), CASES.items())
def test_results_are_the_same_from_folder_zip_and_lmdb(mosam, name, split):
    common = (name, "--split", split)
    assert mosam("data", "make", *common, "--out", "tree", "--frames", "6", "--limit", "1") == (0, "tree\n", "")
    with zipfile.ZipFile("tree.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(Path("tree").rglob("*")):
            archive.write(path)
    code, out, err = mosam("data", "pack", *common, "--root", "tree.zip", "--out", "packed")
    assert (code, out) == (0, "packed\n")
    assert err.startswith("[1/1] ")
    found = {}
    for root in ("tree", "tree.zip", "packed"):
        assert mosam("data", "check", *common, "--root", root)[:2] == (0, "")
        options = ("--tracker", "sam2", "--model", MODEL, "--device", "cpu", "--results", f"from-{root}")
        code, out, err = mosam("run", *common, "--root", root, *options)
        assert code == 0, err
        found[root] = files(out.strip())
    assert found["tree"]
    assert found["tree.zip"] == found["tree"]
    assert found["packed"] == found["tree"]


def test_a_split_without_truth_is_run_and_submitted(mosam):
    mosam("data", "make", "mose", "--out", "tree", "--frames", "6", "--limit", "1")
    run = ("mose", "--root", "tree", "--tracker", "sam2", "--model", MODEL, "--device", "cpu")
    code, out, err = mosam("eval", *run)
    assert (code, out) == (0, "")
    assert "mose valid has no published ground truth to score with; see mosam submit" in err
    code, out, err = mosam("submit", "mose", "--root", "tree", "--results", "results", "--out", "out.zip")
    assert (code, out) == (0, "out.zip\n")
    assert "mose valid: 1 sequences, 6 files; 1 of 311 official sequences, which the server will not take" in err
    next(Path("results").rglob("00003.png")).unlink()
    code, out, err = mosam("submit", "mose", "--root", "tree", "--results", "results", "--out", "again.zip")
    assert (code, out) == (2, "")
    assert "got 1 faults: toy00000 lacks toy00000/00003.png" in err
    assert not Path("again.zip").exists()


def test_the_split_with_a_server_is_submitted_unless_another_is_named(mosam):
    mosam("data", "make", "got10k", "--split", "test", "--out", "tree", "--frames", "6", "--limit", "1")
    code, _, err = mosam("submit", "got10k", "--root", "tree", "--results", ".", "--out", "x.zip")
    assert code == 2
    assert "expected results of got10k test" in err


def test_list_says_where_each_benchmark_comes_from(mosam):
    code, out, _ = mosam("data", "list")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100
    for name in DATASETS:
        info = DATASETS[name].info
        lines = out.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith(f"{name} "))
        about = " ".join(line.strip() for line in itertools.takewhile(lambda line: line[0] == " ", lines[start + 1 :]))
        assert info.default_split in lines[start]
        assert lines[start].endswith(info.obtain.how if info.obtain else "-")
        for text in (info.title, info.license, info.source):
            assert text in about


def test_toy_is_written_whole_in_the_layout_of_another(mosam):
    assert mosam("data", "make", "toy", "--layout", "lasot", "--limit", "1", "--out", "tree")[0] == 0
    assert mosam("data", "check", "lasot", "--root", "tree")[0] == 0
