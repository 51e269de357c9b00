import pytest
from figure_cases import make_scores

from mosam.errors import MismatchError, MosamError
from mosam.evaluation.figures import FIGURES
from mosam.evaluation.realtime import RealTime


def at(tracker, rate, quality, *, protocol="pytracking", grace=0):
    return make_scores(tracker, quality - 0.45, protocol=RealTime(rate, grace).mark(protocol))


def lines(scores):
    axes = FIGURES["realtime"](scores).axes[0]
    return {line.get_label(): line.get_xydata().round(6).tolist() for line in axes.get_lines()}


def test_a_line_for_each_tracker_by_rising_rate():
    scores = [at("A", 20, 0.5), at("A", 5, 0.6), at("B", 5, 0.55), at("B", 20, 0.55)]
    assert lines(scores) == {"A": [[5, 60], [20, 50]], "B": [[5, 55], [20, 55]]}


def test_scores_as_they_are_have_no_rate():
    assert set(lines([make_scores("C"), at("A", 20, 0.5), at("A", 5, 0.6)])) == {"A"}


@pytest.mark.parametrize("scores", [[make_scores("A")], [at("A", 20, 0.5), at("B", 20, 0.5)]])
def test_less_than_two_rates(scores):
    with pytest.raises(MosamError, match="figure realtime: expected scores at several rates, as of --realtime 5,10,20"):
        FIGURES["realtime"](scores)


@pytest.mark.parametrize("other", [{"protocol": "lasot"}, {"grace": 3}])
def test_one_protocol_and_grace(other):
    with pytest.raises(MismatchError, match="figure realtime: expected scores of one protocol"):
        FIGURES["realtime"]([at("A", 5, 0.5), at("A", 20, 0.5, **other)])


def test_no_scores():
    with pytest.raises(MosamError, match="figure realtime: expected scores, got none"):
        FIGURES["realtime"]([])
