from __future__ import annotations

import json
import math
import xml.etree.ElementTree
from dataclasses import replace

import numpy as np
import pytest
from figure_cases import AWKWARD, KINDS, TWO, draw, make_scores
from matplotlib.figure import Figure

from mosam.cli import run_command
from mosam.commands.report.build import _figures
from mosam.datasets.base import load_dataset
from mosam.errors import MismatchError, MosamError, UnknownNameError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.figures import FIGURES, save, success_plot
from mosam.evaluation.figures.base import figure
from mosam.evaluation.figures.save import tikz_code
from mosam.evaluation.figures.style import color, looks
from mosam.evaluation.scores import save_scores


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def lines(figure: Figure) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines() if line.get_label()[0] != "_"}


def test_a_new_figure_needs_no_other_edit(monkeypatch):
    monkeypatch.setattr(FIGURES, "_items", dict(FIGURES._items))

    @figure("made-up", title="Something new")
    def made_up(scores):
        return success_plot(scores)

    shown = [(one["kind"], one["title"]) for one in _figures(TWO)]
    assert shown[0] == ("success", "Success by overlap threshold")
    assert ("made-up", "Something new") in shown[1:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_four_formats(kind, tmp_path):
    scores = [*TWO, make_scores(AWKWARD, 0.1), make_scores("gone", math.nan)]
    paths = save(draw(kind, scores), tmp_path / "new" / f"v1.2-{kind}")
    assert [path.name for path in paths] == [f"v1.2-{kind}.{ending}" for ending in ("png", "pdf", "svg", "tikz")]
    png, pdf, svg, tikz = (path.read_bytes() for path in paths)
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    texts = "".join(xml.etree.ElementTree.fromstring(svg).itertext())
    assert AWKWARD in texts  # as it is: neither math nor markup
    code = tikz.decode()
    assert "\\begin{axis}" in code
    assert r"a\_b \& 50\% \$x\textasciicircum{}2\$ \#1 \{z\} \textasciitilde{} \textbackslash{}o \textless{}" in code
    assert "Mosam" not in code
    assert len(list(paths[0].parent.iterdir())) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_one_tracker(kind, tmp_path):
    assert save(draw(kind, TWO[:1]), tmp_path / kind, formats=["svg"])[0].stat().st_size > 1000


def test_bars_without_a_legend_have_none_in_tikz():
    drawn = FIGURES["attribute-bars"](TWO)
    assert "\\addlegendentry" in tikz_code(drawn)
    drawn.axes[0].get_legend().remove()
    assert "\\addlegend" not in tikz_code(drawn)


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, second = save(success_plot(TWO), tmp_path / "a"), save(success_plot(TWO), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_writing_tikz_leaves_the_figure_as_it_was():
    figure = FIGURES["sequences"](TWO)
    before = legend(figure), [label.get_text() for label in figure.axes[0].get_xticklabels()]
    tikz_code(figure)
    assert before == (legend(figure), [label.get_text() for label in figure.axes[0].get_xticklabels()])
    assert before[1] == ["zebra", "dog_1", "cup-2", "cup-1"]


def test_lasot_shows_the_official_curves(unpacked, data_root):
    golden = json.loads((data_root / "golden.json").read_text())
    dataset = load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations"))
    folders = [unpacked(f"lasot/results_{tracker}") / tracker for tracker in ("SiamRPN++", "ATOM")]
    figure = success_plot([evaluate(folder, dataset) for folder in folders])
    assert legend(figure) == ["ATOM [51.4]", "SiamRPN++ [49.6]"]
    assert figure.axes[0].get_legend().get_title().get_text() == "AUC [%]"
    shown = lines(figure)
    for label, tracker in zip(legend(figure), ("ATOM", "SiamRPN++"), strict=True):
        official = golden["lasot"]["trackers"][tracker]["pytracking"]
        assert shown[label][:, 0] == pytest.approx(np.linspace(0, 1, 21))
        assert shown[label][:, 1] == pytest.approx(official["success_curve_21"], abs=1e-3)
        assert label.endswith(f"[{official['overall']['AUC']:.1f}]")


def test_legend_ranks_and_marks_subsets():
    scores = [make_scores("low"), make_scores("none", math.nan), make_scores("high", 0.2, official="4 of 60 official")]
    assert legend(success_plot(scores)) == ["high (4 of 60 official) [65.0]", "low [45.0]", "none [-]"]


def test_got10k_ranks_by_average_overlap():
    scores = replace(TWO[0], overall={"ao": 0.123}, protocol="got10k")
    assert legend(success_plot([scores])) == ["ATOM [12.3]"]
    assert success_plot([scores]).axes[0].get_legend().get_title().get_text() == "AO [%]"


def test_fewer_thresholds_span_the_same_range():
    area = replace(TWO[0], protocol="trackingnet", curves={"precision": tuple(np.linspace(0, 1, 21))})
    [line] = lines(FIGURES["precision"]([area])).values()
    assert line[1, 0] == pytest.approx(2.5)
    assert line[-1, 0] == 50


def test_precision_over_confidences_is_another_curve():
    longterm = replace(TWO[0], protocol="vot-lt", curves={"precision": (1.0, 0.5), "recall": (0.0, 0.5)})
    with pytest.raises(MosamError, match="figure precision: expected scores with the curve precision, got none of vot"):
        FIGURES["precision"]([longterm])


def test_robustness_of_pysot_runs_backwards():
    assert not FIGURES["ar"](TWO).axes[0].xaxis_inverted()
    assert FIGURES["ar"]([replace(item, protocol="pysot") for item in TWO]).axes[0].xaxis_inverted()


def test_eao_against_accuracy_and_robustness():
    figure = FIGURES["eao-ar"](TWO)
    joined = [line.get_xydata().tolist() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert joined == [
        pytest.approx(np.array([[0.65, 0.35], [0.75, 0.35]])),
        pytest.approx(np.array([[0.6, 0.3], [0.7, 0.3]])),
    ]
    pysot = FIGURES["eao-ar"](
        [replace(TWO[0], protocol="pysot", overall={"eao": 0.3, "accuracy": 0.6, "robustness": 1.0})]
    )
    assert pysot.axes[0].get_lines()[0].get_xdata()[1] == pytest.approx(math.exp(-0.3))
    with pytest.raises(MosamError, match="figure eao-ar: expected scores with eao, accuracy and robustness"):
        FIGURES["eao-ar"]([replace(TWO[0], overall={"eao": 0.3})])


def test_eao_begins_after_the_start_and_shades_the_challenges_lengths():
    figure = FIGURES["eao"](TWO)
    assert lines(figure)["ATOM [0.300]"][0, 0] == 1
    assert figure.axes[0].patches[0].get_x() == 46
    assert figure.axes[0].patches[0].get_width() == 291 - 46


def test_a_sequence_without_a_number_is_shown():
    lacking = make_scores("short", missing=("zebra",))
    lacking = replace(lacking, sequences={k: v for k, v in lacking.sequences.items() if k != "zebra"})
    axes = FIGURES["jf"]([TWO[0], lacking]).axes[0]
    [cross] = [line for line in axes.get_lines() if line.get_marker() == "x"]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert [labels[int(x)] for x in cross.get_xdata()] == ["zebra"]


def test_untimed_trackers_are_named():
    untimed = replace(TWO[1], overall={"success_auc": 0.5})
    assert FIGURES["speed"]([TWO[0], untimed]).axes[0].get_xlabel().endswith("without times: SiamRPN++")
    with pytest.raises(MosamError, match="figure speed: expected results with times, got none of vot2019"):
        FIGURES["speed"]([untimed])


def test_ablation_draws_intervals_from_the_sequences():
    axes = FIGURES["ablation"](TWO).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ATOM", "SiamRPN++"]
    low, high = axes.get_lines()[0].get_xdata()
    assert 30 <= low < 45 < high <= 60


def test_colors_depend_on_the_name_alone():
    assert color("ATOM") == color("atom[x=1]")
    alone, [_, together] = looks(["ATOM"])[0], looks(["mosam", "ATOM"])
    assert alone == together
    family = looks(["mosam", "mosam[stride=3]", "mosam[stride=5]"])
    assert len({look.color for look in family}) == 1
    assert len({look.marker for look in family}) == len({str(look.dashes) for look in family}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_drawn(kind):
    with pytest.raises(MismatchError, match=f"figure {kind}: expected scores of one dataset, got vot2019"):
        FIGURES[kind]([TWO[0], replace(TWO[1], dataset="lasot")])
    with pytest.raises(MosamError, match=f"figure {kind}: expected scores, got none"):
        FIGURES[kind]([])
    with pytest.raises(MosamError, match=f"figure {kind}: expected scored sequences, got none of ATOM"):
        FIGURES[kind]([replace(TWO[0], sequences={})])


def test_too_few_attributes_for_a_radar():
    scores = [replace(TWO[0], attributes={"ARC": {"success_auc": 0.5}, "BC": {"success_auc": 0.5}})]
    with pytest.raises(MosamError, match="at least 3 attributes"):
        FIGURES["attributes"](scores)
    assert len(FIGURES["attribute-bars"](scores).axes[0].patches) == 2


def test_unknown_format_writes_nothing(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown figure format 'gif'"):
        save(success_plot(TWO), tmp_path / "a", formats=["png", "gif"])
    assert list(tmp_path.iterdir()) == []


def test_command(tmp_path, capsys):
    save_scores(tmp_path / "all.json", TWO)
    words = ["plot", "success", str(tmp_path / "all.json"), "--out", str(tmp_path / "fig")]
    assert run_command([*words, "--format", "svg,tikz", "--rows", "ATOM"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "fig.svg"), str(tmp_path / "fig.tikz")]
    code = (tmp_path / "fig.tikz").read_text()
    assert "ATOM [45.0]" in code
    assert "SiamRPN" not in code
    assert run_command(["plot", "sucess", *words[2:]]) == 2
    assert "unknown figure 'sucess'; did you mean success? (known: ablation, all, ar," in capsys.readouterr().err
