"""Resets and anchors: the runner with an engine that follows what is bright."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import FakeEngine, FakeModel, FakePolicy
from hypothesis import given, settings
from hypothesis import strategies as st
from vot_squares import SIDE, position, write_squares

from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.base import load_dataset
from mosam.evaluation.evaluate import evaluate
from mosam.regions.files import read_trajectory
from mosam.regions.trajectory import Rectangle, Special
from mosam.results.record import read_record
from mosam.tracking import loop
from mosam.tracking import run as runner
from mosam.tracking.modes import Supervised
from mosam.types import FrameOutput, ObjectOutput

LENGTH = 20


class Track:
    """Runs a dataset with the fake engine; `engines` are those it made."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.engines, self.delay, self.fail = folder, [], 0, None
        monkeypatch.setattr(loop, "_new_engine", self._new_engine)

    def _new_engine(self, *args):
        self.engines.append(FakeEngine(delay=self.delay, fail=self.fail))
        return self.engines[-1]

    def run(self, dataset, **options):
        self.engines, self.events = [], []
        policy = FakePolicy(FakePolicy.Config())
        return runner.run(dataset, FakeModel(), policy, out=self.folder, progress=self.events.append, **options)

    def files(self):
        """Result files by name, without the times."""
        return {p.name: p.read_bytes() for p in self.folder.glob("baseline/*/*") if not p.name.endswith("_time.value")}

    def rows(self, name):
        return list(read_trajectory(next(self.folder.glob(f"baseline/*/{name}.*"))))


@pytest.fixture
def track(monkeypatch, tmp_path):
    return Track(monkeypatch, tmp_path / "results")


def square(frame):
    """The box of a square, one pixel short as VOT's are."""
    x, y = position(frame)
    return Rectangle(x, y, SIDE - 1, SIDE - 1)


def supervised(tmp_path, **sequences):
    for name, lost in sequences.items():
        write_squares(tmp_path / "tree", name, LENGTH, lost=lost)
    return load_dataset("vot2019", root=tmp_path / "tree")


def multistart(tmp_path, name="vot2022-stb", **sequences):
    for sequence, anchors in sequences.items():
        write_squares(tmp_path / "tree", sequence, LENGTH, anchors=anchors, kind="box" if name[-1] == "b" else "mask")
    return load_dataset(name, root=tmp_path / "tree")


def test_a_failure_is_followed_by_a_start_five_frames_later(track, tmp_path):
    result = track.run(supervised(tmp_path, a=[7], b=[]))
    assert result.done == ("a", "b")
    start, failure, skipped = Special(1), Special(2), Special(0)
    first = [start, *map(square, range(1, 7)), failure]
    assert track.rows("a_001") == [*first, *[skipped] * 4, start, *map(square, range(13, LENGTH))]
    assert track.rows("b_001") == [start, *map(square, range(1, LENGTH))]
    times = (track.folder / "baseline/a/a_001_time.value").read_text().split("\n")
    assert [bool(line) for line in times[:LENGTH]] == [True] * 8 + [False] * 4 + [True] * 8
    assert result.record.sequences["a"].frames == 16  # what was tracked
    assert sorted(path.name for path in (track.folder / "baseline/a").iterdir()) == ["a_001.txt", "a_001_time.value"]


def test_a_tracker_that_fails_near_the_end_is_not_started_again(track, tmp_path):
    track.run(supervised(tmp_path, a=[0, 17]))  # the first frame misleads nobody: it is given
    assert track.rows("a_001")[-4:] == [square(16), Special(2), Special(0), Special(0)]


def test_frames_without_annotation_are_no_place_to_start(track, tmp_path):
    write_squares(tmp_path / "tree", "a", LENGTH, lost=[3], unknown=[8, 9])
    track.run(load_dataset("vot2019", root=tmp_path / "tree"))
    codes = read_trajectory(track.folder / "baseline/a/a_001.txt").codes
    assert codes[:11].tolist() == [1, -1, -1, 2, 0, 0, 0, 0, 0, 0, 1]


def test_runs_from_anchors_are_written_in_the_order_played(track, tmp_path):
    track.run(multistart(tmp_path, a={0: 1, 12: 1, 15: -1}))
    assert set(track.files()) == {"a_00000000.txt", "a_00000012.txt", "a_00000015.txt"}
    assert track.rows("a_00000012") == [Special(1), *map(square, range(13, LENGTH))]
    assert track.rows("a_00000015") == [Special(1), *map(square, range(14, -1, -1))]
    times = (track.folder / "baseline/a/a_00000015_time.value").read_text().split()
    assert len(times) == 16
    assert track.events[-1].frames == track.events[-1].length == LENGTH + 8 + 16


def test_masks_are_written_as_binary_unless_text_is_asked_for(track, tmp_path):
    dataset = multistart(tmp_path, "vot2022-st", a={0: 1})
    track.run(dataset)
    (plain,) = track.files()
    assert plain == "a_00000000.bin"
    rows = track.rows("a_00000000")
    track.run(dataset, options=CodecOptions(region_files="text"), overwrite=True)
    assert set(track.files()) == {"a_00000000.txt"}
    assert track.rows("a_00000000") == rows
    assert json.loads((track.folder / "run.json").read_text())["output"] == {
        "format": "vot",
        "play": "multistart",
        "absent_as": "zeros",
        "box_from_mask": "exclusive",
        "region_files": "text",
    }


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("lanes", [2, 5])
def test_lanes_and_late_outputs_change_no_byte(track, tmp_path, lanes, delay):
    places = {"a": {0: 1, 9: -1, 5: 1}, "b": {3: 1}, "c": {19: -1, 0: 1}}
    dataset = multistart(tmp_path, **places)
    track.run(dataset)
    plain = track.files()
    track.folder, track.delay = tmp_path / "other", delay
    track.run(dataset, max_lanes=lanes)
    assert track.files() == plain
    assert max(track.engines[0].batches) == lanes  # anchors of a sequence and sequences beside each other


@pytest.mark.parametrize("delay", [0, 2, 50])
def test_a_late_failure_is_a_failure(track, tmp_path, delay):
    dataset = supervised(tmp_path, a=[4, 11], b=[13])
    track.run(dataset)
    plain = track.files()
    track.folder, track.delay = tmp_path / "other", delay
    track.run(dataset, max_lanes=2)
    assert track.files() == plain


def test_a_run_goes_on_where_it_stopped(track, tmp_path):
    dataset = multistart(tmp_path, a={0: 1, 9: -1}, b={0: 1})
    track.run(dataset)
    before = track.files()
    (track.folder / "baseline/a/a_00000009.txt").unlink()
    track.run(dataset)
    assert [(e.event, e.sequence) for e in track.events if e.event in ("kept", "redo")] == [
        ("redo", "a"),
        ("kept", "b"),
    ]
    assert track.files() == before


def test_a_frame_that_cannot_be_read_fails_its_sequence_alone(track, tmp_path):
    dataset = multistart(tmp_path, a={0: 1, 19: -1}, b={0: 1, 19: -1})
    (tmp_path / "tree/a/color/00000011.png").write_bytes(b"no picture")
    result = track.run(dataset, max_lanes=4)
    assert result.done == ("b",)
    assert "00000011.png" in result.failed["a"]
    assert {name[0] for name in track.files()} == {"b"}
    assert track.engines[0].videos == {}


def test_a_batch_of_anchors_that_fails_is_tried_one_at_a_time(track, tmp_path):
    dataset = multistart(tmp_path, a={0: 1, 19: -1, 4: 1}, b={0: 1})
    plain_step = FakeEngine.step

    def new_engine(*args):
        engine = FakeEngine()

        def step(images, motion=None, next_images=None):
            if len(images) > 1:
                raise RuntimeError("out of memory")
            return plain_step(engine, images)

        engine.step = step
        return engine

    loop._new_engine = new_engine  # the fixture's monkeypatch puts the real one back
    assert track.run(dataset, max_lanes=4).done == ("a", "b")
    assert len(track.files()) == 4


def test_a_sequence_without_anchors_fails_with_a_reason(track, tmp_path):
    dataset = multistart(tmp_path, a=None)
    assert "anchor.value" in track.run(dataset).failed["a"]


def test_several_objects_cannot_be_supervised(track, tmp_path):
    folder = write_squares(tmp_path / "tree", "a", LENGTH)
    (folder / "groundtruth_2.txt").write_bytes((folder / "groundtruth.txt").read_bytes())
    (folder / "groundtruth.txt").rename(folder / "groundtruth_1.txt")
    result = track.run(load_dataset("vot2019", root=tmp_path / "tree"))
    assert result.failed["a"] == "a: expected one object, got 2"


def test_the_scores_of_a_tracker_that_sees_all(track, tmp_path):
    dataset = multistart(tmp_path, "vot2022-st", a={0: 1, 19: -1}, b={10: 1})
    track.run(dataset)
    scores = evaluate(track.folder, dataset, jobs=1)
    assert scores.overall["accuracy"] == pytest.approx(1 - 3 / 50)  # starts count, as 0
    assert scores.overall["robustness"] == 1.0
    assert scores.overall["fps"] > 0
    assert read_record(track.folder).settings.output["play"] == "multistart"


def test_the_log_says_which_pass_a_frame_is_of(track, tmp_path):
    track.run(multistart(tmp_path, a={0: 1, 5: -1}), log=True)
    lines = [json.loads(line) for line in (track.folder / "log/a.jsonl").read_text().splitlines()]
    assert [(line["start"], line["frame"]) for line in lines] == [(0, t) for t in range(LENGTH)] + [
        (5, t) for t in range(5, -1, -1)
    ]


def _as_the_toolkit(hits, skip=5):
    """Codes of a supervised run by the toolkit's rules, written down anew: 1, 2, 0, and -1 for a region."""
    codes, frame = [0] * len(hits), 0
    while frame < len(hits):
        codes[frame] = 1
        frame += 1
        while frame < len(hits):
            if not hits[frame]:
                codes[frame] = 2
                frame += skip
                break
            codes[frame] = -1
            frame += 1
    return codes


@settings(max_examples=25, deadline=None)
@given(hits=st.lists(st.booleans(), min_size=LENGTH, max_size=LENGTH))
def test_codes_are_those_of_the_toolkits_rules(hits, tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    write_squares(root, "a", LENGTH)
    sequence, codec = load_dataset("vot2019", root=root)["a"], CODECS["vot-box"]
    mode = Supervised(root / "out", sequence, codec, CodecOptions())
    passes, empty = mode.begin(), np.zeros((24, 48), dtype=bool)
    while passes:
        played = passes.pop()
        for index, frame in enumerate(played.frames):
            mask = sequence.truth.read(frame)[1] if hits[frame] else empty
            if not mode.add(played, FrameOutput(index, {1: ObjectOutput(mask, 1.0, 1.0)}), 0.1):
                break
        passes += mode.end(played)
    mode.finish()
    codes = read_trajectory(root / "out/baseline/a/a_001.txt").codes
    assert codes.tolist() == _as_the_toolkit(hits)
