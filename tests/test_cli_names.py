"""Names of files and folders that terminals and programs stumble over, through the whole command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trees import stems, write_frames, write_text, write_video

from mosam.cli import run_command
from mosam.errors import DataError, printable

MODEL = ("--tracker", "sam2", "--model", "random:mini", "--device", "cpu")


@pytest.fixture
def mosam(tmp_path):
    """Runs the command in a process of its own, whose terminal knows ASCII alone."""

    def call(*words, **variables):
        environment = {
            **os.environ,
            "PYTHONIOENCODING": "ascii",
            "LC_ALL": "C",
            "PYTHONCOERCECLOCALE": "0",
            **variables,
        }
        arguments = [sys.executable, "-m", "mosam", *words]
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True)
        return done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii")

    return call


def test_an_ascii_terminal_sees_escapes_and_no_error(mosam, tmp_path):
    folder = tmp_path / "m\u00e9dia"
    write_frames(folder / "v\u00efd\u00e9o", stems(2), size=(24, 32))
    write_text(folder / "v\u00efd\u00e9o.txt", "1,2,0,4")
    code, out, err = mosam("data", "check", "folder", "--root", "m\u00e9dia")
    assert (code, err.count("\n")) == (2, 1)
    assert out.startswith(r"v\xefd\xe9o: m\xe9dia/v\xefd\xe9o.txt:1: expected a box with w > 0")
    write_text(folder / "v\u00efd\u00e9o.txt", "1,2,8,8")
    code, out, err = mosam("run", "folder", "--root", "m\u00e9dia", "--results", "\u00fc", *MODEL)
    assert (code, out) == (0, "\\xfc/folder/sam2-random-mini\n")
    assert r"v\xefd\xe9o" in err


def test_folders_whose_names_are_no_utf8(mosam, tmp_path):
    folder = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    write_frames(tmp_path / "x" / "clip", stems(2), size=(24, 32))
    write_text(tmp_path / "x" / "clip.txt", "1,2,8,8")
    (tmp_path / "x").rename(folder)
    code, out, err = mosam("data", "check", "folder", "--root", folder)
    assert (code, out) == (0, ""), err
    video = write_video(tmp_path / "a.mp4", 4)
    shutil.move(video, Path(folder) / "clip.mp4")
    code, out, err = mosam("data", "check", "folder", "--root", folder, PYTHONIOENCODING="utf-8:strict")
    assert (code, out) == (2, "")
    assert r"caf\udce9: expected one video of the name clip, got both clip/ and clip.mp4" in err
    with pytest.raises(DataError, match=r"caf\\udce9"):
        raise DataError(folder, "")


def test_names_with_commas_can_be_chosen(tmp_path, monkeypatch, capfd):
    for name in ("a", "a,b", "c"):
        write_frames(tmp_path / name, stems(2))
        write_text(tmp_path / f"{name}.txt", "1,2,4,4")
    monkeypatch.chdir(tmp_path)
    assert run_command(["data", "check", "folder", "--root", ".", "--sequences", "a,b,c"]) == 0
    assert capfd.readouterr().err == "folder all: 2 sequences (2 of 3 sequences), sound\n"
    assert run_command(["data", "check", "folder", "--root", ".", "--sequences", "a, c,b"]) == 2
    assert "unknown sequence 'b'" in capfd.readouterr().err


def test_what_steers_a_terminal_is_escaped(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(["score", "toy", "--results", "a\x1b]0;x\x07b\u202e"]) == 2
    err = capfd.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert r"a\x1b]0;x\x07b\u202e" in err
    assert printable("a\u3000b \u0646\u200c") == "a\u3000b \u0646\u200c"


def test_tables_keep_a_row_a_row():
    from mosam.evaluation.layouts import FORMATS, Table, render

    table = Table("t", ("tracker", "score"), (("a\nb\x1b[1m", "1.0"),), (None,))
    for name in FORMATS:
        text = render(table, name)
        assert "\x1b" not in text
        assert "a\nb" not in text
