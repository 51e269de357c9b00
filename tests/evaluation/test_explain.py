"""Side by side, each convention alone, and ways between protocols that add up."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cups import LENGTH, NAMES, Cups, boxes
from vot_cases import DATASETS as DATASET_OF
from vot_cases import FOLDER, INTERVALS, write_files

from mosam.datasets.base import DATASETS, BoxTruth, load_dataset
from mosam.errors import MissingDataError
from mosam.evaluation.explain import (
    NEGLIGIBLE,
    alternatives,
    applicable,
    box_values,
    explain,
    mask_values,
    show_explanation,
    steps,
    walk,
)
from mosam.evaluation.protocols.base import parse_protocol
from mosam.evaluation.protocols.masks import VOID, MaskConventions, ObjectFrames
from mosam.evaluation.protocols.one_pass import BoxConventions


@pytest.fixture
def cups() -> Cups:
    return Cups(None)


def write(folder: Path) -> Path:
    """Results with everything in them that programs disagree on."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in NAMES:
        table = boxes(name) + rng.normal(0, 2, (LENGTH, 4)).round(1)
        table[4, 2:] = 0
        np.savetxt(folder / f"{name}.txt", table, fmt="%g", delimiter=",")
    return folder


def check_sums(found) -> None:
    """Steps and rest make up the change, and nothing is left over."""
    assert found.ways
    for way in found.ways:
        for name, change in way.change.items():
            if np.isnan(change):
                continue
            total = sum(step.change[name] for step in way.steps)
            assert total + way.rest[name] == pytest.approx(change, abs=1e-12)
            assert abs(way.rest[name]) <= NEGLIGIBLE, (way.protocol, name)


def test_ways_between_box_protocols_add_up(tmp_path, cups):
    found = explain(write(tmp_path / "x"), cups)
    check_sums(found)
    labels = [item.protocol for item in found.scores]
    assert labels[0] == "pytracking"
    assert {"lasot", "pysot", "got10k", "got10k-success", "trackingnet", "pytracking[valid_only]"} <= set(labels)
    assert {step.convention for step in found.alone} == set(BoxConventions.__dataclass_fields__)
    text = show_explanation(found)
    assert "each convention on its own" in text
    assert "from pytracking to trackingnet" in text


def test_masks_come_with_reasons_where_a_protocol_does_not_apply(unpacked):
    root = unpacked("davis/osvos_vs_rvos_6seq")
    dataset = load_dataset("davis2017", root=root / "pairs").select(["judo"])
    found = explain(root / "pairs-predictions" / "rvos_matched", dataset)
    check_sums(found)
    assert "vos-benchmark[all_frames]" in {way.protocol for way in found.ways}


@pytest.mark.parametrize("tracker", ["Ocean", "Ocean_ckpt0323"])
def test_supervised_programs_on_real_results(unpacked, tracker):
    dataset = load_dataset("vot2019", root=unpacked("vot2019/vot2019_annotations")).select(limit=12)
    found = explain(unpacked("vot2019/results_Ocean") / "results" / tracker, dataset)
    check_sums(found)
    assert {way.protocol for way in found.ways} == {"pysot", "pysot[exact]", "vot[unbounded]"}


@pytest.mark.parametrize("kind", ["multistart", "longterm", "vots"])
def test_other_experiments_have_their_options_side_by_side(kind, tmp_path):
    write_files(tmp_path, json.loads((FOLDER / f"{kind}.json").read_text())["files"])
    challenge = DATASETS[DATASET_OF[kind]]
    info = dataclasses.replace(challenge.info, no_truth=())
    random = dataclasses.replace(challenge, info=info, eao_interval=INTERVALS.get(kind))(tmp_path)
    found = explain(tmp_path / "results" / "A", random)
    own = random.info.protocol
    assert [item.protocol for item in found.scores] == [own, f"{own}[thin_masks]", f"{own}[unbounded]"]
    assert (found.alone, found.ways) == ((), ())


def test_a_protocol_that_refuses_the_results_says_why(tmp_path, cups):
    folder = write(tmp_path / "x")
    table = np.loadtxt(folder / "cup-1.txt", delimiter=",")
    table[3] = -1
    np.savetxt(folder / "cup-1.txt", table, fmt="%g", delimiter=",")
    found = explain(folder, cups, protocol="lasot")
    assert found.scores[0].protocol == "lasot"
    assert "PyTracking refuses" in found.refused["pytracking"]
    assert "pytracking: does not apply" in show_explanation(found)


def test_missing_results_are_an_error_here_too(tmp_path, cups):
    folder = write(tmp_path / "x")
    (folder / "cup-1.txt").unlink()
    with pytest.raises(MissingDataError, match="cup-1"):
        explain(folder, cups)


def test_only_protocols_of_the_kind_apply():
    dataset = load_dataset("toy")
    labels = applicable(dataset, "toy")
    assert {"davis2017", "vos-benchmark", "lvos"} <= set(labels)
    assert not {"pytracking", "vot", "multistart"} & set(labels)


# ---- conventions -----------------------------------------------------------------------------------------------------

TRUTH = BoxTruth(np.array([[1.0, 1, 10, 10]] * 4), np.array([False, False, True, False]))
ROWS = np.array([[9.0, 9, 10, 10], [1, 1, 10, 10], [1, 1, 10, 10], [1, 1, 0, 10]])


@pytest.mark.parametrize(
    ("changed", "success"),
    [
        ({}, 3 * 20 / 21 / 4),  # the first is given, the absent frame misses, the empty box repeats the one before
        ({"first_frame": "as written"}, (2 * 20 / 21 + 1 / 21) / 4),  # IoU 4/196: above the threshold 0 only
        ({"first_frame": "left out"}, 2 * 20 / 21 / 3),
        ({"denominator": "valid"}, 20 / 21),
        ({"absent_frames": "scored"}, 20 / 21),
        ({"absent_frames": "as bad truth"}, 3 * 20 / 21 / 4),
        ({"true_boxes": "sized"}, 3 * 20 / 21 / 4),
        ({"empty_boxes": "as written"}, 2 * 20 / 21 / 4),
        ({"thresholds": "from"}, 3 / 4),  # 1 reaches the last threshold, an absent frame's -1 not even the first
        ({"success": "mean overlap"}, 3 / 4),
    ],
)
def test_one_convention_at_a_time(changed, success):
    values, weight = box_values(ROWS, TRUTH, BoxConventions(**changed))
    assert values["success_auc"] == pytest.approx(success)
    assert weight == 1


def test_arguments_stay_as_they_are():
    rows, truth = ROWS.copy(), TRUTH.boxes.copy()
    for _, _, conventions in alternatives(BoxConventions(area="trapezoid")):
        box_values(rows, TRUTH, conventions, size=(40, 40))
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(TRUTH.boxes, truth)


def test_a_walk_changes_one_thing_at_a_time():
    ends = [parse_protocol(name).conventions for name in ("pytracking", "trackingnet")]
    path = walk(*ends)
    assert [path[0], path[-1]] == ends
    assert [len(steps(*pair)) for pair in pairwise(path)] == [1] * (len(path) - 1)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [0.75]),
        ({"first_frame": "counted"}, [2.5 / 3]),
        ({"last_frame": "counted"}, [0.5]),
        ({"absent_frames": "left out"}, [0.5]),
        ({"begin": "appearance"}, [0.5]),
        ({"void": "object"}, [0.75, 0.75]),
        ({"aggregation": "sequences", "void": "object"}, [0.75]),
    ],
)
def test_mask_conventions(changed, expected):
    scores = np.array([1.0, 1.0, 0.5, 0.0])  # on the second frame nothing is there and nothing was found
    shown = np.array([True, False, True, True])
    rows = {label: np.stack([scores, scores, shown, shown], axis=1) for label in (1, VOID)}
    ends = np.array([True, False, False, False])
    frames = ObjectFrames(ends, ends[::-1], rows, largest=1)
    values = [value["j_mean"] for value, _ in mask_values(frames, MaskConventions(**changed))]
    assert values == pytest.approx(expected)
