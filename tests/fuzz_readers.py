"""Every reader of files that come from outside, each with sound files to start from and the accidents that fit it."""

from __future__ import annotations

import io
import json
import math
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_mutations import (
    Mutation,
    mutate,
    mutate_json,
    mutate_json_lines,
    mutate_member,
    mutate_pages,
    mutate_png,
    mutate_safetensors,
    mutate_toml,
)
from PIL import Image
from trees import moving_square, write_davis, write_video

from mosam.codecs import read_labels, read_table, voc_palette
from mosam.codecs.coco import decode_rle, encode_rle
from mosam.commands.demo.prompts import make_prompts, read_box_file
from mosam.commands.demo.source import FileSource
from mosam.commands.experiment.study import load_study
from mosam.commands.paper.numbers import load_numbers, published_folder
from mosam.datasets.annotations import LabelMapTruth, read_flags, read_json, read_names, read_rows
from mosam.datasets.archives import ArchivePath, open_archive, open_tree
from mosam.datasets.base import load_dataset
from mosam.datasets.davis import _read_pairs
from mosam.datasets.decoders import decode_image
from mosam.datasets.frames import read_image_size
from mosam.datasets.got10k import _resolution
from mosam.datasets.lvos import LvosV2
from mosam.datasets.pack import check_packed, pack
from mosam.datasets.sav import Sav
from mosam.datasets.unpack import unpack
from mosam.datasets.video import VideoFrames
from mosam.datasets.ytvos import YouTubeVos2019
from mosam.evaluation.cache import load_kept
from mosam.evaluation.scores import Scores, load_scores, save_scores
from mosam.evaluation.tables import tabulate
from mosam.regions.files import format_binary, format_text, read_trajectory
from mosam.regions.trajectory import Point, Polygon, Rectangle, Special, Trajectory, mask_region
from mosam.results.frame_log import read_frame_log
from mosam.results.record import RunRecord, RunSettings, SequenceRecord, read_record
from mosam.system.files import Inside
from mosam.system.typed import parse_json
from mosam.tracking.outside.registry_files import load_program
from mosam.vot.toolkit import describe_analysis
from mosam.vot.workspace import read_trackers, stack_of

PROJECT = Path(__file__).resolve().parents[1]
STACK = b"registry: [./trackers.ini]\nstack: vot2022/shortterm\nsequences: sequences\n"


OWN_TRACKERS: tuple[tuple[Any, ...], ...] = (
    ("ini", b"[ncc]\nprotocol = traxpython\ncommand = ncc\npaths = a:b\nenv_MODE = fast 50%%\ntimeout = 30\n"),
    ("toml", b'[ncc]\nprotocol = "folder"\ncommand = ["ncc", "a b"]\n[ncc.env]\nMODE = "fast"\n', (mutate_toml,)),
    ("yaml", b"ncc:\n  protocol: trax\n  command: ncc 'a b'\n  env: {MODE: fast}\n  paths: [a, b]\n"),
)


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
    """One reader.

    Attributes:
        name: shown in the table.
        read: takes the content of a file.
        seeds: sound files.
        file: what its errors must name.
        mutations: accidents, drawn from in equal parts.
        share: how many of the inputs it gets, relative to others.
        measured: whether its memory is looked at; libraries' own is not seen.
    """

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    file: str
    mutations: tuple[Mutation, ...] = (mutate,)
    share: int = 10
    measured: bool = True


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


def start_mask(mode: str) -> bytes:
    """Two objects with hard edges."""
    labels = np.zeros((9, 13), dtype=np.uint8)
    labels[1:4, 1:5], labels[5:8, 6:12] = 1, 2
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(voc_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_zip(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in ("a/0.jpg", "a/1.jpg", "list.txt"):
            archive.writestr(zipfile.ZipInfo(name), b"content of " + name.encode() * 9)
    return buffer.getvalue()


def make_tar(packing: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{packing}") as archive:
        for name in ("a/0.jpg", "a/1.jpg", "list.txt"):
            member = tarfile.TarInfo(name)
            member.size = 30
            archive.addfile(member, io.BytesIO(name.encode().ljust(30)))
    return buffer.getvalue()


def some_regions() -> Trajectory:
    mask = np.random.default_rng(2).random((7, 9)) < 0.5
    shapes = (Rectangle(1, 2, 3, 4), Polygon(((1, 2), (3, 4), (5, 6))), mask_region(mask), Point(1, 2))
    return Trajectory.of([Special(1), *shapes, Special(0)])


def some_scores() -> Scores:
    values = {"success_auc": 0.5, "op50": math.nan}
    return Scores(
        "lasot", "test", "sam2", "nano", "pytracking", values, {"cup-1": values, "cup-2": values},
        curves={"success": (1.0, 0.5)}, objects={"cup-1": {3: {"j_mean": 0.25}}}, attributes={"ARC": values},
        counts={"cup-1": {"ao": 12.0}}, subset="1 of 280 sequences", missing=("x",), notes=("y",),
        resamples={"eao": (0.1, 0.2)},
    )  # fmt: skip


def some_record() -> RunRecord:
    settings = RunSettings(
        "davis2017", "val", "mask", 0, "sam2", {"name": "sam2", "emit": "online"}, "nano", "0" * 64, "fp32", "cpu",
        {"formulas": "official"}, {"parity": None}, {"format": "davis", "absent_as": "zeros"},
    )  # fmt: skip
    done = SequenceRecord("done", 4, 0.5, 0.6, "a" * 64, "b" * 64)
    sequences = {"dog": done, "cat": SequenceRecord("failed", reason="no frames")}
    return RunRecord(settings, ("dog", "cat"), "c" * 64, {"mosam": "0.1.0"}, sequences)


@cache
def some_checkpoints() -> tuple[tuple[bytes, ...], bytes, bytes]:
    """Small torch files in three forms, a whole checkpoint, and small safetensors."""
    import torch
    from safetensors.torch import save

    from mosam.model.library import build_random
    from mosam.model.meta_format import to_meta_state_dict
    from mosam.model.networks import NETWORKS

    weights = {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(2, 3, 1, 1), "no_obj_ptr": torch.ones(3)}
    model = build_random(NETWORKS["mini"], 0).state_dict()
    files = []
    for content, new in (({"model": weights}, True), ({"model": weights}, False), (weights, True)):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    model[next(iter(k for k in model if k.startswith("shared_image")))] = model[
        "prompt_encoder.shared_embedding.positional_embedding"
    ]
    torch.save({"model": to_meta_state_dict(model)}, buffer)
    return tuple(files), buffer.getvalue(), save(weights)


def readers(folder: Path) -> tuple[Reader, ...]:
    """All of them; `folder` takes the files of those that need a real one."""
    return (*_text_readers(folder), *_picture_readers(folder), *_record_readers(folder), *_binary_readers(folder))


def _from_file(folder: Path, name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    path = folder / name

    def run(data: bytes) -> object:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return read(path)

    return run


def _text_readers(folder: Path) -> tuple[Reader, ...]:
    rows = b"1,2,3,4\n5,6,7,8\n9,10,11,12\n"
    lvos = {"videos": {"v": {"objects": {"1": {"frame_range": {"start": "1", "end": "6", "frame_nums": "2"}}}}}}
    ytvos = {"videos": {"v": {"objects": {"1": {"category": "c", "frames": ["00000001", "00000006"]}}}}}
    mask = np.random.default_rng(3).random((6, 8)) < 0.3
    run_lengths = json.dumps(encode_rle(mask)).encode()
    masklets = json.dumps({"masklet": [[encode_rle(mask)], [encode_rle(~mask)]]}).encode()
    maps = {f"valid/Annotations/v/{stem}.png": picture("PNG", "P") for stem in ("00000001", "00000006")}
    both = (mutate, mutate_json)

    def load(cls: type, listing: str, data: bytes) -> object:
        dataset = cls(ArchivePath(OneFile({**maps, listing: data})))  # type: ignore[arg-type]
        return [(dataset[name].prompts, dataset[name].frames_out) for name in dataset]

    def load_train(data: bytes) -> object:
        root = ArchivePath(OneFile({"sav_train/v_manual.json": data}))  # type: ignore[arg-type]
        return [sequence.prompts for sequence in Sav(root, split="train").values()]

    def regions(name: str) -> Callable[[bytes], object]:
        return _from_file(folder, name, read_trajectory)

    text = (format_text(some_regions()).encode(), b"1\nm0,0,3,2,1,2,3\n1,2,nan,4\n")
    file = "file.txt"
    return (
        Reader("rows of boxes", lambda d: read_rows(path_of(d)), (rows, b"1.5\t2 3\tnan\n-1 2 3 4", b"1,2,3,4"), file),
        Reader("tracker text", lambda d: read_table(path_of(d)), (rows, b"0.1\n0.2\n"), file),
        Reader("box file", _from_file(folder, "box.txt", read_box_file), (rows, b"1 2 3 4\n"), "box.txt"),
        Reader("flags", lambda d: read_flags(path_of(d), 6), (b"0,1,0,0,1,1\n", b"0\n1\n0\n0\n1\n1\n"), file),
        Reader("names", lambda d: read_names(path_of(d)), (b"# source\nbear\ndog-1\n", b"a\r\nb"), file),
        Reader("pairs", lambda d: _read_pairs(path_of(d)), (b"/J/480p/a/0.jpg /A/480p/a/0.png\n" * 2,), file),
        Reader("JSON", lambda d: read_json(path_of(d)), (json.dumps(lvos).encode(), b"{}"), file),
        Reader(
            "lvos list", lambda d: load(LvosV2, "valid/valid_meta.json", d), (json.dumps(lvos).encode(),), "fuzz", both
        ),
        Reader(
            "ytvos list",
            lambda d: load(YouTubeVos2019, "valid/meta.json", d),
            (json.dumps(ytvos).encode(),),
            "fuzz",
            both,
        ),
        Reader("sav masklets", load_train, (masklets,), "fuzz", both),
        Reader(
            "got10k metadata",
            lambda d: _resolution(path_of(d)),
            (b"[METAINFO]\nurl: x\nresolution: (640, 480)\n",),
            file,
        ),
        Reader("region text", regions("regions.txt"), text, "regions.txt"),
        Reader("region binary", regions("regions.bin"), (format_binary(some_regions()),), "regions.bin"),
        Reader("coco runs", lambda d: decode_rle(read_json(path_of(d)), "fuzz/file.txt"), (run_lengths,), file, both),
    )


def _picture_readers(folder: Path) -> tuple[Reader, ...]:
    def read_map(data: bytes) -> object:
        truth = LabelMapTruth({0: path_of(data, "0.png")}, void_label=255)
        return truth.read(0), truth.void(0), truth.stray_ids(0)

    def read_mask(path: Path) -> object:
        return make_prompts((9, 13), mask=path)

    def read_picture(data: bytes) -> object:
        path = path_of(data, "x.jpg")
        return read_image_size(path), read_image_size(path, upright=True), decode_image(data, "x.jpg")

    pngs = tuple(picture("PNG", mode) for mode in ("P", "L", "RGB"))
    jpegs = (picture("JPEG", "RGB"), picture("JPEG", "L"))
    both = (mutate, mutate_png)
    return (
        Reader("result masks", lambda d: read_labels(path_of(d, "0.png")), pngs, "0.png", both),
        Reader("label maps", read_map, pngs[:2], "0.png", both),
        Reader(
            "start mask",
            _from_file(folder, "mask.png", read_mask),
            (start_mask("P"), start_mask("L")),
            "mask.png",
            both,
        ),
        Reader("JPEG", read_picture, jpegs, "x.jpg"),
        Reader("PNG", read_picture, pngs, "x.jpg", both),
    )


def _record_readers(folder: Path) -> tuple[Reader, ...]:
    both = (mutate, mutate_json)
    save_scores(folder / "seed.json", some_scores())
    scores = (folder / "seed.json").read_bytes()
    record = json.dumps(some_record().to_json()).encode()
    line = {"frame": 1, "object": 1, "visible": True, "iou": 0.5, "object_score": 3.0, "slots": [[0, 6]], "conf": None}
    log = b"".join(json.dumps({**line, "frame": number}).encode() + b"\n" for number in range(3))
    tomls = [*sorted(PROJECT.glob("experiments/paper/*.toml"))[:4], PROJECT / "experiments" / "ablation.toml"]
    numbers = b"".join((published_folder() / "published.csv").read_bytes().splitlines(keepends=True)[:8])
    analysis = {
        "trackers": {"sam2": {}},
        "results": {
            "baseline": {
                "parameters": {"analyses": [{"type": "vot.analysis.multistart.EAOScore", "name": None}]},
                "results": [[[0.25]]],
            }
        },
    }
    ini = b"[sam2]\nlabel = sam2\nprotocol = traxpython\ncommand = mosam\n"

    def read_analysis(path: Path) -> object:
        return describe_analysis(parse_json(path.read_bytes(), path, nan=True), path)

    def read_log(path: Path) -> object:
        return list(read_frame_log(path.parents[1], "x"))

    def read_numbers(path: Path) -> object:
        load_numbers.cache_clear()
        return load_numbers(path)

    def trusting(path: Path) -> object:
        return load_study(path, trust=True)

    def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        return _from_file(folder, name, read)

    return (
        Reader(
            "scores.json",
            from_file("scores.json", lambda p: tabulate(load_scores(p))),
            (scores,),
            "scores.json",
            both,
            40,
        ),
        Reader(
            "kept scores", from_file("kept.json", lambda p: load_kept(p.parent, "kept")), (scores,), "kept.json", both
        ),
        Reader("run.json", from_file("run/run.json", lambda p: read_record(p.parent)), (record,), "run.json", both, 40),
        Reader("frame log", from_file("log/x.jsonl", read_log), (log,), "x.jsonl", (mutate, mutate_json_lines), 20),
        Reader(
            "experiment",
            from_file("e.toml", trusting),
            tuple(p.read_bytes() for p in tomls),
            "e.toml",
            (mutate, mutate_toml),
            20,
        ),
        Reader("published.csv", from_file("numbers.csv", read_numbers), (numbers,), "numbers.csv"),
        Reader(
            "VOT analysis",
            from_file("latest.json", read_analysis),
            (json.dumps(analysis).encode(),),
            "latest.json",
            both,
        ),
        Reader(
            "VOT config",
            from_file("config.yaml", lambda p: stack_of(p.parent)),
            (b"registry: [./trackers.ini]\nstack: vot2022/shortterm\nsequences: sequences\n",),
            "config.yaml",
        ),
        Reader("VOT trackers", from_file("trackers.ini", read_trackers), (ini,), "trackers.ini"),
        *(
            Reader(f"trackers to run, {kind}", from_file(f"own.{kind}", load_program), (text,), f"own.{kind}", *how)
            for kind, text, *how in OWN_TRACKERS
        ),
    )


def _binary_readers(folder: Path) -> tuple[Reader, ...]:
    from mosam.model.checkpoints import WEIGHTS_FOLDER, model_info

    torch_files, whole, safe = some_checkpoints()
    root = write_davis(folder / "tree", {"dog": moving_square(), "dog-2": moving_square(2)})
    if not (folder / "packed").exists():
        pack(load_dataset("davis", root=root), folder / "packed")
    pages, manifest = (folder / "packed" / "data.mdb").read_bytes(), (folder / "packed" / "manifest.json").read_bytes()
    videos = tuple(write_video(folder / name, 8).read_bytes() for name in ("a.mp4", "a.mkv", "a.avi"))
    described = (WEIGHTS_FOLDER / "nano.json").read_bytes()
    config = b'{"model_type": "sam2_video", "image_size": 256}'
    (folder / "hub").mkdir(exist_ok=True)
    (folder / "hub" / "model.safetensors").write_bytes(safe)
    (folder / "own.json").write_bytes(described)
    (folder / "said.safetensors").write_bytes(safe)

    def read_zip(path: Path) -> object:
        archive = open_archive(path)
        tree = ArchivePath(archive)
        return [
            file.read_bytes()
            for part in tree.iterdir()
            for file in ([part] if part.is_file() else part.iterdir())
            if file.is_file()
        ]

    def unpack_it(path: Path) -> object:
        with tempfile.TemporaryDirectory() as place:
            return unpack([path], Inside(place), wanted=lambda name: True)

    def read_packed(path: Path) -> object:
        tree = open_tree(path.parent)
        dataset = load_dataset("davis", root=tree)
        return list(check_packed(tree)), [(dataset[name].prompts, dataset[name].source.read(1)) for name in dataset]

    def packed_in(name: str, data: bytes) -> Path:
        other = folder / f"packed-{name}"
        other.mkdir(exist_ok=True)
        for file, content in (("data.mdb", pages), ("manifest.json", manifest)):
            (other / file).write_bytes(data if file == name else content)
        return other / name

    def read_video(path: Path) -> object:
        frames = VideoFrames(path)
        return [frames.read(index) for index in (len(frames) - 1, *range(len(frames)))]

    def read_demo(path: Path) -> object:
        source = FileSource(path)
        return source.first(), [shown.image for shown in source]

    def info(path: Path) -> object:
        return model_info(str(path))

    def from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        return _from_file(folder, name, read)

    pts, both = (mutate, mutate_member), (mutate, mutate_json)
    return (
        Reader(
            "zip",
            from_file("z.zip", read_zip),
            tuple(map(make_zip, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))),
            "z.zip",
            pts,
        ),
        Reader("unpacked zip", from_file("u.zip", unpack_it), (make_zip(zipfile.ZIP_DEFLATED),), "u.zip", pts, 2),
        Reader("unpacked tar", from_file("u.tar", unpack_it), (make_tar(""),), "u.tar", (mutate,), 2),
        Reader("unpacked tar.gz", from_file("u.tar.gz", unpack_it), (make_tar("gz"),), "u.tar.gz", (mutate,), 2),
        Reader(
            "LMDB pages",
            lambda d: read_packed(packed_in("data.mdb", d)),
            (pages,),
            "packed-data.mdb",
            (mutate_pages, mutate),
            20,
            False,
        ),
        Reader(
            "LMDB manifest",
            lambda d: read_packed(packed_in("manifest.json", d)),
            (manifest,),
            "packed-manifest.json",
            both,
            10,
            False,
        ),
        Reader("video", from_file("v.mp4", read_video), videos, "v.mp4", share=8, measured=False),
        Reader("video of the demo", from_file("d.mp4", read_demo), videos, "d.mp4", share=8, measured=False),
        Reader("checkpoint, zip", from_file("c.pt", info), torch_files[::2], "c.pt", pts, 20, False),
        Reader("checkpoint, old form", from_file("old.pt", info), torch_files[1:2], "old.pt", share=20, measured=False),
        Reader("checkpoint, whole", from_file("whole.pt", info), (whole,), "whole.pt", (mutate_member,), 1, False),
        Reader(
            "safetensors",
            from_file("own.safetensors", info),
            (safe,),
            "own.safetensors",
            (mutate, mutate_safetensors),
            10,
            False,
        ),
        Reader(
            "its description",
            from_file("said.json", lambda p: info(p.with_suffix(".safetensors"))),
            (described,),
            "said",
            both,
            10,
            False,
        ),
        Reader("config.json", from_file("hub/config.json", lambda p: info(p.parent)), (config,), "hub", both, 2, False),
    )
