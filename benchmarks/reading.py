"""Frames a second that are read and decoded: folder, zip and LMDB with our reader, against cv2 and plain Pillow.

    python benchmarks/reading.py [--frames 1000] [--rounds 2] [--work 10]

A made sequence of 1280x720 JPEGs is read by every method in turn, round after round in one process; the median of the
rounds is printed: frames a second and the processor's milliseconds a frame (all threads; what others do on the machine
hardly moves it), and frames a second with some milliseconds of waiting after each, as a GPU makes one wait, where
reading ahead shows (`--work 0` leaves that out). Files are in the page cache. Then the 280 annotations of LaSOT's test
set are read, where the test data are (MOSAM_TEST_DATA).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mosam.datasets.base import load_dataset
from mosam.datasets.decoders import use_decoder
from mosam.datasets.frames import open_frames, prefetch
from mosam.datasets.pack import pack

SIZE = (720, 1280)
DISTINCT = 40  # pictures that the sequence repeats
DATA = Path(os.environ.get("MOSAM_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def write_sequence(root: Path, frames: int) -> Path:
    """A DAVIS tree of one sequence with textured pictures; returns the folder of frames."""
    folder, maps = (root / part / "480p" / "clip" for part in ("JPEGImages", "Annotations"))
    folder.mkdir(parents=True)
    maps.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(frames):
        path = folder / f"{number:05d}.jpg"
        if number < DISTINCT:
            coarse = rng.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
            smooth = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
            noisy = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(path, quality=90)
        else:
            path.write_bytes((folder / f"{number % DISTINCT:05d}.jpg").read_bytes())
    label = np.zeros(SIZE, dtype=np.uint8)
    label[:9, :9] = 1
    Image.fromarray(label).save(maps / "00000.png")
    listing = root / "ImageSets" / "2017" / "test-dev.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("clip\n")
    return folder


def read_cv2(paths: list[Path]) -> Iterator[np.ndarray]:
    """As pytracking reads: one call a frame, then to RGB."""
    for path in paths:
        yield cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def read_pillow(paths: list[Path]) -> Iterator[np.ndarray]:
    """The plainest loop."""
    for path in paths:
        yield np.array(Image.open(path).convert("RGB"))


def seconds_to_read(frames: Iterable[np.ndarray], work: float) -> tuple[float, float]:
    """Wall and processor seconds for all frames with `work` seconds of waiting after each."""
    started, processor = time.perf_counter(), time.process_time()
    for _ in frames:
        if work:
            time.sleep(work)
    return time.perf_counter() - started, time.process_time() - processor


def compare(folder: Path, archive: Path, packed: Path, *, rounds: int, work: float) -> None:
    """Print frames a second of every method, the median over the rounds."""
    paths = sorted(folder.iterdir())
    zipped = open_frames(archive)
    lmdb = load_dataset("davis", root=packed, split="test-dev")["clip"].source
    sources = {"folder": open_frames(folder), "zip": zipped, "LMDB": lmdb}
    methods: list[tuple[str, str, Callable[[], Iterable[np.ndarray]]]] = [
        ("cv2, as pytracking", "pillow", lambda: read_cv2(paths)),
        ("Pillow, plain loop", "pillow", lambda: read_pillow(paths)),
    ]
    fastest = use_decoder("auto")
    pairs = [("folder", "pillow"), *((name, fastest) for name in sources)]
    for name, decoder in dict.fromkeys(pairs):
        methods.append((f"ours, {name}, {decoder}", decoder, lambda source=sources[name]: prefetch(source)))  # type: ignore[misc]
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name, _, _ in methods}
    for _ in range(rounds):
        for name, decoder, frames in methods:
            use_decoder(decoder)
            plain = seconds_to_read(frames(), 0)
            taken[name].append((*plain, seconds_to_read(frames(), work)[0] if work else 0.0))
    working = f"with {work * 1000:.0f} ms of work" if work else ""
    print(f"{'':28} {'frames/s':>9} {'CPU ms/frame':>13} {working:>20}")
    for name, seconds in taken.items():
        wall, processor, busy = (statistics.median(column) for column in zip(*seconds, strict=True))
        last = f"{len(paths) / busy:20.1f}" if work else ""
        print(f"{name:28} {len(paths) / wall:9.1f} {processor / len(paths) * 1000:13.2f} {last}", flush=True)


def read_annotations() -> None:
    """Print seconds for LaSOT's 280 test annotations."""
    archive = DATA / "lasot" / "lasot_test_annotations.tar.xz"
    if not archive.is_file():
        print(f"{archive}: not there, LaSOT's annotations are not read")
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        root = next(path.parent.parent.parent for path in Path(folder).rglob("airplane-1/groundtruth.txt"))
        started, processor = time.perf_counter(), time.process_time()
        dataset = load_dataset("lasot", root=root)
        frames = sum(len(dataset[name].truth) for name in dataset)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        print(
            f"LaSOT: {len(dataset)} annotations of {frames} frames in {seconds:.2f} s ({processor:.2f} s of processor)"
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=float, default=10, help="milliseconds after each frame")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = write_sequence(root / "tree", options.frames)
        size = sum(path.stat().st_size for path in folder.iterdir()) / options.frames / 1024
        print(f"{options.frames} frames of {SIZE[1]}x{SIZE[0]}, {size:.0f} KiB each")
        archive = root / "clip.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
            for path in sorted(folder.iterdir()):
                target.write(path, path.name)
        packed = pack(load_dataset("davis", root=root / "tree", split="test-dev"), root / "packed")
        compare(folder, archive, packed, rounds=options.rounds, work=options.work / 1000)
    read_annotations()
    return 0


if __name__ == "__main__":
    sys.exit(main())
