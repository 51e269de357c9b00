"""From typed words to prompts, and what is said of wrong ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import label_map, write_labels, write_text

from mosam.commands.demo.prompts import check_box, describe_prompts, make_prompts, parse_box, parse_point, read_box_file
from mosam.errors import DataError, MissingDataError, MosamError

SIZE = (480, 640)


def test_boxes_files_and_points_number_objects_in_order(tmp_path):
    file = write_text(tmp_path / "b.txt", "\ufeff10, 20, 30, 40\r\n")
    found = make_prompts(SIZE, boxes=["1,2,3,4"], box_files=[file], points=["2:50,60", "55,66,0", "3:70.5,80"])
    assert [(p.object_id, p.kind) for p in found] == [(1, "box"), (2, "box"), (3, "point")]
    assert found[1].box.tolist() == [10, 20, 30, 40]
    assert found[1].points.tolist() == [[50, 60]]
    assert found[0].labels.tolist() == [0]
    assert describe_prompts(found)[2] == {"object": 3, "kind": "point", "points": [[70.5, 80.0, 1]]}


def test_a_box_file_is_read_as_the_folder_dataset_reads_it(tmp_path):
    file = write_text(tmp_path / "car.txt", "1,2,3,4\n5 6 7 8\n9,10,11,12\n")
    found = make_prompts(SIZE, boxes=["50,50,5,5"], box_files=[file])
    assert [(p.object_id, p.box.tolist()) for p in found] == [
        (1, [50, 50, 5, 5]), (2, [1, 2, 3, 4]), (3, [5, 6, 7, 8]), (4, [9, 10, 11, 12])
    ]  # fmt: skip
    truth = write_text(tmp_path / "groundtruth.txt", "1,2,3,4\n0,0,0,0\nnan,nan,nan,nan\n")
    assert [p.box.tolist() for p in make_prompts(SIZE, box_files=[truth])] == [[1, 2, 3, 4]]
    long = write_text(tmp_path / "long.txt", "1,2,3,4\n" * 300)
    with pytest.raises(DataError, match=r"at most 254 .*got 300 lines; if they are one object's boxes on each frame"):
        make_prompts(SIZE, box_files=[long])
    with pytest.raises(DataError, match=r"car\.txt:2: expected x,y,w,h"):
        make_prompts(SIZE, box_files=[write_text(file, "1,2,3,4\n5 6 7\n")])


def test_a_mask_gives_an_object_for_each_label(tmp_path):
    from mosam.codecs import voc_palette

    labels = label_map({1: (0, 0, 3, 3), 4: (5, 5, 3, 3)})
    write_labels(tmp_path / "m.png", labels)
    found = make_prompts(labels.shape, mask=tmp_path / "m.png")
    assert [p.object_id for p in found] == [1, 4]
    np.testing.assert_array_equal(found[1].mask, labels == 4)
    assert len(voc_palette()) == 768
    write_labels(tmp_path / "white.png", np.where(labels == 1, 255, 0).astype(np.uint8), mode="L")
    assert [p.object_id for p in make_prompts(labels.shape, mask=tmp_path / "white.png")] == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "expected x,y,w,h, got '1,2,3'"),
        ("a,b,c,d", "expected x,y,w,h"),
        ("1,2,nan,4", "expected x,y,w,h"),
        ("1,2,0,4", "w > 0 and h > 0, got w=0 h=4"),
        ("1,2,3,-4", "w > 0 and h > 0"),
        ("640,2,3,4", "on the 640x480 picture, got one that lies beside it"),
        ("-9,2,3,4", "lies beside it"),
        ("600,400,630,470", "if these are two corners, give 600,400,30,70"),
    ],
)
def test_wrong_boxes(text, message):
    with pytest.raises(MosamError, match=message):
        make_prompts(SIZE, boxes=[text])


def test_a_box_may_reach_out_of_the_picture_as_annotations_do():
    assert make_prompts(SIZE, boxes=["-5,400,40,100"])[0].box.tolist() == [-5, 400, 40, 100]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected boxes x,y,w,h, got an empty file"),
        ("x y w h\n1 2 3 4\n", r"b\.txt:1: expected x,y,w,h, got 'x y w h'"),
        ('{"box": [1]}\n', "expected x,y,w,h"),
        ("1,2,0,0\n", "w > 0 and h > 0"),
        ("1,2,3,4,5,6,7,8\n", "expected x,y,w,h"),
        ("500,100,620,300\n", "two corners, give 500,100,120,200"),
    ],
)
def test_wrong_box_files(tmp_path, content, message):
    with pytest.raises(MosamError, match=message):
        make_prompts(SIZE, box_files=[write_text(tmp_path / "b.txt", content)])


def test_box_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="got No such file"):
        read_box_file(tmp_path / "none.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="expected UTF-8 text, got UTF-16"):
        read_box_file(tmp_path / "x.txt")


@pytest.mark.parametrize("text", ["1", "1,2,3", "0:1,2", "a:1,2", "1,2,2", "1.2.3,4"])
def test_wrong_points(text):
    with pytest.raises(MosamError, match="--point: expected x,y or x,y,0 or OBJECT:x,y"):
        parse_point(text)


def test_other_wrong_prompts(tmp_path):
    with pytest.raises(MosamError, match="expected what to track, got nothing; give --box"):
        make_prompts(SIZE)
    with pytest.raises(MosamError, match=r"expected a point on the picture \(640x480\)"):
        make_prompts(SIZE, points=["640,3"])
    with pytest.raises(MosamError, match="only points that are not on it"):
        make_prompts(SIZE, points=["3,3,0"])
    with pytest.raises(MosamError, match="either a mask or boxes"):
        make_prompts(SIZE, boxes=["1,2,3,4"], mask=tmp_path / "m.png")
    with pytest.raises(MissingDataError, match="expected a label map"):
        make_prompts(SIZE, mask=tmp_path / "m.png")
    write_labels(tmp_path / "m.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"expected 480x640 .* got 4x4"):
        make_prompts(SIZE, mask=tmp_path / "m.png")
    with pytest.raises(DataError, match="a picture that is black"):
        make_prompts((4, 4), mask=tmp_path / "m.png")


@given(st.tuples(*[st.floats(0, 200), st.floats(0, 200), st.floats(1, 300), st.floats(1, 300)]))
def test_any_box_on_the_picture_is_taken_as_it_is(values):
    x, y, w, h = values
    w, h = min(w, SIZE[1] - x), min(h, SIZE[0] - y)
    box = parse_box(f"{x!r},{y!r},{w!r},{h!r}", "box")
    assert box.tolist() == [x, y, w, h]
    check_box(box, SIZE, "box")


@pytest.mark.parametrize("box", ["450,298,2500,338", "450,298,800,900", "-300,10,400,50", "10,-400,20,500"])
def test_a_box_that_reaches_far_out_of_the_picture_is_refused(box):
    with pytest.raises(MosamError, match=rf"--box {box}: expected .*x,y,w,h.*, got (one from|a box that reaches to)"):
        make_prompts((720, 1280), boxes=[box])


def test_the_part_of_a_box_that_is_on_the_picture_is_said():
    with pytest.raises(MosamError, match="450,298,830,338 is what of it is on the picture"):
        make_prompts((720, 1280), boxes=["450,298,2500,338"])
