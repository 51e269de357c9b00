"""A new user's path, timed: from a checkout to the first table, to an own video tracked, to an own folder scored.

    python benchmarks/first_minutes.py --limit 2 --frames 60

Every step is a command as a user types it, in an empty folder, in a process of its own. `--install` also installs the
checkout into a new environment that borrows the other packages of this one, so the time to download torch is not in it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
SIZE = (240, 320)


def picture(t: int) -> np.ndarray:
    """A bright square on its way."""
    image = np.full((*SIZE, 3), 60, dtype=np.uint8)
    x, y = 40 + 2 * t, 60 + t
    image[y : y + 50, x : x + 60] = (230, 180, 50)
    return image


def make_inputs(folder: Path, frames: int) -> None:
    """`clip.mp4`, and `mine/square/` with a box for each frame."""
    import av
    from PIL import Image

    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for t in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(t), format="rgb24")))
        container.mux(stream.encode())
    (folder / "mine" / "square").mkdir(parents=True)
    for t in range(frames):
        Image.fromarray(picture(t)).save(folder / "mine" / "square" / f"{t:05d}.jpg")
    boxes = "".join(f"{40 + 2 * t},{60 + t},60,50\n" for t in range(frames))
    (folder / "mine" / "square" / "groundtruth.txt").write_text(boxes, encoding="ascii")


def timed(name: str, command: list[str], folder: Path) -> None:
    """Runs a command and prints a row: wall seconds, processor seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr[-800:]}")
    words = " ".join(["mosam" if word.endswith("/mosam") else word for word in command])
    print(
        f"| {name} | `{words if words.startswith('mosam') else 'pip install .'}` | {wall:.1f} | {cpu:.1f} |", flush=True
    )


def install(folder: Path) -> str:
    """A new environment with the checkout in it; returns its `mosam`."""
    place = folder / "env"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (place / "lib" / version / "site-packages" / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    command = [str(python), "-m", "pip", "install", "-q", "--no-deps", str(PROJECT)]
    timed("install", command, folder)
    return str(place / "bin" / "mosam")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=2, help="sequences of the generated benchmark")
    parser.add_argument("--frames", type=int, default=60, help="of the video")
    parser.add_argument("--install", action="store_true", help="into a new environment first")
    arguments = parser.parse_args()
    os.environ.pop("MOSAM_DATA", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, arguments.frames)
        print("| step | command | seconds | processor seconds |\n|---|---|---|---|")
        mosam = install(folder) if arguments.install else str(Path(sys.executable).parent / "mosam")
        timed("help", [mosam, "--help"], folder)
        timed("what is there", [mosam, "doctor"], folder)
        timed("first table", [mosam, "eval", "toy", "--limit", str(arguments.limit), "--jobs", "1"], folder)
        box = ["--box", "40,60,60,50", "--model", "nano"]
        timed("own video tracked", [mosam, "demo", "clip.mp4", *box], folder)
        timed(
            "own folder scored", [mosam, "eval", "folder", "--root", "mine", "--model", "nano", "--jobs", "1"], folder
        )


if __name__ == "__main__":
    main()
