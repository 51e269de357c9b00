"""`make vot` with the toolkit itself, in its own environment, on sequences made here.

What the toolkit says of the results must be what we say of them, and what it gets from our trackers over TraX must be
what our own runner writes. Without a package index the environment cannot be made, and the tests are skipped.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from vot_environment import make, toolkit_environment

from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.evaluation.evaluate import evaluate
from mosam.regions.files import read_trajectory
from mosam.regions.raster import region_mask
from mosam.vot.toolkit import read_analysis

pytest.importorskip("trax", reason="vot-trax is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRACKERS = ("sam2", "mosam")
INTERVAL = (2, 9)  # lengths of these short sequences that expected average overlap is a mean over
EXPERIMENTS = {
    "multistart": """
    type: multistart
    analyses:
      - {type: multistart_eao_score, low: 2, high: 9}
      - {type: multistart_eao_curve, high: 9}
      - {type: multistart_average_ar}
""",
    "supervised": """
    type: supervised
    repetitions: 15
    skip_initialize: 5
    analyses:
      - {type: supervised_average_ar, sensitivity: 30}
      - {type: supervised_eao_score, low: 2, high: 9}
""",
    "several": """
    type: unsupervised
    repetitions: 1
    multiobject: True
    analyses:
      - {type: average_accuracy, name: Quality, burnin: 0, ignore_unknown: False, weighted: False}
      - {type: longterm_ar}
      - {type: average_quality_auxiliary}
""",
}
CASES = {"multistart": ("vot2022-st", "0.7.4"), "supervised": ("vot2019", "0.7.4"), "several": ("vots2023", "0.7.4")}
MEASURES = {
    "multistart": ("eao", "accuracy", "robustness"),
    "supervised": ("eao", "accuracy", "failures"),
    "several": ("quality", "accuracy", "robustness", "nre", "dre", "adq"),
}


@dataclasses.dataclass
class Made:
    """A workspace that `make vot` has run and analyzed."""

    kind: str
    root: Path
    tree: Path
    environment: Path
    dataset: object
    numbers: dict

    def vot(self, *words):
        command = [self.environment / "bin" / "python", "-m", "vot", *words, "--workspace", self.root]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


def numbers_of(root):
    analysis = json.loads((root / "analysis" / "latest.json").read_text())
    return {tracker: values for _, tracker, values in read_analysis(analysis)}


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory):
    """`workspaces(kind, version)`, each made once."""
    made = {}

    def workspace(kind, version="0.7.4"):
        if (kind, version) not in made:
            name = CASES[kind][0]
            environment = toolkit_environment(version)
            base = tmp_path_factory.mktemp(kind)
            split = "val" if kind == "several" else None
            tree = make_tree(name, base / "tree", split=split, sequences=1, frames=12)
            (base / "made.yaml").write_text(f"title: made\nexperiments:\n  baseline:{EXPERIMENTS[kind]}")
            root = base / "ws"
            done = make(
                *("vot", f"WORKSPACE={root}", f"STACK={base / 'made.yaml'}", f"ROOT={tree}", f"TOOLKIT={version}"),
                *("TRACKER=" + ",".join(TRACKERS), "MODEL=nano"),
            )
            assert done.returncode == 0, done.stderr[-2000:]
            for tracker in TRACKERS:
                assert tracker in done.stdout
            dataset = load_dataset(name, root=tree, split=split)
            made[kind, version] = Made(kind, root, tree, environment, dataset, numbers_of(root))
        return made[kind, version]

    return workspace


@pytest.mark.parametrize(("kind", "version"), [*((k, v) for k, (_, v) in CASES.items()), ("several", "0.9.0")])
def test_the_toolkits_numbers_are_ours(workspaces, monkeypatch, kind, version):
    made = workspaces(kind, version)
    monkeypatch.setattr(made.dataset, "eao_interval", INTERVAL)
    assert set(made.numbers) == set(TRACKERS)
    for tracker in TRACKERS:
        ours = evaluate(made.root / "results" / tracker, made.dataset, jobs=1).overall
        for measure in MEASURES[kind]:
            if measure in made.numbers[tracker]:
                assert ours[measure] == pytest.approx(made.numbers[tracker][measure], abs=1e-9, nan_ok=True), measure
        assert set(MEASURES[kind]) & set(made.numbers[tracker])


@pytest.mark.parametrize("kind", CASES)
def test_our_runner_writes_what_the_toolkit_gets_from_our_trackers(workspaces, tmp_path, kind):
    from mosam import load_model, load_policy, run

    made = workspaces(kind)
    model = load_model("nano", device="cpu")
    for tracker in TRACKERS:
        ours = run(made.dataset, model, load_policy(tracker), out=tmp_path / tracker, max_lanes=1)
        assert not ours.failed
        files = [path for path in (ours.path / "baseline").rglob("*") if path.suffix in (".txt", ".bin")]
        assert files
        for path in files:
            theirs = made.root / "results" / tracker / path.relative_to(ours.path).with_suffix(".bin")
            assert nearly_equal(read_trajectory(theirs), read_trajectory(path), pixels=12 * (kind == "several")), (
                path.name
            )


def test_what_the_toolkit_gets_in_folders_is_what_it_gets_over_trax(tmp_path, monkeypatch):
    """Of three objects, of which one comes late; in folders, our side needs no vot-trax."""
    from mosam.cli import run_command

    environment = toolkit_environment("0.9.0")
    tree = make_tree("vots2023", tmp_path / "tree", split="val", sequences=2, frames=12)
    late = tree / "toy1" / "groundtruth_2.txt"
    late.write_text("".join(["0\n"] * 4 + late.read_text().splitlines(keepends=True)[4:]))
    (tmp_path / "made.yaml").write_text(f"title: made\nexperiments:\n  baseline:{EXPERIMENTS['several']}")
    given = ["--root", str(tree), "--stack", str(tmp_path / "made.yaml"), "--model", "nano", "--tracker", "sam2"]
    for protocol in ("trax", "folder"):
        if protocol == "folder":
            monkeypatch.setitem(sys.modules, "trax", None)
        root = str(tmp_path / protocol)
        assert run_command(["vot", "init", root, *given, "--sequences", "toy1", "--protocol", protocol]) == 0
        assert run_command(["vot", "evaluate", root, "--toolkit", str(environment)]) == 0
    assert numbers_of(tmp_path / "folder") == numbers_of(tmp_path / "trax")
    files = sorted((tmp_path / "folder" / "results").rglob("*.bin"))
    assert [path.name for path in files] == [f"toy1_{number}_001.bin" for number in (1, 2, 3)]
    for path in files:
        assert path.read_bytes() == (tmp_path / "trax" / path.relative_to(tmp_path / "folder")).read_bytes()


def test_the_main_stack_of_vots2026_runs(tmp_path):
    """Its own stack has no analysis: results are sent in."""
    toolkit_environment("0.9.0")
    tree = make_tree("vots2026", tmp_path / "tree", sequences=1, frames=6)
    done = make(
        *("vot", f"WORKSPACE={tmp_path / 'ws'}", "STACK=vots2026/main", f"ROOT={tree}", "TRACKER=sam2", "MODEL=nano"),
        "ARGS=--protocol folder",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = list((tmp_path / "ws" / "results" / "sam2" / "baseline").rglob("*.bin"))
    assert len(files) == len(load_dataset("vots2026", root=tree)["toy0"].object_ids)


def test_a_tracker_that_fails_in_a_folder_says_why(workspaces, tmp_path):
    made = workspaces("several", "0.9.0")
    shutil.copytree(made.tree, tmp_path / "tree")
    for path in (tmp_path / "tree").rglob("00000005.jpg"):
        path.write_bytes(b"no picture")
    stack = str(made.root / "stack.yaml")
    command = [sys.executable, "-m", "mosam", "vot"]
    given = ["--root", str(tmp_path / "tree"), "--stack", stack, "--model", "nano", "--tracker", "sam2"]
    subprocess.run([*command, "init", str(tmp_path / "ws"), *given, "--protocol", "folder"], check=True)
    command += ["evaluate", str(tmp_path / "ws"), "--toolkit", made.environment]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "00000005.jpg" in done.stderr.strip().splitlines()[-1]


def nearly_equal(a, b, *, pixels):
    """Objects of one sequence share a batch, in which rounding depends on their number: measured 6 pixels of 469."""
    if not pixels or len(a) != len(b):
        return a == b
    pairs = ((region_mask(a, k, (360, 360)), region_mask(b, k, (360, 360))) for k in range(1, len(a)))
    return a[0] == b[0] and all((x ^ y).sum() <= pixels for x, y in pairs)


def test_the_toolkit_analyzes_what_our_runner_wrote(workspaces, tmp_path):
    from mosam import load_model, load_policy, run
    from mosam.cli import run_command

    made = workspaces("multistart")
    run(made.dataset, load_model("nano", device="cpu"), load_policy("sam2"), out=tmp_path / "runs" / "ours")
    given = ["--root", str(made.tree), "--stack", str(made.root / "stack.yaml"), "--model", "nano", "--tracker", "sam2"]
    assert run_command(["vot", "init", str(tmp_path / "ws"), *given, "--results", str(tmp_path / "runs")]) == 0
    toolkit = ["--toolkit", str(made.environment), "--only-analysis", "--tracker", "ours"]
    assert run_command(["vot", "evaluate", str(tmp_path / "ws"), *toolkit]) == 0
    assert numbers_of(tmp_path / "ws")["ours"] == pytest.approx(made.numbers["sam2"], abs=1e-9)


def test_reports_and_packages_are_made(workspaces):
    made = workspaces("multistart")
    made.vot("report", "--name", "made", *TRACKERS)
    assert list((made.root / "reports").rglob("report.html"))
    made.vot("pack", "sam2")
    (package,) = made.root.glob("sam2_*.zip")
    names = zipfile.ZipFile(package).namelist()
    assert "manifest.yml" in names
    assert sum(name.endswith(".bin") for name in names) == 2


def test_a_tracker_that_fails_is_one_line(workspaces, tmp_path):
    from mosam.cli import run_command

    made = workspaces("multistart")
    shutil.copytree(made.tree, tmp_path / "tree")
    for path in (tmp_path / "tree").rglob("00000005.jpg"):
        path.write_bytes(b"no picture")
    stack = str(made.root / "stack.yaml")
    given = ["--root", str(tmp_path / "tree"), "--stack", stack, "--model", "nano", "--tracker", "sam2"]
    assert run_command(["vot", "init", str(tmp_path / "ws"), *given]) == 0
    command = [sys.executable, "-m", "mosam", "vot", "evaluate", str(tmp_path / "ws"), "--toolkit", made.environment]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "00000005.jpg" in done.stderr.strip().splitlines()[-1]
