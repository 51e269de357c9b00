"""Published tables: every number has its place, and each gets the verdict it deserves."""

import csv
import io
import json
import math
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mosam.cli import run_command
from mosam.commands.paper.cells import Cell, compare, load_table
from mosam.commands.paper.numbers import FRACTIONS, NUMBERS, Published, load_numbers, published_folder, table_names
from mosam.commands.paper.tables import paper_table
from mosam.datasets.base import DATASETS
from mosam.errors import DataError, UnknownNameError
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import render
from mosam.policies.base import load_policy, parse_tracker

PROJECT = Path(__file__).resolve().parents[2]
TABLES = {name: load_table(name) for name in table_names()}
MODEL = "random:mini"


def number(value="77.5", metric="J&F", **more):
    fields = {"slip": False, "implied": None, "doubtful": False, "source": "s", "access": "primary", "note": "", **more}
    return Published("SAM2.1", "T", "SA-V", "val", metric, value, **fields)


def scores(value, name="jf_mean", **more):
    sequences = {f"s{i}": {name: value + d} for i, d in enumerate((-0.1, 0.1, 0.0))}
    return Scores("sav", "val", "sam2", "tiny", "sav", {name: value}, sequences, **more)


def test_every_number_is_in_exactly_one_table():
    placed = Counter(id(cell.published) for table in TABLES.values() for cell in table.cells)
    assert len(load_numbers()) == 1032
    assert [one for one in load_numbers() if placed[id(one)] != 1] == []


def test_the_flagged_slips_are_those_that_the_numbers_show():
    """J&F is the mean of J and F wherever the three are printed, to their rounding, but where a slip is flagged."""
    triples = {}
    for one in load_numbers():
        if one.metric in ("J&F", "J", "F"):
            source = one.source.replace("v1 ", "").partition(" (")[0].removeprefix("Mark12Ding/SAM2Long README, ")
            source = "arXiv:2410.16268 Table 1" if source.startswith("SAM 2") else source
            triples.setdefault((one.method, one.size, one.place, source), {})[one.metric] = one
    whole = [found for found in triples.values() if len(found) == 3]
    assert len(whole) > 50
    wrong = [
        found
        for found in whole
        if abs((float(found["J"].value) + float(found["F"].value)) / 2 - float(found["J&F"].value)) > 0.2
    ]
    assert [found["F"].value for found in wrong] == ["86.3"]
    assert wrong[0]["F"].slip
    assert wrong[0]["F"].implied == 83.6


@pytest.mark.parametrize("name", TABLES)
def test_tables_name_what_there_is(name):
    table = TABLES[name]
    assert table.cells
    for one in table.study.experiments:
        if not one.unsupported:
            assert (one.split or "") in DATASETS[one.dataset].info.splits
    for row in table.study.experiments[0].rows:
        if not row.unsupported:
            name, values = parse_tracker(row.tracker)
            load_policy(name, **values)


@pytest.mark.parametrize(
    ("published", "ours", "verdict"),
    [
        (number(), 0.775, "reproduced"),
        (number(), 0.7785, "reproduced"),  # 0.3 points and the rounding of the last digit
        (number(), 0.7786, "differs"),
        (number(), 0.70, "differs"),
        (number(), math.nan, "not compared: undefined"),
        (number("86.3", slip=True, implied=83.6), 0.836, "reproduced as implied"),
        (number("86.3", slip=True, implied=83.6), 0.863, "reproduced"),
        (number("0.694", "Quality"), 0.6975, "reproduced"),
        (number("0.694", "Quality"), 0.69, "differs"),
        (number("0.680", "Quality"), 0.6835, "reproduced"),
        (number("0.680", "Quality"), 0.6836, "differs"),  # a lost zero would accept it, and 0.6875 too
        (number("66.70"), 0.67005, "reproduced"),
        (number("66.70"), 0.6701, "differs"),
        (number("70.0", doubtful=True), 0.70, "not compared: doubtful number"),
    ],
)
def test_verdicts(published, ours, verdict):
    name = {"J&F": "jf_mean", "Quality": "quality"}[published.metric]
    cell = compare(Cell("SAM 2.1", published, "tiny"), scores(ours, name), {published.metric: name})
    assert cell.verdict == verdict
    if not math.isnan(ours):
        assert cell.low < cell.ours < cell.high
        scale = 100 if published.unit == "%" else 1
        assert cell.difference == pytest.approx(ours * scale - float(published.value))


def test_trials_and_subsets_are_never_compared():
    cell, metrics = Cell("SAM 2.1", number(), "tiny"), {"J&F": "jf_mean"}
    part = scores(0.775, official="2 of 155 official sequences")
    assert compare(cell, part, metrics).verdict == "not compared: 2 of 155 sequences"
    trial = compare(replace(cell, model="nano"), scores(0.775), metrics, stands_in=True)
    assert trial.verdict == "not compared: model nano"


def test_a_number_that_is_no_mean_over_sequences_has_no_interval():
    uneven = replace(scores(0.5), overall={"jf_mean": 0.9})
    cell = compare(Cell("SAM 2.1", number(), "tiny"), uneven, {"J&F": "jf_mean"})
    assert math.isnan(cell.low)
    line = paper_table(replace(TABLES["mosam-sizes"], cells=(cell,))).rows[0]
    assert line[5:9] == ("77.5", "90.0", "+12.5", "-")


def test_slips_are_shown_as_such():
    assert "* slip in the published table: as printed (+6.5)" in render(paper_table(TABLES["mosam-sizes"]))
    rows = render(paper_table(TABLES["mosam-sizes"]), "markdown").splitlines()
    assert sum(line.startswith("| MoSAM \\*") for line in rows) == 3


def find(**wanted):
    """The only number with these fields."""
    [found] = [one for one in load_numbers() if all(getattr(one, name) == wanted[name] for name in wanted)]
    return found


def test_every_number_has_the_digits_of_its_table():
    """All numbers of one column of a table are printed with as many digits, so that none lost a zero."""
    digits = {}
    for one in load_numbers():
        digits.setdefault((one.source, one.metric), set()).add(len(one.value.partition(".")[2]))
    assert {key: found for key, found in digits.items() if len(found) > 1} == {}
    assert all(digits[key] == {3} for key in digits if key[1] in FRACTIONS)
    assert digits["arXiv:2411.11922 Table 5", "AUC"] == {2}
    assert find(method="DAM4SAM ablation DRM1", metric="Accuracy").value == "0.710"


def test_nothing_is_from_memory_and_what_is_doubtful_says_why():
    assert {one.access for one in load_numbers()} == {"primary", "primary-picture", "transcription", "secondary"}
    doubtful = Counter(one.source for one in load_numbers() if one.doubtful)
    assert all(one.note for one in load_numbers() if one.doubtful or one.slip)
    assert doubtful["arXiv:2410.16268 Table 5"] == 6, "weights of 2.0 or 2.1 are not stated"
    assert doubtful["MOSEv2 paper, Table 4 (mask start)"] == 10
    trackbench = "arXiv:2512.22624 Table 1 (HamadYA/SAM3_Tracking_Zoo branch v1, picture assets/table1.png)"
    assert doubtful[trackbench] == 36, "twelve groups of three numbers are out of line"
    assert sum(doubtful.values()) == 62


def test_slips_beside_those_of_j_and_f():
    gains = [one.value for one in load_numbers() if one.slip and "gain printed" in one.note]
    assert gains == ["80.2", "85.3", "82.4", "65.60", "78.69"]
    later = find(source="arXiv:2410.16268 later version, Table 1")
    assert (later.value, later.slip, later.implied) == ("85.4", True, 85.2)
    base = find(method="SAM2.1", source="arXiv:2411.11922 Table 3 (ablation)", metric="AUC")
    assert (base.value, base.implied) == ("68.32", 68.54)
    for place, value in (("VOT2020", "0.723"), ("VOT2022", "0.750")):
        own = find(method="DAM4SAM", dataset=place, metric="Q")
        assert (own.value, own.slip, own.implied) == (value, False, None), "SENTRY's own run, no slip"


def test_numbers_of_sam_2_0_are_run_with_its_weights():
    for name in ("sam2-checkpoints-2.0", "sam2long-sizes-2.0", "sam2long-speed"):
        assert all(cell.model.startswith("sam2.0-") for cell in TABLES[name].cells)
    lvos = {cell.published.method: cell.model for cell in TABLES["sam2long-lvos"].cells}
    assert lvos == {"SAM2.1": "large", "SAM2Long": "large", "SAM2": "sam2.0-large",
                    "SAM2Long (SAM 2 weights)": "sam2.0-large"}  # fmt: skip


def test_a_number_of_a_network_of_one_size_is_run_with_that():
    models = {cell.label: cell.model for cell in TABLES["trackbench"].cells if cell.published.size == "-"}
    assert models == {"SAM 3": "sam3", "SAMURAI, SAM 3": "sam3", "SAM2Long, SAM 3": "sam3", "DAM4SAM, SAM 3": "sam3",
                      "HiM2SAM, SAM 3": "sam3", "SAMITE, SAM 3": "-"}  # fmt: skip


def test_a_doubtful_number_is_shown_and_marked():
    table = TABLES["sam2long-boxes"]
    text = render(paper_table(table))
    assert text.count("* doubtful: printed as SAM") == 2, "once for each note"
    rows = render(paper_table(table), "markdown").splitlines()
    assert sum(line.startswith(("| SAM 2.1 \\*", "| SAM2Long \\*")) for line in rows) == 6
    assert "reproduced" not in text


def test_bad_names_and_files(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean mosam-sizes"):
        load_table("mosam-size")
    bad = tmp_path / "published.csv"
    bad.write_text((published_folder() / NUMBERS).read_text().replace(",77.5,", ",much,", 1))
    with pytest.raises(DataError, match=r"published\.csv:2: value: expected a number"):
        load_numbers(bad)


@pytest.fixture
def mosam(capfd, monkeypatch, tmp_path):
    """`mosam("paper", ...)` gives exit code, standard output and standard error, in an empty folder without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*words):
        capfd.readouterr()
        code = run_command(list(words))
        return code, *capfd.readouterr()

    return call


def test_without_data_every_table_says_what_is_missing(mosam, tmp_path):
    code, out, _ = mosam("paper", "--json", "all.json")
    assert code == 0
    assert out.rstrip().endswith("1032 numbers: 1032 not run")
    for name in TABLES:
        assert f"\n{name}: " in f"\n{out}"
    cells = json.loads((tmp_path / "all.json").read_text())
    assert len(cells) == 1032
    assert all(cell["verdict"].startswith("not run: ") and cell["obstacles"] for cell in cells)
    assert "missing data: LVOS v1 valid (50 sequences): get it from https://" in out
    assert "put it at lvos-v1/ in the folder that MOSAM_DATA or --data names" in out
    assert "sam2.1_hiera_base_plus.pt to --checkpoints" in out
    assert "no ground truth: GOT-10k test is scored by its server only: mosam run got10k" in out
    assert "sam2_hiera_large.pt to --checkpoints" in out
    assert "weights edgetam: a run downloads them from the hub (yonigozlan/EdgeTAM-hf)" in out
    assert "weights sam3: a run downloads them from the hub (facebook/sam3); ask for access on" in out
    assert "unsupported: no loader for VOST" in out
    assert not (tmp_path / "results").exists()


def test_a_whole_table_from_made_datasets(mosam, tmp_path):
    for name in ("lasot", "lasot-ext"):
        assert mosam("data", "make", name, "--out", f"data/{name}", "--frames", "6")[0] == 0
    words = ("paper", "samurai-baseline", "--data", "data", "--device", "cpu", "--precision", "fp32")
    words += ("--format", "csv", "--jobs", "1")
    code, out, err = mosam(*words, "--no-run")
    assert code == 0
    assert "not run: no results" in out
    code, out, err = mosam(*words, "--model", MODEL)
    assert code == 0, err
    lines = list(csv.DictReader(io.StringIO(out.partition("\n\n")[0])))
    assert len(lines) == 48
    for line in lines:
        assert line[list(line)[9]].strip() == f"not compared: model {MODEL}"
        assert float(line["Difference"]) == pytest.approx(float(line["Ours"]) - float(line["Published"]), abs=0.011)
    runs = sorted(path.parent.name for path in (tmp_path / "results").glob("*/*/scores.json"))
    assert runs == sorted(2 * ["sam2-random-mini@published", "samurai-random-mini@published"])

    # results are there: frames, then everything but the scores, may go
    for pictures in (tmp_path / "data").rglob("img"):
        shutil.rmtree(pictures)
    assert mosam(*words, "--model", MODEL)[1] == out
    shutil.rmtree(tmp_path / "data")
    assert mosam(*words, "--model", MODEL)[1] == out
    shutil.rmtree(tmp_path / "results")
    code, out, _ = mosam(*words, "--model", MODEL)
    assert code == 0
    assert "not run: dataset missing" in out


def test_a_limit_is_not_compared_and_a_failure_is_no_verdict(mosam, tmp_path):
    assert mosam("data", "make", "lasot", "--out", "data/lasot", "--frames", "6")[0] == 0
    words = ("paper", "samurai-others", "samurai-ablation", "--data", "data", "--device", "cpu")
    words += ("--precision", "fp32", "--jobs", "1")
    code, out, _ = mosam(*words, "--model", "random:mini", "--limit", "1", "--format", "markdown")
    assert code == 0
    assert out.count("not compared: model random:mini") == 15, "five rows of three numbers"
    for picture in (tmp_path / "data").rglob("00000003.jpg"):
        picture.write_bytes(b"no picture")
    shutil.rmtree(tmp_path / "results")
    code, out, _ = mosam(*words, "--model", "random:mini")
    assert code == 1
    assert "not run: failed" in out
    assert "sequences failed" in out


def test_list(mosam):
    code, out, _ = mosam("paper", "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(TABLES)


@pytest.mark.slow
def test_tables_and_numbers_are_in_the_wheel(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, PROJECT]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no wheel can be built here: {done.stderr.strip().splitlines()[-1]}")
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"mosam/commands/published/{name}.toml" for name in TABLES} | {
        "mosam/commands/published/published.csv"
    } <= names
    assert {f"mosam/commands/page/page.{ending}" for ending in ("css", "js")} <= names
    templates = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "mosam").rglob("*.jinja")}
    assert templates
    assert templates <= names
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    start = "import sys; sys.path.insert(0, 'installed'); import mosam.cli; print(mosam.cli.__file__); "
    code = f"{start}mosam.cli.run_command(['paper', 'samurai-sizes'])"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith(str(tmp_path / "installed"))
    assert "36 numbers: 36 not run" in done.stdout
