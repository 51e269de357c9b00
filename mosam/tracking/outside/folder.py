"""The VOT toolkit's `folder` protocol (0.8 on): a program is run once in a folder that holds the whole sequence.

Before: `frames_color.txt`, the path of a picture a line, and for each object `query_<id>.txt` with the frame it starts
on and its region. After: `output_<id>.txt` with a region a frame, `0` where there is none, and, if the program likes,
`output_<id>_confidence.txt` with a number a frame.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mosam.errors import MosamError
from mosam.regions.trajectory import Rectangle, mask_region
from mosam.system.files import read_regular
from mosam.tracking.outside.answers import Answer, TrackerFailure, as_box, as_mask, given, region_answer
from mosam.tracking.outside.engine import Deadline, compose
from mosam.tracking.outside.process import TooLate, TrackerProcess
from mosam.tracking.outside.trax import parse_region, text_of
from mosam.types import FrameOutput, Prompt, Size

CONVERSIONS = ("mask", "rectangle")
FRAMES = "frames_color.txt"
_OUTPUT_BYTES = 1 << 30


class FolderSession:
    """One pass of such a program; see `mosam.tracking.outside.engine.Session`. It sees every frame before it answers.

    Args:
        prompts: where objects start.
        size: (height, width) of the frames.
        non_overlap: give each pixel to one object.
        deadline: of the pass; that of a frame counts for each of them.
        new_process: makes the program's process, not yet started.
        convert: form of the regions it is given: `mask`, `rectangle`, or None = as the benchmark has them.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        size: Size,
        non_overlap: bool,
        deadline: Deadline,
        new_process: Callable[[], TrackerProcess],
        convert: str | None,
    ):
        self._prompts, self._size, self._non_overlap = list(prompts), size, non_overlap
        self._deadline, self._new_process, self._convert = deadline, new_process, convert
        self._frames: list[str] = []
        self._process: TrackerProcess | None = None

    def frame(self, image: Any) -> list[FrameOutput]:
        """See `Session.frame`; nothing is known yet."""
        self._frames.append(str(image))
        return []

    def finish(self) -> list[FrameOutput]:
        """See `Session.finish`: runs the program; the time of every frame is its share of the program's."""
        self._process = process = self._new_process()
        self._write_queries(process.folder)
        began = time.perf_counter()
        process.start()
        try:
            code = process.wait(self._deadline.left(answers=len(self._frames)))
        except TooLate:
            raise TrackerFailure(f"{self._too_late()}{process.last_words()}") from None
        seconds = (time.perf_counter() - began) / len(self._frames)
        if code != 0:
            raise TrackerFailure(f"its program failed ({process.how_it_ended()})")
        found = {prompt.object_id: self._read(process, prompt, number) for number, prompt in enumerate(self._prompts)}
        outputs = []
        for frame in range(len(self._frames)):
            answers = {key: rows[frame] for key, rows in found.items() if (rows[frame]) is not None}
            outputs.append(compose(frame, answers, seconds, non_overlap=self._non_overlap))  # type: ignore[arg-type]
        return outputs

    def close(self) -> None:
        """See `Session.close`."""
        if self._process is not None:
            self._process.close()
        self._process = None

    def _too_late(self) -> str:
        limits = self._deadline.limits
        whole = self._deadline.missed(None).what
        if limits.frame is None or whole.startswith("expected the sequence"):
            return whole
        return f"expected {len(self._frames)} frames at {limits.frame:g} s each, got no end"

    def _write_queries(self, folder: Path) -> None:
        (folder / FRAMES).write_text("".join(f"{path}\n" for path in self._frames), encoding="utf-8")
        for number, prompt in enumerate(self._prompts):
            text = f"{prompt.frame_index}\n{self._region(prompt)}\n"
            (folder / f"query_obj{number}.txt").write_text(text, encoding="ascii")

    def _region(self, prompt: Prompt) -> str:
        kind = {"box": "rectangle"}.get(prompt.kind, prompt.kind) if self._convert is None else self._convert
        if kind == "mask":
            return text_of(mask_region(as_mask(prompt, self._size)))
        return text_of(Rectangle(*map(float, as_box(prompt))))

    def _read(self, process: TrackerProcess, prompt: Prompt, number: int) -> list[Answer | None]:
        """The answers of an object, None before its first frame."""
        first = prompt.frame_index
        rows = self._lines(process, f"output_obj{number}.txt", required=True)
        scores = self._lines(process, f"output_obj{number}_confidence.txt", required=False)
        answers: list[Answer | None] = [None] * first
        answers.append(given(prompt, self._size))
        for frame in range(first + 1, len(rows)):
            score = _number(scores[frame], frame) if scores else None
            answers.append(region_answer(parse_region(rows[frame], frame), self._size, score=score))
        return answers

    def _lines(self, process: TrackerProcess, name: str, *, required: bool) -> list[str]:
        """The lines of a file that the program left, one a frame."""
        path = process.folder / name
        if not required and not path.is_file():
            return []
        if path.is_symlink() or not path.is_file():
            raise TrackerFailure(f"expected {name} in the program's folder, found none{process.last_words()}")
        if path.stat().st_size > _OUTPUT_BYTES:
            raise TrackerFailure(f"{name}: expected at most {_OUTPUT_BYTES >> 30} GiB, got more")
        try:
            lines = read_regular(path).decode("ascii").splitlines()
        except (UnicodeDecodeError, MosamError):
            raise TrackerFailure(f"{name}: expected text, got something else{process.last_words()}") from None
        if len(lines) != len(self._frames):
            expected = f"{name}: expected {len(self._frames)} lines, one a frame, got {len(lines)}"
            raise TrackerFailure(f"{expected}{process.last_words()}")
        return lines


def _number(text: str, frame: int) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TrackerFailure(f"expected a finite confidence, got {text[:40]!r}", frame)
    return number
