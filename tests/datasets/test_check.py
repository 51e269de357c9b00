import pytest
from clips import encode, make_video
from trees import (
    label_map,
    moving_square,
    stems,
    truncate,
    write_davis,
    write_frame,
    write_frames,
    write_labels,
    write_lasot_sequence,
    write_text,
)

from mosam.cli import run_command
from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.check import Note, check, find_problems


def _lasot(root, **sequences):
    for name, options in sequences.items():
        write_lasot_sequence(root / name.replace("_", "-"), **options)
    write_text(root / "testing_set.txt", "\n".join(name.replace("_", "-") for name in sequences))
    return load_dataset("lasot", root=root)


def test_sound_copies_have_no_problem(tmp_path):
    assert check(_lasot(tmp_path / "lasot", cat_1={}, cat_2={"images": 5})) == []
    davis = write_davis(tmp_path / "davis", {"dog": moving_square(ids=(1, 3))})
    assert check(load_dataset("davis", root=davis)) == []
    test = write_davis(tmp_path / "test", {"dog": moving_square()}, split="test-dev", annotated=1)
    assert check(load_dataset("davis", root=test, split="test-dev")) == []


def test_generated_benchmarks_are_sound():
    generated = [name for name in DATASETS if DATASETS[name].generated]
    for name in generated:
        assert check(load_dataset(name).select(limit=1), official=True) == []


def test_official_demands_the_full_set(tmp_path):
    (problem,) = check(_lasot(tmp_path, airplane_1={}), official=True)
    assert problem == (
        "lasot test: expected all 280 official sequences, 279 are not listed: "
        "airplane-9, airplane-13, airplane-15 and 276 more"
    )


def test_every_problem_of_a_lasot_copy_is_one_line(tmp_path):
    dataset = _lasot(
        tmp_path,
        cat_1={},
        cat_2={"count": 4, "images": 7},
        cat_3={"images": 0},
        cat_4={},
        cat_5={},
        cat_6={},
        cat_7={},
    )
    truncate(tmp_path / "cat-1" / "img" / "00000002.jpg")
    write_frame(tmp_path / "cat-1" / "img" / "00000004.jpg", size=(20, 20))
    truncate(tmp_path / "cat-2" / "img" / "00000003.jpg")
    write_text(tmp_path / "cat-4" / "groundtruth.txt", "0,0,0,0\n1,1,1,1\n1,1,1,1\n1,1,1,1\n")
    write_text(tmp_path / "cat-5" / "groundtruth.txt", "1,1,1,1\n1,1,1\n1,1,1,1\n1,1,1,1\n")
    write_text(tmp_path / "cat-6" / "full_occlusion.txt", "0,0")
    (tmp_path / "cat-7" / "groundtruth.txt").unlink()
    problems = check(dataset)
    expected = [
        ("cat-1: ", "00000002.jpg: expected a whole picture"),
        ("cat-1: ", "00000004.jpg: expected 10x14 (height x width) as 00000001.jpg, got 20x20"),
        ("cat-2: ", "groundtruth.txt: expected 7 rows, one for each image of img/, got 4"),
        ("cat-2: ", "00000003.jpg: expected a whole picture"),
        ("cat-3: ", "expected its frames"),
        ("cat-4: ", "groundtruth.txt:1: expected a first box with w > 0 and h > 0"),
        ("cat-5: ", "groundtruth.txt:2: expected 4 numbers"),
        ("cat-6: ", "full_occlusion.txt: expected 4 flags"),
        ("cat-7: ", "expected its annotation under"),
    ]
    assert len(problems) == len(expected), problems
    for problem, (start, part) in zip(problems, expected, strict=True):
        assert problem.startswith(start)
        assert part in problem
        assert "\n" not in problem


def test_every_problem_of_a_davis_copy_is_one_line(tmp_path):
    names = ("stray", "size", "later", "mask", "few", "first")
    root = write_davis(tmp_path, {name: moving_square(3) for name in names})
    masks = root / "Annotations" / "480p"
    write_labels(masks / "stray" / "00001.png", label_map({1: (0, 0, 2, 2), 4: (4, 4, 2, 2), 7: (8, 4, 2, 2)}))
    for index in range(3):
        write_labels(masks / "size" / f"0000{index}.png", label_map({1: (0, 0, 2, 2)}, size=(12, 14)))
    write_labels(masks / "later" / "00002.png", label_map({1: (0, 0, 2, 2)}, size=(12, 14)))
    truncate(masks / "mask" / "00001.png")
    (masks / "few" / "00002.png").unlink()
    write_labels(masks / "first" / "00000.png", label_map({}))
    write_text(root / "ImageSets" / "2017" / "val.txt", "\n".join((*names, "absent")))
    problems = check(load_dataset("davis", root=root))
    expected = [
        ("stray: ", "00001.png: expected no object id above 1, the highest of the first mask, got 4, 7"),
        ("size: ", "size/00000.png: expected 10x14 (height x width) as the frames, got 12x14"),
        ("later: ", "00002.png: expected 10x14 (height x width) as the first mask, got 12x14"),
        ("mask: ", "00001.png: "),
        ("few: ", "expected the 3 frames of"),
        ("first: ", "00000.png: expected a mask of each object, got no object"),
        ("absent: ", "expected its annotation under"),
    ]
    assert len(problems) == len(expected), problems
    for problem, (start, part) in zip(problems, expected, strict=True):
        assert problem.startswith(start)
        assert part in problem
        assert "\n" not in problem


def test_annotation_only_copies_are_for_scoring(tmp_path):
    assert check(_lasot(tmp_path, cat_1={"images": 0}, cat_2={"images": 0})) == []


def test_problems_come_as_they_are_found_with_progress(tmp_path):
    seen = []
    dataset = _lasot(tmp_path, cat_1={}, cat_2={}, cat_3={})
    (tmp_path / "cat-1" / "groundtruth.txt").unlink()
    problems = find_problems(dataset, progress=lambda name, done, total: seen.append((name, done, total)))
    assert next(problems).startswith("cat-1: ")
    assert seen == [("cat-1", 0, 3)]
    with pytest.raises(StopIteration):
        next(problems)
    assert seen[1:] == [("cat-2", 1, 3), ("cat-3", 2, 3)]


def test_the_real_copies_are_sound(unpacked):
    assert check(load_dataset("davis", root=unpacked("davis/davis2017_car-shadow") / "car-shadow")) == []
    assert check(load_dataset("lasot", root=unpacked("lasot/lasot_test_annotations")), official=True) == []


def test_a_fault_that_nobody_foresaw_ends_one_sequence_alone(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        write_frames(tmp_path / name, stems(2))
        write_text(tmp_path / f"{name}.txt", "1,1,2,2")
    dataset = load_dataset("folder", root=tmp_path)
    load, present = dataset.load, dataset.is_present

    def failing(name):
        if name == "a":
            raise RuntimeError("boom")
        return load(name)

    def absent(name, *, frames=False):
        if name == "b":
            raise PermissionError(13, "Permission denied", "b")
        return present(name, frames=frames)

    monkeypatch.setattr(dataset, "load", failing)
    monkeypatch.setattr(dataset, "is_present", absent)
    monkeypatch.setattr("mosam.datasets.frames.FrameFolder.read", lambda self, index: [][index])
    assert check(dataset) == [
        "a: expected files that can be checked, got RuntimeError: boom",
        "b: expected files that can be checked, got PermissionError: [Errno 13] Permission denied: 'b'",
        "c: frame 0: expected a frame that can be read, got IndexError: list index out of range",
        "c: frame 1: expected a frame that can be read, got IndexError: list index out of range",
    ]


def test_videos_that_are_cut_off_or_do_not_decode_whole_are_told(tmp_path):
    for name in ("broken.mp4", "phone.mp4", "short.mp4"):
        make_video(tmp_path, name)
        write_text(tmp_path / f"{name.removesuffix('.mp4')}.txt", "1,1,20,20")
    for path in tmp_path.glob("whole*"):
        path.unlink()
    encode(tmp_path / "half.mkv", "mpeg4")
    data = (tmp_path / "half.mkv").read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    write_text(tmp_path / "half.txt", "1,1,20,20")
    found = check(load_dataset("folder", root=tmp_path))
    assert [line.split(":")[0] for line in found] == ["broken", "half", "phone"]
    assert "expected packets that decode, 1 do not" in found[0]
    assert "bytes more as its header says, it is cut off; get it again" in found[1]
    assert "40 of 40 frames carry an orientation" in found[2]
    assert [isinstance(line, Note) for line in found] == [False, False, True]


def test_a_note_is_no_problem(tmp_path, capfd):
    make_video(tmp_path, "phone.mp4")
    write_text(tmp_path / "phone.txt", "1,1,20,20")
    assert run_command(["data", "check", "folder", "--root", str(tmp_path)]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("phone: note: 40 of 40 frames carry an orientation")
    assert err == "folder all: 1 sequences, sound\n"
