"""`mosam demo`, `doctor` and `model fetch` as a user types them; and that every help reads well in 80 columns."""

import json
from pathlib import Path

import numpy as np
import pytest
from clips import make_video
from trees import write_labels, write_text, write_video

from mosam.cli import app, run_command
from mosam.cli.build import every_command
from mosam.datasets.video import VideoFrames

MINI = ("--model", "random:mini", "--device", "cpu")


@pytest.fixture
def mosam(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.mp4"), count=6, size=(48, 64))

    def call(*words):
        capfd.readouterr()
        code = run_command(list(map(str, words)))
        return code, *capfd.readouterr()

    return call


def test_a_video_is_tracked_and_told(mosam):
    code, out, err = mosam("demo", "clip.mp4", "--box", "4,4,20,20", "--point", "2:40,30", "--tracker", "sam2", *MINI)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("sam2: 6 frames, ")
    assert [line.split(":")[0] for line in lines[1:3]] == ["  object 1", "  object 2"]
    assert lines[-1] == "results/demo/clip/overlay.mp4"
    assert err.splitlines()[0] == "sam2 with random:mini on clip -> results/demo/clip"
    assert len(list(Path("results/demo/clip/masks").iterdir())) == 6
    assert json.loads(Path("results/demo/clip/demo.json").read_text())["frames"] == 6
    code, out, err = mosam("demo", "clip.mp4", "--box", "4,4,20,20", *MINI)
    assert (code, out) == (2, "")
    assert err == (
        "results/demo/clip: expected a new or empty folder, found overlay.mp4; give --overwrite or another --out\n"
    )


def test_a_start_frame_and_a_name_with_a_colon(mosam):
    Path("clip.mp4").rename("12:30.mp4")
    box = ("--box", "4,4,20,20", "--start", "2", "--tracker", "sam2")
    code, _, err = mosam("demo", "12:30.mp4", *box, "--out", "12:30", *MINI)
    assert code == 0, err
    assert sorted(path.name for path in Path("12:30/masks").iterdir()) == [f"{index:05d}.png" for index in range(2, 6)]
    assert len(Path("12:30/boxes/1.txt").read_text().splitlines()) == 4
    assert json.loads(Path("12:30/demo.json").read_text())["start"] == 2
    assert len(VideoFrames("12:30/overlay.mp4")) == 4


@pytest.mark.parametrize("name", ["m2.mpg", "vfr.mkv", "cut.mp4", "phone.mp4", "h264.mpg"])
def test_odd_videos_are_tracked_to_their_end(mosam, name):
    path = make_video(Path.cwd(), name)
    code, out, err = mosam("demo", path, "--box", "4,4,20,20", "--out", "o", "--tracker", "sam2", *MINI)
    assert code == 0, err
    frames = VideoFrames(path)
    assert out.startswith(f"sam2: {len(frames)} frames")
    overlay = VideoFrames("o/overlay.mp4")
    assert (len(overlay), overlay.size()) == (len(frames), frames.size())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("demo clip.mp4 --box 1,1,5,5 --start 6", "clip.mp4: expected a frame 6 to begin with"),
        ("demo", "Missing argument 'INPUT'"),
        ("demo clip.mp4", "demo: expected what to track, got nothing; give --box x,y,w,h"),
        ("demo none.mp4 --box 1,1,5,5", "none.mp4: expected a video"),
        ("demo bad.mp4 --box 1,1,5,5", "bad.mp4: expected a video file, got "),
        ("demo empty --box 1,1,5,5", "empty: expected frames (.jpg, .jpeg, .png), got an empty folder"),
        ("demo clip.mp4 --box 1,1,0,5", "--box: expected a box x,y,w,h with w > 0"),
        ("demo clip.mp4 --box 70,1,5,5", "--box 70,1,5,5: expected a box x,y,w,h on the 64x48 picture"),
        ("demo clip.mp4 --box 30,20,60,44", "if these are two corners, give 30,20,30,24"),
        ("demo clip.mp4 --box-file wrong.txt", "wrong.txt:1: expected x,y,w,h, got 'frame x y w h'"),
        ("demo clip.mp4 --box-file corners.txt", "if these are two corners, give 30,20,30,24"),
        ("demo clip.mp4 --mask small.png", "small.png: expected 48x64 (height x width) as the frames, got 4x4"),
        ("demo clip.mp4 --point 1", "--point: expected x,y or x,y,0 or OBJECT:x,y, got '1'"),
        ("demo clip.mp4 --box 1,1,5,5 --out clip.mp4/out", "clip.mp4/out: expected a folder to write to"),
        ("demo clip.mp4 --box 1,1,5,5 --tracker samm", "unknown tracker 'samm'"),
        ("demo clip.mp4 --box 1,1,5,5 --compare sam2", "--compare: expected at least two trackers"),
        ("demo clip.mp4 --pick --box 1,1,5,5", "--pick: expected either picking by hand or --box"),
        ("demo clip.mp4 --pick --port 70000", "'--port'"),
        ("demo 99 --box 1,1,5,5", "camera 99: expected a camera that gives pictures, found none"),
        ("model fetch tinyy", "model fetch: unknown model to fetch 'tinyy'; did you mean tiny?"),
        ("model fetch tiny --from disk", "unknown origin 'disk'"),
    ],
)
def test_wrong_calls_are_one_line_and_leave_nothing(mosam, words, text):
    Path("empty").mkdir()
    write_text(Path("bad.mp4"), "no video")
    write_text(Path("wrong.txt"), "frame x y w h\n0 1 1 5 5\n")
    write_text(Path("corners.txt"), "30,20,60,44\n")
    write_labels(Path("small.png"), np.ones((4, 4), dtype=np.uint8))
    before = sorted(Path.cwd().rglob("*"))
    code, out, err = mosam(*words.split())
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1
    assert [path for path in sorted(Path.cwd().rglob("*")) if path not in before and path.name != "out"] == []


def test_a_video_that_ends_early_is_kept_and_exit_code_is_1(mosam):
    data = write_video(Path("cut.mkv"), count=120, size=(48, 64)).read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 4])
    code, out, err = mosam("demo", "cut.mkv", "--box", "4,4,20,20", "--tracker", "sam2", *MINI)
    assert code == 1
    assert err.splitlines()[-1].endswith("; what was tracked before is kept")
    frames = int(out.split(" frames")[0].split()[-1])
    assert 5 < frames < 100
    assert len(Path("results/demo/cut/boxes/1.txt").read_text().splitlines()) == frames


@pytest.mark.parametrize("words", [words for words, _ in every_command(app)], ids=lambda words: "-".join(words))
def test_help_reads_well_in_80_columns(capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    listed = lines[lines.index("Commands:") + 1 :] if "Commands:" in lines else []
    assert [line for line in listed if line.endswith("...")] == []  # no summary is cut
    assert len(lines) > 5
