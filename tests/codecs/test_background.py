"""Results written by threads: the same files, errors told to the one concerned, nothing written after a drop."""

from __future__ import annotations

import threading
import time

import pytest
from fakes import SquareDataset

from mosam.codecs import CODECS, CodecOptions
from mosam.codecs.background import MAX_THREADS, in_background, writer_threads
from mosam.types import FrameOutput, ObjectOutput


def outputs(name, count=5):
    video = SquareDataset(None)[name].source
    return [FrameOutput(t, {1: ObjectOutput(video.mask(t), 1.0, 0.9)}) for t in range(count)]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Slow:
    """A writer on a slow disk."""

    def __init__(self, writer, seconds):
        self.writer, self.seconds = writer, seconds

    def add(self, output, seconds):
        time.sleep(self.seconds)
        self.writer.add(output, seconds)

    def finish(self):
        self.writer.finish()


class Held:
    """A writer on a disk that writes nothing until told."""

    def __init__(self, writer):
        self.writer, self.begun, self.go_on = writer, threading.Event(), threading.Event()

    def add(self, output, seconds):
        self.begun.set()
        assert self.go_on.wait(30)
        self.writer.add(output, seconds)


@pytest.mark.parametrize("form", ["davis", "lasot", "toy"])
def test_files_are_the_same(tmp_path, form):
    sequence, codec = SquareDataset(None)["apple"], CODECS[form]
    for place, name in ((tmp_path / "a", "plain"), (tmp_path / "b", "behind")):
        place.mkdir()
        with in_background(codec) as behind:
            writer = (behind if name == "behind" else codec).writer(place, sequence, CodecOptions())
            for output in outputs("apple"):
                writer.add(output, 0.25)
            writer.finish()
            assert behind.paths(sequence) == codec.paths(sequence)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not [thread for thread in threading.enumerate() if thread.name == "mosam-write"]


def test_a_missing_frame_is_an_error_at_the_end(tmp_path):
    with in_background(CODECS["davis"]) as behind:
        writer = behind.writer(tmp_path, SquareDataset(None)["apple"], CodecOptions())
        writer.add(outputs("apple")[0], 0.1)
        with pytest.raises(ValueError, match="expected 5 frames, got 1"):
            writer.finish()


def test_an_error_concerns_its_writer_alone(tmp_path):
    dataset = SquareDataset(None)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with in_background(CODECS["davis"], threads=1) as behind:
        bad = behind.writer(tmp_path / "a", dataset["apple"], CodecOptions())
        good = behind.writer(tmp_path / "b", dataset["car"], CodecOptions())
        bad.add(outputs("apple")[1], 0.1)  # frame 0 is missing
        for output in outputs("car", 3):
            good.add(output, 0.1)
        good.finish()
        with pytest.raises(ValueError, match="expected frame 0, got frame 1"):
            bad.finish()


def test_nothing_is_written_after_a_drop(tmp_path):
    with in_background(CODECS["davis"], threads=1) as behind:
        writer = behind.writer(tmp_path, SquareDataset(None)["apple"], CodecOptions())
        writer._writer = held = Held(writer._writer)
        for output in outputs("apple"):
            writer.add(output, 0.1)
        assert held.begun.wait(30)  # frame 0 is being written, the others wait
        dropping = threading.Thread(target=behind.drop, args=("apple",))
        dropping.start()
        assert writer.stopping.wait(30)  # said at once, not when the thread lets somebody else have its lock
        assert dropping.is_alive()  # but the frame that is being written is waited for
        held.go_on.set()
        dropping.join(30)
        assert [path.name for path in files(tmp_path)] == ["00000.png"]
    assert [path.name for path in files(tmp_path)] == ["00000.png"]  # the thread has seen all five


def test_tracking_waits_for_a_slow_disk(tmp_path, monkeypatch):
    from mosam.codecs import background

    monkeypatch.setattr(background, "WAITING", 2)
    with in_background(CODECS["davis"], threads=1) as behind:
        writer = behind.writer(tmp_path, SquareDataset(None)["bird"], CodecOptions())
        writer._writer = Slow(writer._writer, 0.02)
        started = time.perf_counter()
        for output in outputs("bird", 9):
            writer.add(output, 0.1)
        assert time.perf_counter() - started > 0.02 * (9 - 2 - 2)  # two wait, one is being written
        writer.finish()
    assert len(files(tmp_path / "bird")) == 9


@pytest.mark.parametrize(("cores", "threads"), [(1, 2), (4, 2), (8, 4), (64, MAX_THREADS)])
def test_as_many_threads_as_the_cores_can_feed(monkeypatch, cores, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert writer_threads() == threads
