from __future__ import annotations

import math

import numpy as np
import pytest

from mosam.codecs import CODECS, CodecOptions
from mosam.codecs.vot import VotCodec, name_of_anchor, name_of_pass, write_run
from mosam.datasets.frames import NoFrames
from mosam.datasets.region_folders import RegionSequence
from mosam.errors import DataError, MissingDataError
from mosam.regions.files import read_trajectory
from mosam.regions.trajectory import Rectangle, RunMask, Special
from mosam.types import FrameOutput, ObjectOutput, Prompt

SIZE = (8, 10)


def make_sequence(objects=(1,), starts=None, names=None, count=4):
    starts = starts or dict.fromkeys(objects, 0)
    return RegionSequence(
        name="cat",
        source=NoFrames("nowhere"),
        frame_names=tuple(f"{i + 1:08d}" for i in range(count)),
        object_ids=tuple(objects),
        load_prompts=lambda: tuple(Prompt(i, starts[i], box=np.array([1.0, 1, 2, 2])) for i in objects),
        load_size=lambda: SIZE,
        object_names=names or {i: str(i) for i in objects},
    )


def square(x, y, side=3):
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def write(codec, folder, sequence, masks, options=None):
    """Masks by object for each frame."""
    writer = codec.writer(folder, sequence, options or CodecOptions())
    for index, objects in enumerate(masks):
        outputs = {i: ObjectOutput(mask, object_score=2.0, iou=0.5) for i, mask in objects.items()}
        writer.add(FrameOutput(index, outputs), 0.5 + index)
    writer.finish()


def test_one_pass_of_masks_as_the_toolkit_names_it(tmp_path):
    sequence, codec = make_sequence(), CODECS["vot"]
    masks = [square(1, 1), square(2, 2), np.zeros(SIZE, dtype=bool), square(4, 4)]
    write(codec, tmp_path, sequence, [{1: mask} for mask in masks])
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == ["baseline/cat/cat_001.bin", "baseline/cat/cat_001_time.value"]
    assert codec.files(sequence) == ("baseline/cat/cat_001.bin",)
    assert codec.listed(tmp_path) == {"cat"}
    (trajectory,) = codec.read_passes(tmp_path, sequence, 1)
    assert list(trajectory) == [
        Special(1),
        RunMask(2, 2, 3, 3, (0, 9)),
        RunMask(0, 0, 0, 0, (0,)),
        RunMask(4, 4, 3, 3, (0, 9)),
    ]
    result = codec.read_masks(tmp_path, sequence)
    np.testing.assert_array_equal(result.read(3)[1], masks[3])
    assert result.read(2) == {}
    assert result.labels(1).sum() == 9
    assert codec.read_times(tmp_path, sequence).tolist() == [0.5, 1.5, 2.5, 3.5]
    np.testing.assert_array_equal(codec.read_boxes(tmp_path, sequence)[1][3], [4, 4, 2, 2])


def test_objects_are_named_only_where_there_are_several(tmp_path):
    sequence = make_sequence((1, 2), {1: 0, 2: 2}, {1: "left", 2: "right"})
    assert name_of_pass(make_sequence(), 1) == "cat_001"
    assert name_of_pass(sequence, 2, 3) == "cat_right_003"
    assert name_of_anchor(sequence, 47) == "cat_00000047"
    codec = CODECS["vot"]
    write(codec, tmp_path, sequence, [{1: square(1, 1)}, {1: square(2, 1)}, {1: square(3, 1), 2: square(5, 5)}, {}])
    late = codec.read(tmp_path, sequence, "cat_right_001")
    assert list(late) == [Special(0), Special(0), Special(1), RunMask(0, 0, 0, 0, (0,))]
    assert codec.files(sequence) == ("baseline/cat/cat_left_001.bin", "baseline/cat/cat_right_001.bin")


@pytest.mark.parametrize(
    ("absent_as", "row"),
    [
        ("zeros", Rectangle(0, 0, 0, 0)),
        ("last", Rectangle(2, 2, 2, 2)),
        ("nan", Special(0)),
        ("minus_one", Rectangle(-1, -1, -1, -1)),
    ],
)
def test_boxes_of_absent_objects(tmp_path, absent_as, row):
    sequence, codec = make_sequence(), CODECS["vot-box"]
    masks = [{1: square(1, 1)}, {1: square(2, 2)}, {}, {1: square(4, 4)}]
    write(codec, tmp_path, sequence, masks, CodecOptions(absent_as=absent_as))
    trajectory = codec.read(tmp_path, sequence, "cat_001")
    assert list(trajectory) == [Special(1), Rectangle(2, 2, 2, 2), row, Rectangle(4, 4, 2, 2)]
    assert (tmp_path / "baseline/cat/cat_001.txt").read_text().startswith("1\n2.0,2.0,2.0,2.0\n")


def test_long_term_results_say_how_sure_they_are(tmp_path):
    sequence, codec = make_sequence(), CODECS["vot-lt"]
    write(codec, tmp_path, sequence, [{1: square(1, 1)}, {1: square(2, 2)}, {}, {1: square(4, 4)}])
    lines = (tmp_path / "longterm/cat/cat_001_confidence.value").read_text().split("\n")
    sure = 0.5 / (1 + math.exp(-2))
    assert lines == ["", str(sure), "0", str(sure), ""]
    assert codec.read_values(tmp_path, sequence, "cat_001", "confidence").tolist() == [math.inf, sure, 0, sure]


def test_runs_by_anchor_and_repetition(tmp_path):
    sequence, codec = make_sequence(), CODECS["vot"]
    place = tmp_path / "baseline" / "cat"
    write_run(place, name_of_anchor(sequence, 3), [Special(1), Rectangle(1, 2, 3, 4)], seconds=[0.5, math.nan])
    assert (place / "cat_00000003_time.value").read_text() == "0.5\n\n"
    assert len(codec.read(tmp_path, sequence, "cat_00000003")) == 2
    for number in (1, 2, 15):
        write_run(place, name_of_pass(sequence, 1, number), [Special(1)] * number, suffix=".txt")
    assert [len(one) for one in codec.read_passes(tmp_path, sequence, 1)] == [1, 2, 15]


def test_text_is_read_before_binary_and_results_without_experiment_too(tmp_path):
    sequence, codec = make_sequence(), CODECS["vot"]
    write_run(tmp_path / "cat", "cat_001", [Special(1)])
    assert list(codec.read_passes(tmp_path, sequence, 1)[0]) == [Special(1)]
    write_run(tmp_path / "cat", "cat_001", [Special(1), Special(0)], suffix=".txt")
    assert len(codec.read(tmp_path, sequence, "cat_001")) == 2
    assert codec.find(tmp_path, sequence, "cat_002") is None


def test_what_is_missing_or_damaged(tmp_path):
    sequence, codec = make_sequence(), VotCodec()
    with pytest.raises(MissingDataError, match=r"expected cat_001\.txt or cat_001\.bin, found neither"):
        codec.read_passes(tmp_path, sequence, 1)
    assert codec.read_times(tmp_path, sequence) is None
    place = tmp_path / "baseline" / "cat"
    write_run(place, "cat_001", [Special(1)], suffix=".txt")
    (place / "cat_001_time.value").write_text("0.5\nsoon\n")
    with pytest.raises(DataError, match=r"cat_001_time\.value:2: expected a number"):
        codec.read_times(tmp_path, sequence)
    assert read_trajectory(place / "cat_001.txt")[0] == Special(1)
