from __future__ import annotations

import json
import math
import os

import pytest

from mosam.errors import DataError, MissingDataError
from mosam.evaluation.cache import keep
from mosam.evaluation.scores import SCHEMA, Scores, load_scores, save_scores


def make_scores(**changes) -> Scores:
    values = {
        "dataset": "lasot",
        "split": "test",
        "tracker": "mosam[stride=3]",
        "model": "sam2.1-large",
        "protocol": "pytracking",
        "overall": {"success_auc": 0.1 + 0.2, "op50": math.nan},
        "sequences": {"cup-1": {"success_auc": 0.3, "op50": math.nan}},
        "curves": {"success": (1.0, 0.5, math.nan)},
        "objects": {"cup-1": {3: {"j_mean": 0.25}}},
        "attributes": {"ARC": {"success_auc": 0.3}},
        "counts": {"cup-1": {"ao": 12.0}},
        "subset": "1 of 280 sequences",
        "official": "1 of 280 official sequences",
        "missing": ("cup-2",),
        "notes": ("cup-1: 9 rows cut to 8",),
    }
    return Scores(**(values | changes))


def same(a: Scores, b: Scores) -> bool:
    """Equal, NaN to NaN, to the last bit."""
    return json.dumps(a.to_json()) == json.dumps(b.to_json())


def test_round_trip(tmp_path):
    scores = make_scores()
    save_scores(tmp_path / "scores.json", scores)
    (back,) = load_scores(tmp_path / "scores.json")
    assert same(back, scores)
    assert back.overall["success_auc"] == 0.1 + 0.2
    assert math.isnan(back.overall["op50"])
    assert back.objects == scores.objects
    assert list(tmp_path.iterdir()) == [tmp_path / "scores.json"]


def test_file_is_what_the_manual_says(tmp_path):
    save_scores(tmp_path / "a.json", make_scores())
    content = json.loads((tmp_path / "a.json").read_text())
    assert list(content)[:1] == ["schema"]
    assert content["schema"] == SCHEMA
    assert set(content) >= {"dataset", "split", "tracker", "model", "protocol", "overall", "curves", "sequences"}
    assert content["overall"] == {"success_auc": 0.1 + 0.2, "op50": None}
    assert content["curves"]["success"] == [1.0, 0.5, None]


def test_several_trackers_are_a_list(tmp_path):
    save_scores(tmp_path / "a.json", [make_scores(), make_scores(tracker="sam2")])
    assert [item.tracker for item in load_scores(tmp_path / "a.json")] == ["mosam[stride=3]", "sam2"]


def test_minimal_scores_of_somebody_else():
    scores = Scores.from_json(
        {"dataset": "d", "split": "s", "tracker": "t", "protocol": "p", "overall": {"ao": None}, "sequences": {}}
    )
    assert scores.model is None
    assert math.isnan(scores.overall["ao"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.json: expected JSON, got something else"),
        ("[1]", "a.json: expected an object with fields, got the number 1"),
        ("[]", "a.json: expected scores, got an empty list; repeat mosam score"),
        ("{}", "a.json: dataset: expected text, found no such field"),
        ('{"schema": 99}', "expected scores of schema 1, got 99; update mosam"),
        (
            '{"dataset": 1, "split": 1, "tracker": 1, "protocol": 1, "overall": 3}',
            "a.json: dataset: expected text, got the number 1",
        ),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_scores(tmp_path / "a.json")


def test_no_file(tmp_path):
    with pytest.raises(MissingDataError, match="expected a scores file, found none"):
        load_scores(tmp_path / "none.json")


def test_links_are_not_followed_for_writing(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    for name in ("scores.json", ".scores.json.part", "key.json", f".key.{os.getpid()}.part"):
        (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    save_scores(tmp_path / "run" / "scores.json", make_scores())
    keep(tmp_path / "run", "key", make_scores())
    assert (tmp_path / "mine").read_text() == "mine"
    for name in ("scores.json", "key.json"):
        assert not (tmp_path / "run" / name).is_symlink()
        assert load_scores(tmp_path / "run" / name)
