from __future__ import annotations

import pickle

import numpy as np
import pytest
from trees import stems, write_frames

from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.region_truth import Anchor, RegionTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.regions.trajectory import Point, Rectangle, Special, Trajectory

RECTANGLES = "1,2,3,4\n2,2,3,4\n1,1,6,1,6,5,1,5\nnan,nan,nan,nan\n"  # rectangles and a polygon in one file
MASKS = "m1,2,3,2,1,5\nm0,0,0,0,0\n0\nm2,2,2,2,0,4\n"
METADATA = "name=a\nfps=30\nchannels.color=color/%08d.jpg\nwidth=14\nheight=10\nlength=4\n"


def write_sequence(folder, *, metadata=METADATA, frames="color", **files):
    """One sequence; files by name with `__` for the dot."""
    folder.mkdir(parents=True)
    for name, text in {"groundtruth__txt": RECTANGLES, **files}.items():
        if text is not None:
            (folder / ".".join(name.rsplit("__", 1))).write_text(text)
    if metadata is not None:
        (folder / "sequence").write_text(metadata)
    if frames is not None:
        write_frames(folder / frames, stems(4, base=1, digits=8))
    return folder


def one(tmp_path, name="vot2019", prompt=None, **options):
    write_sequence(tmp_path / "a", **options)
    return load_dataset(name, root=tmp_path, prompt=prompt)["a"]


@pytest.mark.parametrize("inner", ["", "sequences"])
def test_roots_with_and_without_a_list(tmp_path, inner):
    root = tmp_path / inner if inner else tmp_path
    for name in ("b", "a"):
        write_sequence(root / name)
    assert list(load_dataset("vot2019", root=tmp_path)) == ["a", "b"]
    (root / "list.txt").write_text("b\na")
    dataset = load_dataset("vot2019", root=tmp_path)
    assert list(dataset) == ["b", "a"]
    assert dataset.subset == "2 of 60 official sequences"
    dataset.require(frames=True)
    (root / "list.txt").write_text("b\nc")
    with pytest.raises(MissingDataError, match="1 are absent: c"):
        load_dataset("vot2019", root=tmp_path).require()


def test_a_root_of_something_else(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(MissingDataError, match="found no sequence") as error:
        load_dataset("vot2019", root=tmp_path)
    assert "groundtruth.txt" in str(error.value)


def test_mixed_rows_tags_and_values(tmp_path):
    sequence = one(tmp_path, occlusion__tag="1\n0\n", camera_motion__label="0\n0\n0\n1\n", size__value="0.5\n2\n")
    truth = sequence.truth
    assert isinstance(truth, RegionTruth)
    assert [type(region).__name__ for region in truth.single] == ["Rectangle", "Rectangle", "Polygon", "Special"]
    assert truth.tags["occlusion"].tolist() == [True, False, False, False]  # short files are padded
    assert truth.tags["camera_motion"].tolist() == [False, False, False, True]
    assert truth.values["size"].tolist() == [0.5, 2, 0, 0]
    assert sequence.attributes == {"occlusion", "camera_motion"}
    assert (sequence.size, len(sequence), sequence.eao_interval) == ((10, 14), 4, (46, 291))
    assert sequence.frame_names == tuple(stems(4, base=1, digits=8))
    (prompt,) = sequence.prompts
    assert prompt.box.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("frames", ["color", "."])
def test_old_archives_have_no_metadata(tmp_path, frames):
    sequence = one(tmp_path, metadata=None, frames=frames, groundtruth__txt="1,2,3,4\n2,2,3,4\n")
    assert (len(sequence), sequence.size, len(sequence.source)) == (4, (10, 14), 4)
    assert [type(region) for region in sequence.truth.single] == [Rectangle, Rectangle, Special, Special]
    assert sequence.source.read(3).shape == (10, 14, 3)


def test_annotation_alone_is_enough_to_score(tmp_path):
    sequence = one(tmp_path, frames=None)
    assert (len(sequence), sequence.size, len(sequence.source)) == (4, (10, 14), 0)
    with pytest.raises(MissingDataError, match="annotation only"):
        sequence.source.read(0)


def test_frames_are_not_looked_for_until_read(tmp_path, monkeypatch):
    sequence = one(tmp_path)
    monkeypatch.setattr("mosam.datasets.region_folders.frames_or_none", None)  # calling it would raise
    assert sequence.truth.size == (10, 14)


def test_fewer_pictures_than_frames(tmp_path):
    sequence = one(tmp_path, metadata=METADATA.replace("length=4", "length=6"))
    with pytest.raises(DataError, match="expected 6 frames, got 4 pictures"):
        sequence.source.read(0)


def test_more_pictures_than_frames(tmp_path):
    sequence = one(tmp_path, metadata=METADATA.replace("length=4", "length=3"), groundtruth__txt="1,2,3,4\n")
    assert len(sequence.source) == len(sequence) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groundtruth__txt": "1,2,3,4\nx\n"}, r"groundtruth\.txt:2: expected numbers"),
        ({"groundtruth__txt": "1,2,3,4\n" * 5}, "expected at most 4 regions, one a frame, got 5"),
        ({"metadata": "name"}, r"sequence:1: expected name=value"),
        ({"metadata": "length=four"}, "whole number of frames"),
        ({"metadata": f"{METADATA}length=999999999\n"}, "near the 4 annotated frames"),
        ({"occlusion__tag": "1\n" * 5}, "at most 4 lines"),
        ({"occlusion__tag": "1\nyes\n"}, r"occlusion\.tag:2"),
    ],
)
def test_damaged_annotation(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        assert one(tmp_path, **options).truth is None


def test_channels_stay_inside_the_sequence(tmp_path):
    sequence = one(tmp_path, metadata=METADATA.replace("color/%08d.jpg", "../b/%08d.jpg"))
    with pytest.raises(MismatchError, match="expected a folder of the sequence"):
        len(sequence.source)


def test_several_objects_and_an_ignored_one(tmp_path):
    files = {"groundtruth_10__txt": MASKS, "groundtruth_9__txt": f"0\n{MASKS[: MASKS.rindex('m')]}"}
    write_sequence(tmp_path / "a", groundtruth__txt=None, groundtruth__ignore__txt="m0,0,14,1,0,14\n", **files)
    assert load_dataset("vots2023", root=tmp_path).has_truth is False
    sequence = load_dataset("vots2023", root=tmp_path, split="val")["a"]
    assert (sequence.object_ids, sequence.object_names) == ((9, 10), {9: "9", 10: "10"})
    assert [(prompt.object_id, prompt.frame_index, prompt.kind) for prompt in sequence.prompts] == [
        (9, 1, "mask"),
        (10, 0, "mask"),
    ]
    truth = sequence.truth
    assert truth.void(0)[0].all()
    assert not truth.void(0)[1:].any()
    assert truth.void(1).sum() == 0
    masks = truth.read(3)
    assert (masks[10].sum(), masks[9].sum()) == (4, 0)
    with pytest.raises(MismatchError, match="expected one object, got 2"):
        assert truth.single


def test_objects_with_other_names_are_counted(tmp_path):
    files = {"groundtruth_left__txt": MASKS, "groundtruth_right__txt": MASKS}
    write_sequence(tmp_path / "a", groundtruth__txt=None, **files)
    sequence = load_dataset("vots2023", root=tmp_path)["a"]
    assert sequence.object_names == {1: "left", 2: "right"}
    with pytest.raises(MissingDataError, match="no published ground truth"):
        assert sequence.truth


def test_box_prompts_of_masks_hold_all_their_pixels(tmp_path):
    (mask,) = one(tmp_path, "vot2020-st", groundtruth__txt=MASKS).prompts
    assert mask.mask.sum() == 5
    (box,) = load_dataset("vot2020-st", root=tmp_path, prompt="box")["a"].prompts
    assert box.box.tolist() == [1, 2, 3, 2]
    with pytest.raises(DataError, match="choose --prompt box"):
        assert one(tmp_path / "other", "vot2020-st").prompts


def test_anchors_in_playing_order(tmp_path):
    truth = one(tmp_path, "vot2020-st", groundtruth__txt=MASKS, anchor__value="1\n0\n-1\n1\n").truth
    assert truth.anchors == (Anchor(0, True), Anchor(3, True), Anchor(2, False))
    assert [list(anchor.frames(4)) for anchor in truth.anchors] == [[0, 1, 2, 3], [3], [2, 1, 0]]
    assert truth.prompt(1, 3, "mask").mask.sum() == 4
    with pytest.raises(MismatchError, match="got an empty mask"):
        truth.prompt(1, 1, "mask")
    with pytest.raises(MismatchError, match="expected a region with width and height"):
        truth.prompt(1, 2, "box")


def test_restarts_pass_over_frames_without_a_region():
    regions = [Rectangle(0, 0, 5, 5)] * 10
    regions[7] = Special(0)
    truth = RegionTruth({1: Trajectory.of(regions)})
    assert truth.restart(1) == 6
    assert truth.restart(2) == 8
    assert truth.restart(1, skip=1) == 2
    assert truth.restart(5) is None


def test_points_start_trackers_too():
    truth = RegionTruth({1: Trajectory.of([Point(3, 4)])})
    prompt = truth.prompt(1, 0, "mask")
    assert prompt.points.tolist() == [[3, 4]]
    assert prompt.labels.tolist() == [1]
    with pytest.raises(MissingDataError, match="expected the size"):
        assert truth.size


def test_didi_starts_with_a_mask_of_its_own(tmp_path):
    write_sequence(tmp_path / "a", first_frame_segm__txt="m1,2,3,2,1,5\n")
    dataset = load_dataset("didi", root=tmp_path)
    (prompt,) = dataset["a"].prompts
    assert prompt.mask.sum() == 5
    (box,) = load_dataset("didi", root=tmp_path, prompt="box")["a"].prompts
    assert box.box.tolist() == [1, 2, 3, 4]
    (tmp_path / "a" / "first_frame_segm.txt").unlink()
    with pytest.raises(DataError, match=r"first_frame_segm\.txt: expected the first frame's mask"):
        assert dataset["a"].prompts


def test_every_challenge_is_there_and_goes_to_other_processes(tmp_path):
    write_sequence(tmp_path / "a")
    names = {f"vot{year}" for year in range(2013, 2020)} | {f"vot{year}-lt" for year in range(2018, 2023)}
    names |= {"vot2020-st", "vot2021-st", "vot2022-st", "vot2022-stb", "vots2023", "vots2024", "vots2025", "didi"}
    assert names <= set(DATASETS)
    for name in names:
        dataset = load_dataset(name, root=tmp_path)
        assert pickle.loads(pickle.dumps(dataset)).name == name
        assert len(dataset["a"]) == 4


def test_annotation_hash_sees_every_file(tmp_path):
    write_sequence(tmp_path / "a", occlusion__tag="1\n")
    first = load_dataset("vot2019", root=tmp_path).annotation_hash()
    (tmp_path / "a" / "occlusion.tag").write_text("0\n")
    assert load_dataset("vot2019", root=tmp_path).annotation_hash() != first


def test_vot2019_as_published(unpacked):
    dataset = load_dataset("vot2019", root=unpacked("vot2019/vot2019_annotations"))
    dataset.require()
    lengths = {name: len(dataset[name].truth) for name in dataset}
    assert (len(lengths), sum(lengths.values()), lengths["fish1"], dataset.subset) == (60, 19935, 366, None)
    rectangles = {name for name in dataset if (dataset[name].truth.single.kinds == 1).any()}
    assert rectangles == {"conduction1"}
    for name in ("graduate", "gymnastics1", "hand"):  # some tag files are shorter than the sequence
        assert {len(flags) for flags in dataset[name].truth.tags.values()} == {lengths[name]}
    assert np.isfinite(dataset["conduction1"].prompts[0].box).all()
