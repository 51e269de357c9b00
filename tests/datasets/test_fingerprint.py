"""What a fingerprint of pictures notices, and how little it reads."""

import builtins
import os
import pathlib
import zipfile

import pytest
from trees import stems, write_frame, write_frames, write_video

from mosam.datasets import fingerprint
from mosam.datasets.base import load_dataset
from mosam.datasets.fingerprint import fingerprint_frames
from mosam.datasets.frames import NoFrames, open_frames
from mosam.errors import DataError


def of(path):
    return fingerprint_frames(open_frames(path))


def test_the_same_from_a_folder_and_a_zip_and_whatever_the_times(tmp_path):
    write_frames(tmp_path / "a", stems(5))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for path in (tmp_path / "a").iterdir():
            archive.write(path, path.name)
    before = of(tmp_path / "a")
    assert before == of(tmp_path / "b.zip")
    for path in (tmp_path / "a").iterdir():
        os.utime(path, (1, 1))
    assert of(tmp_path / "a") == before


def test_other_pictures_are_noticed(tmp_path):
    folder = tmp_path / "a"
    write_frames(folder, stems(12))
    seen = {of(folder)}
    write_frame(folder / "00007.jpg", seed=99)
    seen.add(of(folder))
    (folder / "00011.jpg").rename(folder / "00012.jpg")
    seen.add(of(folder))
    (folder / "00012.jpg").unlink()
    seen.add(of(folder))
    assert len(seen) == 4


def test_another_video_is_noticed(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30)
    source = open_frames(path)
    before = fingerprint_frames(source)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert fingerprint_frames(source) != before


def test_of_many_pictures_few_are_touched(tmp_path, monkeypatch):
    write_frames(tmp_path / "a", stems(60))
    source = open_frames(tmp_path / "a")
    touched = []
    opened = pathlib.Path.open
    monkeypatch.setattr(pathlib.Path, "open", lambda self, *rest: touched.append(self) or opened(self, *rest))
    monkeypatch.setattr(pathlib.Path, "stat", None)
    monkeypatch.setattr(builtins, "open", None)
    fingerprint_frames(source)
    assert len(touched) == fingerprint.SAMPLED


def test_frames_that_are_not_stored_have_none_and_lost_ones_are_told(tmp_path):
    dataset = load_dataset("toy")
    assert fingerprint_frames(dataset[next(iter(dataset))].source) is None
    assert fingerprint_frames(NoFrames(tmp_path)) is not None
    write_frames(tmp_path / "a", stems(3))
    source = open_frames(tmp_path / "a")
    (tmp_path / "a" / "00001.jpg").unlink()
    with pytest.raises(DataError, match=r"00001\.jpg: expected a picture or video, got No such file"):
        fingerprint_frames(source)
