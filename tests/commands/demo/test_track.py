"""The demo's loop with a network of a few lines: files, lengths, side by side, interruption, bounded memory."""

import json
import os
import signal
from dataclasses import replace
from fractions import Fraction
from itertools import count, islice

import numpy as np
import pytest
from fake_model import FakeBackbone
from PIL import Image as Pillow

from mosam.codecs import read_labels
from mosam.commands.demo.run import DemoOptions, choose_policies, run_demo
from mosam.commands.demo.source import Picture
from mosam.commands.demo.track import REMEMBERED, _DemoLoop, track_source
from mosam.commands.demo.write import Absence, VideoWriter, folder_name, prepare_folder
from mosam.errors import DataError, MismatchError, MosamError
from mosam.geometry import mask_to_box
from mosam.policies.base import load_policy
from mosam.types import Prompt

av = pytest.importorskip("av")


class Eyes:
    """A watcher that keeps what it sees, stops on a frame and adds objects on others."""

    def __init__(self, see=lambda index: None, stop=None, add=()):
        self.seen, self.stopped, self._see, self._stop, self._add = [], False, see, stop, dict(add)

    def show(self, index, image):
        self.seen.append((index, image.shape))
        self._see(index)
        self.stopped = index == self._stop

    def added(self, index):
        return [replace(prompt, frame_index=index) for prompt in self._add.pop(index, ())]


class Moving:
    """A bright square that moves to the right."""

    name, live, rate, start = "moving", False, Fraction(25), 0

    def __init__(self, length, size=(48, 64), *, known=True, breaks=None):
        self.length = self.expected = length if known else None
        self.size, self._count, self._breaks = size, length, breaks

    def __iter__(self):
        for n in range(self._count):
            if n == self._breaks:
                raise DataError("moving.mp4", f"expected {self._count} frames, it ends after {n}")
            yield Picture(self.picture(n), Fraction(n, 25))

    def first(self):
        return self.picture(0)

    def close(self):
        pass

    def picture(self, n):
        image = np.full((*self.size, 3), 40, dtype=np.uint8)
        x = 5 + n % 30
        image[10:30, x : x + 20] = 200
        return image


PROMPTS = [Prompt(1, box=np.array([5.0, 10, 20, 20])), Prompt(2, box=np.array([40.0, 30, 10, 10]))]


def track(source, out, *names, prompts=PROMPTS, **options):
    out.mkdir(exist_ok=True)
    return track_source(source, prompts, FakeBackbone(), [load_policy(name) for name in names], out=out, **options)


def read_video(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, stream.average_rate, stream.codec_context.name, len(container.streams)


def test_all_files_hold_every_frame(tmp_path):
    result = track(Moving(20), tmp_path / "o", "sam2")
    assert (result.frames, result.problem, result.interrupted) == (20, None, False)
    frames, rate, codec, streams = read_video(tmp_path / "o" / "overlay.mp4")
    assert (len(frames), frames[0].shape, rate, codec, streams) == (20, (48, 64, 3), 25, "h264", 1)
    for number in (1, 2):
        rows = np.loadtxt(tmp_path / "o" / "boxes" / f"{number}.txt", delimiter=",")
        assert rows.shape == (20, 4)
        for n in (0, 7, 19):
            mask = read_labels(tmp_path / "o" / "masks" / f"{n:05d}.png") == number
            box = mask_to_box(mask)
            np.testing.assert_array_equal(rows[n], np.where(np.isnan(box), 0, box))
    gone, where = result.trackers[0].absent[2]
    rows = np.loadtxt(tmp_path / "o" / "boxes" / "2.txt", delimiter=",")
    assert gone == int((rows == 0).all(axis=1).sum())
    assert (gone == 0) == (where == "")


def test_the_same_masks_as_the_engine_gives(tmp_path):
    from mosam.engine.engine import Engine

    source = Moving(12)
    track(source, tmp_path / "o", "mosam")
    engine = Engine(FakeBackbone(), load_policy("mosam"))
    video = engine.open(PROMPTS, size=source.size, num_frames=12, non_overlap=True)
    for n, picture in enumerate(source):
        output = engine.step({video: picture.image})[video]
        labels = read_labels(tmp_path / "o" / "masks" / f"{n:05d}.png")
        for number, item in output.objects.items():
            np.testing.assert_array_equal(labels == number, item.mask)


def test_trackers_side_by_side_have_a_folder_each_and_equal_what_they_give_alone(tmp_path):
    names = ("sam2", "sam2long", "mosam")  # the second decides later
    result = track(Moving(15), tmp_path / "o", *names, show_motion=True)
    assert [summary.tracker for summary in result.trackers] == list(names)
    frames, *_ = read_video(tmp_path / "o" / "overlay.mp4")
    assert len(frames) == 15
    for name in names:
        track(Moving(15), tmp_path / name, name)
        for n in (0, 8, 14):
            both = [read_labels(p / "masks" / f"{n:05d}.png") for p in (tmp_path / "o" / name, tmp_path / name)]
            np.testing.assert_array_equal(*both)


def test_frames_reach_the_viewer_in_order(tmp_path):
    eyes, told = Eyes(), []
    track(
        Moving(10),
        tmp_path / "o",
        "sam2long",
        watcher=eyes,
        progress=lambda *numbers: told.append(numbers[:2]),
        frames=8,
        masks=False,
    )
    assert eyes.seen == [(n, (48, 64, 3)) for n in range(8)]
    assert told == [(n, 8) for n in range(1, 9)]
    assert not (tmp_path / "o" / "masks").exists()


def test_a_video_that_ends_early_leaves_whole_files(tmp_path):
    result = track(Moving(20, breaks=7), tmp_path / "o", "sam2long")
    assert result.problem == "moving.mp4: expected 20 frames, it ends after 7"
    assert result.frames == 7
    assert len(read_video(tmp_path / "o" / "overlay.mp4")[0]) == 7
    assert len((tmp_path / "o" / "boxes" / "1.txt").read_text().splitlines()) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_finishes_the_frame_and_the_files(tmp_path, number):
    def stop(index):
        if index == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    result = track(Moving(50), tmp_path / "o", "sam2", watcher=Eyes(stop))
    assert result.interrupted
    assert result.frames in (5, 6)
    assert len(read_video(tmp_path / "o" / "overlay.mp4")[0]) == result.frames
    assert signal.getsignal(number) is before


def test_a_long_stream_keeps_nothing(tmp_path, monkeypatch):
    kept = []
    plain = _DemoLoop._draw_ready

    def watch(self):
        plain(self)
        kept.append((len(self._waiting), len(self._thumbnails), len(self._used)))

    monkeypatch.setattr(_DemoLoop, "_draw_ready", watch)
    track(Moving(600, known=False), tmp_path / "o", "mosam", show_motion=True, masks=False, prompts=PROMPTS[:1])
    assert max(waiting for waiting, *_ in kept) <= 1
    assert max(small for _, small, _ in kept) <= 2 * REMEMBERED + 2
    assert max(used for *_, used in kept) <= 2 * REMEMBERED + 2


def test_odd_sides_are_filled_up(tmp_path):
    track(Moving(4, size=(47, 63)), tmp_path / "o", "sam2")
    assert read_video(tmp_path / "o" / "overlay.mp4")[0][0].shape == (48, 64, 3)
    assert Pillow.open(tmp_path / "o" / "masks" / "00000.png").size == (63, 47)


def test_uneven_times_are_kept(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", (32, 32), Fraction(25), timed=True)
    times = [Fraction(0), Fraction(1, 25), Fraction(3, 25), Fraction(3, 25), Fraction(1)]
    for time in times:
        writer.add(np.zeros((32, 32, 3), np.uint8), time)
    writer.close()
    with av.open(str(tmp_path / "v.mp4")) as container:
        found = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(found, [float(t) for t in times], atol=0.001)


def test_a_writer_without_frames_leaves_no_file(tmp_path):
    VideoWriter(tmp_path / "v.mp4", (32, 32), Fraction(25), timed=False).close()
    assert not (tmp_path / "v.mp4").exists()


def a_demo(folder, *, trackers=("sam2",), masks=True, **record):
    """What a demo of two frames and two objects leaves."""
    for place in [folder] if len(trackers) == 1 else [folder / folder_name(label) for label in trackers]:
        for name in ("boxes/1.txt", "boxes/2.txt", *(["masks/00000.png", "masks/00001.png"] if masks else [])):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text("")
    (folder / "overlay.mp4").write_text("")
    written = {
        "video": "x", "prompts": [{"object": 1, "kind": "box"}, {"object": 2, "kind": "box"}], "frames": 2,
        "trackers": [{"tracker": label, "fps": 1.0} for label in trackers], "masks": masks, **record,
    }  # fmt: skip
    (folder / "demo.json").write_text(json.dumps({key: value for key, value in written.items() if value is not None}))


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("trackers", [("sam2",), ("sam2", "mosam[stride=3]")])
@pytest.mark.parametrize("record", [{}, {"unfinished": True, "frames": None}, {"masks": None}])
def test_what_a_demo_left_is_kept_unless_told(tmp_path, trackers, record):
    a_demo(tmp_path, trackers=trackers, **record)
    (tmp_path / "mine.txt").write_text("kept")
    before = everything(tmp_path)
    with pytest.raises(MismatchError, match=r"expected a new or empty folder, found overlay\.mp4; give --overwrite"):
        prepare_folder(tmp_path, [], overwrite=False)
    assert everything(tmp_path) == before
    prepare_folder(tmp_path, [], overwrite=True)
    assert everything(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize(
    "own",
    [
        "masks/00002.png",
        "masks/mine.png",
        "masks/deep/0.png",
        "boxes/3.txt",
        "boxes/notes.txt",
        "mosam/boxes/1.txt",
    ],
)
def test_overwriting_removes_nothing_that_no_demo_wrote(tmp_path, own):
    a_demo(tmp_path)
    (tmp_path / own).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / own).write_text("mine")
    before = everything(tmp_path)
    named = {"masks/deep/0.png": "masks/deep", "mosam/boxes/1.txt": "mosam"}.get(own, own)
    with pytest.raises(MismatchError, match=rf"demo\.json does not name {named}; .*nothing was removed"):
        prepare_folder(tmp_path, ["mosam", "sam2"], overwrite=True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["boxes", "masks", "overlay.mp4"])
@pytest.mark.parametrize("record", [None, "{", "[]", '{"masks": false, "trackers": [], "prompts": []}'])
def test_a_users_own_files_of_those_names_stay(tmp_path, name, record):
    (tmp_path / name).mkdir()
    (tmp_path / name / "00000.png").write_text("mine")
    if record is not None:
        (tmp_path / "demo.json").write_text(record)
    before = everything(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(MismatchError, match=name):
            prepare_folder(tmp_path, [], overwrite=overwrite)
    assert everything(tmp_path) == before


def test_a_record_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    out = tmp_path / "out"
    a_demo(out, trackers=["../mine", ".."])
    (out / "masks").symlink_to(tmp_path / "mine")
    with pytest.raises(MosamError):
        prepare_folder(out, [], overwrite=True)
    a_demo(tmp_path / "other")
    (tmp_path / "other" / "boxes" / "1.txt").unlink()
    (tmp_path / "other" / "boxes" / "1.txt").symlink_to(tmp_path / "mine" / "file")
    prepare_folder(tmp_path / "other", [], overwrite=True)
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert everything(tmp_path / "other") == []


def test_a_record_that_is_no_demos_is_not_replaced(tmp_path):
    (tmp_path / "demo.json").write_text("[my own]")
    for overwrite in (False, True):
        with pytest.raises(MismatchError, match=r"demo\.json"):
            prepare_folder(tmp_path, [], overwrite=overwrite)


def test_a_demo_that_did_not_come_to_its_first_frame_leaves_nothing_to_overwrite(tmp_path):
    (tmp_path / "demo.json").write_text('{"trackers": [{"tracker": "sam2"}], "prompts": [], "unfinished": true}')
    prepare_folder(tmp_path, [], overwrite=False)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MosamError, match=r"file/out: expected a folder to write to, got .*choose --out"):
        prepare_folder(tmp_path / "file" / "out", [], overwrite=False)


def test_absences_are_told_as_ranges():
    gone = Absence()
    for n, absent in enumerate("0110100"):
        gone.see(n, absent == "1")
    assert (gone.count, str(gone)) == (3, "1-2, 4")
    for n in islice(count(10, 2), 20):
        gone.see(n, True)
    assert (gone.count, str(gone)) == (23, "1-2, 4, 10, 12, 14, 16 and 16 more times")
    for n in range(49, 60):  # goes on with the last one, which is not kept
        gone.see(n, True)
    assert (gone.count, str(gone)) == (34, "1-2, 4, 10, 12, 14, 16 and 16 more times")


@pytest.mark.parametrize("tracker", ["sam2", "sam2long"])  # the second decides later
def test_an_object_that_is_added_begins_there(tmp_path, tracker):
    late, told = Prompt(7, box=np.array([20.0, 10, 20, 20])), []
    eyes = Eyes(add={5: [late]})
    result = track(Moving(12), tmp_path / "o", tracker, watcher=eyes, added=told.extend)
    assert [(prompt.object_id, prompt.frame_index) for prompt in told] == [(7, 5)]
    rows = np.loadtxt(tmp_path / "o" / "boxes" / "7.txt", delimiter=",")
    assert rows.shape == (12, 4)
    assert not rows[:5].any()
    gone = ~rows[5:, 2].astype(bool)
    assert not gone[0]
    assert result.trackers[0].absent[7][0] == gone.sum()  # frames before it was added are no absence
    alone = track(Moving(12), tmp_path / "alone", tracker, prompts=[*PROMPTS, replace(late, frame_index=5)])
    assert alone.frames == 12
    np.testing.assert_array_equal(rows, np.loadtxt(tmp_path / "alone" / "boxes" / "7.txt", delimiter=","))


def test_a_watcher_ends_it(tmp_path):
    result = track(Moving(50), tmp_path / "o", "sam2", watcher=Eyes(stop=6))
    assert (result.frames, result.interrupted, result.problem) == (7, True, None)
    assert len(read_video(tmp_path / "o" / "overlay.mp4")[0]) == 7


def test_folders_of_trackers_are_plain_names():
    assert folder_name("mosam[sparse=a.b:C,mgp=off]") == "mosam-sparse=a.b_C-mgp=off"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tracker": "sam2", "compare": "sam2,mosam"}, "either --tracker or --compare"),
        ({"compare": "sam2"}, "at least two trackers"),
        ({"compare": "sam2,sam2"}, "different trackers"),
        ({"tracker": "sam2,mosam"}, "--compare puts them side by side"),
        ({"tracker": "samurii"}, "did you mean samurai"),
    ],
)
def test_wrong_trackers(options, message):
    with pytest.raises(MosamError, match=message):
        choose_policies(DemoOptions("x.mp4", **options))


def test_the_record_says_what_was_done(tmp_path, monkeypatch):
    import mosam.commands.demo.run as module
    from mosam.commands.progress import FrameView

    monkeypatch.setattr(module, "open_source", lambda text, rate, start=0: Moving(6))
    monkeypatch.setattr(module, "_load", lambda options: FakeBackbone())
    options = DemoOptions("moving.mp4", boxes=["5,10,20,20"], out=tmp_path / "o", compare="sam2,sam2[stride=2]")
    run_demo(options, FrameView)
    record = json.loads((tmp_path / "o" / "demo.json").read_text())
    assert record["prompts"] == [{"object": 1, "kind": "box", "box": [5.0, 10.0, 20.0, 20.0]}]
    assert [item["tracker"] for item in record["trackers"]] == ["sam2", "sam2[stride=2]"]
    assert (tmp_path / "o" / "sam2-stride=2" / "boxes" / "1.txt").is_file()
