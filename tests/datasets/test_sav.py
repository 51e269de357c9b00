import json

import numpy as np
import pytest
from trees import SIZE, label_map, stems, write_frames, write_labels, write_text

from mosam.codecs import CODECS, CodecOptions
from mosam.codecs.coco import encode_rle
from mosam.datasets.base import load_dataset
from mosam.datasets.check import check
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.types import FrameOutput, ObjectOutput

A, B = (2, 1, 6, 6), (5, 3, 6, 6)


def write_video(folder, objects=(A, B), *, count=9, name="sav_000001"):
    write_frames(folder / "JPEGImages_24fps" / name, stems(count))
    for number, box in enumerate(objects):
        for t in range(0, count, 4):
            write_labels(folder / "Annotations_6fps" / name / f"{number:03d}" / f"{t:05d}.png", label_map({1: box}))


def test_overlapping_masks_of_every_fourth_frame(tmp_path):
    write_video(tmp_path / "sav_val")
    write_text(tmp_path / "sav_val" / "sav_val.txt", "sav_000001\n")
    dataset = load_dataset("sav", root=tmp_path)
    assert check(dataset) == []
    sequence = dataset["sav_000001"]
    assert (sequence.object_ids, len(sequence), sequence.frames_out) == ((1, 2), 9, (0, 4, 8))
    masks = sequence.truth.read(4)
    assert (masks[1] & masks[2]).any()
    np.testing.assert_array_equal(masks[2], label_map({1: B}) == 1)
    assert [p.frame_index for p in sequence.prompts] == [0, 0]
    assert load_dataset("sav", root=tmp_path, prompt="box")["sav_000001"].prompts[1].box.tolist() == list(B)


def test_results_keep_the_overlap(tmp_path):
    write_video(tmp_path / "sav_test")
    sequence = load_dataset("sav", root=tmp_path, split="test")["sav_000001"]
    truth, codec = sequence.truth, CODECS["sav"]
    assert not codec.non_overlap
    writer = codec.writer(tmp_path / "out", sequence, CodecOptions())
    masks = truth.read(0)
    for t in range(9):
        objects = {i: ObjectOutput(mask, 1.0, 1.0) for i, mask in masks.items() if not (i == 2 and t == 8)}
        writer.add(FrameOutput(t, objects), 0.1)
    writer.finish()
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert files == [f"sav_000001/{i}/{t:05d}.png" for i in ("000", "001") for t in (0, 4, 8)]
    result = codec.read_masks(tmp_path / "out", sequence)
    for key, mask in masks.items():
        np.testing.assert_array_equal(result.read(4)[key], mask)
    assert set(result.read(8)) == {1}
    with pytest.raises(MismatchError, match="expected a use for masks that overlap"):
        result.labels(0)
    (tmp_path / "out" / files[0]).unlink()
    with pytest.raises(MissingDataError, match=r"000/00000\.png: expected a label map, found nothing"):
        result.read(0)


def test_bad_videos_are_one_line(tmp_path):
    write_video(tmp_path)  # the root is the split's folder
    dataset = load_dataset("sav", root=tmp_path)
    maps = tmp_path / "Annotations_6fps" / "sav_000001"
    write_labels(maps / "001" / "00099.png", label_map({1: A}))
    with pytest.raises(DataError, match="expected masks of the video's frames, got 00099 besides"):
        dataset["sav_000001"]
    (maps / "001" / "00099.png").unlink()
    write_labels(maps / "001" / "00004.png", label_map({1: A}, size=(3, 3)))
    assert any("expected 10x14 (height x width) as the first mask, got 3x3" in line for line in check(dataset))
    write_labels(maps / "001" / "00000.png", label_map({}))
    with pytest.raises(DataError, match=r"001/00000\.png: expected a mask to start with, got an empty one"):
        _ = dataset["sav_000001"].prompts
    (maps / "001" / "00000.png").unlink()
    with pytest.raises(DataError, match=r"001: expected 00000\.png, every object is given on the first frame"):
        dataset["sav_000001"]
    (maps / "obj").mkdir()
    with pytest.raises(DataError, match="obj: expected folders of objects, named 000, 001"):
        dataset["sav_000001"]


def test_wrong_root(tmp_path):
    with pytest.raises(MissingDataError, match=r"(?s)found no sav_val/Annotations_6fps; expected tree:.*JPEG"):
        load_dataset("sav", root=tmp_path)
    with pytest.raises(MissingDataError, match=r"found no file of masklets \(\*_manual\.json\) in sav_train"):
        load_dataset("sav", root=tmp_path, split="train")


# ---- train


def write_masklets(path, frames):
    write_text(path, json.dumps({"masklet": frames}))


def test_train_reads_run_lengths(tmp_path):
    rles = [[encode_rle(label_map({1: box}) == 1) for box in boxes] for boxes in ((A, (0, 0, 0, 0)), (A, B), (A, B))]
    write_masklets(tmp_path / "sav_train" / "sav_007" / "clip_manual.json", rles)
    write_frames(tmp_path / "sav_train" / "sav_007" / "clip", stems(10))
    dataset = load_dataset("sav", root=tmp_path, split="train")
    sequence = dataset["clip"]
    assert (sequence.object_ids, len(sequence), sequence.frames_out) == ((1, 2), 10, (0, 4, 8))
    assert [(p.object_id, p.frame_index) for p in sequence.prompts] == [(1, 0), (2, 4)]
    np.testing.assert_array_equal(sequence.truth.read(8)[2], label_map({1: B}) == 1)
    assert check(dataset) == []


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], 'expected "masklet"'),
        ([[]], 'expected "masklet"'),
        ([[{}], [{}, {}]], 'expected "masklet"'),
        ([[{}]] * 9, "expected masklets of 10 frames, every fourth, got 9"),
        ([[{}]] * 3, "expected the size of a mask"),
        ([[{"size": list(SIZE), "counts": "00"}]] * 3, "expected run lengths of 10x14 pixels, got 0 in sum"),
        ([[encode_rle(np.zeros(SIZE, bool))]] * 3, "expected a mask of each of 1 objects, got 0"),
    ],
)
def test_bad_masklets_are_one_line(tmp_path, frames, message):
    write_masklets(tmp_path / "clip_manual.json", frames)
    write_frames(tmp_path / "clip", stems(10))
    with pytest.raises(DataError, match=message):
        _ = load_dataset("sav", root=tmp_path, split="train")["clip"].prompts
