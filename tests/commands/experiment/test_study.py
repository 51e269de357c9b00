import textwrap

import numpy as np
import pytest

from mosam.cli import run_command
from mosam.commands.experiment.study import (
    Experiment,
    Row,
    RowScores,
    Study,
    draw_figures,
    load_study,
    pooled_scores,
    run_experiment,
)
from mosam.commands.experiment.tables import experiment_table
from mosam.errors import DataError, MissingDataError, MosamError
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import render
from mosam.tracking.plan import RunOptions

GOOD = """
title = "t"
dataset = "toy"
columns = ["jf_mean", "fps"]
baseline = "a"
seeds = [0, 1]
[groups]
"hard" = ["occlusion"]
[[row]]
label = "a"
tracker = "sam2"
[[row]]
label = "b"
tracker = "mosam[mgp=off]"
"""


def write(tmp_path, text):
    path = tmp_path / "e.toml"
    path.write_text(textwrap.dedent(text))
    return path


def test_load(tmp_path):
    [experiment] = load_study(write(tmp_path, GOOD)).experiments
    assert experiment.rows == (Row("a", "sam2"), Row("b", "mosam[mgp=off]"))
    assert experiment.groups == {"hard": ("occlusion",)}
    assert experiment.seeds == (0, 1)
    assert experiment.main == "jf_mean"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "expected TOML"),
        (GOOD.replace('baseline = "a"', 'baseline = "c"'), "label of a row"),
        (GOOD.replace('label = "b"', 'label = "a"'), "label of its own"),
        (GOOD.replace('title = "t"', 'titel = "t"'), "title: expected text, found no such field"),
        (GOOD.replace("tracker = \"sam2\"", ""), "row 'a': expected a tracker"),
        ('title = "t"\ndataset = "toy"\ncolumns = ["jf_mean"]', "at least one"),
    ],
)  # fmt: skip
def test_bad_files_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_study(write(tmp_path, text))


FOREIGN = GOOD.replace("mosam[mgp=off]", "mosam[mgp=off,sparse=my.points:Points]")


@pytest.mark.parametrize("trust", [(), False, ("my.points:Other",), ("my.points",)])
def test_code_that_a_file_names_is_not_imported_unasked(tmp_path, trust):
    with pytest.raises(
        DataError, match=r"e\.toml: row 'b': would import 'my\.points:Points'.*--import my\.points:Points"
    ):
        load_study(write(tmp_path, FOREIGN), trust=trust)


@pytest.mark.parametrize("trust", [True, ("my.points:Points",), ["x:Y", "my.points:Points"]])
def test_code_that_was_named_or_trusted_may_be_imported(tmp_path, trust):
    [experiment] = load_study(write(tmp_path, FOREIGN), trust=trust).experiments
    assert experiment.rows[1].tracker.endswith("sparse=my.points:Points]")


def test_the_command_imports_nothing_unasked(tmp_path, monkeypatch, capsys):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path, GOOD.replace("mosam[mgp=off]", "mosam[sparse=evil:Points]"))
    words = ["experiment", str(path), "--results", str(tmp_path / "results"), "--limit", "1"]
    assert run_command(words) == 2
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "results").exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_no_file():
    with pytest.raises(MissingDataError, match="nowhere"):
        load_study("nowhere.toml")


def scores(tracker, values, weights=None):
    counts = {f"s{i}": {"jf_mean": float(w)} for i, w in enumerate(weights or []) if w != 1}
    sequences = {f"s{i}": {"jf_mean": v} for i, v in enumerate(values)}
    return Scores("toy", "val", tracker, "nano", "toy", {"jf_mean": 0.0}, sequences, counts=counts)


def test_table_pools_draws_and_weighs_objects():
    experiment = Experiment(
        "t", "toy", (Row("a", "sam2"), Row("b", "mosam")), ("jf_mean",), seeds=(0, 1), groups={"hard": ("occlusion",)},
        baseline="a",
    )  # fmt: skip
    tags = {(s, f"s{i}"): frozenset({"occlusion"} if i == 0 else ()) for s in (0, 1) for i in (0, 1)}
    results = [
        RowScores(experiment.rows[0], {0: scores("sam2", [0.2, 0.4], [1, 3]), 1: scores("sam2", [0.6, 0.8])}, tags),
        RowScores(experiment.rows[1], {0: scores("mosam", [0.3, 0.5], [1, 3]), 1: scores("mosam", [0.7, 0.9])}, tags),
    ]
    table = experiment_table(experiment, results)
    first, second = table.rows
    assert first[1].startswith(f"{100 * (0.2 + 3 * 0.4 + 0.6 + 0.8) / 6:.1f} (")
    assert first[2] == "40.0"
    assert first[-1] == ""
    assert second[-1] == "+10.0 (+10.0 to +10.0)"
    assert "4 sequences, draws 0, 1" in table.title
    assert "t: toy val, nano" in render(table)


def test_undefined_values_are_left_out():
    row = RowScores(
        Row("a", "sam2"), {0: scores("sam2", [np.nan, 0.5])}, {(0, "s0"): frozenset(), (0, "s1"): frozenset()}
    )
    table = experiment_table(Experiment("t", "toy", (row.row,), ("jf_mean",)), [row])
    assert table.rows[0][1].startswith("50.0")


@pytest.fixture
def squares(monkeypatch):
    from fakes import SquareDataset

    from mosam.datasets.base import DATASETS

    list(DATASETS)
    monkeypatch.setitem(DATASETS._items, "squares", SquareDataset)


def test_run_keeps_what_is_done_and_says_what_fails(squares, tmp_path):
    rows = (Row("a", "sam2"), Row("b", "mosam", "random:nano"))
    experiment = Experiment("t", "squares", rows, ("success_auc",), model="random:nano", baseline="a")
    options = RunOptions("", results=tmp_path, device="cpu", limit=1, log=True)
    results = run_experiment(experiment, options)
    assert [list(r.scores) for r in results] == [[0], [0]]
    table = experiment_table(experiment, results)
    assert [row[0] for row in table.rows] == ["a", "b"]
    log = next(tmp_path.glob("squares/mosam-*/log/*.jsonl"))
    assert '"withheld"' in log.read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    run_experiment(experiment, options)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    with pytest.raises(MosamError, match="unknown tracker"):
        run_experiment(Experiment("t", "squares", (Row("a", "nope"),), ("success_auc",)), options)


GRID = """
title = "t"
models = ["tiny", "large"]
baseline = "a"
figures = ["sequences"]
[[dataset]]
name = "sav"
split = "test"
metrics = { "J&F" = "jf_mean", "J" = "j_mean" }
[[dataset]]
published = "VOST val"
unsupported = "no loader"
[[row]]
label = "a"
tracker = "sam2"
[[row]]
label = "b"
published = "B"
tracker = "mosam"
[[row]]
label = "c"
unsupported = "other weights"
"""


def test_a_grid_is_every_row_with_every_model_on_every_dataset(tmp_path):
    study = load_study(write(tmp_path, GRID))
    assert study.figures == ("sequences",)
    first, second = study.experiments
    assert (first.dataset, first.split, first.columns) == ("sav", "test", ("jf_mean", "j_mean"))
    assert [(row.label, row.model) for row in first.rows] == [(n, m) for n in "abc" for m in ("tiny", "large")]
    assert second.unsupported == "no loader"
    trial = study.with_model("nano").experiments[0]
    assert [(row.label, row.model) for row in trial.rows] == [("a", "nano"), ("b", "nano"), ("c", "nano")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tracker = "mosam"', "", "row 'b': expected a tracker, found none"),
        ('label = "b"', 'label = "a"', "label of its own"),
        ('figures = ["sequences"]', 'figures = "sequences"', "figures: expected a list of text, got text"),
        ('metrics = { "J&F" = "jf_mean", "J" = "j_mean" }', "", "expected columns or metrics"),
        ('unsupported = "no loader"', "", "expected columns or metrics"),
    ],
)
def test_bad_grids_are_named(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        load_study(write(tmp_path, GRID.replace(old, new, 1)))


def test_what_is_unsupported_is_not_run(tmp_path):
    study = load_study(write(tmp_path, GRID))
    assert run_experiment(study.experiments[1], RunOptions("")) == []


def test_differences_are_to_the_baseline_of_the_same_model():
    rows = [Row(label, "sam2", model) for label in ("a", "b") for model in ("tiny", "large")]
    experiment = Experiment("t", "toy", tuple(rows), ("jf_mean",), baseline="a")
    levels = {("a", "tiny"): 0.1, ("a", "large"): 0.5, ("b", "tiny"): 0.2, ("b", "large"): 0.7}
    tags = {(0, f"s{i}"): frozenset() for i in (0, 1)}
    results = [RowScores(row, {0: scores("sam2", [levels[row.label, row.model]] * 2)}, tags) for row in rows]
    table = experiment_table(experiment, results)
    assert table.header[:2] == ("Tracker", "Model")
    assert [(*row[:2], row[-1].split(" ")[0]) for row in table.rows] == [
        ("a", "tiny", ""), ("a", "large", ""), ("b", "tiny", "+10.0"), ("b", "large", "+20.0"),
    ]  # fmt: skip


def test_draws_are_pooled_and_drawn(tmp_path):
    tags = {(s, f"s{i}"): frozenset({"occlusion"} if i else ()) for s in (0, 1) for i in (0, 1)}
    result = RowScores(Row("a", "sam2"), {0: scores("sam2", [0.2, 0.4], [1, 3]), 1: scores("sam2", [0.6, 0.8])}, tags)
    pooled = pooled_scores(result)
    assert pooled.overall["jf_mean"] == pytest.approx((0.2 + 3 * 0.4 + 0.6 + 0.8) / 6)
    assert pooled.attributes["occlusion"]["jf_mean"] == pytest.approx((3 * 0.4 + 0.8) / 4)
    assert list(pooled.sequences) == ["s0, draw 0", "s1, draw 0", "s0, draw 1", "s1, draw 1"]
    paths = draw_figures(Study("What it, brings", (), ("jf", "ablation")), [[result]], tmp_path)
    assert len(paths) == 8
    assert paths[0].name == "what-it-brings-toy-val-jf.png"
    assert "a (" not in paths[-2].read_text()
    assert ">a<" in paths[-2].read_text()
