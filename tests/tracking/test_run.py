"""The runner with an engine that needs no network: batches, delays, failures, resuming."""

from __future__ import annotations

import errno
import json
import threading

import numpy as np
import pytest
from fakes import LENGTHS, FakeEngine, FakeModel, FakePolicy, SquareDataset
from trees import stems, write_frame, write_frames, write_text, write_video

from mosam.codecs import CodecOptions
from mosam.datasets.base import load_dataset
from mosam.engine.parity import Parity
from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.policies.base import load_policy
from mosam.results.folder import StoreError
from mosam.results.record import read_record
from mosam.tracking import loop
from mosam.tracking import run as runner


class Session:
    """Runs with everything fake; `engines` and `events` are what happened."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.engines, self.events = folder, [], []
        self.delay, self.fail = 0, None
        monkeypatch.setattr(loop, "_new_engine", self._new_engine)

    def _new_engine(self, *args):
        self.engines.append(FakeEngine(delay=self.delay, fail=self.fail))
        return self.engines[-1]

    def run(self, dataset=None, model=None, policy=None, **options):
        self.events, self.engines = [], []
        return runner.run(
            SquareDataset(None) if dataset is None else dataset,
            model or FakeModel(),
            policy or FakePolicy(FakePolicy.Config()),
            out=self.folder,
            progress=self.events.append,
            **options,
        )

    def names(self, event):
        return [e.sequence for e in self.events if e.event == event]


@pytest.fixture
def session(monkeypatch, tmp_path):
    return Session(monkeypatch, tmp_path / "squares" / "fake-fake")


def boxes(session):
    return {path.name: path.read_bytes() for path in session.folder.glob("*.txt") if "_time" not in path.name}


def test_writes_every_sequence_in_the_format_of_the_benchmark(session):
    result = session.run()
    assert result.done == ("apple", "bird", "car")
    assert result.failed == {}
    rows = np.loadtxt(session.folder / "bird.txt", delimiter=",")
    np.testing.assert_array_equal(rows, [[3 + t, 4, 9, 7] for t in range(9)])
    assert sorted(p.name for p in session.folder.iterdir()) == sorted(
        ["run.json", "run.json.bak", *(f"{n}{s}.txt" for n in LENGTHS for s in ("", "_time"))]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparse": "nowhere:Points"}, "found no module nowhere"),
        ({"dense": "dis-fats"}, "did you mean dis-fast"),
    ],
)
def test_a_wrong_motion_estimator_is_named_before_anything_is_written(session, options, message):
    with pytest.raises(MosamError, match=message):
        session.run(policy=load_policy("mosam", **options))
    assert not session.folder.exists()


def test_missing_weights_of_a_tracker_are_named_before_anything_is_written(session, monkeypatch):
    monkeypatch.setenv("MOSAM_OFFLINE", "1")
    with pytest.raises(MissingDataError, match=r"samosa_mp\.pth: not in .*, or use samosa\[motion=kalman\]"):
        session.run(policy=load_policy("samosa"))
    assert not session.folder.exists()


def test_record_says_how_the_results_were_made(session):
    session.run(SquareDataset(None, prompt="box").select(limit=2), options=CodecOptions(absent_as="last"))
    record = read_record(session.folder)
    assert record.settings.prompt == "box"
    assert record.settings.policy == {"stride": 1}
    assert record.settings.output == {"format": "lasot", "absent_as": "last", "box_from_mask": "exclusive"}
    assert record.settings.engine["cond_memory"] == "official"
    assert record.settings.precision == "float32"
    assert record.selection == ("apple", "bird")
    assert {name: r.frames for name, r in record.sequences.items()} == {"apple": 5, "bird": 9}
    assert all(r.seconds > 0 and r.wall_seconds >= r.seconds for r in record.sequences.values())
    assert record.environment["packages"]["numpy"] == np.__version__
    assert record.fps > 0


@pytest.mark.parametrize("delay", [0, 2, 100])
@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_lanes_and_late_outputs_change_no_byte(session, tmp_path, lanes, delay):
    session.run()
    plain = boxes(session)
    session.folder, session.delay = tmp_path / "other", delay
    session.run(max_lanes=lanes)
    assert boxes(session) == plain
    assert max(session.engines[0].batches) == min(lanes, 3)


def test_a_finished_sequence_makes_room_for_the_next(session):
    session.run(max_lanes=2)
    assert session.engines[0].batches == [2] * 8 + [1]  # 5 + 3 frames beside the 9 of bird


def test_every_frame_is_timed_with_its_share_of_the_step(session):
    session.delay = 2
    result = session.run(max_lanes=3)
    for name, length in LENGTHS.items():
        times = np.loadtxt(session.folder / f"{name}_time.txt")
        assert times.shape == (length,)
        np.testing.assert_allclose(times.sum(), result.record.sequences[name].seconds, atol=1e-7)


def test_unreadable_frame_fails_its_sequence_alone(session):
    dataset = SquareDataset(None)
    dataset.broken = {"bird": frozenset({4})}
    result = session.run(dataset, max_lanes=3)
    assert result.done == ("apple", "car")
    assert result.failed == {"bird": "bird/00004.jpg: expected a whole picture, got half of one"}
    assert not list(session.folder.glob("*bird*"))
    assert read_record(session.folder).sequences["bird"].status == "failed"
    assert not [t for t in threading.enumerate() if t.name == "mosam-prefetch"]


def test_step_that_fails_in_a_batch_is_retried_one_by_one(session):
    def fail(frames, frame):
        if frames == LENGTHS["bird"] and frame == 6:
            raise RuntimeError("CUDA out of\nmemory")

    session.fail = fail
    result = session.run(max_lanes=3)
    assert result.failed == {"bird": "RuntimeError: CUDA out of"}
    assert result.done == ("apple", "car")


def test_step_that_fails_only_in_a_batch_costs_no_sequence(session):
    def new_engine(*args):
        engine = FakeEngine()
        plain = engine.step

        def step(images, motion=None, next_images=None):
            if len(images) > 1:
                raise RuntimeError("out of memory")
            return plain(images)

        engine.step = step
        return engine

    loop._new_engine = new_engine  # the fixture's monkeypatch puts the real one back
    assert session.run(max_lanes=3).done == ("apple", "bird", "car")


def test_failed_sequence_is_tried_again(session):
    dataset = SquareDataset(None)
    dataset.broken = {"bird": frozenset({0})}
    session.run(dataset)
    result = session.run()
    assert result.failed == {}
    assert session.names("kept") == ["apple", "car"]
    assert session.names("redo") == session.names("done") == ["bird"]


def test_started_again_does_nothing(session):
    session.run()
    before = {p.name: p.stat().st_mtime_ns for p in session.folder.glob("*.txt")}
    session.run()
    assert session.names("kept") == ["apple", "bird", "car"]
    assert session.engines == []
    assert before == {p.name: p.stat().st_mtime_ns for p in session.folder.glob("*.txt")}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: path.unlink(), "its result files are missing"),
        (lambda path: path.write_text("1,2,3,4\n"), "its result files have changed since"),
    ],
    ids=["missing", "changed"],
)
def test_harmed_results_are_made_again(session, harm, why):
    session.run()
    plain = boxes(session)
    harm(session.folder / "bird.txt")
    session.run()
    assert [(e.sequence, e.reason) for e in session.events if e.event == "redo"] == [("bird", why)]
    assert boxes(session) == plain


def test_subset_grows_into_the_whole(session):
    session.run(SquareDataset(None).select(limit=1))
    assert read_record(session.folder).selection == ("apple",)
    session.run(SquareDataset(None).select(["car"]))
    assert read_record(session.folder).selection == ("apple", "car")
    session.run()
    assert session.names("kept") == ["apple", "car"]
    session.run(SquareDataset(None).select(limit=1))
    assert read_record(session.folder).selection is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": FakePolicy(FakePolicy.Config(stride=3))}, "policy.stride: 1 -> 3"),
        ({"model": FakeModel(weights_hash="1" * 64)}, "weights_hash: 000"),
        ({"dataset": SquareDataset(None, split="test")}, "split: val -> test"),
        ({"dataset": SquareDataset(None, prompt="box")}, "prompt: mask -> box"),
        ({"parity": Parity(fill_holes=8)}, "engine.fill_holes: 0 -> 8"),
        ({"options": CodecOptions(absent_as="last")}, "output.absent_as: zeros -> last"),
    ],
    ids=["policy", "weights", "split", "prompt", "parity", "output"],
)
def test_other_settings_never_mix(session, change, words):
    session.run()
    plain = boxes(session)
    with pytest.raises(MismatchError) as caught:
        session.run(**change)
    assert words in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert boxes(session) == plain
    session.run(**change, overwrite=True)
    assert session.names("done") == ["apple", "bird", "car"]


def test_other_annotation_never_mixes(session):
    session.run()
    dataset = SquareDataset(None)
    dataset.salt = "new"
    with pytest.raises(MismatchError, match="apple was tracked from another annotation"):
        session.run(dataset)


@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_pictures_changed_between_two_halves_of_a_run_are_noticed(monkeypatch, tmp_path, kind):
    monkeypatch.setattr(loop, "_new_engine", lambda *args: FakeEngine())

    def write(name, seed):
        if kind == "video":
            write_video(tmp_path / "own" / f"{name}.mp4", 4 + seed)
        else:
            write_frames(tmp_path / "own" / name, stems(4))
            write_frame(tmp_path / "own" / name / "00002.jpg", seed=seed)

    for name in ("a", "b"):
        write_text(tmp_path / "own" / f"{name}.txt", "1,1,4,4")
        write(name, 50)

    def run(names):
        dataset = load_dataset("folder", root=tmp_path / "own").select(names)
        return runner.run(dataset, FakeModel(), FakePolicy(FakePolicy.Config()), out=tmp_path / "out")

    result = run(["a"])
    assert len(result.record.sequences["a"].pictures) == 64
    assert run(["a", "b"]).done == ("a", "b")
    write("a", 60)
    with pytest.raises(MismatchError, match=r"out: a was tracked from other pictures than are there now; put those"):
        run(["a", "b"])
    write("a", 50)
    assert run(["a", "b"]).done == ("a", "b")
    path = tmp_path / "out" / "run.json"
    record = json.loads(path.read_text())
    for item in record["sequences"].values():
        del item["pictures"]  # as older versions left it
    path.write_text(json.dumps(record))
    write("a", 60)
    assert run(["a", "b"]).done == ("a", "b")


def test_full_disk_ends_the_run_and_keeps_what_is_finished(session, monkeypatch):
    from mosam.codecs import boxes as codecs

    plain = codecs.write_times

    def write_times(path, seconds):
        if path.name == "bird_time.txt":
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(path, seconds)

    monkeypatch.setattr(codecs, "write_times", write_times)
    with pytest.raises(StoreError, match="the disk is full"):
        session.run()
    assert sorted(boxes(session)) == ["apple.txt"]
    assert not list(session.folder.glob(".*"))
    monkeypatch.setattr(codecs, "write_times", plain)
    session.run()
    assert session.names("kept") == ["apple"]


def test_interrupt_keeps_what_is_finished(session):
    def fail(frames, frame):
        if frames == LENGTHS["car"]:
            raise KeyboardInterrupt

    session.fail = fail
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert sorted(boxes(session)) == ["apple.txt", "bird.txt"]
    assert not list(session.folder.glob(".*"))
    assert not [t for t in threading.enumerate() if t.name == "mosam-prefetch"]
    session.fail = None
    assert session.run().done == ("apple", "bird", "car")


def test_real_engine_with_a_fake_network(tmp_path):
    from fake_model import FakeBackbone

    dataset, policy = SquareDataset(None), load_policy("sam2")
    one = runner.run(dataset, FakeBackbone(), policy, out=tmp_path / "one")
    three = runner.run(dataset, FakeBackbone(), policy, out=tmp_path / "three", max_lanes=3)
    assert one.done == three.done == ("apple", "bird", "car")
    for name in LENGTHS:
        assert (one.path / f"{name}.txt").read_bytes() == (three.path / f"{name}.txt").read_bytes()


@pytest.mark.parametrize("lanes", [0, -1])
def test_lanes_must_be_positive(session, lanes):
    with pytest.raises(ValueError, match="max_lanes: expected a whole number >= 1"):
        session.run(max_lanes=lanes)
