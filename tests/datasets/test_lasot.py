import time

import numpy as np
import pytest
from trees import stems, write_frames, write_lasot_sequence, write_text

from mosam.datasets.base import load_dataset
from mosam.errors import DataError, MissingDataError

LAYOUTS = ("bear/bear-1", "bear-1", "bear/bear/bear-1", "bear/bear-1/bear-1", "bear-1/bear-1")


def _one(root, **options):
    """A tree of one sequence with a list of its own."""
    write_lasot_sequence(root / "bear" / "bear-1", **options)
    write_text(root / "testing_set.txt", "bear-1")
    return load_dataset("lasot", root=root)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_class_folders_flat_and_doubled(tmp_path, layout):
    write_lasot_sequence(tmp_path / layout)
    write_text(tmp_path / "testing_set.txt", "bear-1")
    dataset = load_dataset("lasot", root=tmp_path)
    dataset.require(frames=True)
    sequence = dataset["bear-1"]
    assert (len(sequence), len(sequence.source)) == (4, 4)
    assert sequence.frame_names == tuple(stems(4, base=1, digits=8))


def test_class_is_the_name_up_to_the_last_dash(tmp_path):
    write_lasot_sequence(tmp_path / "a-b" / "a-b-1")
    write_text(tmp_path / "testing_set.txt", "a-b-1")
    load_dataset("lasot", root=tmp_path).require()


@pytest.mark.parametrize("absent", ["official", "column", "union"])
def test_boxes_as_annotated_and_absent_by_either_flag(tmp_path, absent):
    sequence = _one(tmp_path, absent=absent)["bear-1"]
    np.testing.assert_array_equal(sequence.truth.boxes, [[2, 1, 5, 4], [3, 2, 5, 4], [4, 3, 5, 4], [5, 4, 5, 4]])
    assert sequence.truth.absent.tolist() == [False, True, True, False]
    (prompt,) = sequence.prompts
    assert (prompt.object_id, prompt.frame_index, prompt.box.tolist()) == (1, 0, [2, 1, 5, 4])
    assert sequence.object_ids == (1,)


def test_own_list_wins_and_is_reported(tmp_path):
    dataset = _one(tmp_path)
    assert list(dataset) == ["bear-1"]
    assert dataset.subset == "1 of 280 official sequences"
    write_text(tmp_path / "training_set.txt", "bear-1\n")
    assert load_dataset("lasot", root=tmp_path, split="train").subset == "1 of 1120 official sequences"


def test_without_a_list_the_official_one_is_demanded(tmp_path):
    write_lasot_sequence(tmp_path / "airplane" / "airplane-1")
    dataset = load_dataset("lasot", root=tmp_path)
    assert len(dataset) == 280
    assert dataset.subset is None
    with pytest.raises(
        MissingDataError, match=r"279 are absent: airplane-9, airplane-13, airplane-15 and 276 more; .*--limit"
    ):
        dataset.require()
    dataset.select(["airplane-1"]).require()
    with pytest.raises(DataError, match=r"airplane/airplane-9: expected groundtruth\.txt, found none"):
        dataset["airplane-9"]


def test_wrong_layout_shows_the_tree(tmp_path):
    write_frames(tmp_path / "img", ["00000001"])
    with pytest.raises(
        MissingDataError, match=r"(?s)expected LaSOT, found none of its 280 test sequences; expected tree:.*img/"
    ):
        load_dataset("lasot", root=tmp_path)


def test_attributes_of_the_test_set(tmp_path):
    write_lasot_sequence(tmp_path / "airplane" / "airplane-1")
    assert load_dataset("lasot", root=tmp_path)["airplane-1"].attributes == {"POC", "ROT", "SV", "LR"}


def test_annotation_alone_is_enough_to_score(tmp_path):
    dataset = _one(tmp_path, images=0)
    dataset.require()
    assert dataset.missing(frames=True) == ("bear-1",)
    sequence = dataset["bear-1"]
    assert (len(sequence), len(sequence.source), sequence.size) == (4, 0, None)
    assert sequence.frame_names == tuple(stems(4, base=1, digits=8))
    with pytest.raises(MissingDataError, match="img: expected the frames"):
        sequence.source.read(0)


def test_one_image_too_many_is_left_out(tmp_path):
    sequence = _one(tmp_path, count=4, images=5)["bear-1"]
    assert len(sequence) == len(sequence.source) == len(sequence.truth) == 4


def test_monkey_17_is_cut_to_its_rows(tmp_path):
    write_lasot_sequence(tmp_path / "monkey-17", count=4, images=9)
    write_text(tmp_path / "testing_set.txt", "monkey-17")
    assert len(load_dataset("lasot", root=tmp_path)["monkey-17"].source) == 4


@pytest.mark.parametrize(("rows", "images"), [(4, 6), (4, 3)], ids=["truth shorter", "truth longer"])
def test_rows_and_images_that_differ(tmp_path, rows, images):
    with pytest.raises(
        DataError, match=rf"groundtruth\.txt: expected {images} rows, one for each image of img/, got {rows}"
    ):
        _one(tmp_path, count=rows, images=images)["bear-1"]


def test_empty_image_folder(tmp_path):
    dataset = _one(tmp_path, images=0)
    (tmp_path / "bear" / "bear-1" / "img").mkdir()
    with pytest.raises(DataError, match=r"img: expected frames .*, got none"):
        dataset["bear-1"]


@pytest.mark.parametrize("row", ["nan,nan,nan,nan", "1,2,0,4", "1,2,3,0", "1,2,-3,4", "0,0,0,0", "1,nan,3,4"])
def test_first_box_that_cannot_start_a_track(tmp_path, row):
    dataset = _one(tmp_path)
    write_text(tmp_path / "bear" / "bear-1" / "groundtruth.txt", f"{row}\n1,2,3,4\n1,2,3,4\n1,2,3,4\n")
    sequence = dataset["bear-1"]
    assert len(sequence.truth) == 4
    with pytest.raises(DataError, match=rf"groundtruth\.txt:1: expected a first box with w > 0 and h > 0, got {row};"):
        _ = sequence.prompts


def test_later_boxes_without_area_are_kept(tmp_path):
    dataset = _one(tmp_path)
    write_text(tmp_path / "bear" / "bear-1" / "groundtruth.txt", "1,2,3,4\n0,0,0,0\n1,1,-1,-1\nnan,nan,nan,nan")
    boxes = dataset["bear-1"].truth.boxes
    np.testing.assert_array_equal(boxes, [[1, 2, 3, 4], [0, 0, 0, 0], [1, 1, -1, -1], [np.nan] * 4])


def test_bad_text(tmp_path):
    dataset = _one(tmp_path)
    folder = tmp_path / "bear" / "bear-1"
    write_text(folder / "out_of_view.txt", "0,0,0")
    with pytest.raises(DataError, match=r"out_of_view\.txt: expected 4 flags, one for each annotated frame, got 3"):
        _ = dataset["bear-1"].truth
    (folder / "out_of_view.txt").unlink()
    with pytest.raises(DataError, match=r"bear-1: expected full_occlusion\.txt and out_of_view\.txt, or absent\.txt"):
        _ = dataset["bear-1"].truth
    assert dataset["bear-1"].prompts  # enough to run
    write_text(folder / "groundtruth.txt", "1,2,3,4\n1,2,3\n")
    with pytest.raises(DataError, match=r"groundtruth\.txt:2: expected 4 numbers, got '1,2,3'"):
        dataset["bear-1"]


# ---- the real annotation


def test_the_280_test_annotations(unpacked):
    dataset = load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations"))
    assert (len(dataset), dataset.subset) == (280, None)
    dataset.require()
    truths = {name: dataset[name].truth for name in dataset}
    assert sum(map(len, truths.values())) == 685_360
    assert sum(int(truth.absent.sum()) for truth in truths.values()) == 18_346
    sides = {name: truth.boxes[:, 2:] for name, truth in truths.items()}
    assert sum(int((side <= 0).any(axis=1).sum()) for side in sides.values()) == 10_289
    negative = [(name, int(t) + 1) for name, side in sides.items() for t in np.flatnonzero((side < 0).any(axis=1))]
    assert sorted(negative) == [("lion-5", 553), ("tiger-6", 118)]
    shown = [(n, int(t) + 1) for n in truths for t in np.flatnonzero((sides[n] <= 0).any(axis=1) & ~truths[n].absent)]
    assert sorted(shown) == [("lion-5", 553), ("microphone-6", 1109), ("tiger-6", 118)]
    assert len(truths["monkey-17"]) == 2260
    assert all(len(dataset[name].prompts) == 1 for name in dataset)


def test_the_280_test_annotations_are_fast(unpacked):
    dataset = load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations"))
    started = time.process_time()  # of this process alone: other work on the machine does not count
    for name in dataset:
        _ = dataset[name].truth
    assert time.process_time() - started < 2.0
