import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
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
    with pytest.raises(MissingDataError, match=r"film: expected film/groundtruth\.txt with a box on each frame"):
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


def test_suffixes_in_capitals(tmp_path):
    write_video(tmp_path / "CLIP.MP4.mp4", 5).rename(tmp_path / "CLIP.MP4")
    write_text(tmp_path / "CLIP.TXT", "3,4,10,12")
    write_frames(tmp_path / "pics", stems(2), suffix=".JPG")
    write_labels(tmp_path / "pics.png", label_map({1: (1, 1, 3, 3)}))
    (tmp_path / "pics.png").rename(tmp_path / "pics.PNG")
    with zipfile.ZipFile(tmp_path / "packed.ZIP", "w") as archive:
        archive.write(tmp_path / "pics" / "00000.JPG", "00000.JPG")
    write_text(tmp_path / "packed.Txt", "1,1,2,2")
    dataset = load_dataset("folder", root=tmp_path)
    assert {name: len(dataset[name]) for name in dataset} == {"CLIP": 5, "packed": 1, "pics": 2}
    assert [dataset[name].prompts[0].kind for name in dataset] == ["box", "box", "mask"]
    assert check(dataset) == []
    assert list(load_dataset("folder", root=tmp_path / "CLIP.MP4")) == ["CLIP"]


def test_a_video_beside_a_folder_of_its_name(tmp_path):
    write_video(tmp_path / "car.mp4", 4)
    write_text(tmp_path / "car.txt", "1,2,6,6\n")
    write_text(tmp_path / "car" / "groundtruth.txt", "1,2,6,6\n" * 4)
    write_frames(tmp_path / "pics" / "img", stems(3))
    (tmp_path / "zip").mkdir()
    write_text(tmp_path / "zip.txt", "1,1,2,2")
    with zipfile.ZipFile(tmp_path / "zip.zip", "w") as archive:
        archive.write(tmp_path / "pics" / "img" / "00000.jpg", "00000.jpg")
    dataset = load_dataset("folder", root=tmp_path)
    assert {name: len(dataset[name]) for name in dataset} == {"car": 4, "zip": 1}


@pytest.mark.parametrize("other", ["clip.mkv", "clip.MP4", "clip.zip", "clip/", "clip/img/"])
def test_two_videos_of_one_name_are_told_apart_or_refused(tmp_path, other):
    write_video(tmp_path / "clip.mp4", 4)
    write_text(tmp_path / "clip.txt", "1,2,6,6\n")
    if other.endswith("/"):
        write_frames(tmp_path / other, stems(2))
    elif other.endswith(".zip"):
        write_frames(tmp_path / "x", stems(2))
        with zipfile.ZipFile(tmp_path / other, "w") as archive:
            archive.write(tmp_path / "x" / "00000.jpg", "00000.jpg")
    else:
        shutil.copy(tmp_path / "clip.mp4", tmp_path / other)
    with pytest.raises(DataError, match=r"expected one video of the name clip, got both .* and .*; rename or move one"):
        load_dataset("folder", root=tmp_path)
    assert len(load_dataset("folder", root=tmp_path / "clip.mp4")["clip"]) == 4  # named by the user


def test_the_start_and_what_is_scored_are_two_files(tmp_path):
    write_frames(tmp_path / "car", stems(3))
    write_text(tmp_path / "car.txt", "2,2,5,5\n")
    write_text(tmp_path / "car" / "groundtruth.txt", "1,1,4,4\n0,0,0,0\n1,2,4,4\n")
    dataset = load_dataset("folder", root=tmp_path)
    sequence = dataset["car"]
    assert dataset.has_truth
    assert sequence.prompts[0].box.tolist() == [2, 2, 5, 5]
    assert sequence.truth.boxes[0].tolist() == [1, 1, 4, 4]
    assert [path.name for path in dataset.annotation_files("car")] == ["car.txt", "groundtruth.txt"]
    assert check(dataset) == []
    write_frames(tmp_path / "bird", stems(2))
    write_text(tmp_path / "bird.txt", "2,2,5,5\n")
    mixed = load_dataset("folder", root=tmp_path)
    assert not mixed.has_truth
    assert mixed.unscored() == "bird: expected bird/groundtruth.txt with a box on each frame to score with, found none"
    assert mixed.select(["car"]).has_truth
    write_text(tmp_path / "car.txt", "2,2,5,5\n1,1,2,2\n")
    two = load_dataset("folder", root=tmp_path).select(["car"])
    assert two.unscored() == "car: expected one object to score with car/groundtruth.txt, got 2"


def smoothed():
    """One round object whose border was smoothed, as drawing programs save it."""
    rows, columns = np.mgrid[0:40, 0:40]
    distance = np.hypot(rows - 20, columns - 20)
    return np.clip((14 - distance) * 60, 0, 240).astype(np.uint8)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.kron([[0, 0], [0, 255]], np.ones((20, 20))), r"expected object numbers of 1 to 254, .*got 255; save it as"),
        (smoothed(), r"expected one value for each object, got \d\d values .* smoothed mask; save it with hard edges"),
    ],
    ids=["white", "smoothed"],
)
def test_masks_that_results_cannot_hold_are_found_before_tracking(tmp_path, labels, message):
    write_frames(tmp_path / "car", stems(2), size=(40, 40))
    write_labels(tmp_path / "car.png", labels, mode="L")
    dataset = load_dataset("folder", root=tmp_path)
    with pytest.raises(DataError, match=rf"car\.png: {message}"):
        dataset.require(frames=True)
    dataset.require()  # scoring others' results is another matter
    (problem,) = check(dataset)
    assert "car.png: expected" in problem


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_masks_of_other_kinds_name_the_remedy(tmp_path, mode):
    write_frames(tmp_path / "car", stems(2))
    labels = Image.fromarray(label_map({1: (1, 1, 4, 4)}))
    labels = Image.fromarray(np.array(labels, dtype=np.uint16)) if mode == "I;16" else labels.convert(mode)
    labels.save(tmp_path / "car.png")
    with pytest.raises(DataError, match=rf"got mode {mode[0]}.*; save it .* palette or gray PNG whose values are"):
        load_dataset("folder", root=tmp_path).require(frames=True)


def test_more_boxes_than_results_can_hold_and_boxes_beside_the_picture(tmp_path):
    write_frames(tmp_path / "car", stems(2))
    write_text(tmp_path / "car.txt", "1,1,2,2\n" * 255)
    with pytest.raises(DataError, match=r"car\.txt: expected a box for each object, at most 254 .*got 255 lines"):
        load_dataset("folder", root=tmp_path).require(frames=True)
    write_text(tmp_path / "car.txt", f"1,1,2,2\n{SIZE[1]},1,2,2\n")
    with pytest.raises(DataError, match=r"car\.txt:2: expected a box x,y,w,h on the 14x10 picture, got one that lies"):
        _ = load_dataset("folder", root=tmp_path)["car"].prompts


@pytest.mark.parametrize("stem", ["a\nb", "a\x1b[1m", "caf\udce9"], ids=ascii)
def test_frames_that_results_cannot_be_called_by(tmp_path, stem):
    write_frames(tmp_path / "car", ["0"])
    shutil.copy(tmp_path / "car" / "0.jpg", tmp_path / "car" / f"{stem}.jpg")
    write_text(tmp_path / "car.txt", "1,1,2,2")
    with pytest.raises(DataError, match=r"car: expected names of frames without .*\\.*; rename it"):
        load_dataset("folder", root=tmp_path)["car"]


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ("5,4,12,9", "if these are two corners, give 5,4,7,5"),
        ("0.25,0.5,0.5,0.25", "if these are fractions of the"),
        ("-9,1,9.5,3", "is what of it is on the picture"),
    ],
)
def test_a_first_box_in_another_form_is_named(tmp_path, box, text):
    write_frames(tmp_path / "car", stems(3))
    write_text(tmp_path / "car.txt", f"{box}\n")
    (problem,) = check(load_dataset("folder", root=tmp_path))
    assert text in str(problem)
    with pytest.raises(DataError, match=text):
        load_dataset("folder", root=tmp_path)["car"].prompts  # noqa: B018
