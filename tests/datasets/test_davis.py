import numpy as np
import pytest
from PIL import Image
from trees import SIZE, label_map, moving_square, write_davis, write_frames, write_labels, write_text

from mosam.datasets.base import load_dataset
from mosam.datasets.davis import Davis2017
from mosam.errors import DataError, MissingDataError


def test_objects_prompts_and_truth(tmp_path):
    maps = [
        label_map({1: (0, 0, 3, 2), 3: (6, 5, 4, 4), 255: (12, 0, 2, 2)}),
        label_map({1: (1, 0, 3, 2), 3: (7, 5, 4, 4)}),
        label_map({3: (8, 5, 4, 4)}),
    ]
    dataset = load_dataset("davis2017", root=write_davis(tmp_path, {"dog": maps, "cat": moving_square()}))
    assert list(dataset) == ["dog", "cat"]
    assert dataset.subset == "2 of 30 official sequences"
    sequence = dataset["dog"]
    assert sequence.object_ids == (1, 3)
    assert sequence.frame_names == ("00000", "00001", "00002")
    assert sequence.size == SIZE
    assert [prompt.object_id for prompt in sequence.prompts] == [1, 3]
    for prompt in sequence.prompts:
        assert (prompt.kind, prompt.frame_index) == ("mask", 0)
        np.testing.assert_array_equal(prompt.mask, maps[0] == prompt.object_id)
    truth = sequence.truth
    assert truth.frame_indices == (0, 1, 2)
    for index, labels in enumerate(maps):
        masks = truth.read(index)
        assert set(masks) == {1, 3}
        for object_id, mask in masks.items():
            np.testing.assert_array_equal(mask, labels == object_id)
    np.testing.assert_array_equal(truth.void(0), maps[0] == 255)
    assert truth.void(1) is None


def test_box_prompt_is_the_true_extent_of_the_first_mask(tmp_path):
    root = write_davis(tmp_path, {"dog": [label_map({2: (3, 1, 5, 4)})] * 2})
    (prompt,) = load_dataset("davis", root=root, prompt="box")["dog"].prompts
    assert (prompt.object_id, prompt.kind, prompt.box.tolist()) == (2, "box", [3, 1, 5, 4])


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
@pytest.mark.parametrize("value", [1, 255])
def test_2016_takes_0_255_and_palettes(tmp_path, mode, value):
    maps = [label_map({value: (3, 1, 5, 4)})] * 2
    root = write_davis(tmp_path, {"dog": maps}, year="2016", mode=mode)
    sequence = load_dataset("davis2016", root=root)["dog"]
    assert sequence.object_ids == (1,)
    np.testing.assert_array_equal(sequence.prompts[0].mask, maps[0] > 0)
    assert sequence.truth.void(0) is None
    assert set(sequence.truth.read(1)) == {1}


def test_2016_masks_read_as_2017_are_explained(tmp_path):
    root = write_davis(tmp_path, {"dog": [label_map({255: (3, 1, 5, 4)})] * 2})
    with pytest.raises(DataError, match=r"dog/00000\.png: .*got no object \(value 255 is void here\)"):
        load_dataset("davis2017", root=root)["dog"]


def test_2016_list_of_path_pairs(tmp_path):
    root = write_davis(tmp_path, {"dog": moving_square(2), "cat": moving_square(2)}, year="2016")
    (root / "ImageSets" / "2016" / "val.txt").unlink()
    lines = [
        f"/JPEGImages/480p/{name}/0000{t}.jpg /Annotations/480p/{name}/0000{t}.png"
        for name in ("cat", "dog")
        for t in (0, 1)
    ]
    write_text(root / "ImageSets" / "480p" / "val.txt", "\n".join(lines))
    assert list(load_dataset("davis2016", root=root)) == ["cat", "dog"]
    write_text(root / "ImageSets" / "480p" / "val.txt", "dog\n")
    with pytest.raises(DataError, match=r"val\.txt:1: expected an image and an annotation path, got 'dog'"):
        load_dataset("davis2016", root=root)
    write_text(root / "ImageSets" / "480p" / "val.txt", "/a/../x.jpg /b\n")
    with pytest.raises(DataError, match=r"val\.txt:1: expected a sequence name, got '\.\.'"):
        load_dataset("davis2016", root=root)


def test_without_a_list_the_official_one_is_used(tmp_path):
    root = write_davis(tmp_path, {"dog": moving_square(), "camel": moving_square()})
    (root / "ImageSets" / "2017" / "val.txt").unlink()
    dataset = load_dataset("davis2017", root=root)
    assert len(dataset) == 30
    assert dataset.subset is None
    with pytest.raises(
        MissingDataError, match=r"28 are absent: bike-packing, blackswan, bmx-trees and 25 more; get them"
    ):
        dataset.require()
    dataset.select(["dog", "camel"]).require(frames=True)


@pytest.mark.parametrize(("split", "count"), [("train", 60), ("val", 30), ("test-dev", 30), ("test-challenge", 30)])
def test_every_split_of_2017(tmp_path, split, count):
    test = split.startswith("test")
    root = write_davis(tmp_path, {"dog": moving_square(3)}, split=split, annotated=1 if test else None)
    dataset = load_dataset("davis2017", root=root, split=split)
    assert dataset.official_count == count
    assert dataset.has_truth is not test
    sequence = dataset["dog"]
    assert len(sequence) == 3
    assert sequence.prompts[0].mask.sum() == 9
    if test:
        with pytest.raises(MissingDataError, match="dog: this split has no published ground truth; see mosam submit"):
            _ = sequence.truth
    else:
        assert sequence.truth.frame_indices == (0, 1, 2)


def test_full_resolution_is_found_and_can_be_asked_for(tmp_path):
    write_davis(tmp_path, {"dog": [label_map({1: (2, 2, 4, 4)}, size=(30, 42))] * 2}, resolution="Full-Resolution")
    assert load_dataset("davis", root=tmp_path)["dog"].size == (30, 42)
    write_davis(tmp_path, {"dog": moving_square(2)})
    assert load_dataset("davis", root=tmp_path)["dog"].size == SIZE
    assert Davis2017(tmp_path, resolution="Full-Resolution")["dog"].size == (30, 42)
    with pytest.raises(MissingDataError, match="found no Annotations/1080p"):
        Davis2017(tmp_path, resolution="1080p")


def test_root_above_the_unpacked_folder(tmp_path):
    write_davis(tmp_path / "DAVIS", {"dog": moving_square()})
    assert len(load_dataset("davis", root=tmp_path)["dog"]) == 4


def test_wrong_layout_shows_the_tree(tmp_path):
    write_frames(tmp_path / "dog", ["00000"])
    with pytest.raises(
        MissingDataError, match=r"(?s)expected DAVIS 2017, found no Annotations/480p; expected tree:.*JPEG"
    ):
        load_dataset("davis", root=tmp_path)


def test_annotation_alone_is_enough_to_score(tmp_path):
    root = write_davis(tmp_path, {"dog": moving_square(3)})
    for path in (root / "JPEGImages" / "480p" / "dog").iterdir():
        path.unlink()
    (root / "JPEGImages" / "480p" / "dog").rmdir()
    dataset = load_dataset("davis", root=root)
    dataset.require()
    assert dataset.missing(frames=True) == ("dog",)
    sequence = dataset["dog"]
    assert (len(sequence), len(sequence.source), sequence.size) == (3, 0, SIZE)
    assert sequence.frame_names == ("00000", "00001", "00002")
    assert sequence.truth.read(2)[1].sum() == 9


def test_bad_sequences_are_one_line(tmp_path):
    root = write_davis(tmp_path, {name: moving_square(3) for name in ("few", "many", "none", "first", "size", "empty")})
    masks, images = root / "Annotations" / "480p", root / "JPEGImages" / "480p"
    (masks / "few" / "00001.png").unlink()
    write_labels(masks / "many" / "00003.png", moving_square(1)[0])
    for path in (images / "none").iterdir():
        path.unlink()
    write_labels(masks / "first" / "00000.png", label_map({}))
    for index in range(3):
        write_labels(masks / "size" / f"0000{index}.png", label_map({1: (0, 0, 2, 2)}, size=(12, 14)))
    for path in (masks / "empty").iterdir():
        path.unlink()
    dataset = load_dataset("davis", root=root)
    expected = {
        "few": r"few: expected the 3 frames of .*, got 2: 00001 absent",
        "many": r"many: expected the 3 frames of .*, got 4: 00003 without a frame",
        "none": r"none: expected frames .*, got none",
        "first": r"first/00000\.png: expected a mask of each object, got no object",
        "empty": r"empty: expected label maps \(\.png\), got none",
    }
    for name, message in expected.items():
        with pytest.raises(DataError, match=message) as caught:
            dataset[name]
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"size/00000\.png: expected 10x14 \(height x width\) as the frames, got 12x14"):
        _ = dataset["size"].prompts


def test_macos_files_beside_masks_and_frames(tmp_path):
    root = write_davis(tmp_path, {"dog": moving_square(3)})
    write_text(root / "Annotations" / "480p" / "dog" / "._00000.png", "x")
    write_text(root / "JPEGImages" / "480p" / "dog" / "._00000.jpg", "x")
    assert len(load_dataset("davis", root=root)["dog"]) == 3


def test_test_split_without_its_first_annotation(tmp_path):
    root = write_davis(tmp_path, {"dog": moving_square(3)}, split="test-dev")
    (root / "Annotations" / "480p" / "dog" / "00000.png").unlink()
    with pytest.raises(DataError, match=r"dog: expected 00000\.png, the annotation of the first frame"):
        load_dataset("davis", root=root, split="test-dev")["dog"]


def test_attributes_are_those_of_2016(tmp_path):
    for year in ("2016", "2017"):
        write_davis(tmp_path, {"bmx-trees": moving_square()}, year=year)
    assert "OCC" in load_dataset("davis2016", root=tmp_path)["bmx-trees"].attributes
    assert load_dataset("davis2017", root=tmp_path)["bmx-trees"].attributes == frozenset()


# ---- the real tree


def test_car_shadow(unpacked):
    dataset = load_dataset("davis", root=unpacked("davis/davis2017_car-shadow") / "car-shadow")
    assert list(dataset) == ["car-shadow"]
    assert dataset.subset == "1 of 30 official sequences"
    dataset.require(frames=True)
    sequence = dataset["car-shadow"]
    assert (len(sequence), len(sequence.source), sequence.size) == (40, 40, (480, 854))
    assert sequence.object_ids == (1,)
    assert sequence.source.read(39).shape == (480, 854, 3)
    path = dataset.root / "Annotations" / "480p" / "car-shadow" / "00039.png"
    np.testing.assert_array_equal(sequence.truth.read(39)[1], np.asarray(Image.open(path)) == 1)
    assert sequence.prompts[0].mask.sum() == 41790


def test_results_standing_in_for_truth_without_frames(unpacked):
    dataset = load_dataset("davis", root=unpacked("davis/osvos_vs_rvos_6seq") / "pairs")
    assert dataset.subset == "6 of 30 official sequences"
    dataset.require()
    sequence = dataset["lab-coat"]
    assert sequence.object_ids == (3, 4, 5)  # the ids of the first mask
    assert sequence.truth.object_ids == (1, 2, 3, 4, 5)  # what the official program counts
    assert len(sequence.source) == 0
    assert dataset["shooting"].size == (480, 1152)
