"""The documents: every command in them is a command there is, and those that need no data are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trees import stems, write_frames, write_text, write_video

from mosam.cli import app, run_command

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
FENCE = re.compile(r"^([ \t]*)```([a-z]*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(mosam [^`\n]+)`")
TINY = ("--model", "random:mini", "--device", "cpu")  # said last, so it holds


def commands(page: Path, *, prose: bool = True) -> list[str]:
    """`mosam ...` and `make ...` lines of fenced blocks, and whole `mosam ...` commands in running text."""
    text = page.read_text(encoding="utf-8")
    found = []
    for _, language, body in FENCE.findall(text):
        if language not in ("", "bash", "sh", "console", "shell"):
            continue
        for line in re.sub(r"\\\n\s*", " ", body).splitlines():
            line = re.sub(r"\s+#.*$", "", line.strip().removeprefix("$ "))
            line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)
            line = re.split(r" (?:\||&&|>|2>) ", line)[0].strip()
            if line.startswith(("mosam ", "make ")):
                found.append(line)
    if prose:
        named = INLINE.findall(FENCE.sub("", text))
        found += [words for words in named if "..." not in words and words.split()[1] not in ("[", "|")]
    return list(dict.fromkeys(found))


CASES = [(page.name, line) for page in PAGES for line in commands(page)]
FENCED = {line for page in PAGES for line in commands(page, prose=False)}
MOSAM = sorted({line for _, line in CASES if line.startswith("mosam ")})
MAKE = sorted({line for _, line in CASES if line.startswith("make ")})


def parse(words: list[str]) -> None:
    """Parses a command as click would before it calls it; a half command, as `mosam run`, needs no arguments."""
    command, name = app, "mosam"
    context = None
    while True:
        resilient = not words
        context = command.make_context(name, list(words), parent=context, resilient_parsing=resilient)
        if not hasattr(command, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, words = command.resolve_command(context, rest)
        assert command is not None
        if not words:
            return


def test_documents_have_commands():
    assert len(MOSAM) > 25
    assert {"index.md", "install.md", "tutorial-video.md", "coming-from.md", "README.md"} <= {page for page, _ in CASES}


@pytest.mark.parametrize("line", MOSAM)
def test_a_command_of_the_documents_parses(line):
    words = shlex.split(line)[1:]
    try:
        parse(words)
    except Exception as error:
        kind = type(error).__name__
        if kind == "Exit":
            assert words[-1] in ("--help", "--version")
        elif kind != "MissingParameter" or line in FENCED:  # running text may name a command without its arguments
            pytest.fail(f"{line}: {error}")


def test_the_check_finds_wrong_options():
    with pytest.raises(Exception, match="No such option"):
        parse(["data", "check", "lasot", "--rot", "x"])
    with pytest.raises(Exception, match="No such command"):
        parse(["model", "fetsh", "tiny"])


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
@pytest.mark.parametrize("line", MAKE)
def test_a_make_line_of_the_documents_has_a_target(line):
    words = shlex.split(line)
    done = subprocess.run(["make", "-n", *words[1:]], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def needs_nothing(line: str) -> bool:
    """Whether a command can be run here: on what is shipped, generated, or put into the folder by `place`."""
    if "--pick" in line or re.search(r"mosam demo (0|video)\b", line):
        return False
    return bool(
        re.match(r"mosam (--help|--version|doctor|data list|model (list|info nano))\b", line)
        or re.match(r"mosam data make \w+ --out", line)
        or re.match(r"mosam demo (clip\.mp4|frames/) --", line)
        or re.search(r"--root (example/LaSOT|my_videos|my_boxes)\b", line)
        or re.match(r"mosam (table|plot|board) .*\bmy_results\b", line)
    )


RUN = [line for line in MOSAM if needs_nothing(line)]


@pytest.fixture
def place(tmp_path, monkeypatch, capfd):
    """A folder with the files that the documents name, tiny."""
    from mosam.codecs import write_labels
    from mosam.datasets.make import make_tree

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    size = (420, 560)  # the boxes of the documents lie on it
    write_video(Path("clip.mp4"), count=5, size=size)
    write_text(Path("clip.txt"), "330,120,130,250\n")
    write_text(Path("box.txt"), "330,120,130,250\n")
    write_frames(Path("frames"), stems(4), size=size)
    import numpy as np

    labels = np.zeros(size, dtype=np.uint8)
    labels[100:200, 100:200] = 1
    write_labels(Path("first.png"), labels)
    Path("my_videos").mkdir()
    write_video(Path("my_videos/bird.mp4"), count=4)
    write_text(Path("my_videos/bird.txt"), "4,4,20,20\n")
    make_tree("lasot", Path("example/LaSOT"), sequences=1, frames=6)
    write_frames(Path("my_boxes/bird"), stems(4), size=(32, 48))
    write_text(Path("my_boxes/bird/groundtruth.txt"), "4,4,20,20\n" * 3 + "nan,nan,nan,nan\n")
    write_text(Path("labels.toml"), '[labels]\nSiamX = "Siam X"\n')
    write_results(Path("my_results/lasot/SiamX"), Path("example/LaSOT"))
    return tmp_path


def write_results(folder, root):
    """Perfect results of somebody's tracker with times, and their scores."""
    import numpy as np

    from mosam.datasets.base import load_dataset
    from mosam.evaluation import evaluate, save_scores

    dataset = load_dataset("lasot", root=root)
    folder.mkdir(parents=True)
    for name in dataset:
        boxes = np.nan_to_num(dataset[name].truth.boxes)
        np.savetxt(folder / f"{name}.txt", boxes, fmt="%.3f", delimiter=",")
        np.savetxt(folder / f"{name}_time.txt", np.full(len(boxes), 0.05))
    save_scores(folder / "scores.json", evaluate(folder, dataset))


def test_many_commands_can_be_run_here():
    assert len(RUN) > 10


@pytest.mark.parametrize("line", RUN)
def test_a_command_of_the_documents_runs(place, line):
    words = shlex.split(line)[1:]
    if words[0] in ("demo", "run", "eval"):
        words += TINY
    if words[0] == "demo":
        words += ["--frames", "3"]
    if words[0] == "eval":
        words += ["--jobs", "1"]
    if words[:2] == ["data", "make"]:
        shutil.rmtree("example")
    assert run_command(words) == 0


def python_blocks(page: Path) -> list[str]:
    """Fenced Python of a page."""
    return [body for _, language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]


def test_the_examples_of_the_python_interface_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    from mosam.policies.base import POLICIES

    monkeypatch.chdir(tmp_path)
    list(POLICIES)
    monkeypatch.setattr(POLICIES, "_items", dict(POLICIES._items))
    write_video(Path("clip.mp4"), count=4)
    write_frames(Path("my_boxes/bird"), stems(4), size=(32, 48))
    write_text(Path("my_boxes/bird/groundtruth.txt"), "4,4,20,20\n" * 4)
    names: dict[str, object] = {"__name__": "examples"}
    blocks = python_blocks(PROJECT / "docs" / "api.md")
    for block in blocks:
        assert len([line for line in block.splitlines() if line.strip()]) <= 13
        code = block.replace('load_model("nano")', 'load_model("random:mini", device="cpu")')
        exec(compile(code, "api.md", "exec"), names)
    assert "AUC [%]" in capsys.readouterr().out
    assert "patient" in POLICIES
    assert Path("plots/success.png").stat().st_size > 1000


def test_public_names_are_documented():
    import mosam

    text = "".join((PROJECT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "reference.md"))
    assert [name for name in mosam.__all__ if not name.startswith("_") and name not in text] == []


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=PROJECT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    for page in ("index.html", "install/index.html", "tutorial-video/index.html", "reference/index.html"):
        assert (tmp_path / "site" / page).is_file()
    reference = (tmp_path / "site" / "reference" / "index.html").read_text(encoding="utf-8")
    assert "num_frames" in reference
    pages = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html"))
    assert not re.search(r'<(?:script|link)[^>]+(?:src|href)="https?://', pages.replace('rel="canonical"', ""))
