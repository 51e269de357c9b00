import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps
from trees import SIZE, truncate, write_frame, write_frames, write_text

from mosam.datasets.frames import FrameFolder, NoFrames, frames_or_none, list_files, open_frames, prefetch, read_image
from mosam.errors import DataError, MissingDataError


def test_orders_by_integer_stem_and_ignores_dot_files(tmp_path):
    write_frames(tmp_path, ["10", "9", "1"], suffix=".jpg")
    write_text(tmp_path / "._1.jpg", "left by macOS")
    write_text(tmp_path / ".DS_Store", "")
    write_text(tmp_path / "notes.txt", "")
    assert FrameFolder(tmp_path).stems == ("1", "9", "10")


def test_orders_other_names_naturally(tmp_path):
    write_frames(tmp_path, ["a10", "a9", "a"], suffix=".PNG")
    assert FrameFolder(tmp_path).stems == ("a", "a9", "a10")


def test_two_files_of_one_frame_are_refused(tmp_path):
    write_frame(tmp_path / "1.jpg")
    write_frame(tmp_path / "00001.png")
    with pytest.raises(DataError, match=r"one file a frame, got both 00001.png and 1.jpg"):
        FrameFolder(tmp_path)


def test_reads_png_pixels_exactly_and_one_at_a_time(tmp_path):
    expected = [write_frame(tmp_path / f"{index}.png", seed=index) for index in range(3)]
    source = open_frames(tmp_path)
    assert len(source) == 3
    assert source.size() == SIZE
    for index in (2, 0, 1):
        image = source.read(index)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, expected[index])


def test_count_keeps_the_first_frames(tmp_path):
    write_frames(tmp_path, ["1", "2", "3"])
    assert FrameFolder(tmp_path, count=2).stems == ("1", "2")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    path = tmp_path / ("0.jpg" if mode == "CMYK" else "0.png")
    picture.save(path)
    image = FrameFolder(tmp_path).read(0)
    assert (image.shape, image.dtype) == ((*SIZE, 3), np.uint8)
    if mode in ("L", "P", "RGBA"):
        np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))


def test_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.full(SIZE, 40000, dtype=np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(DataError, match="expected 8 bits a channel"):
        FrameFolder(tmp_path).read(0)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_picture_is_one_line_naming_it(tmp_path, suffix):
    write_frames(tmp_path, ["0", "1"], suffix=suffix, size=(64, 64))
    truncate(tmp_path / f"1{suffix}")
    source = FrameFolder(tmp_path)
    source.read(0)
    with pytest.raises(DataError, match=rf"1\{suffix}: expected a whole picture, got .*truncated") as caught:
        source.read(1)
    assert "\n" not in str(caught.value)


def test_file_of_another_kind(tmp_path):
    write_text(tmp_path / "0.jpg", "<html>not found</html>")
    with pytest.raises(DataError, match=r"0\.jpg: expected a JPEG or PNG picture, got a file of another kind"):
        FrameFolder(tmp_path).size()


def test_removed_while_running(tmp_path):
    write_frames(tmp_path, ["0", "1"])
    source = FrameFolder(tmp_path)
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"1\.jpg: expected a picture, found no file"):
        source.read(1)


def test_enormous_declared_size_is_refused(tmp_path, monkeypatch):
    write_frame(tmp_path / "0.png", size=(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"0\.png: expected .*exceeds limit"):
        read_image(tmp_path / "0.png")


def test_another_size_names_file_and_sizes(tmp_path):
    write_frame(tmp_path / "0.png")
    write_frame(tmp_path / "1.png", size=(12, 14))
    with pytest.raises(DataError, match=r"1\.png: expected 10x14 \(height x width\) as 0\.png, got 12x14"):
        FrameFolder(tmp_path).read(1)


def test_empty_and_absent_folders(tmp_path):
    with pytest.raises(DataError, match=r"expected frames \(.jpg, .jpeg, .png\), got none"):
        FrameFolder(tmp_path)
    with pytest.raises(DataError, match="expected a folder, got No such file"):
        list_files(tmp_path / "absent", (".jpg",))


def test_no_frames_says_where_they_would_be(tmp_path):
    source = NoFrames(tmp_path / "img")
    assert len(source) == 0
    for read in (source.size, lambda: source.read(0)):
        with pytest.raises(MissingDataError, match="img: expected the frames, found nothing"):
            read()


class Counting:
    """Frames that count how often they were read, and fail at one index."""

    def __init__(self, count: int, *, fails_at: int | None = None, delay: float = 0.0):
        self.count, self.fails_at, self.delay = count, fails_at, delay
        self.read_indices: list[int] = []

    def __len__(self) -> int:
        return self.count

    def size(self):
        return (1, 1)

    def read(self, index: int):
        time.sleep(self.delay)
        self.read_indices.append(index)
        if index == self.fails_at:
            raise DataError(f"{index}.jpg", "truncated")
        return np.full((1, 1, 3), index, dtype=np.uint8)


def _readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mosam-prefetch"]


@pytest.mark.parametrize("ahead", [1, 4, 100])
@pytest.mark.parametrize("start", [0, 3, 10])
def test_prefetch_gives_every_frame_in_order(ahead, start):
    source = Counting(10)
    assert [int(frame[0, 0, 0]) for frame in prefetch(source, ahead, start)] == list(range(start, 10))
    assert not _readers()


def test_prefetch_stays_within_its_bound():
    source = Counting(50)
    frames = prefetch(source, ahead=3)
    for taken in range(1, 20):
        next(frames)
        time.sleep(0.002)  # let the reader run as far as it may
        assert len(source.read_indices) <= taken + 3
    deadline = time.monotonic() + 5
    while len(source.read_indices) < 19 + 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(source.read_indices) == 19 + 3  # and does read ahead
    frames.close()


def test_prefetch_raises_at_the_right_frame():
    frames = prefetch(Counting(10, fails_at=5), ahead=4)
    assert [int(next(frames)[0, 0, 0]) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"5\.jpg: truncated"):
        next(frames)
    assert not _readers()


def test_prefetch_stops_when_closed():
    source = Counting(10_000, delay=0.001)
    frames = prefetch(source, ahead=2)
    next(frames)
    assert _readers()
    started = time.monotonic()
    frames.close()
    assert not _readers()
    assert time.monotonic() - started < 1
    assert len(source.read_indices) < 10


def test_prefetch_stops_when_the_consumer_fails():
    def consume():
        for frame in prefetch(Counting(100), ahead=2):
            raise RuntimeError(int(frame[0, 0, 0]))

    with pytest.raises(RuntimeError):
        consume()
    deadline = time.monotonic() + 5  # the iterator is closed when it is collected
    while _readers() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not _readers()


@pytest.mark.parametrize(("ahead", "start"), [(0, 0), (1, -1)])
def test_prefetch_checks_its_arguments(ahead, start):
    with pytest.raises(ValueError, match="expected ahead >= 1 and start >= 0"):
        prefetch(Counting(1), ahead, start)


def write_turned(path, code, size=(10, 14)):
    """A picture that says it is to be turned; returns it upright, as Pillow turns it."""
    write_frame(path, size=size)
    exif = Image.Exif()
    exif[0x0112] = code
    with Image.open(path) as picture:
        picture.load()
    picture.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    with Image.open(path) as picture:
        return np.array(picture), np.array(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("code", range(1, 9))
def test_own_photographs_are_upright_and_a_benchmarks_as_stored(tmp_path, code, suffix):
    stored, upright = write_turned(tmp_path / f"0{suffix}", code)
    source = open_frames(tmp_path)
    np.testing.assert_array_equal(source.read(0), upright)
    assert source.size() == upright.shape[:2]
    benchmark = frames_or_none(tmp_path)
    np.testing.assert_array_equal(benchmark.read(0), stored)
    assert benchmark.size() == stored.shape[:2]
    assert source.turned == benchmark.turned == ({0} if code > 1 else set())


def test_own_photographs_in_a_zip_are_upright_too(tmp_path):
    _, upright = write_turned(tmp_path / "img" / "0.jpg", 6)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "img" / "0.jpg", "0.jpg")
    source = open_frames(tmp_path / "a.zip")
    assert source.size() == upright.shape[:2] == (14, 10)
    np.testing.assert_array_equal(source.read(0), upright)


def test_a_damaged_orientation_is_none(tmp_path):
    stored, _ = write_turned(tmp_path / "0.jpg", 6)
    data = (tmp_path / "0.jpg").read_bytes()
    at = data.index(b"Exif\0\0") + 6
    (tmp_path / "0.jpg").write_bytes(data[:at] + b"\xff" * 16 + data[at + 16 :])
    np.testing.assert_array_equal(open_frames(tmp_path).read(0), stored)


def test_only_files_of_some_numbers(tmp_path):
    write_frames(tmp_path, ["1", "2", "10", "11"])
    assert FrameFolder(tmp_path, numbers=range(2, 11)).stems == ("2", "10")
    assert open_frames(tmp_path, numbers=range(1, 12), count=3).stems == ("1", "2", "10")
    with pytest.raises(DataError, match=r"expected frames 3 to 9 \(.*\), got none"):
        FrameFolder(tmp_path, numbers=range(3, 10))


def test_files_without_a_number_are_none_of_them(tmp_path):
    write_frames(tmp_path, ["cover", "1"])
    assert FrameFolder(tmp_path, numbers=range(1, 3)).stems == ("1",)
