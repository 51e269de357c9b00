"""The LaTeX tables of a run of the generated benchmark in a document."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from figure_cases import AWKWARD, write_toy
from latex import documented_preamble, fonts, page_text, require_latex, typeset

from mosam.datasets.base import load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import tabulate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> list[Scores]:
    """Three trackers of two sizes on two sequences; the first two are equal."""
    root, dataset = tmp_path_factory.mktemp("runs"), load_dataset("toy").select(["blur-1", "full_occlusion-1"])
    write_toy(root / "good", dataset)
    write_toy(root / "bad", dataset, lambda t, masks: {k: np.roll(m, t % 9, 1) for k, m in masks.items()})
    good, bad = (evaluate(root / name, dataset) for name in ("good", "bad"))
    undefined = replace(bad, overall={**bad.overall, "jf_mean": float("nan")})
    return [
        replace(good, tracker=AWKWARD, model="nano"),
        replace(good, tracker="same", model="nano"),
        replace(bad, tracker="*bad[x=1]", model="nano"),
        replace(undefined, tracker="undefined", model="large"),
    ]


def test_every_table_compiles_and_prints_what_it_says(scores, tmp_path):
    require_latex("booktabs.sty", "pgfplots.sty")
    tables = [
        tabulate(scores, columns=["jf_mean", "fps"], format="latex"),
        tabulate(scores, columns=["jf_mean"], format="latex", intervals=True, differences=True),
        tabulate(scores, by="attribute", format="latex"),
        tabulate(scores, by="sequence", format="latex"),
    ]
    head = "\\documentclass[10pt,landscape]{article}\n" + documented_preamble()
    body = "\n\\newpage\n".join(tables)
    pdf = typeset(tmp_path, head + "\\begin{document}\n\\pagestyle{empty}\n" + body + "\n\\end{document}\n")
    first, second, third, fourth = (page_text(pdf, page) for page in (1, 2, 3, 4))
    bad = f"{100 * scores[2].overall['jf_mean']:.1f}"
    assert "Tracker Model J&F [%] Speed [frames/s]" in first
    for words in ("same", "*bad[x=1]", "nano", "large", "100.0", bad, "2 of 24 official sequences"):
        assert words in first
    assert first.count("100.0") == 2
    assert first.replace(" ", "").count("50%$x") == 1
    assert "95 % bootstrap intervals over sequences" in second
    assert f"({bad[:-3]}" in second or "(" in second
    assert "motion blur" in third.replace("_", " ")
    for words in ("blur-1", "overall", "Sequence"):
        assert words in fourth
    assert "Bold" in fonts(pdf) or "CMBX" in fonts(pdf)


def test_best_and_second_of_ties_and_nan(scores):
    lines = tabulate(scores, columns=["jf_mean"], format="latex").split("\n")
    shown = [line.rpartition("& ")[2].removesuffix(r" \\") for line in lines if line.endswith(r"\\")]
    bad = f"{100 * scores[2].overall['jf_mean']:.1f}"
    assert shown == [r"J\&F [\%]", r"\textbf{100.0}", r"\textbf{100.0}", rf"\underline{{{bad}}}", "-"]
    assert lines[lines.index(r"\midrule", 6) + 1].startswith("undefined$^{*}$ & large")  # the larger size below
