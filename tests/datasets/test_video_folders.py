"""LVOS, MOSE and YouTube-VOS: late objects, lists, and which frames are tracked, written and scored."""

import json

import numpy as np
import pytest
from trees import SIZE, label_map, write_frames, write_labels, write_text

from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.annotations import official_list
from mosam.datasets.base import load_dataset
from mosam.datasets.check import check
from mosam.errors import DataError, MissingDataError
from mosam.types import FrameOutput, ObjectOutput

A, B = (2, 1, 3, 3), (8, 4, 4, 4)


def write_split(folder, maps, *, frames=None, name="clip"):
    """Label maps by stem; pictures of the same stems or of `frames`."""
    for stem, objects in maps.items():
        write_labels(folder / "Annotations" / name / f"{stem}.png", label_map(objects))
    write_frames(folder / "JPEGImages" / name, maps if frames is None else frames)


def write_list(path, objects, name="clip"):
    write_text(path, json.dumps({"videos": {name: {"objects": objects}}}))


LVOS = {"00000001": {1: A}, "00000006": {1: A}, "00000011": {1: A, 4: B}, "00000016": {4: B}}


def lvos_range(start, end, count):
    return {"frame_range": {"start": str(start), "end": str(end), "frame_nums": str(count)}}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("folder", ["valid", "val", "."])
def test_lvos_shows_first_masks_only(tmp_path, folder, listed):
    write_split(tmp_path / folder, LVOS)
    if listed:
        write_list(tmp_path / folder / "valid_meta.json", {"1": lvos_range(1, 11, 3), "4": lvos_range(11, 16, 2)})
    dataset = load_dataset("lvos", root=tmp_path)
    sequence = dataset["clip"]
    assert sequence.frame_names == tuple(LVOS)
    assert sequence.object_ids == (1, 4)
    assert [(p.object_id, p.frame_index, int(p.mask.sum())) for p in sequence.prompts] == [(1, 0, 9), (4, 2, 16)]
    boxes = load_dataset("lvos", root=tmp_path, prompt="box")["clip"].prompts
    assert [(p.frame_index, p.box.tolist()) for p in boxes] == [(0, list(A)), (2, list(B))]
    assert check(dataset) == []
    truth = sequence.truth
    assert {key for key, mask in truth.read(3).items() if mask.any()} == {4}
    assert {key: (r.start, r.end, r.count) for key, r in truth.ranges.items()} == (
        {1: (0, 2, 3), 4: (2, 3, 2)} if listed else {}
    )


def test_lvos_seen_and_unseen(tmp_path):
    unseen = official_list("lvos_unseen")
    assert len(unseen) == 51
    for name in (unseen[0], "other"):
        write_split(tmp_path / "valid", LVOS, name=name)
    dataset = load_dataset("lvos-v2", root=tmp_path)
    assert {name: set(dataset[name].attributes) for name in dataset} == {unseen[0]: {"unseen"}, "other": {"seen"}}


def test_lvos_ranges_between_frames_and_past_the_end(tmp_path):
    write_split(tmp_path / "valid", LVOS)
    write_list(tmp_path / "valid_meta.json", {"1": lvos_range(2, 12, 2), "4": lvos_range(11, 99, 2)})
    ranges = load_dataset("lvos-v1", root=tmp_path)["clip"].truth.ranges
    assert {key: (r.start, r.end) for key, r in ranges.items()} == {1: (1, 3), 4: (2, 4)}


def test_lvos_test_has_first_frames_only(tmp_path):
    write_split(tmp_path / "test", {"00000001": {1: A}, "00000011": {4: B}}, frames=LVOS)
    sequence = load_dataset("lvos-v1", root=tmp_path, split="test")["clip"]
    assert (len(sequence), sequence.frames_out, sequence.load_truth) == (4, (0, 1, 2, 3), None)
    assert [(p.object_id, p.frame_index) for p in sequence.prompts] == [(1, 0), (4, 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"valid_meta\.json:1: expected JSON, got a fault"),
        ("[]", "expected a JSON object, got list"),
        ("[" * 100_000, "expected JSON, got a fault"),
        ('{"videos": []}', 'expected {"videos"'),
        ('{"videos": {"../x": {}}}', r"expected a sequence name, got '\.\./x'"),
        ('{"videos": {"clip": {}}}', "clip: expected its objects by id, got none"),
        ('{"videos": {"clip": {"objects": {"0": {}}}}}', "expected object ids of 1 to 255, got 0"),
        ('{"videos": {"clip": {"objects": {"x": {}}}}}', "expected object ids of 1 to 255, got x"),
        (
            '{"videos": {"clip": {"objects": {"1": {"frame_range": {"start": "x"}}}}}}',
            "1: expected a frame_range",
        ),
        ('{"videos": {"clip": {"objects": {"1": {"frame_range": {"start": 1, "end": Infinity}}}}}}', "a frame_range"),
    ],
)
def test_bad_lists_are_one_line(tmp_path, content, message):
    write_split(tmp_path / "valid", LVOS)
    write_text(tmp_path / "valid" / "valid_meta.json", content)
    with pytest.raises(DataError, match=message) as caught:
        _ = load_dataset("lvos", root=tmp_path)["clip"]
    assert "\n" not in str(caught.value)


def test_an_object_that_is_listed_but_never_shows(tmp_path):
    write_split(tmp_path / "valid", LVOS)
    write_list(tmp_path / "valid" / "valid_meta.json", {"1": {}, "2": {}})
    sequence = load_dataset("lvos", root=tmp_path)["clip"]
    with pytest.raises(DataError, match="clip: expected a mask of each object, got none of object 2"):
        _ = sequence.prompts


def test_frames_and_masks_that_differ(tmp_path):
    write_split(tmp_path / "valid", LVOS)
    dataset = load_dataset("lvos", root=tmp_path)
    (tmp_path / "valid" / "Annotations" / "clip" / "00000006.png").unlink()
    with pytest.raises(DataError, match=r"expected the 4 frames of .*, got 3: 00000006 absent"):
        dataset["clip"]
    (tmp_path / "valid" / "JPEGImages" / "clip" / "00000006.jpg").unlink()
    assert len(dataset["clip"]) == 3
    write_labels(tmp_path / "valid" / "Annotations" / "clip" / "00000021.png", label_map({1: A}))
    with pytest.raises(DataError, match="00000021 without a frame"):
        dataset["clip"]
    write_frames(tmp_path / "valid" / "JPEGImages" / "clip", ["00000021"])
    write_labels(tmp_path / "valid" / "Annotations" / "clip" / "00000011.png", label_map({1: A}, size=(12, 12)))
    assert any("expected 10x14 (height x width) as the first mask, got 12x12" in line for line in check(dataset))


def test_masks_of_another_size_than_the_frames(tmp_path):
    write_split(tmp_path / "valid", {"00000": {1: A}})
    write_frames(tmp_path / "valid" / "JPEGImages" / "clip", ["00000", "00001"], size=(20, 28))
    with pytest.raises(DataError, match=r"00000\.png: expected 20x28 \(height x width\) as the frames, got 10x14"):
        _ = load_dataset("mose", root=tmp_path)["clip"].prompts


def test_empty_maps_only(tmp_path):
    write_split(tmp_path / "valid", {"00000001": {}, "00000006": {}})
    with pytest.raises(DataError, match="clip: expected a mask of an object, got empty label maps only"):
        load_dataset("lvos", root=tmp_path)["clip"]


# ---- MOSE


def test_mose_valid_has_the_first_map_and_is_tracked_throughout(tmp_path):
    write_split(tmp_path / "valid", {"00000": {2: A, 7: B}}, frames=["00000", "00001", "00002"])
    for name in ("mose", "mose-v2"):
        dataset = load_dataset(name, root=tmp_path)
        sequence = dataset["clip"]
        assert (sequence.object_ids, sequence.frames_out) == ((2, 7), (0, 1, 2))
        assert [(p.object_id, p.frame_index) for p in sequence.prompts] == [(2, 0), (7, 0)]
        with pytest.raises(MissingDataError, match="see mosam submit"):
            _ = sequence.truth


def test_mose_train_reports_ids_that_are_not_in_the_first_map(tmp_path):
    write_split(tmp_path / "train", {"00000": {1: A}, "00001": {1: A, 3: B}})
    dataset = load_dataset("mose", root=tmp_path, split="train")
    assert dataset["clip"].object_ids == (1,)
    (problem,) = check(dataset)
    assert "00001.png: expected no object id above 1, the highest of the first mask, got 3" in problem


def test_masks_in_rgb(tmp_path):
    write_split(tmp_path / "valid", {"00000": {}}, frames=["00000", "00001"])
    write_labels(tmp_path / "valid" / "Annotations" / "clip" / "00000.png", label_map({3: A}), mode="RGB")
    assert load_dataset("mose", root=tmp_path)["clip"].object_ids == (3,)


# ---- YouTube-VOS

YTVOS = {"00000": {1: A}, "00010": {4: B}}
LISTED = {"1": {"category": "cat", "frames": ["00000", "00005", "00010"]}, "4": {"frames": ["00010", "00015"]}}


def write_ytvos(root, *, everything=True):
    write_split(root / "valid", YTVOS, frames=[f"{t:05d}" for t in range(0, 20, 5)])
    write_list(root / "valid" / "meta.json", LISTED)
    if everything:
        write_frames(root / "valid_all_frames" / "JPEGImages" / "clip", [f"{t:05d}" for t in range(18)])


def test_ytvos_tracks_all_frames_and_writes_the_listed(tmp_path):
    write_ytvos(tmp_path)
    sequence = load_dataset("ytvos2019", root=tmp_path)["clip"]
    assert (len(sequence), sequence.frames_out) == (18, (0, 5, 10, 15))
    assert sequence.object_ids == (1, 4)
    assert [(p.object_id, p.frame_index) for p in sequence.prompts] == [(1, 0), (4, 10)]
    codec = CODECS["davis"]
    writer = codec.writer(tmp_path / "out", sequence, CodecOptions())
    for t in range(18):
        writer.add(FrameOutput(t, {1: ObjectOutput(label_map({1: A}) == 1, 1.0, 1.0)}), 0.1)
    writer.finish()
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == [f"clip/{t:05d}.png" for t in (0, 5, 10, 15)]
    assert tuple(written) == codec.files(sequence)
    np.testing.assert_array_equal(codec.read_masks(tmp_path / "out", sequence).labels(15), label_map({1: A}))


def test_ytvos_without_all_frames_tracks_the_sampled_ones(tmp_path):
    write_ytvos(tmp_path, everything=False)
    sequence = load_dataset("ytvos2018", root=tmp_path)["clip"]
    assert (sequence.frame_names, sequence.frames_out) == (("00000", "00005", "00010", "00015"), (0, 1, 2, 3))
    assert [(p.object_id, p.frame_index) for p in sequence.prompts] == [(1, 0), (4, 2)]
    assert sequence.size == SIZE


def test_ytvos_listed_frames_must_be_there(tmp_path):
    write_ytvos(tmp_path, everything=False)
    (tmp_path / "valid" / "JPEGImages" / "clip" / "00015.jpg").unlink()
    with pytest.raises(DataError, match="clip: expected the 4 listed frames, 00015 absent"):
        load_dataset("ytvos2018", root=tmp_path)["clip"]
    write_list(tmp_path / "valid" / "meta.json", {"1": {"frames": "00000"}})
    with pytest.raises(DataError, match='object 1: expected "frames": a list of names, got another'):
        load_dataset("ytvos2018", root=tmp_path)["clip"]


def test_names_come_from_the_list_and_a_missing_video_is_the_error(tmp_path):
    write_ytvos(tmp_path)
    write_text(
        tmp_path / "valid" / "meta.json", json.dumps({"videos": {n: {"objects": LISTED} for n in ("gone", "clip")}})
    )
    dataset = load_dataset("ytvos2019", root=tmp_path)
    assert list(dataset) == ["gone", "clip"]
    with pytest.raises(MissingDataError, match="1 are absent: gone"):
        dataset.require()


def test_wrong_root(tmp_path):
    for name, title in {"lvos": "LVOS v2", "mose": "MOSE", "ytvos2018": "YouTube-VOS 2018"}.items():
        with pytest.raises(
            MissingDataError, match=rf"(?s)expected {title}, found no valid/Annotations; expected tree:.*JPEGImages"
        ):
            load_dataset(name, root=tmp_path)
    (tmp_path / "valid" / "Annotations").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="found no video in"):
        load_dataset("mose", root=tmp_path)


def test_annotation_alone(tmp_path):
    for stem, objects in LVOS.items():
        write_labels(tmp_path / "valid" / "Annotations" / "clip" / f"{stem}.png", label_map(objects))
    dataset = load_dataset("lvos", root=tmp_path)
    assert dataset.missing(frames=True) == ("clip",)
    assert (len(dataset["clip"]), len(dataset["clip"].source), dataset["clip"].size) == (4, 0, SIZE)
