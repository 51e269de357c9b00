from __future__ import annotations

import csv
import math

import pytest

from mosam.errors import MismatchError, MosamError, UnknownNameError
from mosam.evaluation import tables
from mosam.evaluation.scores import Scores


def make_scores(tracker: str = "sam2", **changes) -> Scores:
    values = {
        "dataset": "lasot",
        "split": "test",
        "tracker": tracker,
        "model": None,
        "protocol": "pytracking",
        "overall": {"success_auc": 0.12345, "precision": 1.0, "fps": 12.34},
        "sequences": {"cup-1": {}, "cup-2": {}},
    }
    return Scores(**(values | changes))


def test_text():
    lines = tables.compare([make_scores(), make_scores("a-long-name", overall={"success_auc": math.nan})]).split("\n")
    assert lines == [
        "lasot test, protocol pytracking, 2 sequences",
        "---------------------------------------------",
        "Tracker      AUC [%]  P [%]  Speed [frames/s]",
        "---------------------------------------------",
        "sam2            12.3  100.0              12.3",
        "a-long-name        -      -                 -",
        "---------------------------------------------",
    ]


def test_rounding_is_of_percent():
    text = tables.compare([make_scores(overall={"success_auc": 0.4956})], columns=["success_auc"])
    assert "49.6" in text


def test_markdown():
    assert tables.compare([make_scores(model="tiny")], columns=["precision"], format="markdown").split("\n") == [
        "**lasot test, protocol pytracking, 2 sequences**",
        "",
        "| Tracker | Model | P [%] |",
        "| :-- | :-- | --: |",
        "| sam2 | tiny | 100.0 |",
    ]


def test_csv_can_be_read_back():
    scores = [make_scores("a,b", overall={"success_auc": math.nan, "precision": 0.5}, official="2 of 280 official")]
    rows = list(csv.reader(tables.compare(scores, format="csv").splitlines()))
    assert rows == [["Tracker", "AUC [%]", "P [%]", "Subset"], ["a,b", "", "50.0", "2 of 280 official"]]


def test_subsets_are_marked_under_the_table():
    text = tables.compare(
        [
            make_scores("all"),
            make_scores("some", official="2 of 280 official sequences"),
            make_scores("few", subset="1 of 3 sequences", sequences={"cup-1": {}}),
            make_scores("same", official="2 of 280 official sequences", missing=("cup-3",), notes=("cup-1: cut",)),
        ]
    )
    assert "sequences" not in text.split("\n")[0]  # they differ
    assert [line.split("  ")[0] for line in text.split("\n")[4:8]] == ["all", "some *", "few **", "same *"]
    assert text.split("\n")[9:] == [
        "* 2 of 280 official sequences",
        "** 1 of 3 sequences",
        "same: cup-1: cut",
        "same: 1 without results left out: cup-3",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "got10k"}, r"expected scores of one dataset, got lasot \(sam2\); got10k \(other\)"),
        ({"split": "train"}, r"expected scores of one split, got test \(sam2\); train \(other\)"),
        ({"protocol": "lasot"}, r"expected scores of one protocol, got pytracking \(sam2\); lasot \(other\)"),
    ],
)
def test_what_cannot_be_compared_is_not_mixed(changes, message):
    with pytest.raises(MismatchError, match=message):
        tables.compare([make_scores(), make_scores("other", **changes)])


def test_one_name_does_not_hide_two_meanings():
    assert "P area [%]" in tables.compare([make_scores(protocol="trackingnet")])


def test_attributes():
    scores = [
        make_scores(attributes={"ARC": {"success_auc": 0.5}, "FM": {"success_auc": 0.25}}),
        make_scores("other", attributes={"FM": {"success_auc": 0.75}}),
    ]
    assert tables.by_attribute(scores, "success_auc", format="csv").split("\n") == [
        "Tracker,ARC,FM",
        "sam2,50.0,25.0",
        "other,,75.0",
    ]
    with pytest.raises(MosamError, match="expected sequences with attributes, got none"):
        tables.by_attribute([make_scores()], "success_auc")


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="did you mean success_auc"):
        tables.compare([make_scores()], columns=["succes_auc"])
    with pytest.raises(UnknownNameError, match="unknown table format 'html'"):
        tables.compare([make_scores()], format="html")
    with pytest.raises(MosamError, match="expected scores, got none"):
        tables.compare([])


def test_an_unlisted_value_is_shown_too():
    assert tables.compare([make_scores(overall={"new_thing": 0.5})]).split("\n")[2:5:2] == [
        "Tracker  new_thing",
        "sam2         0.500",
    ]
