"""Pictures for people: masks, boxes, motion and remembered frames drawn over a frame. Arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.geometry import mask_to_box
from mosam.motion.field import Motion
from mosam.types import FrameOutput, Image, Mask, Size

FILL = 0.45  # share of an object's color in its pixels
WHITE, BLACK, GRAY = (255, 255, 255), (0, 0, 0), (150, 150, 150)
# Okabe and Ito's colors, brightest first: told apart on dark and light pictures, and by color-blind people.
COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167), (213, 94, 0), (0, 114, 178))
POINT_COLOR, FLOW_COLOR = (255, 255, 0), (0, 255, 255)
FLOW_STEP = 40  # pixels between the arrows of a drawn flow
LEAST_FLOW = 0.7  # pixels; shorter arrows are left out
WIDEST = 1920  # pixels, of pictures side by side
THUMBNAIL = 96  # pixels, width of a remembered frame

Color = tuple[int, int, int]


def color_of(object_id: int) -> Color:
    """The color of an object.

    >>> color_of(1) == color_of(1 + len(COLORS))
    True
    """
    return COLORS[(object_id - 1) % len(COLORS)]


def draw_objects(image: Image, output: FrameOutput) -> Image:
    """A copy of a frame with every object filled, outlined, boxed and named; the absent ones are named in a corner.

    Args:
        image: uint8 RGB (H, W, 3).
        output: what was tracked on it.
    """
    import cv2

    picture = image.copy()
    width = line_width(image.shape[:2])
    absent = []
    for object_id, item in output.objects.items():
        color = color_of(object_id)
        if not item.mask.any():
            absent.append(object_id)
            continue
        _fill(picture, item.mask, color)
        outlines, _ = cv2.findContours(item.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, color, width, cv2.LINE_AA)
        x, y, w, h = (round(float(v)) for v in mask_to_box(item.mask, convention="inclusive"))
        cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), color, width)
        write(picture, f"{object_id}  {item.iou:.2f}", (x, y - text_size(picture) - 6), color)
    for row, object_id in enumerate(absent):
        size = text_size(picture)
        write(picture, f"{object_id}  absent", (6, 6 + row * (size + 8)), color_of(object_id))
    return picture


def draw_field(image: Image, motion: Motion | None, boxes: Sequence[NDArray[np.float64]]) -> Image:
    """A copy of a frame with its flow (cyan arrows) and the points that were followed near objects (yellow).

    Args:
        image: uint8 RGB (H, W, 3).
        motion: from the previous frame to this one, or None.
        boxes: (4,) x, y, w, h of the objects; points farther away than a box's own size are left out.
    """
    import cv2

    picture = image.copy()
    if motion is None:
        return picture
    height, width = picture.shape[:2]
    scale = np.array([width, height], dtype=np.float64)
    if motion.backward is not None:
        _draw_flow(picture, motion.backward)
    ends = motion.end * scale
    near = np.zeros(len(ends), dtype=bool)
    for x, y, w, h in boxes:
        near |= ((ends >= (x - w / 2, y - h / 2)) & (ends <= (x + 1.5 * w, y + 1.5 * h))).all(axis=1)
    for start, end in zip(motion.start[near] * scale, ends[near], strict=True):
        cv2.line(picture, _place(start), _place(end), POINT_COLOR, 1, cv2.LINE_AA)
        cv2.circle(picture, _place(end), 1, POINT_COLOR, -1, cv2.LINE_AA)
    return picture


def draw_prompts(picture: Image, logs: Mapping[int, Mapping[str, Any]]) -> Image:
    """Adds each object's motion box with its points (white, dashed), or why motion gave no prompt.

    Args:
        picture: drawn on in place.
        logs: what the policy recorded of each object.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = np.array([width, height], dtype=np.float64)
    row = 0
    for object_id, log in logs.items():
        box, points, withheld = log.get("prompt_box"), log.get("prompt_points"), log.get("withheld")
        if box is not None:
            low, high = np.array(box[:2]) * scale, np.array(box[2:]) * scale
            _dashed(picture, low, high, WHITE, line_width(picture.shape[:2]))
            write(picture, f"motion of {object_id}", (round(low[0]), round(high[1]) + 3), WHITE)
        for point in points or ():
            cv2.drawMarker(picture, _place(np.array(point) * scale), BLACK, cv2.MARKER_CROSS, 14, 4, cv2.LINE_AA)
            cv2.drawMarker(picture, _place(np.array(point) * scale), WHITE, cv2.MARKER_CROSS, 13, 2, cv2.LINE_AA)
        if withheld:
            size = text_size(picture)
            write(picture, f"{object_id}  no motion prompt: {withheld}", (6, height - (row + 1) * (size + 8)), WHITE)
            row += 1
    return picture


def thumbnail(image: Image) -> Image:
    """A frame made small, for the strip of remembered frames."""
    import cv2

    height, width = image.shape[:2]
    return cv2.resize(image, (THUMBNAIL, max(2, round(THUMBNAIL * height / width))), interpolation=cv2.INTER_AREA)


def memory_strip(
    width: int, frames: Mapping[int, Sequence[int]], thumbnails: Mapping[int, Image], size: Size, now: int
) -> Image:
    """A band with the frames that each object's memory read on this frame, oldest first.

    Args:
        width: of the band.
        frames: frame numbers by object id.
        thumbnails: small pictures of frames; one that is not there any more is drawn as a gray field.
        size: (height, width) of a thumbnail.
        now: the frame that was tracked.
    """
    height, step = size
    rows = []
    for object_id, numbers in frames.items():
        row = np.full((height + 4, width, 3), 24, dtype=np.uint8)
        room = max(1, (width - 34) // (step + 4))
        for place, number in enumerate(list(numbers)[-room:]):
            x = 34 + place * (step + 4)
            part = row[2 : 2 + height, x : x + step]
            shown = thumbnails.get(number)
            part[:] = GRAY if shown is None else shown[: part.shape[0], : part.shape[1]]
            write(row, f"{number - now}", (x, 2), WHITE, size=12)
        write(row, str(object_id), (6, height // 2 - 8), color_of(object_id), size=14)
        rows.append(row)
    return np.concatenate(rows) if rows else np.zeros((0, width, 3), dtype=np.uint8)


def side_by_side(tiles: Sequence[Image], titles: Sequence[str]) -> Image:
    """Pictures in a row (from four on in two rows), each under its title, at most `WIDEST` pixels wide."""
    import cv2

    columns = len(tiles) if len(tiles) <= 3 else math.ceil(len(tiles) / 2)
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    scale = min(1.0, WIDEST / (columns * width))
    cell = (max(2, round(width * scale)), max(2, round(height * scale)))
    bar = 28
    cells = []
    for tile, title in zip(tiles, titles, strict=True):
        if tile.shape[0] < height:  # another tracker has a longer strip of memories
            filling = np.full((height - tile.shape[0], width, 3), 24, dtype=np.uint8)
            tile = np.concatenate([tile, filling])
        head = np.full((bar, cell[0], 3), 24, dtype=np.uint8)
        write(head, title, (8, 4), WHITE, size=17, background=None)
        shown = tile if scale == 1 else cv2.resize(tile, cell, interpolation=cv2.INTER_AREA)
        cells.append(np.concatenate([head, shown]))
    while len(cells) % columns:
        cells.append(np.full_like(cells[0], 24))
    rows = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows)


def write(
    picture: Image, text: str, place: tuple[int, int], color: Color, *, size: int = 0, background: Color | None = BLACK
) -> None:
    """Writes text into a picture, moved so that it lies inside.

    Args:
        picture: drawn on in place.
        text: one line.
        place: x, y of the upper left corner.
        color: of the letters.
        size: height in pixels; 0 = what suits the picture.
        background: color of the field behind, half transparent; None = none.
    """
    letters = _letters(text, size or text_size(picture))
    height, width = (min(a, b) for a, b in zip(letters.shape, picture.shape[:2], strict=True))
    x = max(0, min(place[0], picture.shape[1] - width))
    y = max(0, min(place[1], picture.shape[0] - height))
    field = picture[y : y + height, x : x + width]
    ink = letters[:height, :width, None].astype(np.float32) / 255
    under = field.astype(np.float32)
    if background is not None:
        under = under * 0.4 + np.array(background, np.float32) * 0.6
    field[:] = (under * (1 - ink) + np.array(color, np.float32) * ink).astype(np.uint8)


def text_size(picture: Image) -> int:
    """Height of letters that can be read on a picture."""
    return int(np.clip(min(picture.shape[:2]) // 28, 11, 40))


def line_width(size: tuple[int, ...]) -> int:
    """Pixels of an outline on a picture of (height, width).

    >>> line_width((480, 854)), line_width((2160, 3840))
    (2, 6)
    """
    return max(1, round(min(size) / 360) if min(size) > 500 else 1 + (min(size) > 200))


@lru_cache(maxsize=512)
def _letters(text: str, size: int) -> NDArray[np.uint8]:
    """(h, w) coverage of a line of text."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, _, right, _ = font.getbbox(text)
    field = Pillow.new("L", (math.ceil(right - left) + 8, size + 5), 0)
    ImageDraw.Draw(field).text((4 - left, 1), text, fill=255, font=font)
    return np.asarray(field)


def _fill(picture: Image, mask: Mask, color: Color) -> None:
    inside = picture[mask].astype(np.float32)
    picture[mask] = (inside * (1 - FILL) + np.array(color, np.float32) * FILL).astype(np.uint8)


def _draw_flow(picture: Image, backward: NDArray[np.float32]) -> None:
    """Arrows that end where the flow leads, on a regular grid."""
    import cv2

    height, width = picture.shape[:2]
    side = len(backward)
    scale = np.array([width, height], dtype=np.float64)
    for y in range(FLOW_STEP // 2, height, FLOW_STEP):
        for x in range(FLOW_STEP // 2, width, FLOW_STEP):
            step = backward[min(side - 1, y * side // height), min(side - 1, x * side // width)] * scale
            if float(np.hypot(*step)) >= LEAST_FLOW:
                end = np.array([x, y], dtype=np.float64)
                cv2.arrowedLine(picture, _place(end + step), _place(end), FLOW_COLOR, 1, cv2.LINE_AA, tipLength=0.3)


def _dashed(picture: Image, low: NDArray[Any], high: NDArray[Any], color: Color, width: int) -> None:
    import cv2

    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        start, end = np.array(a, float), np.array(b, float)
        pieces = max(1, int(np.hypot(*(end - start)) // 12))
        for i in range(pieces):
            ends = (start + (end - start) * (i + f) / pieces for f in (0.0, 0.55))
            cv2.line(picture, _place(next(ends)), _place(next(ends)), color, width, cv2.LINE_AA)


def _place(point: NDArray[Any]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
