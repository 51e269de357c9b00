import zipfile

import pytest
from trees import SIZE, label_map, stems, write_frames, write_labels, write_text, write_video

from mosam.datasets.base import load_dataset
from mosam.datasets.check import check
from mosam.errors import DataError, MissingDataError

BOXES = "1,2,3,4\n5,5,4,4\n"


@pytest.fixture
def root(tmp_path):
    """`boxes` (a folder), `masks` (a folder with img/), `film` (a video) and `packed` (a zip)."""
    folder = tmp_path / "mine"
    write_frames(folder / "boxes", stems(3))
    write_text(folder / "boxes.txt", BOXES)
    write_frames(folder / "masks" / "img", stems(4))
    write_labels(folder / "masks.png", label_map({2: (1, 1, 3, 3), 5: (6, 5, 2, 2)}))
    write_video(folder / "film.mp4", 5)
    write_text(folder / "film.txt", "3 4 10 12")
    write_frames(tmp_path / "img", stems(2))
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        for path in (tmp_path / "img").iterdir():
            archive.write(path, path.name)
    write_text(folder / "packed.txt", "1,1,2,2")
    write_frames(folder / "nothing-to-track", stems(2))
    write_text(folder / "notes.txt", "not a box")
    return folder


def test_every_kind_of_video(root):
    dataset = load_dataset("folder", root=root)
    assert list(dataset) == ["boxes", "film", "masks", "packed"]
    assert {name: len(dataset[name]) for name in dataset} == {"boxes": 3, "film": 5, "masks": 4, "packed": 2}
    assert {name: dataset[name].object_ids for name in dataset} == {
        "boxes": (1, 2), "film": (1,), "masks": (2, 5), "packed": (1,)
    }  # fmt: skip
    assert [p.kind for p in dataset["masks"].prompts] == ["mask", "mask"]
    assert [p.box.tolist() for p in dataset["boxes"].prompts] == [[1, 2, 3, 4], [5, 5, 4, 4]]
    assert dataset["film"].prompts[0].box.tolist() == [3, 4, 10, 12]
    assert dataset["film"].frame_names[:2] == ("00000", "00001")
    assert check(dataset) == []
    with pytest.raises(MissingDataError, match="no published ground truth"):
        _ = dataset["film"].truth


def test_the_kind_of_prompt_can_be_asked_for(root):
    masks = load_dataset("folder", root=root, prompt="mask")
    with pytest.raises(MissingDataError, match=r"boxes\.png: expected a label map of the first frame, found none"):
        masks["boxes"]
    boxes = load_dataset("folder", root=root, prompt="box")
    assert [(p.object_id, p.box.tolist()) for p in boxes["masks"].prompts] == [(2, [1, 1, 3, 3]), (5, [6, 5, 2, 2])]
    write_text(root / "masks.txt", "2,2,3,3")
    assert boxes["masks"].prompts[0].box.tolist() == [2, 2, 3, 3]


@pytest.mark.parametrize("place", ["boxes", "film.mp4", "masks"])
def test_one_video_as_the_root(root, place):
    dataset = load_dataset("folder", root=root / place)
    assert list(dataset) == [place.removesuffix(".mp4")]
    assert check(dataset) == []


def test_a_groundtruth_inside_the_folder_gives_the_first_box(tmp_path):
    write_frames(tmp_path / "clip" / "img", stems(3))
    write_text(tmp_path / "clip" / "groundtruth.txt", "1,2,3,4\n0,0,0,0\nnan,nan,nan,nan\n")
    sequence = load_dataset("folder", root=tmp_path)["clip"]
    assert (sequence.object_ids, sequence.prompts[0].box.tolist()) == ((1,), [1, 2, 3, 4])


def test_bad_starts_are_one_line(root):
    dataset = load_dataset("folder", root=root)
    for text, message in {
        "1,2,3,4\n1,2,0,4\n": r"boxes\.txt:2: expected a box with w > 0 and h > 0 on each line",
        "1,2,3\n": r"boxes\.txt:1: expected 4 numbers, got '1,2,3'",
        "": r"boxes\.txt: expected a row of 4 numbers",
    }.items():
        write_text(root / "boxes.txt", text)
        with pytest.raises(DataError, match=message):
            dataset["boxes"]
    write_labels(root / "masks.png", label_map({1: (0, 0, 2, 2)}, size=(4, 4)))
    with pytest.raises(DataError, match=rf"masks\.png: expected {SIZE[0]}x{SIZE[1]} .* as the frames, got 4x4"):
        _ = dataset["masks"].prompts


def test_wrong_root(tmp_path):
    write_frames(tmp_path / "a" / "clip", stems(2))
    with pytest.raises(MissingDataError, match=r"(?s)found no video with a first box .*; expected tree:"):
        load_dataset("folder", root=tmp_path / "a")
    with pytest.raises(MissingDataError, match=r"found no clip\.txt or clip\.png that says what to track in clip"):
        load_dataset("folder", root=tmp_path / "a" / "clip")


def test_a_box_on_every_frame_is_ground_truth(tmp_path):
    write_frames(tmp_path / "bird", stems(3))
    write_text(tmp_path / "bird" / "groundtruth.txt", "1,1,4,4\n0,0,0,0\nnan,nan,nan,nan\n")
    dataset = load_dataset("folder", root=tmp_path)
    assert dataset.has_truth
    truth = dataset["bird"].truth
    assert truth.absent.tolist() == [False, True, True]
    assert truth.boxes[0].tolist() == [1, 1, 4, 4]
    write_text(tmp_path / "bird" / "groundtruth.txt", "1,1,4,4\n1,1,4,4\n")
    with pytest.raises(DataError, match="expected a box for each of 3 frames, got 2"):
        _ = load_dataset("folder", root=tmp_path)["bird"].truth
    write_text(tmp_path / "bird" / "groundtruth.txt", "1,1,4,4\n")
    assert not load_dataset("folder", root=tmp_path).has_truth
