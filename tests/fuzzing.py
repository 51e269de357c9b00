"""Mutated files for every reader of text, regions, run lengths, label maps, pictures and archives.

A reader may accept a file or raise a MosamError; anything else, a hang, or memory beyond a multiple of the file's own
size is a fault. `python tests/fuzzing.py [COUNT] [SEED]` runs as many inputs as asked (100,000 take a few minutes); the
suite runs some thousand.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mosam.codecs import read_labels, read_table, voc_palette
from mosam.codecs.coco import decode_rle, encode_rle
from mosam.datasets.annotations import LabelMapTruth, read_flags, read_json, read_names, read_rows
from mosam.datasets.archives import ArchivePath, open_archive, read_manifest
from mosam.datasets.davis import _read_pairs
from mosam.datasets.decoders import decode_image, use_decoder
from mosam.datasets.got10k import _resolution
from mosam.datasets.lvos import LvosV2
from mosam.datasets.sav import Sav
from mosam.datasets.ytvos import YouTubeVos2019
from mosam.errors import MosamError
from mosam.regions.files import format_binary, format_text, parse_binary, parse_text
from mosam.regions.trajectory import Point, Polygon, Rectangle, Special, Trajectory, mask_region

SECONDS = 5.0  # of processor time that one input may take
BASE_BYTES = 48 << 20  # that a reader may use for the smallest file
BYTES_PER_BYTE = 40_000  # and for each byte more: a picture's pixels are the worst
MEASURED = 23  # of how many inputs the memory of one is measured; measuring is slow
TOKENS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"4294967296", b"99999999999999999999999", b"1_000", b"0x10",
    b"1.5",
    b"\n", b"\r\n", b"\t", b" ", b",,", b"..", b"/", b"\\", b"#", b'"', b"{", b"[[", b"null", b"true", b"m",
    b"m0,0,65535,65535,", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\x93", b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
)  # fmt: skip


class OneFile:
    """An archive that holds some files in memory."""

    location = Path("fuzz")

    def __init__(self, files: dict[str, bytes]):
        self.files = files

    def kind(self, name: str) -> str | None:
        if name in self.files:
            return "file"
        return "folder" if any(file.startswith(f"{name}/") for file in self.files) or not name else None

    def children(self, name: str) -> list[str]:
        prefix = f"{name}/" if name else ""
        return sorted({file[len(prefix) :].split("/")[0] for file in self.files if file.startswith(prefix)})

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(2, "No such file or directory", name)
        return self.files[name]


@dataclass(frozen=True)
class Reader:
    """One reader with sound files to start from."""

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


@dataclass
class Report:
    """What happened."""

    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0
    faults: list[str] = field(default_factory=list)


def path_of(data: bytes, name: str = "file.txt", **others: bytes) -> ArchivePath:
    return ArchivePath(OneFile({name: data, **others})) / name  # type: ignore[arg-type]


def picture(kind: str, mode: str, size: tuple[int, int] = (9, 13)) -> bytes:
    labels = np.random.default_rng(1).integers(0, 4, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(labels[..., 0] if mode in ("P", "L") else labels * 60)
    if mode == "P":
        image.putpalette(voc_palette())
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def make_zip(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in ("a/0.jpg", "a/1.jpg", "list.txt"):
            archive.writestr(zipfile.ZipInfo(name), b"content of " + name.encode() * 9)
    return buffer.getvalue()


def regions() -> Trajectory:
    mask = np.random.default_rng(2).random((7, 9)) < 0.5
    shapes = (Rectangle(1, 2, 3, 4), Polygon(((1, 2), (3, 4), (5, 6))), mask_region(mask), Point(1, 2))
    return Trajectory.of([Special(1), *shapes, Special(0)])


def readers(folder: Path) -> tuple[Reader, ...]:
    """All of them; `folder` takes the files of those that need a real one."""
    rows = b"1,2,3,4\n5,6,7,8\n9,10,11,12\n"
    lvos = {"videos": {"v": {"objects": {"1": {"frame_range": {"start": "1", "end": "6", "frame_nums": "2"}}}}}}
    ytvos = {"videos": {"v": {"objects": {"1": {"category": "c", "frames": ["00000001", "00000006"]}}}}}
    mask = np.random.default_rng(3).random((6, 8)) < 0.3
    run_lengths = json.dumps(encode_rle(mask)).encode()
    masklets = {"masklet": [[encode_rle(mask)], [encode_rle(~mask)]]}
    maps = {f"valid/Annotations/v/{stem}.png": picture("PNG", "P") for stem in ("00000001", "00000006")}

    def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def run(data: bytes) -> object:
            (folder / name).write_bytes(data)
            return read(folder / name)

        return run

    def load(cls: type, listing: str, data: bytes) -> object:
        dataset = cls(ArchivePath(OneFile({**maps, listing: data})))  # type: ignore[arg-type]
        return [(dataset[name].prompts, dataset[name].frames_out) for name in dataset]

    def load_train(data: bytes) -> object:
        root = ArchivePath(OneFile({"sav_train/v_manual.json": data}))  # type: ignore[arg-type]
        return [sequence.prompts for sequence in Sav(root, split="train").values()]

    def read_map(data: bytes) -> object:
        truth = LabelMapTruth({0: path_of(data, "0.png")}, void_label=255)
        return truth.read(0), truth.void(0), truth.stray_ids(0)

    def read_zip(path: Path) -> object:
        archive = open_archive(path)
        return [archive.read(f"{name}") for name in ("a/0.jpg", "a/1.jpg", "list.txt") if archive.kind(name) == "file"]

    pictures = tuple(picture(kind, "RGB") for kind in ("JPEG", "PNG"))
    return (
        Reader("rows", lambda data: read_rows(path_of(data)), (rows, b"1.5\t2 3\tnan\n-1 2 3 4", b"1,2,3,4")),
        Reader("table", lambda data: read_table(path_of(data)), (rows, b"0.1\n0.2\n")),
        Reader("flags", lambda data: read_flags(path_of(data), 6), (b"0,1,0,0,1,1\n", b"0\n1\n0\n0\n1\n1\n")),
        Reader("names", lambda data: read_names(path_of(data)), (b"# source\nbear\ndog-1\n", b"a\r\nb")),
        Reader("pairs", lambda data: _read_pairs(path_of(data)), (b"/J/480p/a/0.jpg /A/480p/a/0.png\n" * 2,)),
        Reader("json", lambda data: read_json(path_of(data)), (json.dumps(lvos).encode(), b"{}")),
        Reader("lvos list", lambda data: load(LvosV2, "valid/valid_meta.json", data), (json.dumps(lvos).encode(),)),
        Reader("ytvos list", lambda data: load(YouTubeVos2019, "valid/meta.json", data), (json.dumps(ytvos).encode(),)),
        Reader("masklets", load_train, (json.dumps(masklets).encode(),)),
        Reader("metadata", lambda data: _resolution(path_of(data)), (b"[METAINFO]\nurl: x\nresolution: (640, 480)\n",)),
        Reader("region text", parse_text, (format_text(regions()).encode(), b"1\nm0,0,3,2,1,2,3\n1,2,nan,4\n")),
        Reader("region binary", parse_binary, (format_binary(regions()),)),
        Reader("coco", lambda data: decode_rle(read_json(path_of(data)), "x"), (run_lengths,)),
        Reader("labels", lambda data: read_labels(path_of(data)), tuple(picture("PNG", m) for m in ("P", "L", "RGB"))),
        Reader("label map", read_map, (picture("PNG", "P"), picture("PNG", "L"))),
        Reader("picture", lambda data: decode_image(data, "x"), (*pictures, picture("JPEG", "L"))),
        Reader("zip", from_file("a.zip", read_zip), tuple(map(make_zip, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))),
        Reader(
            "manifest",
            from_file("manifest.json", lambda path: read_manifest(path.parent)),
            (b'{"format": 1, "files": 2, "folders": {"a": {"files": 2, "bytes": 3, "sha256": "0"}}}',),
        ),
    )


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """The file after one to four accidents."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(0, len(out) + 1))
        end = min(len(out), place + int(rng.integers(1, 12)))
        kind = int(rng.integers(0, 8))
        if kind == 0 and out:
            out[place % len(out)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and out:
            out[place % len(out)] = int(rng.integers(0, 256))
        elif kind == 2:
            del out[place:end]
        elif kind == 3:
            out[place:place] = out[place:end] * int(rng.integers(1, 5))
        elif kind == 4:
            out[place:place] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        elif kind == 5:
            out[place:end] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        elif kind == 6:
            del out[place:]
        else:
            out[place:end] = bytes(rng.integers(0, 256, end - place, dtype=np.uint8))
    return bytes(out)


def inputs(count: int, seed: int, targets: tuple[Reader, ...]) -> Iterator[tuple[int, Reader, bytes]]:
    rng = np.random.default_rng(seed)
    for number in range(count):
        reader = targets[number % len(targets)]
        yield number, reader, mutate(reader.seeds[int(rng.integers(0, len(reader.seeds)))], rng)


def fuzz(count: int, seed: int, folder: Path) -> Report:
    """Read `count` mutated files; faults name the reader, the file and what it raised."""
    targets = readers(folder)
    for reader in targets:
        for data in reader.seeds:
            reader.read(data)  # a sound file must be read
    report = Report()
    for number, reader, data in inputs(count, seed, targets):
        measured = number // len(targets) % MEASURED == 0
        if measured:
            tracemalloc.start()
        started = time.thread_time()
        try:
            reader.read(data)
        except MosamError as error:
            report.refused += 1
            if "\n" in str(error).split("; expected tree:")[0] or not str(error):
                report.faults.append(f"{reader.name}: {data!r}: an error of several lines: {error}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            report.faults.append(f"{reader.name}: {data!r}: {type(error).__name__}: {error}")
        seconds = time.thread_time() - started
        if measured:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            report.largest = max(report.largest, peak)
            if peak > BASE_BYTES + BYTES_PER_BYTE * len(data):
                report.faults.append(f"{reader.name}: {data!r}: {peak} bytes of memory")
        if seconds > SECONDS:
            report.faults.append(f"{reader.name}: {data!r}: {seconds:.1f} s")
        report.slowest = max(report.slowest, seconds)
        report.inputs += 1
    return report


def main(arguments: list[str]) -> int:
    """Run from the command line; exit code 1 where there are faults."""
    count, seed = (int(value) for value in (arguments + ["100000", "0"][len(arguments) :])[:2])
    print(f"pictures are decoded by {use_decoder('auto')}")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        report = fuzz(count, seed, Path(folder))
    print(f"{report.inputs} inputs in {time.perf_counter() - started:.0f} s, {report.refused} refused")
    print(f"slowest {report.slowest:.2f} s, most memory measured {report.largest / 1e6:.1f} MB")
    for fault in report.faults[:20]:
        print(fault)
    print(f"{len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
