"""Names for readers in tables and figures, whole folders in tables, and the looks of figures."""

import pytest
from commands.report.pages import made_scores

from mosam.cli import DONE, WRONG, run_command
from mosam.commands.labels import label_scores, load_labels
from mosam.commands.plot import PlotOptions, draw, load_all_scores
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.evaluation.scores import Scores, load_scores, save_scores
from mosam.evaluation.tables import main_column, tracker_name

EXPERIMENT = """
title = "x"
dataset = "toy"
columns = ["jf_mean"]
[[row]]
label = "SAM 2.1"
tracker = "sam2"
[[row]]
label = "Mine"
tracker = "trap:Trap"
"""


@pytest.fixture
def results(tmp_path):
    """Three runs of two benchmarks at different depths."""
    for place, scores in {
        "a/sam2-large": made_scores("sam2", model="large", overall={"success_auc": 0.5, "op50": 0.7, "fps": 20.0}),
        "a/b/mosam": made_scores("mosam", overall={"success_auc": 0.6, "op50": 0.8, "fps": 10.0}),
        "ext/sam2": made_scores("sam2", dataset="lasot-ext"),
    }.items():
        (tmp_path / "results" / place).mkdir(parents=True)
        save_scores(tmp_path / "results" / place / "scores.json", scores)
    return tmp_path


def labels(tmp_path, text):
    path = tmp_path / "labels.toml"
    path.write_text(text)
    return path


def test_labels_of_a_file_and_of_an_experiment(tmp_path):
    found = load_labels(labels(tmp_path, '[labels]\n"sam2 large" = "SAM 2.1-L"\n"mosam" = "MoSAM"\n'))
    items = [made_scores("sam2", model="large"), made_scores("sam2", model="tiny"), made_scores("mosam")]
    assert [tracker_name(item) for item in label_scores(items, found)] == ["SAM 2.1-L", "sam2 tiny", "MoSAM"]
    found = load_labels(labels(tmp_path, EXPERIMENT))  # nothing of it is imported
    assert found == {"sam2": "SAM 2.1", "trap:Trap": "Mine"}
    assert [tracker_name(item) for item in label_scores(items, found)] == ["SAM 2.1 large", "SAM 2.1 tiny", "mosam"]


def test_a_label_that_would_be_twice_is_not_used(tmp_path):
    items = [made_scores("a"), made_scores("b")]
    assert [tracker_name(one) for one in label_scores(items, {"a": "same", "b": "same"})] == ["a", "b"]


def test_labels_are_not_written(tmp_path):
    [item] = label_scores([made_scores()], {"sam2": "shown"})
    save_scores(tmp_path / "scores.json", item)
    assert load_scores(tmp_path / "scores.json") == [made_scores()]


def test_bad_files_of_labels(tmp_path):
    with pytest.raises(MissingDataError, match="expected a file of labels"):
        load_labels(tmp_path / "none.toml")
    with pytest.raises(DataError, match=r"expected \[labels\]"):
        load_labels(labels(tmp_path, 'title = "x"'))
    with pytest.raises(DataError, match="expected text"):
        load_labels(labels(tmp_path, "[labels]\na = 3"))
    assert load_labels(None) == {}


def test_a_table_of_a_folder_has_one_part_a_benchmark(results, capsys):
    (results / "results/raw").mkdir()
    path = labels(results, '[labels]\n"mosam" = "MoSAM, ours"\n')
    assert run_command(["table", str(results / "results"), "--labels", str(path)]) == DONE
    out = capsys.readouterr().out
    assert "lasot test, protocol pytracking" in out
    assert "lasot-ext test, protocol pytracking" in out
    assert "MoSAM, ours" in out
    assert run_command(["table", str(results / "results"), "--rows", "mosam"]) == DONE
    assert "lasot-ext" not in capsys.readouterr().out
    assert run_command(["table", str(results / "results"), "--rows", "nobody"]) == WRONG


def test_a_figure_of_a_folder_needs_one_benchmark(results):
    with pytest.raises(MismatchError, match="name the runs of one of them"):
        load_all_scores([results / "results"])
    assert len(load_all_scores([results / "results" / "a"])) == 2


def test_width_title_and_metric_of_a_figure(results):
    path = labels(results, '[labels]\n"mosam" = "MoSAM, ours"\n')
    options = PlotOptions(labels=path, width="page", title="All of them", metric="op50")
    made = draw("speed", [results / "results" / "a"], options)
    [axes] = made.axes
    assert made.get_figwidth() == pytest.approx(7.16)
    assert axes.get_title() == "All of them"
    assert axes.get_ylabel() == "OP50 [%]"
    assert "MoSAM, ours [80.0]" in axes.get_legend_handles_labels()[1]
    plain = draw("speed", [results / "results" / "a"], PlotOptions())
    assert plain.axes[0].title.get_fontsize() == axes.title.get_fontsize()
    assert plain.axes[0].get_ylabel() == "AUC [%]"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("speed", {"width": "poster"}, "unknown width 'poster'"),
        ("speed", {"metric": "nothing"}, "unknown number 'nothing'"),
        ("success", {"metric": "op50"}, "figure success: expected no --metric"),
    ],
)
def test_what_a_figure_cannot_be(results, capsys, kind, options, message):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    out = str(results / "figure")
    assert run_command(["plot", kind, str(results / "results" / "a"), "--out", out, *words]) == WRONG
    assert message in capsys.readouterr().err


def test_the_main_number_is_the_protocols_own():
    values = ["success_auc", "jf_mean", "presence"]
    assert main_column(values, "toy").name == "jf_mean"
    assert main_column(values, "pytracking").name == "success_auc"
    assert main_column(values, "nobodys").name in values
    assert Scores("toy", "val", "x", None, "toy", {}, {}).label is None
