"""Every number of the official programs that the protocols cover, on real trackers' results, to 1e-6."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mosam.codecs import CODECS
from mosam.datasets.base import Sequence, load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.protocols.base import TrackerResults
from mosam.evaluation.protocols.masks import Lvos, frame_jf, read_pair
from mosam.evaluation.scores import Scores

TOLERANCE = 1e-6
PER_FRAME = Path(__file__).parents[1] / "parity" / "masks_per_frame.npz"
TRACKERS = ("SiamRPN++", "ATOM")
# names in golden.json -> ours
BOX_NAMES = {
    "AUC": "success_auc",
    "P20": "precision",
    "NP020": "norm_precision",
    "NP_AUC_0_0.5": "norm_precision_auc",
    "OP50": "op50",
    "SR50": "op50",
    "OP75": "op75",
    "mean_overlap_valid": "mean_overlap",
}
LASOT_BLOCKS = {
    "pytracking": "pytracking",
    "pytracking_exclude_invalid_frames": "pytracking[valid_only]",
    "lasot_matlab": "lasot",
    "got10k_toolkit": "got10k-success",
    "pysot_toolkit": "pysot",
}
DAVIS_NAMES = {
    "JM": "j_mean",
    "JR": "j_recall",
    "JD": "j_decay",
    "FM": "f_mean",
    "FR": "f_recall",
    "FD": "f_decay",
    "J&F": "jf_mean",
    "J": "j_mean",
    "F": "f_mean",
}
VOS_BLOCKS = {"vos_benchmark": "vos-benchmark", "vos_benchmark_all_frames": "vos-benchmark[all_frames]"}


@pytest.fixture(scope="session")
def golden(data_root: Path) -> dict:
    return json.loads((data_root / "golden.json").read_text())


class ReadOnce:
    """The LaSOT codec, which keeps what it has read: the protocols score the same rows."""

    def __init__(self) -> None:
        self._rows: dict[str, dict] = {}

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict:
        key = str(folder / sequence.name)
        if key not in self._rows:
            self._rows[key] = CODECS["lasot"].read_boxes(folder, sequence)
        return {object_id: rows.copy() for object_id, rows in self._rows[key].items()}

    def __getattr__(self, name: str):
        return getattr(CODECS["lasot"], name)


@pytest.fixture(scope="session")
def score_lasot(unpacked: Callable[[str], Path]) -> Callable[[str, str], Scores]:
    dataset = load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations"))
    codec = ReadOnce()
    sequences = {name: dataset[name] for name in dataset}
    truths = {name: sequence.truth for name, sequence in sequences.items()}
    loaded = {name: replace(sequences[name], load_truth=partial(truths.get, name)) for name in dataset}

    def score(tracker: str, protocol: str) -> Scores:
        folder = unpacked(f"lasot/results_{tracker}") / tracker
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(dataset), "__getitem__", lambda _, name: loaded[name])
            patch.setattr(importlib.import_module("mosam.evaluation.evaluate"), "_codec", lambda _: codec)
            return evaluate(folder, dataset, protocol=protocol)

    return score


def differences(expected: dict[str, float], got: dict[str, float], names: dict[str, str], scale: float) -> list[str]:
    """Values that differ by more than the tolerance, and values we lack."""
    assert expected
    return [
        f"{key}: expected {value * scale}, got {got.get(names[key])}"
        for key, value in expected.items()
        if not abs(value * scale - got.get(names[key], float("nan"))) <= TOLERANCE
    ]


@pytest.mark.parametrize("tracker", TRACKERS)
@pytest.mark.parametrize("block", LASOT_BLOCKS)
def test_lasot(golden, score_lasot, tracker, block):
    expected = golden["lasot"]["trackers"][tracker][block]
    scores = score_lasot(tracker, LASOT_BLOCKS[block])
    assert differences(expected["overall"], scores.overall, BOX_NAMES, 0.01) == []
    for name, values in expected.get("per_sequence", {}).items():
        assert (name, differences(values, scores.sequences[name], BOX_NAMES, 0.01)) == (name, [])
    assert len(scores.sequences) == 280
    if "success_curve_21" in expected:
        assert scores.curves["success"] == pytest.approx([v / 100 for v in expected["success_curve_21"]], abs=TOLERANCE)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_got10k_metrics_on_lasot(golden, score_lasot, tracker):
    expected = golden["lasot"]["trackers"][tracker]["got10k_metric_style_fraction"]
    scores = score_lasot(tracker, "got10k")
    names = {"AO": "ao", "SR50": "sr50", "SR75": "sr75"}
    assert differences(expected["overall_frames_pooled"], scores.overall, names, 1.0) == []
    plain = {name: sum(s[name] for s in scores.sequences.values()) / 280 for name in names.values()}
    assert differences(expected["overall_mean_of_sequences"], plain, names, 1.0) == []


def check_masks(expected: dict, scores: Scores, scale: float) -> None:
    assert differences(expected["overall"], scores.overall, DAVIS_NAMES, scale) == []
    got = {f"{name}_{i}": values for name, objects in scores.objects.items() for i, values in objects.items()}
    assert set(got) == set(expected["per_object"])
    for key, values in expected["per_object"].items():
        assert (key, differences(values, got[key], DAVIS_NAMES, scale)) == (key, [])


def score_masks(unpacked: Callable[[str], Path], archive: str, tree: str, tracker: str, protocol: str) -> Scores:
    root = unpacked(archive)
    dataset = load_dataset("davis2017", root=root / tree)
    truth = root / tree / "Annotations" / "480p"
    return evaluate(
        truth if tracker == "gt_copy" else root / f"{tree}-predictions" / tracker, dataset, protocol=protocol
    )


@pytest.mark.parametrize("tracker", ["osvos", "gt_copy", "eroded3", "shift_dx5_dy3", "lost_from_20"])
@pytest.mark.parametrize("block", ["davis2017", *VOS_BLOCKS])
def test_car_shadow(golden, unpacked, tracker, block):
    expected = golden["davis"]["car-shadow_real_ground_truth"][tracker][block]
    protocol = VOS_BLOCKS.get(block, "davis2017")
    scores = score_masks(unpacked, "davis/davis2017_car-shadow", "car-shadow", tracker, protocol)
    check_masks(expected, scores, 1.0 if block == "davis2017" else 0.01)


@pytest.mark.parametrize("block", ["davis2017", *VOS_BLOCKS])
def test_six_sequences(golden, unpacked, block):
    expected = golden["davis"]["six_sequences_osvos_as_ground_truth_vs_rvos_matched"][block]
    protocol = VOS_BLOCKS.get(block, "davis2017")
    scores = score_masks(unpacked, "davis/osvos_vs_rvos_6seq", "pairs", "rvos_matched", protocol)
    check_masks(expected, scores, 1.0 if block == "davis2017" else 0.01)


def test_unsupervised(golden, unpacked):
    expected = golden["davis"]["unsupervised_judo_shooting_osvos_as_ground_truth_vs_rvos_raw"]["davis2017"]
    root = unpacked("davis/osvos_vs_rvos_6seq")
    dataset = load_dataset("davis2017", root=root / "pairs").select(["judo", "shooting"])
    scores = evaluate(root / "pairs-predictions" / "rvos_raw", dataset, protocol="davis2017-unsupervised")
    assert differences(expected["overall"], scores.overall, DAVIS_NAMES, 1.0) == []
    got = {}
    for name, objects in scores.objects.items():  # the official program numbers them by their proposals
        for number, values in enumerate(sorted(objects.values(), key=lambda item: item["proposal"]), 1):
            got[f"{name}_{number}"] = values
    assert set(got) == set(expected["per_object"])
    for key, values in expected["per_object"].items():
        assert (key, differences(values, got[key], DAVIS_NAMES, 1.0)) == (key, [])


def test_every_frame_of_the_six_sequences(unpacked):
    """J and F of davis2017-evaluation (`db_eval_iou`, `db_eval_boundary`) for each frame and object."""
    root = unpacked("davis/osvos_vs_rvos_6seq")
    dataset = load_dataset("davis2017", root=root / "pairs")
    results = TrackerResults(root / "pairs-predictions" / "rvos_matched", CODECS["davis"])
    with np.load(PER_FRAME) as stored:
        count = 0
        for name in dataset:
            sequence = dataset[name]
            truth, result = sequence.truth, results.masks(sequence)
            for t in truth.frame_indices:
                true, found = read_pair(truth, result, t, sequence)
                for i in truth.object_ids:
                    expected = stored[f"{name}_{i}"][:, t]
                    assert frame_jf(found.get(i), true.get(i)) == pytest.approx(tuple(expected), abs=1e-12), (
                        name,
                        i,
                        t,
                    )
                    count += 1
        assert count == sum(values.shape[1] for values in stored.values())


LVOS_NAMES = {
    "J_seen": "j_seen",
    "J_unseen": "j_unseen",
    "F_seen": "f_seen",
    "F_unseen": "f_unseen",
    "V_seen": "v_seen",
    "V_unseen": "v_unseen",
    "J_mean_printed": "j_mean",
    "F_mean_printed": "f_mean",
    "V_mean_printed": "v_mean",
    "J&F_printed": "jf_mean",
}


def test_lvos(golden, unpacked):
    block = golden["lvos_style"]
    root = unpacked("davis/osvos_vs_rvos_6seq")
    dataset = load_dataset("davis2017", root=root / "pairs")
    results = TrackerResults(root / "pairs-predictions" / "rvos_matched", CODECS["davis"])
    scores = {}
    for name in dataset:
        unseen = frozenset(["unseen"] if name in ("judo", "lab-coat", "shooting") else [])
        scores[name] = Lvos().score(replace(dataset[name], attributes=unseen), results)
    assert differences(block["overall"], Lvos().overall(list(scores.values())), LVOS_NAMES, 1.0) == []
    for measure, values in block["per_object"].items():
        for key, value in values.items():
            name, _, object_id = key.rpartition("_")
            assert scores[name].objects[int(object_id)][f"{measure.lower()}_mean"] == pytest.approx(
                value, abs=TOLERANCE
            )
