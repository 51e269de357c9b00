import pickle

import numpy as np
import pytest
from trees import write_text, write_video

from mosam.datasets import decoders
from mosam.datasets.archives import ArchivePath, open_archive
from mosam.datasets.frames import find_video, has_frames, open_frames, prefetch
from mosam.datasets.video import VideoFrames
from mosam.errors import DataError, MosamError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


def test_frames_are_counted_and_named_without_decoding(clip):
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
