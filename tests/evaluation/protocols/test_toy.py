from __future__ import annotations

import numpy as np
import pytest

from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.base import load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.types import FrameOutput, ObjectOutput


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("toy").select(["late-1", "full_occlusion-1"])


def write(folder, dataset, change=lambda frame_index, masks: masks) -> None:
    """The true masks, changed, as a tracker would write them."""
    codec = CODECS["toy"]
    for name in dataset:
        sequence = dataset[name]
        writer = codec.writer(folder, sequence, CodecOptions(box_from_mask="inclusive"))
        for frame_index in range(len(sequence)):
            masks = change(frame_index, dict(sequence.truth.read(frame_index)))
            objects = {i: ObjectOutput(mask, 1.0, 1.0) for i, mask in masks.items()}
            writer.add(FrameOutput(frame_index, objects), 0.5)
        writer.finish()


def test_perfect(tmp_path, dataset):
    write(tmp_path, dataset)
    scores = evaluate(tmp_path, dataset)
    assert scores.overall == pytest.approx(
        {
            **dict.fromkeys(
                (
                    "jf_mean",
                    "j_mean",
                    "f_mean",
                    "j_recall",
                    "f_recall",
                    "op50",
                    "precision",
                    "norm_precision",
                    "presence",
                ),
                1.0,
            ),
            **{"j_decay": 0.0, "f_decay": 0.0, "success_auc": 20 / 21, "fps": 2.0, "ms_median": 500.0, "ms_p95": 500.0},
        }
    )
    assert set(scores.attributes) >= {"late_object", "full_occlusion"}
    assert set(scores.objects["late-1"]) == {1, 2}
    assert scores.coverage == "2 of 24 official sequences"


def test_a_tracker_that_never_lets_go_is_wrong_about_presence(tmp_path, dataset):
    held: dict[int, np.ndarray] = {}

    def hold(frame_index, masks):
        for object_id, mask in masks.items():
            if mask.any():
                held[object_id] = mask
        return masks | {i: m for i, m in held.items() if i in masks and frame_index}

    sequence = dataset.select(["full_occlusion-1"])
    write(tmp_path, sequence, hold)
    scores = evaluate(tmp_path, sequence)
    gone = np.mean([not sequence["full_occlusion-1"].truth.read(t)[1].any() for t in range(1, 70)])
    assert 0 < gone < 1
    assert scores.objects["full_occlusion-1"][1]["presence"] == pytest.approx(1 - gone)
    assert scores.objects["full_occlusion-1"][1]["j_mean"] == pytest.approx(1 - gone)
    # boxes are compared where the object shows, and there they are right
    assert scores.objects["full_occlusion-1"][1]["success_auc"] == pytest.approx(20 / 21)


def test_nothing_found(tmp_path, dataset):
    write(tmp_path, dataset, lambda frame_index, masks: {})
    values = evaluate(tmp_path, dataset).overall
    assert (values["success_auc"], values["precision"], values["op50"]) == (0, 0, 0)
    assert 0 < values["presence"] < 0.5  # right only while the object was gone
    assert values["jf_mean"] == pytest.approx(values["presence"])


def test_as_vot_would_score_it(tmp_path, dataset):
    write(tmp_path / "perfect", dataset)
    perfect = evaluate(tmp_path / "perfect", dataset, protocol="toy-vot")
    assert {name: perfect.overall[name] for name in ("eao", "accuracy", "robustness")} == {
        "eao": pytest.approx(1), "accuracy": 1, "robustness": 1,
    }  # fmt: skip
    # lost for good on frame 20: robustness is the share of frames before it, and nothing after it counts
    one = dataset.select(["late-1"])
    write(tmp_path / "lost", one, lambda frame_index, masks: masks if frame_index < 20 else {})
    lost = evaluate(tmp_path / "lost", one, protocol="toy-vot")
    starts = [prompt.frame_index for prompt in one["late-1"].prompts]
    assert min(starts) == 0
    tracked, length = sum(max(0, 20 - start) for start in starts), len(one["late-1"])
    assert lost.overall["robustness"] == pytest.approx(tracked / sum(length - start for start in starts))
    assert lost.overall["accuracy"] == 1
    assert 0.1 < lost.overall["eao"] < 0.5
    assert len(lost.curves["eao"]) == length


def test_every_curve_of_boxes(tmp_path, dataset):
    write(tmp_path, dataset)
    curves = evaluate(tmp_path, dataset).curves
    assert {name: len(curve) for name, curve in curves.items()} == {
        "success": 21,
        "precision": 51,
        "norm_precision": 51,
    }
    assert set(curves["norm_precision"]) == {1.0}
