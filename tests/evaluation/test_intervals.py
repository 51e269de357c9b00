"""Intervals of numbers that are no mean over sequences, against scoring drawn sequences one by one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from vot_cases import DATASETS as DATASET_OF
from vot_cases import FOLDER, INTERVALS, experiment_files, write_files

from mosam.codecs import CODECS
from mosam.datasets.base import DATASETS
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.intervals import difference, interval
from mosam.evaluation.metrics.bootstrap import REPEATS_ANEW, resample_counts
from mosam.evaluation.protocols.base import Protocol, TrackerResults, parse_protocol


def dataset_of(kind, root):
    challenge = DATASETS[DATASET_OF[kind]]
    info = dataclasses.replace(challenge.info, no_truth=())
    return dataclasses.replace(challenge, info=info, eao_interval=INTERVALS.get(kind))(root)


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [("supervised", "vot"), ("supervised", "vot[by_attribute]"), ("multistart", "multistart"), ("longterm", "vot-lt")],
)
def test_fast_draws_are_those_of_scoring_anew(kind, protocol, tmp_path):
    write_files(tmp_path, experiment_files(kind, seed=5, sequences=4))
    dataset = dataset_of(kind, tmp_path)
    chosen = parse_protocol(protocol, task="region")
    results = TrackerResults(tmp_path / "results" / "A", CODECS[dataset.info.result_format])
    scores = [chosen.score(dataset[name], results) for name in dataset]
    counts = resample_counts(4, repeats=12)
    fast, plain = chosen.resampled(scores, counts), Protocol.resampled(chosen, scores, counts)
    names = [name for name in ("eao", "robustness", "failures", "accuracy", "f") if name in fast]
    assert names
    for name in names:
        tolerance = 0.05 if kind == "longterm" else 1e-6  # long-term thresholds stay those of all sequences
        np.testing.assert_allclose(fast[name], plain[name], atol=tolerance, err_msg=name)


def test_eao_has_an_interval_and_a_paired_difference(tmp_path):
    write_files(tmp_path, experiment_files("multistart", seed=6, sequences=6, trackers="AB"))
    dataset = dataset_of("multistart", tmp_path)
    a, b = (evaluate(tmp_path / "results" / name, dataset, resample=True) for name in "AB")
    assert len(a.resamples["eao"]) == REPEATS_ANEW
    found = interval(a, "eao")
    assert found.low < a.overall["eao"] < found.high
    gap = difference(a, b, "eao")
    assert gap.value == pytest.approx(a.overall["eao"] - b.overall["eao"])
    assert gap.low <= gap.value <= gap.high
    same = difference(a, a, "eao")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert difference(a, evaluate(tmp_path / "results" / "B", dataset.select(limit=3), resample=True), "eao") is None


def test_scores_without_draws_have_no_interval_for_eao_and_those_with_keep_it(tmp_path):
    write_files(tmp_path, json.loads((FOLDER / "supervised.json").read_text())["files"])
    dataset = dataset_of("supervised", tmp_path)
    assert interval(evaluate(tmp_path / "results" / "A", dataset), "eao") is None
    scores = evaluate(tmp_path / "results" / "A", dataset, resample=True)
    again = type(scores).from_json(scores.to_json())
    assert interval(again, "eao") == interval(scores, "eao")
    for name, value in scores.overall.items():
        assert np.isnan(value) or interval(scores, name) is not None, name
