import numpy as np

from mosam.commands.experiment.study import Experiment, Row, RowScores
from mosam.commands.experiment.tables import group_tables
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import render

ROWS = (Row("a", "sam2"), Row("b", "mosam"))


def scores(values, weights):
    sequences = {f"s{i}": {"jf_mean": v} for i, v in enumerate(values)}
    counts = {f"s{i}": {"jf_mean": float(w)} for i, w in enumerate(weights)}
    return Scores("toy", "val", "x", "nano", "toy", {"jf_mean": 0.0}, sequences, counts=counts)


def results(second=(0.3, 0.5, 0.7, 0.9)):
    tags = {(s, f"s{i}"): frozenset({"occlusion"} if i == 0 else {"scale"}) for s in (0, 1) for i in (0, 1)}
    pairs = ((0.2, 0.4, 0.6, 0.8), second)
    return [
        RowScores(row, {0: scores(v[:2], (1, 3)), 1: scores(v[2:], (1, 1))}, tags)
        for row, v in zip(ROWS, pairs, strict=True)
    ]


def experiment(**options):
    return Experiment("t", "toy", ROWS, ("jf_mean",), seeds=(0, 1), **options)


def test_groups_and_attributes_pool_the_draws_and_weigh_objects():
    groups, attributes = group_tables(experiment(groups={"hard": ("occlusion",)}, baseline="a"), results())
    assert groups.header == ("Group", "Sequences", "a", "b")
    assert groups.rows == (("hard", "2", "40.0", "50.0"),)
    assert "| hard | 2 | 40.0 (20.0 to 60.0) | 50.0 (+10.0, +10.0 to +10.0) |" in render(groups, "markdown")
    assert [row[:2] for row in attributes.rows] == [("occlusion", "2"), ("scale", "2")]
    assert attributes.rows[1][2:] == ("50.0", "60.0"), "weighed by objects: (3 * 40 + 80) / 4"
    assert "t: J&F [%] on toy val by attribute" in attributes.title


def test_without_a_baseline_every_value_has_its_interval():
    [attributes] = group_tables(experiment(), results())
    assert attributes.details[0][2:] == ("(20.0 to 60.0)", "(30.0 to 70.0)")


def test_differences_are_drawn_in_pairs():
    """A constant gap has no spread, however far the sequences spread; unlike gaps have."""
    assert group_tables(experiment(baseline="a"), results())[0].details[0][3] == "(+10.0, +10.0 to +10.0)"
    unlike = group_tables(experiment(baseline="a"), results(second=(0.9, 0.5, 0.3, 0.7)))
    assert unlike[0].details[0][3] == "(+20.0, -30.0 to +70.0)"


def test_undefined_values_are_left_out():
    [attributes] = group_tables(experiment(baseline="a"), results(second=(np.nan, 0.5, np.nan, 0.9)))
    assert attributes.rows[0][2:] == ("40.0", "-")
    assert attributes.details[0][3] == ""
