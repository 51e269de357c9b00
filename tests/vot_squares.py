"""VOT-style trees of a bright square that moves, for trackers that follow what is bright."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 48)  # height, width
SIDE = 8


def position(frame: int) -> tuple[int, int]:
    """Where the square of a frame is: x, y."""
    return 2 + frame, 6


def picture(frame: int, *, lost: bool = False) -> np.ndarray:
    """The square on black; where the tracker is to lose it, in the lower left corner."""
    image = np.full((*SIZE, 3), 20, dtype=np.uint8)
    x, y = (0, SIZE[0] - 3) if lost else position(frame)
    image[y : y + SIDE, x : x + SIDE] = 200
    return image


def write_squares(
    root: Path,
    name: str,
    count: int,
    *,
    lost: Sequence[int] = (),
    anchors: dict[int, int] | None = None,
    kind: str = "box",
    unknown: Sequence[int] = (),
) -> Path:
    """One sequence with frames as PNG.

    Args:
        lost: frames on which the picture misleads the tracker.
        anchors: +1 or -1 by frame.
        kind: of the annotation, `box` or `mask`.
        unknown: frames without annotation.
    """
    folder = root / name
    (folder / "color").mkdir(parents=True)
    rows = []
    for frame in range(count):
        Image.fromarray(picture(frame, lost=frame in set(lost))).save(folder / "color" / f"{frame + 1:08d}.png")
        x, y = position(frame)
        box = f"{x},{y},{SIDE},{SIDE}" if kind == "box" else f"m{x},{y},{SIDE},{SIDE},0,{SIDE * SIDE}"
        rows.append("0" if frame in set(unknown) else box)
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    metadata = {"name": name, "channels.color": "color/%08d.png", "width": SIZE[1], "height": SIZE[0], "length": count}
    (folder / "sequence").write_text("".join(f"{key}={value}\n" for key, value in metadata.items()))
    if anchors is not None:
        (folder / "anchor.value").write_text("".join(f"{anchors.get(frame, 0)}\n" for frame in range(count)))
    return folder
