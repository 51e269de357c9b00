"""From what a user types to prompts of the first frame, with errors that say what was probably meant."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosam.codecs import LARGEST_LABEL, label_ids, read_labels
from mosam.datasets.annotations import check_start_mask, read_text
from mosam.datasets.folder import INSIDE as TRUTH_FILE
from mosam.datasets.folder import too_many_boxes
from mosam.errors import DataError, MosamError
from mosam.geometry import box_fault
from mosam.types import Prompt, Size

Point = tuple[int, float, float, int]


def make_prompts(
    size: Size,
    *,
    boxes: Sequence[str] = (),
    box_files: Sequence[Path] = (),
    points: Sequence[str] = (),
    mask: Path | None = None,
) -> list[Prompt]:
    """Prompts of the first frame.

    Args:
        size: (height, width) of the picture.
        boxes: `x,y,w,h`, one an object; objects are numbered from 1, boxes before box files.
        box_files: files of `x,y,w,h`, one object a line as the `folder` dataset reads them; of a `groundtruth.txt` the
            first line alone, as the others are later frames.
        points: `x,y`, `x,y,0` (not on the object) or `N:x,y` of object N, 1 where not said; a point may refine a box.
        mask: a label map of the first frame, one object a label; a black and white picture is one object.
    Raises:
        MosamError: nothing given, or something that is not on the picture.
    """
    if mask is not None:
        if boxes or box_files or points:
            raise MosamError("--mask: expected either a mask or boxes and points, got both")
        return _from_mask(mask, size)
    found = [(parse_box(text, "--box"), f"--box {text}") for text in boxes]
    for path in box_files:
        found += [(box, f"{path}:{line}") for line, box in enumerate(read_box_file(path), start=1)]
    for box, where in found:
        check_box(box, size, where)
    on = [parse_point(text) for text in points]
    for number, x, y, _ in on:
        if not (0 <= x < size[1] and 0 <= y < size[0]):
            raise MosamError(f"--point {number}:{x:g},{y:g}: expected a point on the picture ({size[1]}x{size[0]})")
    if not found and not on:
        raise MosamError(
            "demo: expected what to track, got nothing; give --box x,y,w,h, --box-file, --point x,y, --mask or --pick"
        )
    return assemble([box for box, _ in found], on)


def assemble(boxes: Sequence[np.ndarray | None], points: Sequence[Point]) -> list[Prompt]:
    """Prompts of objects 1, 2 ... from their boxes (None = points only) and (object, x, y, label) points.

    Raises:
        MosamError: an object with points that are all off it.
    """
    numbers = sorted({*range(1, len(boxes) + 1), *(point[0] for point in points)})
    prompts = []
    for number in numbers:
        box = boxes[number - 1] if number <= len(boxes) else None
        own = [point for point in points if point[0] == number]
        if box is None and not any(label for *_, label in own):
            raise MosamError(f"object {number}: expected a box or a point on it, got only points that are not on it")
        xy = np.array([point[1:3] for point in own], dtype=np.float64) if own else None
        labels = np.array([point[3] for point in own], dtype=np.int64) if own else None
        prompts.append(Prompt(number, box=box, points=xy, labels=labels))
    return prompts


def parse_box(text: str, where: str) -> np.ndarray:
    """`x,y,w,h` -> (4,) float64.

    Raises:
        MosamError: not four numbers, or no area.
    """
    words = [word for word in re.split(r"[,\s]+", text.strip().strip("[]()")) if word]
    try:
        values = np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        values = np.empty(0)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise MosamError(f"{where}: expected x,y,w,h, got {text!r}")
    if values[2] <= 0 or values[3] <= 0:
        raise MosamError(f"{where}: expected a box x,y,w,h with w > 0 and h > 0, got w={values[2]:g} h={values[3]:g}")
    return values


def read_box_file(path: Path) -> list[np.ndarray]:
    """Boxes `x,y,w,h` of a file, (4,) each: one object a line, of a `groundtruth.txt` the first line alone.

    Raises:
        DataError: no file, another line, or more lines than results can hold objects.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    if not lines[0]:
        raise DataError(path, "expected boxes x,y,w,h, got an empty file")
    if path.name == TRUTH_FILE:
        lines = lines[:1]
    if len(lines) > LARGEST_LABEL:
        raise too_many_boxes(path, len(lines))
    boxes = []
    for number, line in enumerate(lines, start=1):
        try:
            boxes.append(parse_box(line, f"{path}:{number}"))
        except MosamError as error:
            raise DataError(path, str(error).removeprefix(f"{path}:{number}: "), line=number) from None
    return boxes


def parse_point(text: str) -> Point:
    """`x,y`, `x,y,0` or `N:x,y` -> (object, x, y, label)."""
    match = re.fullmatch(r"\s*(?:(\d+):)?\s*([-\d.]+)\s*,\s*([-\d.]+)\s*(?:,\s*([01]))?\s*", text)
    try:
        if match is None:
            raise ValueError
        number, x, y, label = match.groups()
        point = (int(number or 1), float(x), float(y), int(label or 0) if label is not None else 1)
    except ValueError:
        raise MosamError(f"--point: expected x,y or x,y,0 or OBJECT:x,y, got {text!r}") from None
    if point[0] < 1 or not (math.isfinite(point[1]) and math.isfinite(point[2])):
        raise MosamError(f"--point: expected x,y or x,y,0 or OBJECT:x,y, got {text!r}")
    return point


def check_box(box: np.ndarray, size: Size, where: str) -> None:
    """MosamError for a box that is not on the picture, with what was probably meant; see `box_fault`."""
    fault = box_fault(box, size)
    if fault is not None:
        raise MosamError(f"{where}: {fault}")


def _from_mask(path: Path, size: Size) -> list[Prompt]:
    check_start_mask(path, white=True)
    labels = read_labels(path)
    if labels.shape != tuple(size):
        raise DataError(
            path,
            f"expected {size[0]}x{size[1]} (height x width) as the frames, got {labels.shape[0]}x{labels.shape[1]}",
        )
    found = label_ids(labels)
    if not found:
        raise DataError(path, "expected a mask, got a picture that is black")
    keep_ids = found[-1] <= LARGEST_LABEL
    return [Prompt(label if keep_ids else number, mask=labels == label) for number, label in enumerate(found, start=1)]


def describe_prompts(prompts: Sequence[Prompt]) -> list[dict[str, object]]:
    """Prompts as JSON, masks by their area."""
    described = []
    for prompt in prompts:
        item: dict[str, object] = {"object": prompt.object_id, "kind": prompt.kind}
        if prompt.frame_index:
            item["frame"] = prompt.frame_index  # after the first one tracked
        if prompt.box is not None:
            item["box"] = prompt.box.tolist()
        if prompt.points is not None and prompt.labels is not None:
            item["points"] = [
                [*xy, label] for xy, label in zip(prompt.points.tolist(), prompt.labels.tolist(), strict=True)
            ]
        if prompt.mask is not None:
            item["mask_pixels"] = int(prompt.mask.sum())
        described.append(item)
    return described
