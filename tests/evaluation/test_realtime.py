"""Simulated real time: the VOT toolkit's rule, on boxes and masks, and what cannot be simulated."""

import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from figure_cases import write_toy
from hypothesis import given
from hypothesis import strategies as st
from trees import write_text

from mosam.cli import run_command
from mosam.codecs import CODECS
from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.realtime import (
    DelayedCodec,
    RealTime,
    answered,
    delayed,
    parse_realtime,
    rate_of,
    without_rate,
)
from mosam.evaluation.scores import load_scores

OFFICIAL = json.loads((Path(__file__).parent / "parity_vot" / "realtime.json").read_text())["cases"]
SLOW = 0.35  # seconds a frame at 10 frames a second: 2.5 intervals to pay, two frames are passed over


@pytest.mark.parametrize("case", OFFICIAL, ids=range(len(OFFICIAL)))
def test_as_the_toolkit(case):
    assert answered(case["seconds"], RealTime(case["fps"], case["grace"])).tolist() == case["answered"]


@pytest.mark.parametrize(
    ("seconds", "grace", "expected"),
    [
        ([0.1] * 4, 0, [0, 1, 2, 3]),  # exactly in time
        ([0.19] * 4, 0, [0, 1, 2, 3]),  # less than an interval to pay is forgiven
        ([SLOW] * 6, 0, [0, 0, 0, 3, 3, 3]),
        ([SLOW] * 6, 1, [0, 1, 1, 1, 4, 4]),
        ([SLOW] * 6, 6, [0, 1, 2, 3, 4, 5]),
        ([0.01, SLOW, 9, 9, 0.01], 0, [0, 1, 1, 1, 4]),  # frames that were passed over have no time of their own
        ([9.0] * 3, 0, [0, 0, 0]),
        ([np.nan] * 3, 0, [0, 1, 2]),
        ([], 0, []),
    ],
)
def test_by_hand(seconds, grace, expected):
    assert answered(seconds, RealTime(10, grace)).tolist() == expected


times = st.lists(st.floats(0, 3, allow_nan=False), max_size=40)


@given(times, st.floats(0.1, 100), st.integers(0, 5))
def test_every_frame_gets_its_own_answer_or_the_last(seconds, fps, grace):
    found = answered(seconds, RealTime(fps, grace)).tolist()
    assert all(later in (earlier, frame) for frame, (earlier, later) in enumerate(pairwise(found), 1))
    assert found[:1] == [0] * bool(seconds)


@given(times, st.floats(0.1, 100))
def test_grace_for_every_frame_or_time_for_all_is_enough(seconds, fps):
    frames = list(range(len(seconds)))
    assert answered(seconds, RealTime(fps, len(seconds))).tolist() == frames
    assert answered([min(one, 1 / fps) for one in seconds], RealTime(fps)).tolist() == frames


@given(st.lists(st.sampled_from([0.01, 0.15, 0.3, 0.7]), max_size=30), st.integers(0, 3))
def test_times_scale_with_the_interval(seconds, grace):
    doubled = [2 * one for one in seconds]
    assert answered(seconds, RealTime(10, grace)).tolist() == answered(doubled, RealTime(5, grace)).tolist()


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("20", (RealTime(20),)),
        ("12.5,grace=3", (RealTime(12.5, 3),)),
        ("5, 10,20, grace=1", (RealTime(5, 1), RealTime(10, 1), RealTime(20, 1))),
    ],
)
def test_rates(text, rates):
    assert parse_realtime(text) == rates


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "nan", "inf", "x", "20,grace=-1", "grace=3", "20,grace=x", "20,,30", "1e9"]
)
def test_what_is_no_rate(text):
    with pytest.raises(MosamError, match=r"^--realtime: expected FPS\[,FPS\.\.\.\]\[,grace=N\], as 20 .*, got "):
        parse_realtime(text)


@pytest.mark.parametrize("protocol", ["pytracking", "pytracking[valid_only]"])
@pytest.mark.parametrize("rate", [RealTime(20), RealTime(0.5), RealTime(1e6, 3)])
def test_labels(protocol, rate):
    label = rate.mark(protocol)
    assert rate_of(label) == rate.fps
    assert without_rate(replace(rate, grace=0).mark(protocol)) == protocol


# ---- scoring ---------------------------------------------------------------------------------------------------------


def tracked(root, seconds):
    """LaSOT with the true boxes as one tracker's results, and its times."""
    data = load_dataset("lasot", root=make_tree("lasot", root / "tree", frames=8, sequences=1, scale=8))
    (name,) = data
    rows = np.nan_to_num(data[name].truth.boxes)
    write_text(root / "slow" / f"{name}.txt", "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()))
    if seconds is not None:
        write_text(root / "slow" / f"{name}_time.txt", "".join(f"{one}\n" for one in seconds))
    return data, name, rows


def test_boxes_of_late_frames_are_the_last_ones(tmp_path):
    data, name, rows = tracked(tmp_path, [SLOW] * 8)
    codec = delayed(CODECS["lasot"], RealTime(10), {})
    found = codec.read_boxes(tmp_path / "slow", data[name])[1]
    assert found.tolist() == rows[[0, 0, 0, 3, 3, 3, 6, 6]].tolist()
    assert codec.files(data[name]) == CODECS["lasot"].files(data[name])
    assert pickle.loads(pickle.dumps(codec)).realtime == RealTime(10)


def test_scores_at_a_rate(tmp_path):
    data, name, _ = tracked(tmp_path, [SLOW] * 8)
    plain, slow, fast = (
        evaluate(tmp_path / "slow", data, realtime=rate, cache=tmp_path / "cache")
        for rate in (None, RealTime(10), RealTime(1))
    )
    assert (plain.protocol, slow.protocol) == ("pytracking", "pytracking[realtime=10]")
    assert slow.overall["success_auc"] < plain.overall["success_auc"] == fast.overall["success_auc"]
    assert (slow.overall["in_time"], fast.overall["in_time"]) == (3 / 8, 1)
    assert "in_time" not in plain.overall
    assert evaluate(tmp_path / "slow", data, realtime=RealTime(10), cache=tmp_path / "cache") == slow
    assert slow.sequences[name]["fps"] == plain.sequences[name]["fps"]


@pytest.mark.parametrize(("seconds", "found"), [(None, "none"), ([0.1] * 5, "5")])
def test_without_times(tmp_path, seconds, found):
    data, name, _ = tracked(tmp_path, seconds)
    with pytest.raises(
        MissingDataError, match=rf"{name}: expected seconds of 8 frames, .* found {found}; a run of mosam"
    ):
        evaluate(tmp_path / "slow", data, realtime=RealTime(10))


def test_the_mean_of_a_record_where_the_format_holds_no_times(tmp_path):
    data = load_dataset("davis2017", root=make_tree("davis2017", tmp_path, frames=6, sequences=1, scale=8))
    (name,) = data
    codec = DelayedCodec(CODECS["davis"], RealTime(10), {name: (6, 6 * SLOW)})
    results = tmp_path / "Annotations" / "480p"
    masks = codec.read_masks(results, data[name])
    for frame, shown in enumerate([0, 0, 0, 3, 3, 3]):
        np.testing.assert_array_equal(
            masks.labels(frame), CODECS["davis"].read_masks(results, data[name]).labels(shown)
        )
        assert masks.read(frame).keys() == set(np.unique(masks.labels(frame))) - {0}


def test_a_run_of_masks_has_times_of_its_frames(tmp_path, monkeypatch, capsys):
    """They lie beside the results, and decide what is late."""
    monkeypatch.chdir(tmp_path)
    data = load_dataset("davis2017", root=make_tree("davis2017", tmp_path / "tree", frames=8, sequences=1, scale=8))
    (video,) = data
    common = ["davis2017", "--root", "tree"]
    run = ["run", *common, "--tracker", "sam2", "--model", "random:mini", "--device", "cpu"]
    assert run_command(run) == 0
    folder = Path(capsys.readouterr().out.strip())
    path = folder / "times" / f"{video}_time.txt"
    assert len(path.read_text().split()) == 8
    assert min(map(float, path.read_text().split())) > 0
    assert CODECS[data.info.result_format].read_times(folder, data[video]).shape == (8,)

    def in_time():
        capsys.readouterr()
        out = tmp_path / "scores.json"
        assert run_command(["score", *common, "--results", str(folder), "--realtime", "10", "--json", str(out)]) == 0
        return load_scores(out)[0].overall["in_time"]

    path.write_text("0.01\n" * 8)
    assert in_time() == 1.0
    path.write_text("".join(f"{one}\n" for one in [0.01, SLOW, *[0.01] * 6]))  # two frames are late, whatever the mean
    assert in_time() == 6 / 8


def test_benchmarks_that_keep_some_frames(tmp_path):
    data = load_dataset("sav", root=make_tree("sav", tmp_path, frames=6, sequences=1, scale=8))
    sequence = data[next(iter(data))]
    with pytest.raises(MismatchError, match="expected results of every frame, which --realtime needs"):
        DelayedCodec(CODECS["sav"], RealTime(10)).read_masks(tmp_path, sequence)


def test_regions_have_experiments_of_their_own(tmp_path):
    data = load_dataset("vot2013", root=make_tree("vot2013", tmp_path / "tree", frames=6, sequences=1, scale=8))
    write_text(tmp_path / "R" / "baseline" / next(iter(data)) / "x_001.txt", "1\n")
    with pytest.raises(MismatchError, match=r"--realtime: expected a benchmark of boxes or masks .*, got vot2013; vot"):
        evaluate(tmp_path / "R", data, realtime=RealTime(10))


def test_on_the_command_line(tmp_path, capsys):
    data = load_dataset("toy").select(["full_occlusion-1"])
    write_toy(tmp_path / "half", data)  # half a second a frame
    command = ["score", "toy", "--results", str(tmp_path / "half"), "--sequences", "full_occlusion-1"]
    out = tmp_path / "scores.json"
    assert run_command([*command, "--realtime", "0.5,2,4,8", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert [f"realtime={rate}]" in shown for rate in ("0.5", "2", "4", "8")] == [True] * 4
    slow = load_scores(out)
    values = [item.overall["jf_mean"] for item in slow]
    assert values[0] == values[1] > values[3]
    assert run_command(["plot", "realtime", str(out), "--out", str(tmp_path / "figure")]) == 0
    assert run_command([*command, "--realtime", "20", "--explain"]) == 2
    assert "expected --realtime without --explain and --parquet" in capsys.readouterr().err
    assert run_command([*command, "--realtime", "0"]) == 2
    assert "--realtime: expected FPS" in capsys.readouterr().err
