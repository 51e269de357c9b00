"""Every number of the official programs that the protocols cover, on real trackers' results, to 1e-6."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mosam.datasets.base import load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.scores import Scores

TOLERANCE = 1e-6
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


@pytest.fixture(scope="session")
def score_lasot(unpacked: Callable[[str], Path]) -> Callable[[str, str], Scores]:
    dataset = load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations"))

    def score(tracker: str, protocol: str) -> Scores:
        folder = unpacked(f"lasot/results_{tracker}") / tracker
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
