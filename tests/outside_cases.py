"""Trackers to run that are no memory policies: classes in a file, and programs that speak TraX or `folder`.

All follow the square of `fakes.SquareDataset`, which moves one pixel a frame: a program that adds 1 to x follows it
exactly, and need not look at pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

CLASSES = '''
"""Trackers of a test."""

import time

import numpy as np

__version__ = "1.5"


class Mute(Exception):
    def __str__(self):
        raise ValueError


class Step:
    """Moves its box one pixel a frame.

    Args:
        step: pixels.
        fault: what goes wrong at its third frame.
    """

    name = "step"

    def __init__(self, step: float = 1.0, fault: str = ""):
        self.step, self.fault, self.count = step, fault, 0

    def init(self, image, box):
        assert image.dtype == np.uint8 and image.shape[2] == 3
        self.box = box.astype(float)

    def update(self, image):
        self.count += 1
        self.box[0] += self.step
        if self.count == 3 and self.fault:
            return self.answer(image)
        return self.box.copy()

    def answer(self, image):
        if self.fault == "raise":
            return [][0]
        if self.fault == "hang":
            while True:
                try:
                    time.sleep(0.01)
                except Exception:
                    pass
        if self.fault == "exit":
            raise SystemExit(0)
        if self.fault == "no text":
            raise Mute
        return {
            "none": None,
            "nan": (np.nan, 1, 2, 3),
            "short": (1, 2, 3),
            "text": "1,2,3,4",
            "size": np.zeros((3, 4), dtype=bool),
            "float": np.zeros(image.shape[:2]),
            "score": (self.box, float("nan")),
            "endless": [10**400] * 4,
            "complex": np.array([1, 2, 3, 4j]),
        }[self.fault]


class Bright:
    """The bright pixels, as a mask with a score."""

    name = "bright"
    region = "mask"

    def init(self, image, mask):
        assert mask.dtype == bool and mask.shape == image.shape[:2]

    def update(self, image):
        return image[..., 0] > 100, 0.75
'''

TRAX = r'''
"""Speaks TraX without a library. Arguments: version, several objects (0 or 1), region, fault."""
import re, sys, time

version, several, region, fault = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def say(kind, *words):
    sys.stdout.write("\n@@TRAX:" + kind + "".join(' "%s"' % word for word in words) + "\n")
    sys.stdout.flush()


def number(text):
    return [float(value) for value in text.split(":")[-1].split(",")]


if fault == "start":
    raise SystemExit("no licence for this machine")
if fault == "silent":
    time.sleep(600)
say("hello", "trax.version=%d" % version, "trax.multiobject=" + several, "trax.region=%s;" % region, "trax.image=path;")
print("loading", "the network")
sys.stderr.write("a warning\n")
boxes, frame = [], -1
for line in sys.stdin:
    if not line.startswith("@@TRAX:"):
        continue
    kind, _, rest = line[7:].strip().partition(" ")
    words = re.findall(r'"([^"]*)"', rest)
    if kind == "quit":
        break
    if kind == "initialize":
        boxes.append(number(words[-1]))
        if version >= 4:
            continue
    frame += 1
    assert words[0].startswith("file:///") and words[0].endswith((".png", ".jpg")), words
    open(words[0][7:], "rb").close()
    if frame == 3 and fault == "chatter":
        while True:
            print("still at it")
            sys.stdout.flush()
            time.sleep(0.01)
    if frame == 3 and fault == "real-time signal":
        import os

        os.kill(os.getpid(), 40)
    if frame == 3 or fault == "family":
        if fault == "family":
            import os, subprocess

            child = subprocess.Popen(["sleep", "600"])
            daemon = subprocess.Popen(["sleep", "600"], start_new_session=True)
            with open(os.environ["PIDS"], "w") as file:
                file.write("%d %d %d\n" % (os.getpid(), child.pid, daemon.pid))
            time.sleep(600)
        if fault == "die":
            raise SystemExit("cannot allocate memory")
        if fault == "hang":
            time.sleep(600)
        if fault == "quit":
            say("quit", "trax.reason=lost")
            break
        if fault == "nonsense":
            say("state", "12,abc")
            continue
        if fault == "hello":
            say("hello")
            continue
        if fault == "far":
            say("state", "1e308,1e308,0,0,-1e308,-1e308")
            continue
    for box in boxes:
        if frame and kind == "frame" and not (version >= 4 and frame == 0):
            box[0] += 9 if fault == "away" else 1
        if region == "mask":
            x, y, w, h = (int(value) for value in box[:4])
            say("state", "mask:%d,%d,%d,%d,0,%d" % (x, y, w, h, w * h), "confidence=0.5")
        else:
            say("state", ",".join("%.4f" % value for value in box), "confidence=0.5")
'''

FOLDER = r'''
"""Speaks the folder protocol. Argument: fault."""
import glob, os, sys, time

fault = sys.argv[1]
frames = open("frames_color.txt").read().split("\n")[:-1]
assert all(os.path.isfile(path) for path in frames)
if fault == "hang":
    time.sleep(600)
if fault == "die":
    sys.stderr.write("cannot allocate memory\n")
    os.kill(os.getpid(), 9)
for query in glob.glob("query_*.txt"):
    name = query[6:-4]
    lines = open(query).read().split("\n")
    first, state = int(lines[0]), lines[1]
    numbers = [float(value) for value in state.lstrip("m").split(",")]
    rows = ["0"] * first
    for index in range(len(frames) - first):
        x, y, w, h = numbers[:4]
        rows.append("%g,%g,%g,%g" % (x + index * (9 if fault == "away" else 1), y, w, h))
    if fault == "short":
        rows.pop()
    if fault == "nonsense":
        rows[2] = "1,two"
    if fault != "nothing":
        open("output_%s.txt" % name, "w").write("\n".join(rows) + "\n")
        confidence = "nan" if fault == "unsure" else "0.5"
        open("output_%s_confidence.txt" % name, "w").write((confidence + "\n") * len(rows))
'''


def write_classes(folder: Path, name: str = "own_step.py", text: str = CLASSES) -> Path:
    """A file with the classes."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def write_trax(
    folder: Path, *, version: int = 4, several: bool = True, region: str = "rectangle", fault: str = ""
) -> str:
    """A file of trackers with one that speaks TraX; returns what to type for it."""
    (folder / "speaks_trax.py").write_text(TRAX, encoding="utf-8")
    words = f"speaks_trax.py {version} {int(several)} {region} '{fault}'"
    return _write(folder / "trackers.ini", "trax", words)


def write_folder(folder: Path, *, fault: str = "") -> str:
    """A file of trackers with one that speaks `folder`; returns what to type for it."""
    (folder / "speaks_folder.py").write_text(FOLDER, encoding="utf-8")
    return _write(folder / "trackers.ini", "folder", f"speaks_folder.py '{fault}'")


def _write(path: Path, protocol: str, words: str) -> str:
    lines = ["[Square]", "label = My square", f"protocol = {protocol}", f"command = {sys.executable} {words}", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"{path}:Square"
