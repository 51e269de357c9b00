"""The per-frame log of a run: what was read, which mask was taken and why, one JSON line for each object and frame.

`log/<sequence>.jsonl` in a run's folder. Every line has `frame`, `object`, `iou`, `object_score` and `visible`; tracked
frames add `slots` (frame and temporal vector of each memory), `pointers` (frame and distance), `candidate`, `source`
and what the policy records (for `mosam`: `conf`, `admitted`, `trust`, `withheld`, `guided_won` ...). Where a sequence
is played in several passes, `start` is the frame at which its pass began; `slots` and `pointers` count in the pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from mosam.errors import MissingDataError
from mosam.system.files import read_regular
from mosam.system.option_names import LOG_KEYS
from mosam.system.typed import from_data, parse_json
from mosam.types import FrameOutput

FOLDER = "log"


def log_path(sequence: str) -> str:
    """Where the log of a sequence lies in a run's folder."""
    return f"{FOLDER}/{sequence}.jsonl"


class FrameLogWriter:
    """Writes the log of one sequence as its frames become final.

    Args:
        folder: what `log_path` is relative to; made where missing.
        sequence: its name.
    """

    def __init__(self, folder: Path, sequence: str):
        path = folder / log_path(sequence)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")

    def add(self, output: FrameOutput, **where: int) -> None:
        """One frame; outputs must carry logs (`Engine(log=True)`).

        Args:
            where: columns that identify the frame if its index is not enough: its own number, where a pass began.
        """
        for object_id, one in output.objects.items():
            line = {
                "frame": output.frame_index,
                **where,
                "object": object_id,
                "visible": bool(one.mask.any()),
                "iou": one.iou,
                "object_score": one.object_score,
                **{key: _defined(value) for key, value in (one.log or {}).items()},
            }
            self._file.write(json.dumps(line, allow_nan=False, default=_plain) + "\n")

    def close(self) -> None:
        """No more frames."""
        self._file.close()

    def __enter__(self) -> FrameLogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line has for whoever reads it; policies record more."""

    frame: int
    object: int
    visible: bool | None = None
    iou: float | None = None
    object_score: float | None = None
    start: int | None = None
    prompt: str | None = None
    slots: tuple[tuple[int, int], ...] = ()


def read_frame_log(folder: Path, sequence: str) -> Iterator[dict[str, Any]]:
    """The lines of a sequence's log, in frame order, with the present names of keys.

    Args:
        folder: a run's folder.
        sequence: its name.
    Raises:
        MissingDataError: the run was made without `--log`.
        DataError: a damaged line.
    """
    path = folder / log_path(sequence)
    try:
        lines = read_regular(path).splitlines()
    except MissingDataError:
        raise MissingDataError(
            f"{path}: expected the per-frame log, found none; repeat the run with --log --overwrite"
        ) from None
    for number, line in enumerate(lines, start=1):
        data = parse_json(line, f"{path}:{number}")
        from_data(_Line, data, f"{path}:{number}", unknown=True)
        yield {LOG_KEYS.get(key, key): value for key, value in cast("dict[str, Any]", data).items()}


def _defined(value: object) -> object:
    """The value, None for NaN, which JSON does not know."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _plain(value: object) -> object:
    """Numpy numbers as Python's own."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"a log entry of type {type(value).__name__} is not JSON")
    return item()
