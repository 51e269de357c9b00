"""All results as one Parquet table, a row for each frame, object and tracker, for questions that no score answers.

The values are those of `framewise`: before any protocol decides which frames count. docs/figures-and-tables.md lists
the columns and has examples.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosam.codecs import CODECS
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import MosamError
from mosam.evaluation.evaluate import carry, raised
from mosam.evaluation.finding import find_run
from mosam.evaluation.framewise import ObjectFrames, read_object_frames
from mosam.evaluation.protocols.base import TrackerResults
from mosam.results.folder import writing
from mosam.results.frame_log import log_path, read_frame_log
from mosam.system.files import replacing
from mosam.system.processes import map_in_processes

if TYPE_CHECKING:
    import pyarrow as pa

    from mosam.datasets.base import Dataset
    from mosam.evaluation.scores import Scores

SCHEMA = 1  # of the table; a change of a column's meaning raises it
LOG_PREFIX = "log_"
_NOT_LOGGED = ("frame", "object")  # keys of a log line that are columns already
_Columns = dict[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class _Tracker:
    """One tracker's results and the sequences of them that were scored."""

    folder: Path
    tracker: str
    model: str | None
    names: tuple[str, ...]


def write_frame_table(
    path: str | os.PathLike[str],
    dataset: Dataset,
    runs: Iterable[tuple[str | os.PathLike[str], Scores]],
    *,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Write the table of some trackers on one benchmark.

    Args:
        path: the file; replaced when the table is whole.
        dataset: the benchmark, or some sequences of it; frames are not read.
        runs: folders of raw results, each with its scores: only sequences that were scored are written.
        jobs: processes.
        progress: called with the name of each finished sequence.
    Returns:
        rows written.
    Raises:
        MosamError: nothing was scored, or the results cannot be read (again).
        StoreError: the file cannot be written.
    """
    import pyarrow.parquet

    trackers = []
    for folder, scores in runs:
        tracker, own, record = find_run(folder, dataset)
        trackers.append(_Tracker(own, tracker, record.settings.model if record else None, tuple(scores.sequences)))
    if not any(one.names for one in trackers):
        raise MosamError(f"{path}: expected scored sequences to write, got none")
    target = Path(path)
    schema, rows = _schema(trackers), 0
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as new, pyarrow.parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            for one in trackers:
                for name, columns in _tables(one, dataset, schema.names, jobs):
                    batch = _batch(columns, schema)
                    rows += batch.num_rows
                    writer.write_batch(batch)
                    if progress is not None:
                        progress(name)
    return rows


def _tables(one: _Tracker, dataset: Dataset, columns: Sequence[str], jobs: int) -> Iterator[tuple[str, _Columns]]:
    logged = frozenset(name for name in columns if name.startswith(LOG_PREFIX))
    work = partial(_read, dataset=dataset, one=one, logged=logged)
    for name, found in zip(one.names, map_in_processes(work, list(one.names), jobs), strict=True):
        yield name, raised(found)


def _read(name: str, *, dataset: Dataset, one: _Tracker, logged: frozenset[str]) -> Any:
    """The columns of one sequence, or an error made fit to travel between processes."""
    try:
        sequence = dataset[name]
        results = TrackerResults(one.folder, CODECS[dataset.info.result_format])
        parts = list(read_object_frames(sequence, results))
        log = _log_by_frame(one.folder, name) if logged else {}
        truth = sequence.truth
        tags = truth.tags if isinstance(truth, RegionTruth) else {}
        attributes = sorted(sequence.attributes)
    except MosamError as error:
        return carry(error)
    names = sequence.frame_names
    frames = np.concatenate([part.frames for part in parts])
    objects = np.concatenate([np.full(len(part.frames), part.object_id) for part in parts])
    lines = [log.get(key, {}) for key in zip(frames.tolist(), objects.tolist(), strict=True)]
    count = len(frames)
    return {
        "dataset": [dataset.name] * count,
        "split": [dataset.split] * count,
        "tracker": [one.tracker] * count,
        "model": [one.model] * count,
        "sequence": [name] * count,
        "object": objects,
        "run": [part.run for part in parts for _ in part.frames],
        "frame": frames,
        "frame_name": [names[frame] for frame in frames.tolist()],
        "start": np.concatenate([np.full(len(part.frames), part.start) for part in parts]),
        "visible": _joined(parts, lambda part: part.visible),
        "predicted": _joined(parts, lambda part: part.predicted),
        "failed": _joined(parts, lambda part: part.failed),
        "iou": _joined(parts, lambda part: part.iou),
        "j": _joined(parts, lambda part: np.where(np.isnan(part.f), np.nan, part.iou)),
        "f": _joined(parts, lambda part: part.f),
        "center_error": _joined(parts, lambda part: part.center_error),
        "attributes": _attributes(attributes, tags, frames),
        **{column: [line.get(column.removeprefix(LOG_PREFIX)) for line in lines] for column in sorted(logged)},
    }


def _joined(parts: Sequence[ObjectFrames], take: Callable[[ObjectFrames], np.ndarray]) -> np.ndarray:
    return np.concatenate([take(part) for part in parts])


def _attributes(of_sequence: list[str], tags: Mapping[str, np.ndarray], frames: np.ndarray) -> list[list[str]]:
    """What is hard about each row: the sequence's attributes, or where a benchmark tags frames, those of the frame."""
    if not tags:
        return [of_sequence] * len(frames)
    return [[tag for tag, flags in tags.items() if flags[frame]] for frame in frames.tolist()]


# ---- schema ----------------------------------------------------------------------------------------------------------


def _schema(trackers: Sequence[_Tracker]) -> pa.Schema:
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    fields = [
        *((name, text) for name in ("dataset", "split", "tracker", "model", "sequence")),
        ("object", pa.int32()),
        ("run", text),
        ("frame", pa.int32()),
        ("frame_name", pa.string()),
        ("start", pa.int32()),
        *((name, pa.bool_()) for name in ("visible", "predicted", "failed")),
        *((name, pa.float64()) for name in ("iou", "j", "f", "center_error")),
        ("attributes", pa.list_(pa.string())),
        *_log_fields(trackers),
    ]
    return pa.schema(fields, metadata={"mosam_schema": str(SCHEMA)})


def _log_fields(trackers: Sequence[_Tracker]) -> list[tuple[str, pa.DataType]]:
    """A column for each key of any log: numbers, truth values and text as they are, everything else as JSON."""
    import pyarrow as pa

    kinds: dict[str, set[type]] = {}
    for one in trackers:
        for name in one.names:
            for line in _log_lines(one.folder, name):
                for key, value in line.items():
                    kinds.setdefault(key, set()).add(type(value))
    fields = []
    for key in sorted(kinds):
        found = kinds[key] - {type(None)}
        if key in _NOT_LOGGED:
            continue
        if found == {bool}:
            kind = pa.bool_()
        elif found and found <= {int, float}:
            kind = pa.float64()
        else:
            kind = pa.string()
        fields.append((LOG_PREFIX + key, kind))
    return fields


def _log_lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    if (folder / log_path(name)).is_file():
        yield from read_frame_log(folder, name)


def _log_by_frame(folder: Path, name: str) -> dict[tuple[int, int], dict[str, Any]]:
    return {(line["frame"], line["object"]): line for line in _log_lines(folder, name)}


def _batch(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Columns as the schema has them; NaN is null, and a logged value of another kind than its column is JSON."""
    import pyarrow as pa

    arrays = []
    for field in schema:
        values = columns[field.name]
        if field.name.startswith(LOG_PREFIX) and field.type == pa.string():
            values = [item if item is None or isinstance(item, str) else json.dumps(item) for item in values]
        arrays.append(pa.array(values, type=field.type, from_pandas=True))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
