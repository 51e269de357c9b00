import pickle

import numpy as np
import pytest
from trees import write_text, write_video

from mosam.datasets.archives import ArchivePath, open_archive
from mosam.datasets.frames import find_video, has_frames, open_frames, prefetch
from mosam.datasets.video import VideoFrames
from mosam.errors import DataError


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
