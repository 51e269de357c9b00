"""What our side makes of what the toolkit says; the toolkit is played by a script."""

from __future__ import annotations

import math
import sys

import pytest

from mosam.errors import MissingDataError, MosamError
from mosam.vot.toolkit import describe_analysis, read_analysis, run_toolkit, toolkit_command

PREFIX = "vot.analysis."


def analysis(kind, values, *, experiment="baseline", name=None, trackers=("sam2",)):
    return {
        "trackers": {tracker: {} for tracker in trackers},
        "results": {
            experiment: {"parameters": {"analyses": [{"type": PREFIX + kind, "name": name}]}, "results": [values]}
        },
    }


@pytest.mark.parametrize(
    ("kind", "name", "values", "expected"),
    [
        ("multistart.EAOScore", None, [0.25], {"eao": 0.25}),
        ("multistart.AverageAccuracyRobustness", "ar", [0.5, 1, [1, 0.5], 16, 8], {"accuracy": 0.5, "robustness": 1}),
        ("supervised.AverageAccuracyRobustness", None, [0.5, 2.0, [0, 1], 8], {"accuracy": 0.5, "failures": 2}),
        ("accuracy.AverageAccuracy", "Quality", [0.3], {"quality": 0.3}),
        ("accuracy.AverageAccuracy", None, [0.3], {"accuracy": 0.3}),
        ("longterm.AverageQualityAuxiliary", None, [0.1, 0.2, None], {"nre": 0.1, "dre": 0.2}),
    ],
)
def test_overall_numbers_are_read(kind, name, values, expected):
    ((experiment, tracker, found),) = read_analysis(analysis(kind, [values], name=name))
    assert (experiment, tracker) == ("baseline", "sam2")
    assert {key: value for key, value in found.items() if not math.isnan(value)} == expected


def test_curves_are_left_out_and_lines_align():
    both = analysis("multistart.EAOScore", [[0.25], [0.5]], trackers=("a", "longer"))
    curve = analysis("multistart.EAOCurve", [[[0, 1]]], experiment="curves")
    both["results"] |= curve["results"]
    assert describe_analysis(both) == "baseline  a       eao 0.2500\nbaseline  longer  eao 0.5000"


def test_what_the_toolkit_complains_of_is_an_error_although_it_exits_with_0(capfd):
    say = "import sys; print('\\x1b[31mTracker sam2 encountered an error at sequence a: boom\\x1b[0m', file=sys.stderr)"
    with pytest.raises(MosamError, match=r"^vot -c: Tracker sam2 encountered an error at sequence a: boom$"):
        run_toolkit([sys.executable], ["-c", say])
    assert "boom" in capfd.readouterr().err
    with pytest.raises(MosamError, match="exit code 3"):
        run_toolkit([sys.executable], ["-c", "raise SystemExit(3)"])
    run_toolkit([sys.executable], ["-c", "print('fine')"])


def test_an_environment_without_the_toolkit(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text("#!/bin/sh\necho 'ImportError: no vot' >&2\nexit 1\n")
    (tmp_path / "bin/python").chmod(0o755)
    with pytest.raises(MissingDataError, match=r"cannot be imported \(ImportError: no vot\); make vot installs it"):
        toolkit_command(tmp_path)
