"""The scores of official programs on the same rows, and what the switches mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.datasets.base import BoxTruth
from mosam.errors import DataError
from mosam.evaluation.protocols.base import parse_protocol
from mosam.evaluation.protocols.one_pass import HIT, MISS, NO_OVERLAP, BoxConventions, frame_errors, prepared

# 32-bit curves in PyTracking and VastTrack's Python toolkit
CASES = {
    case["case"]: case for case in json.loads((Path(__file__).parents[1] / "parity_boxes/one_pass.json").read_text())
}
BOX = [20.0, 30, 10, 8]
PROTOCOLS = ("pytracking", "pytracking-uav", "pytracking-avist", "vasttrack", "lasot")


def truth_of(sequence):
    boxes = np.array(sequence["truth"], dtype=np.float64)
    absent = np.zeros(len(boxes), dtype=bool)
    absent[sequence["absent"]] = True
    return BoxTruth(boxes, absent)


def values(protocol, predicted, truth):
    """The numbers of one sequence."""
    chosen = parse_protocol(protocol)
    means, _, _ = chosen.values([chosen.frame_errors(predicted, truth)])
    return {name: mean.value for name, mean in means.items()}


def scores(protocol, sequences):
    """Means over sequences."""
    rows = [
        values(protocol, np.array(sequence["predicted"], dtype=float), truth_of(sequence)) for sequence in sequences
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_as_the_official_program(case):
    found = scores(case["protocol"], case["sequences"])
    assert {name: found[name] for name in case["scores"]} == pytest.approx(case["scores"], abs=1e-6)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if "valid_only" in case], ids=lambda case: case["case"]
)
def test_as_the_official_program_without_other_frames(case):
    found = scores(f"{case['protocol']}[valid_only]", case["sequences"])
    assert {name: found[name] for name in case["valid_only"]} == pytest.approx(case["valid_only"], abs=1e-6)


def test_two_toolkits_of_vasttrack_disagree():
    python, matlab = CASES["vasttrack"]["scores"], CASES["vasttrack_matlab"]["scores"]
    assert CASES["vasttrack"]["sequences"] == CASES["vasttrack_matlab"]["sequences"]
    assert matlab["precision"] - python["precision"] > 0.05


def kinds(protocol, **changes):
    """Errors of an absent frame, one with a true box at the edge, and one without a size, by a protocol."""
    truth = np.array([BOX, BOX, [0, 30, 10, 8], [20, 30, 0, 8]])
    frames = parse_protocol(protocol).frame_errors(
        np.tile(BOX, (4, 1)), BoxTruth(truth, np.array([False, True, False, False]))
    )
    return frames.center[1:].tolist(), frames.norm[1:].tolist()


@pytest.mark.parametrize(
    ("protocol", "center", "norm"),
    [
        ("pytracking", [MISS, MISS, MISS], [MISS, HIT, HIT]),
        ("pytracking-uav", [HIT, HIT, HIT], [HIT, HIT, HIT]),
        ("pytracking-avist", [MISS, MISS, MISS], [HIT, HIT, HIT]),
        ("vasttrack", [MISS, 20.0, MISS], [MISS, 2.0, HIT]),
        ("lasot", [MISS, HIT, HIT], [MISS, HIT, HIT]),
    ],
)
def test_what_programs_make_of_other_frames(protocol, center, norm):
    assert kinds(protocol) == (center, norm)


def test_empty_rows_repeat_the_last_but_not_where_the_truth_is_nan():
    truth = np.array([BOX, [np.nan] * 4, BOX, BOX])
    predicted = np.array([[1.0, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0], [5, 6, 0, 8]])
    rows = prepared(predicted, truth, BoxConventions())
    assert rows.tolist() == [BOX, [0] * 4, [0] * 4, [0] * 4]
    rows = prepared(predicted, np.tile(BOX, (4, 1)), BoxConventions())
    assert rows[1:].tolist() == [[1, 2, 3, 4]] * 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("row", [[1, 2, -3, 4], [np.nan, 2, 3, 4]])
def test_refused_rows(protocol, row):
    predicted, truth = np.array([BOX, row]), BoxTruth(np.tile(BOX, (2, 1)), np.zeros(2, dtype=bool))
    if protocol == "lasot":
        assert parse_protocol(protocol).frame_errors(predicted, truth).iou.tolist() == [1, 1]
        return
    with pytest.raises(DataError, match=r"x\.txt:2: expected w >= 0 and h >= 0, got .* choose --protocol lasot"):
        parse_protocol(protocol).frame_errors(predicted, truth, where="x.txt")


numbers = st.integers(-5, 40).map(float)


@given(
    truth=st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=1, max_size=8),
    absent=st.integers(0, 255),
    center=st.sampled_from([MISS, HIT]),
    sized=st.booleans(),
)
def test_every_frame_is_ordinary_odd_or_absent(truth, absent, center, sized):
    boxes = np.array(truth)
    flags = (absent >> np.arange(len(boxes))) % 2 == 1
    rules = BoxConventions(
        absent_frames="as bad truth",
        bad_truth="hit" if center == HIT else "miss",
        true_boxes="sized" if sized else "positive",
        empty_boxes="as written",
        denominator="valid",
    )
    frames = frame_errors(boxes, BoxTruth(boxes, flags), rules)
    ordinary = frames.iou != NO_OVERLAP
    assert frames.count == ordinary.sum()
    assert (frames.center[~ordinary] == center).all()
    assert (frames.center[ordinary] == 0).all()
    assert not (ordinary & flags).any()
    assert not np.isnan(frames.norm).any()


@given(st.integers(0, 2**8 - 1))
def test_a_hit_never_scores_less_than_a_miss(absent):
    flags = (absent >> np.arange(8)) % 2 == 1
    truth = BoxTruth(np.tile(BOX, (8, 1)), flags)
    predicted = np.tile([24.0, 30, 10, 8], (8, 1))
    precisions = [values(name, predicted, truth)["precision"] for name in ("pytracking", "pytracking-uav")]
    assert precisions[0] <= precisions[1]
