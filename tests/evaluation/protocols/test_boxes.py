from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosam.codecs import CODECS
from mosam.datasets.base import BoxTruth, Sequence
from mosam.errors import DataError, MismatchError, UnknownNameError
from mosam.evaluation.protocols.base import Protocol, ShortResultError, TrackerResults, parse_protocol
from mosam.evaluation.protocols.one_pass import (
    BoxConventions,
    cut_boxes,
    error_curves,
    frame_errors,
    repeat_last,
    toolkit_iou,
)

BOX_PROTOCOLS = ["pytracking", "pytracking[valid_only]", "lasot", "pysot", "got10k", "got10k-success", "trackingnet"]
START = [10.0, 10, 20, 20]


def make_sequence(boxes: list[list[float]], absent: list[int] | None = None, **truth) -> Sequence:
    rows = np.array(boxes, float)
    flags = np.zeros(len(rows), bool)
    flags[absent or []] = True
    names = tuple(f"{i:08d}" for i in range(len(rows)))
    return Sequence("cup-1", (), names, (1,), tuple, lambda: BoxTruth(rows, flags, **truth))  # type: ignore[arg-type]


def score(protocol: str | Protocol, tmp_path: Path, boxes: list[list[float]], predicted: list[list[float]], **truth):
    (tmp_path / "cup-1.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in predicted))
    chosen = parse_protocol(protocol) if isinstance(protocol, str) else protocol
    return chosen.score(make_sequence(boxes, **truth), TrackerResults(tmp_path, CODECS["lasot"]))


def moving(count: int) -> list[list[float]]:
    return [[10.0 + 3 * t, 10 + t, 20, 20 + t] for t in range(count)]


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
def test_perfect(tmp_path, protocol):
    values = score(protocol, tmp_path, moving(9), moving(9)).values
    best = {"success_auc": 1.0 if protocol == "trackingnet" else 20 / 21}  # TrackingNet: 1 reaches the threshold 1
    assert values == pytest.approx(dict.fromkeys(values, 1.0) | {k: v for k, v in best.items() if k in values})


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
def test_bounds(tmp_path, protocol):
    rng = np.random.default_rng(0)
    for _ in range(20):
        boxes, predicted = rng.integers(1, 40, (2, 12, 4)).tolist()
        boxes[0] = START
        values = score(protocol, tmp_path, boxes, predicted, absent=[3, 4]).values
        assert all(0 <= value <= 1 for value in values.values())


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
def test_short_results_are_told_and_long_ones_cut(tmp_path, protocol):
    with pytest.raises(ShortResultError, match="cup-1: 8 of 9 rows"):
        score(protocol, tmp_path, moving(9), moving(8))
    long = score(protocol, tmp_path, moving(9), [*moving(9), [0, 0, 0, 0]])
    assert long.notes == ("10 rows cut to 9",)
    assert long.values == score(protocol, tmp_path, moving(9), moving(9)).values


@pytest.mark.parametrize(
    ("protocol", "counts"), [("pytracking", 0), ("lasot", 0), ("got10k-success", 0), ("trackingnet", 0), ("pysot", 1)]
)
def test_whether_the_first_prediction_counts(tmp_path, protocol, counts):
    values = score(protocol, tmp_path, moving(4), [[500, 500, 5, 5], *moving(4)[1:]]).values
    assert values["precision"] == pytest.approx(1 - counts / 4)


@pytest.mark.parametrize(
    ("protocol", "success", "precision", "norm"),
    [
        # frame 1 visible with a bad true box, frame 2 absent, frames 0 and 3 hit; 4 frames
        pytest.param("pytracking", 2, 2, 3, id="PyTracking: a bad true box hits in normalized precision only"),
        pytest.param("lasot", 2, 3, 3, id="MATLAB: it hits in both precisions"),
        pytest.param("pysot", 2, 3, 3, id="pysot: as MATLAB"),
    ],
)
def test_bad_and_absent_truth(tmp_path, protocol, success, precision, norm):
    boxes = [START, [0.0, 0, 0, 0], [9.0, 9, 9, 9], START]
    values = score(protocol, tmp_path, boxes, [START, [300, 300, 9, 9], [9, 9, 9, 9], START], absent=[2]).values
    assert values["op50"] == success / 4
    assert values["precision"] == precision / 4
    assert values["norm_precision"] == norm / 4


def test_valid_only_changes_the_denominator(tmp_path):
    boxes = [START, START, START, START]
    predicted = [START, START, [400, 400, 9, 9], START]
    everything = score("pytracking", tmp_path, boxes, predicted, absent=[3]).values
    valid = score("pytracking[valid_only]", tmp_path, boxes, predicted, absent=[3]).values
    assert (everything["op50"], valid["op50"]) == (2 / 4, 2 / 3)
    assert everything["mean_overlap"] == valid["mean_overlap"] == 2 / 3


def test_got10k_success_does_not_look_at_absence(tmp_path):
    boxes = [START, START, [np.nan] * 4]
    values = score("got10k-success", tmp_path, boxes, [START, [400, 400, 9, 9], START], absent=[1]).values
    assert values["op50"] == 0.5


@pytest.mark.parametrize(("protocol", "hits"), [("pytracking", 3), ("lasot", 3), ("pysot", 2), ("got10k-success", 2)])
def test_who_repeats_the_last_box(tmp_path, protocol, hits):
    values = score(protocol, tmp_path, [START] * 3, [START, START, [0, 0, 0, 0]]).values
    assert values["op50"] == hits / 3


@pytest.mark.parametrize("bad", [[1, 1, -1, -1], [np.nan] * 4])
def test_pytracking_refuses_what_its_program_refuses(tmp_path, bad):
    with pytest.raises(DataError, match=r"cup-1.txt:2: expected w >= 0 and h >= 0") as caught:
        score("pytracking", tmp_path, [START] * 3, [START, bad, START])
    assert caught.value.line == 2
    assert score("lasot", tmp_path, [START] * 3, [START, bad, START]).values["op50"] == 1.0


def test_repeat_last_goes_back_over_several_rows():
    rows = np.arange(6.0).reshape(6, 1)
    unusable = np.array([True, True, False, True, True, False])
    np.testing.assert_array_equal(repeat_last(rows, unusable).ravel(), [0, 0, 2, 2, 2, 5])


def test_got10k_pools_frames_and_drops_the_first_and_hidden_ones(tmp_path):
    boxes = [START] * 5
    half = [10.0, 10, 20, 10]  # overlap exactly 0.5, which does not exceed 0.5
    predicted = [[300, 300, 5, 5], START, half, [0, 0, 0, 0], START]
    result = score("got10k", tmp_path, boxes, predicted, cover=np.array([8, 8, 8, 8, 0]) / 8)
    assert result.values == pytest.approx({"ao": 1.5 / 3, "sr50": 1 / 3, "sr75": 1 / 3})
    assert result.means["ao"].count == 3
    other = score("got10k", tmp_path, [START] * 2, [START, START])
    overall = parse_protocol("got10k").overall([result, other])
    assert overall["ao"] == pytest.approx((1.5 + 1) / 4)  # frames, not sequences


def test_boxes_are_cut_to_the_picture_only_where_its_size_is_known():
    predicted, truth = np.array([[-10.0, 0, 20, 10]]), np.array([[0.0, 0, 10, 10]])
    assert toolkit_iou(predicted, truth) == pytest.approx(0.5)
    # the toolkit moves the corner and keeps the width: x 0, w 20, against w 10
    assert toolkit_iou(cut_boxes(predicted, (10, 30)), truth) == pytest.approx(0.5)
    assert toolkit_iou(cut_boxes(predicted, (10, 10)), truth) == pytest.approx(1.0)
    rows = np.tile(predicted, (2, 1)), BoxTruth(np.tile(truth, (2, 1)), np.zeros(2, dtype=bool))
    for size, overlap in (((10, 10), 1.0), (None, 0.5)):
        found = frame_errors(*rows, BoxConventions(pixels="picture", bad_truth="as written"), size=size)
        assert found.iou[1] == pytest.approx(overlap)
    np.testing.assert_array_equal(predicted, [[-10, 0, 20, 10]])


def test_trackingnet_rounds_and_takes_areas(tmp_path):
    truth = [START, [10.4, 10.4, 20.4, 19.6]]
    assert score("trackingnet", tmp_path, truth, [START, [9.6, 9.6, 19.6, 20.4]]).values["success_auc"] == 1.0
    # one frame exact, one with overlap 0.5: the curve is 1 up to 0.5 (not strict) and a half above it
    half = score("trackingnet", tmp_path, [START, START], [START, [10, 10, 20, 10]])
    curve = half.curves["success"]
    assert (curve[10], curve[11]) == (1.0, 0.5)
    assert half.values["success_auc"] == pytest.approx((10 * 1 + 0.75 + 9 * 0.5) / 20)


def test_trackingnet_counts_what_it_cannot_compute_as_a_miss():
    boxes = np.array([[5.0, 5, 0, 0], [5, 5, 10, 10]])
    conventions = replace(parse_protocol("trackingnet").conventions, first_frame="as written")
    truth = BoxTruth(boxes, np.zeros(2, dtype=bool))
    curves = error_curves(frame_errors(np.array([[5.0, 5, 0, 0], [np.nan] * 4]), truth, conventions), conventions)
    assert (curves["success"] == 0).all()
    assert curves["precision"][-1] == 0.5


def test_masks_are_not_boxes():
    class Masks:
        pass

    sequence = Sequence("a", (), ("0",), (1,), tuple, Masks)  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match="expected annotated boxes, got masks"):
        parse_protocol("lasot").score(sequence, TrackerResults(Path(), CODECS["lasot"]))


def test_names_and_options():
    assert parse_protocol("pytracking").label == "pytracking"
    assert parse_protocol(" pytracking[ valid_only ]").label == "pytracking[valid_only]"
    with pytest.raises(UnknownNameError, match="did you mean pytracking"):
        parse_protocol("pytraking")
    with pytest.raises(UnknownNameError, match="did you mean valid_only"):
        parse_protocol("pytracking[validonly]")
    with pytest.raises(UnknownNameError, match="unknown option"):
        parse_protocol("lasot[valid_only]")


def test_got10k_pools_the_repetitions(tmp_path):
    """As the toolkit: the frames of all repetitions together; numbers by hand."""
    (tmp_path / "cup-1").mkdir()
    away = [[500.0, 500, 20, 20]] * 3
    for number, rows in (("001", moving(4)), ("002", [START, *away]), ("003", [START, *moving(4)[1:3], away[0]])):
        (tmp_path / "cup-1" / f"cup-1_{number}.txt").write_text("".join(",".join(map(str, r)) + "\n" for r in rows))
    (tmp_path / "cup-1" / "cup-1_time.txt").write_text("0.1,0.2,0.3\n" * 4)
    results = TrackerResults(tmp_path, CODECS["got10k"])
    values = parse_protocol("got10k").score(make_sequence(moving(4)), results).values
    assert values["sr50"] == pytest.approx((3 + 0 + 2) / 9)
    assert values["fps"] == pytest.approx(12 / (4 * (0.1 + 0.2 + 0.3)))
    first = parse_protocol("pytracking").score(make_sequence(moving(4)), results)
    assert first.notes == ("the first of 3 repetitions is scored; protocol got10k takes all",)
    assert first.values["op50"] == 1.0
    (tmp_path / "cup-1" / "cup-1_002.txt").write_text("1,2,3,4\n")
    with pytest.raises(ShortResultError, match="1 of 4 rows"):
        parse_protocol("got10k").score(make_sequence(moving(4)), results)


OTHERWISE = {
    "x0,y0,x1,y1": lambda x, y, w, h: [x, y, x + w, y + h],
    "center x,y and w,h": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "y,x,h,w": lambda x, y, w, h: [y, x, h, w],
}
FAR = [[100.0 + 3 * t, 40 + t, 30, 20 + t] for t in range(5)]


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
@pytest.mark.parametrize("form", OTHERWISE)
def test_rows_in_another_form_are_noted(tmp_path, protocol, form):
    result = score(protocol, tmp_path, FAR, [OTHERWISE[form](*row) for row in FAR])
    assert result.notes == (f"row 1 is the given box if read as {form}: expected x,y,w,h; convert the rows",)


@pytest.mark.parametrize("protocol", BOX_PROTOCOLS)
def test_fractions_of_the_picture_and_other_pictures_are_noted(tmp_path, protocol):
    result = score(protocol, tmp_path, FAR, [[x / 640, y / 480, w / 640, h / 480] for x, y, w, h in FAR])
    assert result.notes == ("all numbers are near 0 to 1: expected x,y,w,h in pixels; multiply by width and height",)
    result = score(protocol, tmp_path, FAR, [[4 * value for value in row] for row in FAR])
    assert result.notes == ("row 1 overlaps the given box by 0.00: expected x,y,w,h in pixels of these frames",)


def test_zeros_or_a_near_box_on_the_first_row_need_no_note(tmp_path):
    for first in ([0.0, 0, 0, 0], [103.0, 42, 28, 19]):
        assert score("pytracking", tmp_path, FAR, [first, *FAR[1:]]).notes == ()
