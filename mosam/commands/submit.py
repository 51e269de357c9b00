"""`mosam submit`: the archive a benchmark's server takes, checked file by file before it is written.

Archives are deterministic: sorted names, one date, no compression (PNG does not shrink, and zlib's output differs
between versions), so that the same results give the same bytes.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mosam.codecs import CODECS, Codec, label_ids, read_labels, read_table, voc_palette
from mosam.codecs.boxes import Got10kCodec
from mosam.errors import MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.system.files import replacing

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset, Sequence

DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
MANIFEST = "manifest.yml"
_SHOWN = 5  # faults that the error names
_PNG = b"\x89PNG\r\n\x1a\n"
_PALETTE_COLOR = 3  # PNG's number for images with a palette

Problems = Iterator[str]


@dataclass(frozen=True, slots=True)
class Submission:
    """An archive that was written.

    Attributes:
        path: the file.
        sequences, files: how many are in it.
        subset: `k of n official sequences` where some are left out, which a server refuses; else None.
    """

    path: Path
    sequences: int
    files: int
    subset: str | None


def submit(
    dataset: Dataset, results: str | os.PathLike[str], tracker: str | None, out: str | os.PathLike[str]
) -> Submission:
    """Write the archive of one tracker's results for the benchmark's server.

    Every sequence must be there, with every frame that the server wants: boxes one row a frame, finite and separated by
    commas; label maps as 8-bit palette images in the official palette, of the frames' size, with no object before it is
    given. Extra files are left out.

    Args:
        dataset: the split, with its frames.
        results: a run's folder, or one of runs or trackers.
        tracker: which of them, by tracker or folder name; None where there is only one.
        out: the zip to write.
    Raises:
        MismatchError: the split has no server, or something is missing or wrong; all of it is named.
        MissingDataError: no results, or no frames to check against.
        UnknownNameError: no such tracker.
    """
    folder_in_archive = dataset.info.archive_folder
    if folder_in_archive is None or dataset.split not in dataset.info.no_truth:
        raise MismatchError(_no_server(dataset))
    dataset.require(frames=True)
    folder = _choose(dataset, results, tracker)
    codec, check = CODECS[dataset.info.result_format], _CHECKS[dataset.info.result_format]
    members: dict[str, Path] = {}
    problems: list[str] = []
    for name in dataset:
        sequence = dataset[name]
        files = _files(codec, folder, sequence)
        problems += _missing(folder, sequence, files) or list(check(folder, codec, sequence))
        prefix = f"{folder_in_archive}/" if folder_in_archive else ""
        members |= {f"{prefix}{file}": folder / file for file in files}
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise MismatchError(
            f"{folder}: expected complete results of {len(dataset)} sequences, got {len(problems)} faults: "
            f"{'; '.join(problems[:_SHOWN])}{more}"
        )
    texts = {MANIFEST: _manifest(dataset, folder)} if dataset.info.result_format == "vot" else {}
    target = Path(out)
    _write(target, members, texts)
    return Submission(target, len(dataset), len(members) + len(texts), dataset.subset)


def server_split(name: str) -> str | None:
    """The split of a dataset that its server scores; the usual one where it has several or none."""
    from mosam.datasets.base import DATASETS

    info = DATASETS[name].info
    return info.default_split if info.default_split in info.no_truth or not info.no_truth else info.no_truth[0]


def _no_server(dataset: Dataset) -> str:
    servers = [split for split in dataset.info.no_truth if dataset.info.archive_folder is not None]
    if servers:
        return (
            f"{dataset.name} {dataset.split}: expected a split that a server scores ({', '.join(servers)}), got one "
            "with published ground truth; use mosam score"
        )
    return f"{dataset.name}: expected a benchmark with a server, got one that is scored locally; use mosam score"


def _choose(dataset: Dataset, results: str | os.PathLike[str], tracker: str | None) -> Path:
    from mosam.evaluation.finding import find_runs

    found = find_runs(results, dataset)
    chosen = [folder for label, folder in found if tracker in (None, label, folder.name)]
    names = [folder.name for _, folder in found]
    if not chosen:
        raise UnknownNameError("tracker", str(tracker), {*names, *(label for label, _ in found)}, where=str(results))
    if len(chosen) > 1:
        shown = ", ".join(folder.name for folder in chosen)
        raise MosamError(
            f"{results}: expected one tracker to submit, got {len(chosen)} ({shown}); choose with --tracker"
        )
    if not isinstance(chosen[0], Path):
        raise MosamError(f"{chosen[0]}: expected a folder of results to pack, got what is in a zip; unpack it")
    return chosen[0]


# ---- checking --------------------------------------------------------------------------------------------------------


def _files(codec: Codec, folder: Path, sequence: Sequence) -> tuple[str, ...]:
    """What of a sequence goes into the archive, missing or not."""
    files = codec.files(sequence)
    if isinstance(codec, Got10kCodec):
        return tuple(dict.fromkeys((*files[:1], *codec.repetitions(folder, sequence), *files[1:])))
    if all(file.endswith(".bin") for file in files):  # regions: the toolkit packs their times too, and text as well
        stems = [file.removesuffix(".bin") for file in files]
        files = tuple(f"{stem}.txt" if (folder / f"{stem}.txt").is_file() else f"{stem}.bin" for stem in stems)
        files += tuple(f"{stem}_time.value" for stem in stems)
    return files


def _missing(folder: Path, sequence: Sequence, files: tuple[str, ...]) -> list[str]:
    absent = [file for file in files if not (folder / file).is_file()]
    if len(absent) == len(files):
        return [f"{sequence.name} missing"]
    if len(absent) > 3:
        return [f"{sequence.name} lacks {', '.join(absent[:3])} and {len(absent) - 3} more"]
    return [f"{sequence.name} lacks {', '.join(absent)}"] if absent else []


def _check_boxes(folder: Path, codec: Codec, sequence: Sequence) -> Problems:
    count, timed = len(sequence), len(codec.files(sequence)) > 1
    files = [file for file in _files(codec, folder, sequence) if not (timed and file == codec.files(sequence)[-1])]
    for file in files:
        yield from _check_rows(folder / file, count)
    try:
        times = codec.read_times(folder, sequence) if timed else None
    except MosamError as error:
        yield str(error)
        return
    wanted = count * len(files)  # a column for each repetition
    if times is not None and (len(times) != wanted or not (np.isfinite(times).all() and (times >= 0).all())):
        yield f"{sequence.name}: expected {wanted} times in seconds, got {len(times)} or negative ones"


def _check_rows(path: Path, count: int) -> Problems:
    try:
        boxes = read_table(path, 4)
    except MosamError as error:
        yield str(error)
        return
    if len(boxes) != count:
        yield f"{path.name}: expected {count} rows, got {len(boxes)}"
    elif not np.isfinite(boxes).all():
        row = int(np.flatnonzero(~np.isfinite(boxes).all(axis=1))[0])
        yield f"{path.name}:{row + 1}: expected finite numbers, repeat the run with --absent-as zeros"
    if b"," not in path.read_bytes():
        yield f"{path.name}: expected numbers separated by commas"


def _check_labels(folder: Path, codec: Codec, sequence: Sequence) -> Problems:
    first = {prompt.object_id: prompt.frame_index for prompt in sequence.prompts}
    size = sequence.source.size()
    for frame_index, file in zip(sequence.frames_out, codec.files(sequence), strict=True):
        fault = _find_fault(folder / file, size, {key for key, start in first.items() if start <= frame_index})
        if fault is not None:
            yield f"{file}: {fault}"


def _find_fault(path: Path, size: tuple[int, int], objects: set[int]) -> str | None:
    """What is wrong with one label map, or None."""
    from PIL import Image

    header = path.open("rb").read(29)
    if not header.startswith(_PNG):
        return "expected a PNG, got a file of another kind"
    depth, color, interlace = header[24], header[25], header[28]
    if (depth, color, interlace) != (8, _PALETTE_COLOR, 0):
        return "expected an 8-bit palette PNG that is not interlaced, got another kind of PNG"
    try:
        labels = read_labels(path)
    except MosamError as error:
        return str(error).removeprefix(f"{path}: ")
    if labels.shape != size:
        return f"expected {size[0]}x{size[1]} (height x width), got {labels.shape[0]}x{labels.shape[1]}"
    ids = label_ids(labels)
    strange = [str(label) for label in ids if label not in objects]
    if strange:
        return f"expected objects {', '.join(map(str, sorted(objects)))} or none, got {', '.join(strange)}"
    used = 3 * (max(ids, default=0) + 1)
    with Image.open(path) as image:
        palette = bytes(image.getpalette("RGB") or ())
    if palette[:used] != voc_palette()[:used]:
        return "expected the palette of DAVIS, got other colors"
    return None


def _check_regions(folder: Path, codec: Codec, sequence: Sequence) -> Problems:
    from mosam.regions.files import read_trajectory

    for file in _files(codec, folder, sequence):
        path = folder / file
        if path.suffix == ".value":
            continue
        try:
            count = len(read_trajectory(path))
        except MosamError as error:
            yield str(error)
            continue
        if count != len(sequence):
            yield f"{file}: expected {len(sequence)} regions, got {count}"


_CHECKS: dict[str, Callable[[Path, Codec, Sequence], Problems]] = {
    "got10k": _check_boxes,
    "trackingnet": _check_boxes,
    "davis": _check_labels,
    "vot": _check_regions,
}


# ---- writing ---------------------------------------------------------------------------------------------------------


def _manifest(dataset: Dataset, folder: Path) -> bytes:
    """What `vot pack` puts beside the results. No time of day, so that two archives of the same results are equal."""
    import mosam

    entries = {
        "identifier": folder.name,
        "configuration": {"label": folder.name},
        "timestamp": "{:04d}-{:02d}-{:02d}T{:02d}-{:02d}-{:02d}.000000".format(*DATE),
        "platform": sys.platform,
        "python": platform.python_version(),
        "toolkit": f"mosam {mosam.__version__}",
        "stack": dataset.name,
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(entries.items())).encode()


def _write(target: Path, members: dict[str, Path], texts: dict[str, bytes]) -> None:
    """The zip, under its name only when it is whole."""
    if target.is_dir():
        raise MosamError(f"{target}: expected the name of a zip to write, got a folder; give --out FILE.zip")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted({*members, *texts}):
                data = texts[name] if name in texts else members[name].read_bytes()
                info = zipfile.ZipInfo(name, DATE)
                info.create_system = 3  # as if written on Unix, wherever it is
                info.external_attr = 0o644 << 16
                archive.writestr(info, data)
    except OSError as error:
        raise MissingDataError(f"{target}: cannot be written: {error.strerror or error}") from error
