from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cups import Cups, boxes
from figure_cases import write_toy
from vot_cases import DATASETS as DATASET_OF
from vot_cases import experiment_files, write_files

from mosam.datasets.base import DATASETS, load_dataset
from mosam.errors import MissingDataError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.framewise import read_tracked, true_shapes
from mosam.evaluation.metrics.multistart import frames_before_failure


def shifted(frame_index, masks):
    return {key: np.roll(mask, frame_index % 7, axis=1) for key, mask in masks.items() if frame_index % 5}


def test_masks_add_up_to_the_score(tmp_path):
    dataset = load_dataset("toy").select(["late-1", "full_occlusion-1"])
    write_toy(tmp_path / "x", dataset, shifted)
    scores = evaluate(tmp_path / "x", dataset)
    for name in dataset:
        tracked = read_tracked(tmp_path / "x", dataset, name)
        assert (tracked.tracker, tracked.model, tracked.has_boundaries) == ("x", None, True)
        prompts = {prompt.object_id: prompt.frame_index for prompt in dataset[name].prompts}
        for item in tracked.objects:
            assert item.start == item.frames[0] == prompts[item.object_id]
            own = scores.objects[name][item.object_id]
            assert item.iou[1:].mean() == pytest.approx(own["j_mean"], abs=1e-12)
            assert item.f[1:].mean() == pytest.approx(own["f_mean"], abs=1e-12)
            assert item.quality[1:].mean() == pytest.approx(own["jf_mean"], abs=1e-12)
            agrees = item.visible == item.predicted
            assert agrees[1:].mean() == pytest.approx(own["presence"], abs=1e-12)
            both = item.visible & item.predicted
            assert np.isfinite(item.center_error[both]).all()
            assert np.isnan(item.center_error[~both]).all()


def test_boxes_add_up_to_the_score(tmp_path):
    cups = Cups(None)
    folder = tmp_path / "x"
    folder.mkdir()
    table = boxes("cup-1") + np.array([3.0, 4, 0, 0])
    table[4] = 0
    np.savetxt(folder / "cup-1.txt", table, delimiter=",")
    [item] = read_tracked(folder, cups, "cup-1").objects
    assert item.center_error[[0, 3]] == pytest.approx(5)
    assert list(np.flatnonzero(~item.predicted)) == [4]
    assert item.iou[4] == 0
    assert np.isnan(item.center_error[4])
    assert np.isnan(item.f).all()
    assert (item.quality == item.iou).all()


def test_what_is_annotated_and_said_on_a_frame(tmp_path):
    dataset = load_dataset("toy").select(["full_occlusion-1"])
    write_toy(tmp_path / "x", dataset, lambda frame, masks: {} if frame == 3 else masks)
    tracked, sequence = read_tracked(tmp_path / "x", dataset, "full_occlusion-1"), dataset["full_occlusion-1"]
    assert (tracked.shapes(2)[1] == sequence.truth.read(2)[1]).all()
    assert tracked.shapes(3) == {}
    gone = int(tracked.objects[0].frames[~tracked.objects[0].visible][0])
    assert true_shapes(sequence, gone) == {}
    assert (true_shapes(sequence, 2)[1] == sequence.truth.read(2)[1]).all()


@pytest.mark.parametrize("kind", ["supervised", "multistart", "longterm", "vots"])
def test_regions_of_every_experiment(tmp_path, kind):
    write_files(tmp_path, experiment_files(kind, seed=1))
    challenge = DATASETS[DATASET_OF[kind]]
    dataset = replace(challenge, info=replace(challenge.info, no_truth=()))(tmp_path / "sequences")
    folder, name = tmp_path / "results" / "A", next(iter(dataset))
    tracked, truth = read_tracked(folder, dataset, name), dataset[name].truth
    scores = evaluate(folder, dataset)
    assert {item.object_id for item in tracked.objects} == set(truth.object_ids)
    if kind == "multistart":
        assert {item.run for item in tracked.objects} == {f"anchor {anchor.frame}" for anchor in truth.anchors}
    for item in tracked.objects:
        assert (np.diff(item.frames) == 1).all()
        known = item.iou[~np.isnan(item.iou)]
        assert known.size
        assert ((known >= 0) & (known <= 1)).all()
        assert kind == "supervised" or not item.failed.any()
    if kind == "supervised":
        failures = [int(item.failed.sum()) for item in tracked.objects]
        assert max(failures) > 0
        assert np.mean(failures) == pytest.approx(scores.sequences[name]["failures"])
    if kind == "multistart":
        progress = [_progress(item, truth.anchors) for item in tracked.objects]
        share = sum(done for done, _ in progress) / sum(count for _, count in progress)
        assert share == pytest.approx(scores.sequences[name]["robustness"])
    frame = int(tracked.objects[0].frames[-1])
    assert set(tracked.shapes(frame)) <= set(truth.object_ids)
    assert set(true_shapes(dataset[name], frame)) <= set(truth.object_ids)


def _progress(item, anchors) -> tuple[int, int]:
    """Frames before the failure in the order played, and all frames of the run."""
    forward = next(anchor.forward for anchor in anchors if f"anchor {anchor.frame}" == item.run)
    iou, visible = (column if forward else column[::-1] for column in (item.iou, item.visible))
    return frames_before_failure(iou, ~visible), len(iou)


def test_missing_and_short_results(tmp_path):
    cups = Cups(None)
    folder = tmp_path / "x"
    folder.mkdir()
    np.savetxt(folder / "cup-1.txt", boxes("cup-1")[:4], delimiter=",")
    with pytest.raises(MissingDataError, match="expected results of all of cup-1, got 4 of 10 rows"):
        read_tracked(folder, cups, "cup-1")
    with pytest.raises(MissingDataError, match="expected results of cup-2, found none; make them with --sequences"):
        read_tracked(folder, cups, "cup-2")
