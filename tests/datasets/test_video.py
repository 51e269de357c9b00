import os
import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from clips import MATRICES, VIDEOS, encode, find_left, left_edge, make_video
from trees import write_frames, write_text, write_video

from mosam.commands.demo.source import open_source
from mosam.datasets import decoders, video
from mosam.datasets.archives import ArchivePath, open_archive
from mosam.datasets.frames import find_video, frames_or_none, has_frames, open_frames, prefetch
from mosam.datasets.video import VideoFrames
from mosam.datasets.video_length import missing_bytes
from mosam.errors import DataError, MosamError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def test_frames_are_counted_and_named(clip):
    source = VideoFrames(clip)
    assert len(source) == 30
    assert source.stems[:2] == ("00000", "00001")
    assert source.size() == (32, 48)
    assert len(VideoFrames(clip, count=4)) == 4


def test_any_order_gives_the_same_frames(clip):
    source = VideoFrames(clip)
    forward = [source.read(index) for index in range(30)]
    assert len({image.tobytes() for image in forward}) == 30
    for index in (7, 3, 29, 0, 12, 13, 28, 11):
        np.testing.assert_array_equal(source.read(index), forward[index])
    for ahead, expected in zip(prefetch(VideoFrames(clip), 3), forward, strict=True):
        np.testing.assert_array_equal(ahead, expected)
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(5), forward[5])
    with pytest.raises(IndexError, match="expected a frame of 0 to 29, got 30"):
        source.read(30)


def test_a_video_is_found_with_or_without_its_suffix_and_in_archives(clip, tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(clip, "videos/clip.mp4")
    inside = ArchivePath(open_archive(tmp_path / "a.zip")) / "videos" / "clip"
    for place in (clip, clip.with_suffix(""), inside, inside.with_suffix(".mp4")):
        assert has_frames(place)
        np.testing.assert_array_equal(open_frames(place).read(3), VideoFrames(clip).read(3))
    assert find_video(tmp_path) is None
    assert not has_frames(tmp_path / "other")


def test_damaged_videos_are_one_line(clip, tmp_path):
    with pytest.raises(DataError, match=r"none\.mp4: expected a video file, got no file"):
        VideoFrames(tmp_path / "none.mp4")
    with pytest.raises(DataError, match=r"text\.mp4: expected a video file, got "):
        VideoFrames(write_text(tmp_path / "text.mp4", "no video"))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut\.mp4: expected "):
        _ = [VideoFrames(cut).read(index) for index in range(30)]


@pytest.mark.parametrize("name", VIDEOS)
def test_the_order_of_access_never_changes_a_frame(tmp_path, name):
    path = make_video(tmp_path, name)
    forward = VideoFrames(path)
    images = [forward.read(index) for index in range(len(forward))]
    order = [*range(len(images)), *range(0, len(images), 5)] * 2
    random.Random(name).shuffle(order)
    for source in (VideoFrames(path), pickle.loads(pickle.dumps(forward))):
        for index in order:
            np.testing.assert_array_equal(source.read(index), images[index], err_msg=f"{name}: frame {index}")


@pytest.mark.parametrize("name", [name for name in VIDEOS if name not in MATRICES])
def test_frames_are_those_that_decode_in_their_order(tmp_path, name):
    source = VideoFrames(make_video(tmp_path, name))
    whole = {"m2.mpg": 90, "short.mp4": 9, "one.mp4": 1}.get(name, 40)
    expected = [left_edge(t) for t in range(whole)]
    if name in ("cut.avi", "cut.mpg") or name.startswith("broken"):
        assert 20 < len(source) <= whole  # the decoder makes up pictures where it lacks some
        return
    found = [find_left(source.read(index)) for index in range(len(source))]
    assert found == (expected[-len(found) :] if name.startswith("cut") or name == "negative.mp4" else expected)
    assert len(found) > 20 or whole < 20


CASES = {  # file: frames that decode, left edge on frames 0, 1, 2 and the last
    "m2_g15.mpg": (90, 10, 12, 14, 48),
    "m1.mpg": (60, 10, 12, 14, 58),
    "h264.mpg": (60, 10, 12, 14, 58),
    "cut.mkv": (18, 34, 36, 38, 68),
    "cut.mp4": (18, 34, 36, 38, 68),
    "screen.mkv": (20, 10, 12, 14, 48),
    "screen.webm": (20, 10, 12, 14, 48),
}


@pytest.mark.parametrize("name", CASES)
def test_files_that_were_read_wrongly(cases_root, name):
    count, *edges = CASES[name]
    source = VideoFrames(cases_root / "video" / name)
    assert len(source) == count
    for wanted in ((count - 1, 2, 0, 1), (0, 1, 2, count - 1), (2, count - 1, 1, 0)):
        assert [find_left(source.read(index)) for index in sorted(wanted, key=wanted.index)] == [
            edges[index] if index < 3 else edges[3] for index in wanted
        ]


def test_seeks_that_lead_astray_are_given_up(tmp_path, monkeypatch):
    path = make_video(tmp_path, "m2.mpg")
    expected = [VideoFrames(path).read(index) for index in (80, 20, 50, 5)]
    source = VideoFrames(path)
    real, asked = video.decode, []

    def astray(container, stream, faults=None):
        frames = real(container, stream, faults)
        if source._opened is not None and not source._sure:  # after a seek: it begins some frames late
            asked.append(1)
            for _ in range(3):
                next(frames, None)
        return frames

    monkeypatch.setattr(video, "decode", astray)
    for index, image in zip((80, 20, 50, 5), expected, strict=True):
        np.testing.assert_array_equal(source.read(index), image)
    assert asked


def test_what_a_file_holds_is_found_once(tmp_path, monkeypatch):
    path = make_video(tmp_path, "short.mp4")
    VideoFrames(path)
    monkeypatch.setattr("mosam.datasets.video_index._make_index", None)  # calling it would raise
    assert len(VideoFrames(path)) == 9
    monkeypatch.undo()
    encode(path, count=12)
    assert len(VideoFrames(path)) == 12  # another file now


@pytest.mark.parametrize("name", MATRICES)
def test_an_own_video_is_upright_and_a_benchmarks_as_stored(tmp_path, name):
    path = make_video(tmp_path, name)
    source, stored = VideoFrames(path), VideoFrames(path, upright=False)
    image = stored.read(3)
    assert (image.shape[:2], stored.size()) == ((64, 96), (64, 96))
    assert len(stored.turned) == 40
    shown = {
        "phone.mp4": np.rot90(image, -1), "over.mp4": np.rot90(image, 2), "mirror.mov": image[:, ::-1],
        "flip.mp4": image[::-1], "selfie.mp4": image.swapaxes(0, 1),
    }[name]  # fmt: skip
    np.testing.assert_array_equal(source.read(3), shown)
    assert source.size() == shown.shape[:2]
    np.testing.assert_array_equal(open_frames(path).read(3), shown)
    np.testing.assert_array_equal(frames_or_none(path).read(3), image)


def test_a_phones_case(cases_root):
    source = open_frames(cases_root / "video" / "phone.mp4")
    assert (len(source), source.size(), source.read(4).shape) == (10, (96, 64), (96, 64, 3))


@pytest.mark.parametrize("name", ["video/unk.mp4", "damaged/eof.mp4", "damaged/demo.mp4"])
def test_files_that_ended_in_a_traceback_are_one_line(cases_root, name):
    for read in (VideoFrames, lambda path: open_source(str(path))):
        with pytest.raises(DataError, match=rf"{Path(name).name}: expected a video [^\n]*\Z"):
            read(cases_root / name)


def test_names_that_look_like_a_protocol_or_are_no_text(tmp_path, monkeypatch):
    path = make_video(tmp_path, "short.mp4")
    monkeypatch.chdir(tmp_path)
    expected = VideoFrames(path).read(3)
    for name in (b"12:30.mp4", b"\xff\xfe.mp4", b"%05d.mp4", b"a?b*[1].mp4"):
        place = os.fsdecode(name)
        shutil.copy(path, place)
        np.testing.assert_array_equal(VideoFrames(place).read(3), expected)
        np.testing.assert_array_equal(list(open_source(place))[3].image, expected)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".mov"])
def test_missing_bytes_of_files_that_are_cut_off(tmp_path, suffix):
    path = encode(tmp_path / f"a{suffix}", "mpeg4")
    assert missing_bytes(path) == 0
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert missing_bytes(path) > 0


def test_a_real_clip(data_root):
    source = VideoFrames(data_root / "frames" / "coffee.mp4")
    assert (len(source), source.size()) == (287, (720, 1280))
    last = source.read(286)
    assert last.shape == (720, 1280, 3)
    np.testing.assert_array_equal(VideoFrames(data_root / "frames" / "coffee.mp4", count=3).read(2), source.read(2))


class FakeTorchcodec:
    """Looks like torchcodec's `VideoDecoder`; counts what it decodes."""

    lost, shade, decoded = 0, 0, 0

    def __init__(self, source, *, dimension_order, seek_mode):
        assert (dimension_order, seek_mode) == ("NHWC", "exact")
        assert isinstance(source, (str, bytes))
        self._frames = FakeTorchcodec.frames

    def __len__(self):
        return len(self._frames) - FakeTorchcodec.lost

    def __getitem__(self, index):
        FakeTorchcodec.decoded += 1
        image = self._frames[index] + np.uint8(FakeTorchcodec.shade)

        class Tensor:
            def numpy(self):
                return image

        return Tensor()


@pytest.fixture
def fake(clip, monkeypatch):
    FakeTorchcodec.lost = FakeTorchcodec.shade = FakeTorchcodec.decoded = 0
    source = VideoFrames(clip)
    FakeTorchcodec.frames = [source.read(index) for index in range(30)]
    monkeypatch.setattr(decoders, "load_torchcodec", lambda: FakeTorchcodec)
    decoders.use_decoder("torchcodec")
    yield FakeTorchcodec
    decoders.use_decoder("auto")


def test_torchcodec_decodes_where_it_was_chosen(clip, fake):
    source = VideoFrames(clip, count=9)
    np.testing.assert_array_equal(source.read(7), fake.frames[7])
    assert fake.decoded > 1
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read(3), fake.frames[3])
    assert decoders.decoder_in_use() in decoders.DECODERS  # pictures are left to auto


@pytest.mark.parametrize("fault", ["lost", "shade"])
def test_a_file_that_torchcodec_reads_otherwise_is_left_to_pyav(clip, fake, fault):
    setattr(fake, fault, 1)
    source = VideoFrames(clip)
    np.testing.assert_array_equal(source.read(5), fake.frames[5])
    assert fake.decoded <= 1


def test_torchcodec_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(decoders, "load_torchcodec", lambda: None)
    with pytest.raises(MosamError, match="--decoder torchcodec: expected it and the system's FFmpeg to be installed"):
        decoders.use_decoder("torchcodec")


def test_torchcodec_gives_the_pixels_of_pyav(clip, data_root):
    if decoders.load_torchcodec() is None:
        pytest.skip("torchcodec or an FFmpeg for it is not installed")
    for path in (clip, data_root / "frames" / "coffee.mp4"):
        expected = [VideoFrames(path).read(index) for index in (0, 7, 3)]
        decoders.use_decoder("torchcodec")
        try:
            source = VideoFrames(path)
            for index, image in zip((0, 7, 3), expected, strict=True):
                np.testing.assert_array_equal(source.read(index), image)
            assert source._other, "torchcodec was not used"
        finally:
            decoders.use_decoder("auto")


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile clip.mp4\n", "#EXTM3U\n#EXTINF:9,\nclip.mp4\n"])
def test_a_list_of_other_files_is_no_video(clip, tmp_path, text):
    shutil.copy(clip, tmp_path / "clip.mp4")
    write_text(tmp_path / "list.mp4", text)
    with pytest.raises(DataError, match=r"list\.mp4: expected a video"):
        VideoFrames(tmp_path / "list.mp4")


@pytest.mark.parametrize(
    ("index", "error"), [(-1, IndexError), (99, IndexError), (0.5, ValueError), ("0", ValueError), (True, ValueError)]
)
def test_frames_are_asked_for_by_their_number(clip, tmp_path, index, error):
    write_frames(tmp_path / "car", ["0", "1", "2"])
    for source in (VideoFrames(clip), open_frames(tmp_path / "car")):
        with pytest.raises(error, match=r"expected (a frame of 0|the number of a frame)"):
            source.read(index)
        np.testing.assert_array_equal(source.read(np.int64(1)), source.read(1))
