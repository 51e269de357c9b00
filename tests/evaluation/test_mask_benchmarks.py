"""From a made tree to scores: SA-V, YouTube-VOS, MOSE v2 and unsupervised DAVIS, perfect results and worse ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mosam.codecs import CODECS, CodecOptions, read_labels, write_labels
from mosam.commands.submit import submit
from mosam.datasets.base import Dataset, load_dataset
from mosam.datasets.make import make_tree
from mosam.errors import DataError, MissingDataError
from mosam.evaluation.evaluate import evaluate
from mosam.types import FrameOutput, ObjectOutput


def write_perfect(dataset: Dataset, folder: Path) -> Path:
    """The truth as if tracked; frames without annotation repeat the last one."""
    for sequence in map(dataset.__getitem__, dataset):
        truth = sequence.truth
        writer = CODECS[dataset.info.result_format].writer(folder, sequence, CodecOptions())
        masks: dict[int, np.ndarray] = {}
        for t in range(len(sequence)):
            if t in truth.frame_indices:
                masks = dict(truth.read(t))
            writer.add(FrameOutput(t, {i: ObjectOutput(mask, 1.0, 1.0) for i, mask in masks.items()}), 0.01)
        writer.finish()
    return folder


def made(name: str, root: Path, split: str | None = None) -> Path:
    return make_tree(name, root, split=split, frames=11, scale=8)


TREES = [("sav", "val"), ("sav", "train"), ("ytvos2018", "train"), ("mose-v2", "train")]


@pytest.mark.parametrize(("name", "split"), TREES)
def test_perfect_results_of_a_made_tree(tmp_path, name, split):
    dataset = load_dataset(name, root=made(name, tmp_path / "tree", split), split=split)
    scores = evaluate(write_perfect(dataset, tmp_path / "results"), dataset)
    assert scores.protocol == dataset.info.protocol
    assert {scores.overall[name] for name in ("jf_mean", "j_mean", "f_mean")} == {1.0}


def as_valid(root: Path) -> Path:
    """A training set of YouTube-VOS as a validation set whose annotation somebody has, beside the training list."""
    shutil.move(root / "train", root / "valid")
    shutil.move(root / "train_all_frames", root / "valid_all_frames")
    listing = root / "valid" / "meta.json"
    videos = json.loads(listing.read_text())
    for video in videos["videos"].values():
        for number, value in enumerate(video["objects"].values()):
            value["category"] = ("ape", "zorilla")[number % 2]
    listing.write_text(json.dumps(videos))
    (root / "train").mkdir()
    training = {"videos": {"a": {"objects": {"1": {"category": "ape", "frames": []}}}}}
    (root / "train" / "meta.json").write_text(json.dumps(training))
    return root


def test_youtube_vos_with_local_ground_truth(tmp_path):
    root = as_valid(made("ytvos2019", tmp_path / "tree", "train"))
    dataset = load_dataset("ytvos2019", root=root)
    assert dataset.has_truth
    for sequence in map(dataset.__getitem__, dataset):
        assert sequence.truth.groups == dict(zip(sequence.object_ids, ("seen", "unseen", "seen"), strict=False))
    folder = write_perfect(dataset, tmp_path / "results")
    name = next(iter(dataset))
    unseen = dataset[name].object_ids[1]
    for path in (folder / name).glob("*.png"):  # the unseen object of the first video is lost
        labels = read_labels(path).copy()
        labels[labels == unseen] = 0
        write_labels(path, labels)
    overall = evaluate(folder, dataset).overall
    assert overall["j_seen"] == overall["f_seen"] == 1.0
    assert overall["j_unseen"] == pytest.approx(0.5, abs=0.2)
    assert overall["j_mean"] == (overall["j_seen"] + overall["j_unseen"]) / 2
    assert overall["jf_mean"] == (overall["j_mean"] + overall["f_mean"]) / 2


@pytest.mark.parametrize("name", ["ytvos2018", "mose", "mose-v2", "lvos-v2"])
def test_a_tree_as_published_has_no_truth(tmp_path, name):
    split = "test" if name == "lvos-v2" else "valid"
    dataset = load_dataset(name, root=made(name, tmp_path / "tree", split), split=split)
    assert not dataset.has_truth
    assert dataset[next(iter(dataset))].load_truth is None
    with pytest.raises(MissingDataError, match="the ground truth is not published; see mosam submit"):
        evaluate(tmp_path, dataset)


def test_mose_with_local_ground_truth_and_no_frames(tmp_path):
    root = made("mose-v2", tmp_path / "tree", "train")
    shutil.move(root / "train", root / "valid")
    dataset = load_dataset("mose-v2", root=root)
    folder = write_perfect(dataset, tmp_path / "results")
    shutil.rmtree(root / "valid" / "JPEGImages")
    dataset = load_dataset("mose-v2", root=root)
    assert dataset.has_truth
    assert evaluate(folder, dataset).overall["jf_mean"] == 1.0


def test_unsupervised_davis_reads_the_annotation_of_its_task(tmp_path):
    root = made("davis2017", tmp_path / "tree")
    plain = load_dataset("davis2017", root=root)
    folder = write_perfect(plain, tmp_path / "results")
    assert evaluate(folder, plain, protocol="davis2017-unsupervised").overall["jf_mean"] == 1.0
    before = plain.annotation_hash()
    shutil.copytree(root / "Annotations", root / "Annotations_unsupervised")
    name = next(iter(plain))
    for path in (root / "Annotations_unsupervised" / "480p" / name).glob("*.png"):
        shutil.copy(root / "Annotations" / "480p" / name / "00000.png", path)
    other = load_dataset("davis2017", root=root)
    assert other.annotation_hash() != before
    assert evaluate(folder, other, protocol="davis2017").overall["jf_mean"] == 1.0
    assert evaluate(folder, other, protocol="davis2017-unsupervised").overall["jf_mean"] < 1.0


def test_unsupervised_annotation_that_lacks_a_frame_is_named(tmp_path):
    root = made("davis2017", tmp_path / "tree")
    shutil.copytree(root / "Annotations", root / "Annotations_unsupervised")
    name = next(iter(load_dataset("davis2017", root=root)))
    (root / "Annotations_unsupervised" / "480p" / name / "00003.png").unlink()
    with pytest.raises(DataError, match="00003 absent"):
        load_dataset("davis2017", root=root)[name]


def test_results_of_a_withheld_split_can_be_submitted_where_the_tree_holds_its_truth(tmp_path):
    dataset = load_dataset("ytvos2019", root=as_valid(made("ytvos2019", tmp_path / "tree", "train")))
    folder = write_perfect(dataset, tmp_path / "results")
    submit(dataset, folder, None, tmp_path / "out.zip")
    assert (tmp_path / "out.zip").is_file()
