from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mosam.codecs import CODECS, labels_of_masks, write_labels
from mosam.datasets.base import Sequence
from mosam.errors import DataError, MismatchError
from mosam.evaluation.protocols.base import SequenceScore, ShortResultError, TrackerResults, parse_protocol
from mosam.evaluation.protocols.masks import Lvos, ObjectRange, instability

SIZE = (40, 60)
Frames = list[dict[int, np.ndarray]]


class Truth:
    """Masks in memory."""

    def __init__(self, frames: Frames, void: np.ndarray | None = None):
        self._frames = frames
        self._void = void
        self.frame_indices = tuple(range(len(frames)))
        self.object_ids = tuple(sorted({label for frame in frames for label in frame}))

    def read(self, frame_index: int) -> Mapping[int, np.ndarray]:
        return self._frames[frame_index]

    def void(self, frame_index: int) -> np.ndarray | None:
        return self._void


class Ranged(Truth):
    ranges: Mapping[int, ObjectRange] = {}


def square(x: int, side: int = 12) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[10 : 10 + side, x : x + side] = True
    return mask


def score(tmp_path: Path, protocol: str, truth: Truth, predicted: Frames, **changes) -> SequenceScore:
    names = tuple(f"{i:05d}" for i in range(len(truth.frame_indices)))
    sequence = Sequence("clip", (), names, truth.object_ids, tuple, lambda: truth, **changes)  # type: ignore[arg-type]
    (tmp_path / "clip").mkdir(exist_ok=True)
    for name, masks in zip(names, predicted, strict=False):
        write_labels(tmp_path / "clip" / f"{name}.png", labels_of_masks(masks, SIZE))
    return parse_protocol(protocol).score(sequence, TrackerResults(tmp_path, CODECS["davis"]))


MASK_PROTOCOLS = ["davis2017", "davis2017[decay_8bit]", "vos-benchmark", "vos-benchmark[all_frames]", "lvos"]
MOVING: Frames = [{1: square(3 * t), 2: square(40)} for t in range(6)]


@pytest.mark.parametrize("protocol", MASK_PROTOCOLS)
def test_perfect(tmp_path, protocol):
    result = score(tmp_path, protocol, Truth(MOVING), MOVING)
    assert {name: value for name, value in result.values.items() if name[0] == "j"} == {
        name: 0.0 if "decay" in name else 1.0 for name in result.values if name[0] == "j"
    }
    assert set(result.objects) == {1, 2}


@pytest.mark.parametrize("protocol", MASK_PROTOCOLS)
def test_nothing_predicted(tmp_path, protocol):
    assert score(tmp_path, protocol, Truth(MOVING), [{}] * 6).values["jf_mean"] == 0


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [("davis2017", 1.0), ("vos-benchmark", 1.0), ("vos-benchmark[all_frames]", (4 + 0 + 0.0) / 6), ("lvos", 1.0)],
)
def test_whether_the_first_and_last_frame_count(tmp_path, protocol, expected):
    truth = Truth([{1: square(5)}] * 6)
    predicted: Frames = [{1: square(40)}, *[{1: square(5)}] * 4, {}]
    assert score(tmp_path, protocol, truth, predicted).values["j_mean"] == pytest.approx(expected)


def test_an_object_that_comes_late(tmp_path):
    truth = Truth([{2: square(40)}] * 3 + [{1: square(5), 2: square(40)}] * 5)
    predicted: Frames = [{2: square(40)}] * 4 + [{1: square(5), 2: square(40)}] * 4
    davis = score(tmp_path, "davis2017", truth, predicted)
    # frames 1..6: right while both are empty (1, 2), missed on 3, right on 4, 5, 6
    assert davis.objects[1]["j_mean"] == pytest.approx(5 / 6)
    vos = score(tmp_path, "vos-benchmark", truth, predicted)
    assert vos.objects[1]["j_mean"] == pytest.approx(3 / 4)  # its frames begin with 3
    lvos = score(tmp_path, "lvos", truth, predicted)
    assert lvos.objects[1]["j_mean"] == pytest.approx(1.0)  # frames 4, 5, 6


def test_vos_benchmark_starts_an_object_where_it_is_predicted(tmp_path):
    truth = Truth([{}, {}, {}, {1: square(5)}, {1: square(5)}, {}])
    predicted: Frames = [{}, {1: square(5)}, {}, {1: square(5)}, {1: square(5)}, {}]
    assert score(tmp_path, "vos-benchmark", truth, predicted).objects[1]["j_mean"] == pytest.approx(3 / 4)


def test_davis_counts_the_ids_up_to_the_first_frames_largest(tmp_path):
    truth = Truth([{3: square(5)}] * 5)
    result = score(tmp_path, "davis2017", truth, [{3: square(5)}] * 5)
    assert set(result.objects) == {1, 2, 3}  # 1 and 2 are empty in both: right on every frame
    with pytest.raises(
        MismatchError, match="expected labels up to 3, the objects of the first frame, got 4 on frame 00002"
    ):
        score(tmp_path, "davis2017", truth, [{}, {}, {4: square(5)}, {}, {}])


def test_void_is_one_more_object_to_vos_benchmark_only(tmp_path):
    truth = Truth([{1: square(5)}] * 4, void=square(40))
    assert set(score(tmp_path, "vos-benchmark", truth, [{1: square(5)}] * 4).objects) == {1, 255}
    assert set(score(tmp_path, "davis2017", truth, [{1: square(5)}] * 4).objects) == {1}


@pytest.mark.parametrize("protocol", MASK_PROTOCOLS)
def test_masks_of_davis_2016_may_say_255(tmp_path, protocol):
    truth = Truth([{1: square(5)}] * 4)
    truth.binary = True
    (tmp_path / "clip").mkdir()
    for index in range(4):
        write_labels(tmp_path / "clip" / f"{index:05d}.png", square(5).astype(np.uint8) * 255)
    assert score(tmp_path, protocol, truth, []).values["jf_mean"] == 1.0


def test_bad_results(tmp_path):
    truth = Truth([{1: square(5)}] * 4)
    with pytest.raises(ShortResultError, match="clip: no mask of frame 00002"):
        score(tmp_path, "davis2017", truth, [{1: square(5)}] * 2)
    write_labels(tmp_path / "clip" / "00002.png", np.ones((10, 10), np.uint8))
    with pytest.raises(DataError, match=r"clip frame 00002: expected masks of 40x60 .* got 10x10"):
        score(tmp_path, "davis2017", truth, [])


def test_lvos_takes_the_ranges_of_the_benchmark_and_scores_0_what_is_not_there(tmp_path):
    truth = Ranged([{1: square(5)}] * 8)
    truth.ranges = {1: ObjectRange(start=1, end=5, count=6)}  # the list says 6 frames, there are 5
    result = score(tmp_path, "lvos", truth, [{1: square(5)}] * 8)
    assert result.objects[1]["j_mean"] == pytest.approx(3 / 4)  # frames 2, 3, 4 of 4 reserved


def test_lvos_averages_seen_and_unseen_and_objects(tmp_path):
    truth = Truth(MOVING)
    good = score(tmp_path, "lvos", truth, MOVING, attributes=frozenset(["unseen"]))
    bad = score(tmp_path, "lvos", Truth([{1: square(5)}] * 6), [{}] * 6)
    overall = Lvos().overall([good, bad])
    assert overall["jf_mean"] == 0.5  # of two groups
    assert overall["jf_objects"] == pytest.approx(2 / 3)  # of three objects
    assert (overall["j_seen"], overall["j_unseen"]) == (0.0, 1.0)
    assert Lvos().overall([good])["jf_mean"] == 1.0


def test_instability_is_rounded_before_the_root():
    values = np.array([0.5, 0.51])  # variance 0.000025
    assert instability(values, values) == 0.0
    assert instability(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.5


def test_order_of_sequences_does_not_matter(tmp_path):
    one = score(tmp_path, "davis2017", Truth(MOVING), MOVING)
    two = score(tmp_path, "davis2017", Truth([{1: square(5)}] * 6), [{1: square(9)}] * 6)
    protocol = parse_protocol("davis2017")
    assert protocol.overall([one, two]) == pytest.approx(protocol.overall([two, one]))
    three = (2 * 1.0 + two.values["j_mean"]) / 3
    assert protocol.overall([one, two])["j_mean"] == pytest.approx(three)  # over objects


def write_maps(folder: Path, images: list) -> None:
    folder.mkdir(exist_ok=True)
    for index, image in enumerate(images):
        image.save(folder / f"{index:05d}.png")


NO_DAVIS = ["vos-benchmark", "lvos", "mose-v2", "ytvos", "toy-vot"]


@pytest.mark.parametrize("protocol", NO_DAVIS)
@pytest.mark.parametrize("gray", [255, 38])
def test_labels_that_no_object_has_are_named_and_count_for_nothing(tmp_path, protocol, gray):
    """0 and 255, and a palette lost to gray: 0 to the official programs, too."""
    truth = Truth([{1: square(5)}] * 6)
    write_maps(tmp_path / "clip", [Image.fromarray(square(5).astype(np.uint8) * gray)] * 6)
    result = score(tmp_path, protocol, truth, [])
    assert max(result.values["j_mean" if "j_mean" in result.values else "accuracy"], 0) < 0.01
    (note,) = result.notes
    assert re.match(rf"label {gray} \(in 0000[01].png and \d other files\) no object's \(objects: 1\)", note)
    assert "write object ids, not 255, gray values or colors" in note


def test_an_extra_label_beside_right_ones_is_named(tmp_path):
    truth = Truth([{1: square(5), 2: square(40)}] * 5)
    predicted = [{1: square(5), 2: square(40), 7: square(20)}] * 2 + [{1: square(5), 2: square(40)}] * 3
    result = score(tmp_path, "lvos", truth, predicted)
    assert result.values["j_mean"] == 1.0
    assert result.notes == ("label 7 (in 00001.png) no object's (objects: 1, 2), taken for nothing",)


def test_davis_refuses_0_and_255_of_one_object(tmp_path):
    write_maps(tmp_path / "clip", [Image.fromarray(square(5).astype(np.uint8) * 255)] * 4)
    with pytest.raises(MismatchError, match=r"labels up to 1, .* got 255"):
        score(tmp_path, "davis2017", Truth([{1: square(5)}] * 4), [])


@pytest.mark.parametrize("protocol", ["davis2017", *NO_DAVIS])
@pytest.mark.parametrize("equal", [True, False])
def test_pictures_in_color_are_refused_as_the_programs_do(tmp_path, protocol, equal):
    color = square(5)[..., None] * np.array([1, 1, 1] if equal else [128, 0, 0], np.uint8)
    write_maps(tmp_path / "clip", [Image.fromarray(color.astype(np.uint8))] * 4)
    with pytest.raises(DataError, match=r"0000[01].png: expected a label map .* RGB"):
        score(tmp_path, protocol, Truth([{1: square(5)}] * 4), [])


@pytest.mark.parametrize("protocol", ["vos-benchmark", "lvos"])
def test_an_object_without_a_frame_that_counts_is_told(tmp_path, protocol):
    frames: Frames = [{1: square(5)}] * 5 + [{1: square(5), 2: square(40)}]
    result = score(tmp_path, protocol, Truth(frames), frames)
    assert result.notes == ("objects 2 are on no frame that counts, left out",)
