"""Painting of generated scenes: textured bodies over a textured background, with exact masks.

Pixels come from integer arithmetic only (fixed-point texture look-ups, polygon filling with 4 fractional bits), so the
same scene gives the same picture on every machine; floats appear in the motion alone and are rounded before painting.
A position is `x, y` in pixels of the frame; time is in frames and may be fractional (motion blur).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mosam.types import Image, Size

TEXTURE_SIDE = 96
# A texture spans this many radii around the center, so that a deformed outline stays inside it.
TEXTURE_REACH = 1.7
GROUND_DISTANCE = 110  # of a thing's mean color from the background's, in gray levels
BODY_DISTANCE = 75  # and from the other things'
JUMP = 0.2  # share of the frame height; nothing moves so far in one frame but by reappearing
_FRACTION_BITS = 5  # of a texture coordinate; what cv2.remap takes in its integer maps
_POLYGON_BITS = 4
_COEFFICIENT_BITS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One thing that moves through a scene of T frames.

    Attributes:
        object_id: its number in the annotation; 0 = nobody tracks it (an occluder, a look-alike, clutter).
        texture: (TEXTURE_SIDE, TEXTURE_SIDE, 3) uint8.
        outline: (V, 2) float64 corners around the origin, in radii.
        radius: pixels.
        path: (T, 2) float64 center, pixels.
        angle: (T,) radians.
        scale: (T,) factor on the radius.
        wave: amplitude (share of the radius), number of lobes and radians per frame of the moving deformation.
        shown: (T,) bool; False = nowhere in the scene.
    """

    object_id: int
    texture: Image
    outline: NDArray[np.float64]
    radius: float
    path: NDArray[np.float64]
    angle: NDArray[np.float64]
    scale: NDArray[np.float64]
    wave: tuple[float, int, float]
    shown: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything a video is painted from.

    Attributes:
        size: (height, width).
        canvas: (H', W', 3) uint8 background, reflected at its borders.
        bodies: farthest first.
        camera: (T, 4) float64 x, y shift in pixels, rotation in radians, log of the zoom.
        gain: (T,) brightness factor.
        shutter: exposures averaged into one frame; 1 = no motion blur.
    """

    size: Size
    canvas: Image
    bodies: tuple[Body, ...]
    camera: NDArray[np.float64]
    gain: NDArray[np.float64]
    shutter: int = 1

    def __len__(self) -> int:
        return len(self.camera)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Which body is seen at each pixel of one frame.

    Attributes:
        index: (H, W) uint8, 0 = background, else 1 + position in `Scene.bodies`.
        visible: (N,) pixels seen of each body.
        area: (N,) pixels it would have in full, also those outside of the frame.
    """

    index: NDArray[np.uint8]
    visible: NDArray[np.int64]
    area: NDArray[np.int64]


def paint(scene: Scene, frame_index: int) -> Image:
    """Frame as uint8 RGB (H, W, 3), motion blur and brightness included."""
    if scene.shutter == 1:
        image = _expose(scene, float(frame_index))
    else:
        offsets = (np.arange(scene.shutter) - (scene.shutter - 1) / 2) / scene.shutter
        total = np.zeros((*scene.size, 3), dtype=np.uint16)
        for offset in offsets:
            total += _expose(scene, float(np.clip(frame_index + offset, 0, len(scene) - 1)))
        image = (total // scene.shutter).astype(np.uint8)
    gain = scene.gain[frame_index]
    if gain != 1.0:
        table = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
        return cv2.LUT(image, table).astype(np.uint8, copy=False)
    return image


def label(scene: Scene, frame_index: int) -> Labels:
    """Exact visible pixels of every body on a frame, at the middle of the exposure."""
    index = np.zeros(scene.size, dtype=np.uint8)
    area = np.zeros(len(scene.bodies), dtype=np.int64)
    for number, body in enumerate(scene.bodies):
        if body.shown[frame_index]:
            polygon = _polygon(scene, body, float(frame_index))
            area[number] = round(cv2.contourArea(polygon) / 4**_POLYGON_BITS)
            cv2.fillPoly(index, [polygon], number + 1, lineType=cv2.LINE_8, shift=_POLYGON_BITS)
    visible = np.bincount(index.ravel(), minlength=len(scene.bodies) + 1)[1:]
    return Labels(index, visible.astype(np.int64), area)


def place(camera: NDArray[np.float64], size: Size, path: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 2) scene positions whose picture through `camera` (T, 4) is the screen path `path` (T, 2)."""
    center = np.array([size[1], size[0]]) / 2
    offset = (path - center) / np.exp(camera[:, 3:4])
    cos, sin = np.cos(camera[:, 2]), np.sin(camera[:, 2])
    turned = np.stack([cos * offset[:, 0] + sin * offset[:, 1], -sin * offset[:, 0] + cos * offset[:, 1]], axis=1)
    return turned + center + camera[:, :2]


def _expose(scene: Scene, time: float) -> Image:
    """One instantaneous picture."""
    height, width = scene.size
    x, y, turn, zoom = _at(scene.camera, time)
    inverse = _rotation(-turn) / np.exp(zoom)
    center = np.array([width, height]) / 2
    canvas_center = np.array([scene.canvas.shape[1], scene.canvas.shape[0]]) / 2
    offset = canvas_center + np.array([x, y]) - inverse @ center
    image = _look_up(scene.canvas, inverse, offset, (0, 0, width, height))
    frame_index = round(time)
    for body in scene.bodies:
        if body.shown[frame_index]:
            _draw(image, scene, body, time)
    return image


def _draw(image: Image, scene: Scene, body: Body, time: float) -> None:
    polygon = _polygon(scene, body, time)
    height, width = scene.size
    unit = 1 << _POLYGON_BITS
    low = np.maximum(polygon.min(axis=0) // unit - 1, 0)
    high = np.minimum(polygon.max(axis=0) // unit + 2, (width, height))
    if (high <= low).any():
        return
    (x0, y0), (x1, y1) = low.tolist(), high.tolist()
    mask = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    cv2.fillPoly(mask, [polygon - low * unit], 255, lineType=cv2.LINE_8, shift=_POLYGON_BITS)
    center, turn, radius = _pose(scene, body, time)
    inverse = _rotation(-turn) * (TEXTURE_SIDE / (2 * TEXTURE_REACH * radius))
    patch = _look_up(body.texture, inverse, TEXTURE_SIDE / 2 - inverse @ center, (x0, y0, x1, y1))
    cv2.copyTo(patch, mask, image[y0:y1, x0:x1])  # writes through the view


def _pose(scene: Scene, body: Body, time: float) -> tuple[NDArray[np.float64], float, float]:
    """Center on the screen, rotation and radius in pixels as the camera sees them."""
    x, y, turn, zoom = _at(scene.camera, time)
    center = np.array([scene.size[1], scene.size[0]]) / 2
    magnify = float(np.exp(zoom))
    jump = np.abs(np.diff(body.path[int(time) : int(time) + 2], axis=0)).max(initial=0.0)
    # A body that comes back elsewhere is never in between.
    where = _at(body.path, round(time) if jump > JUMP * scene.size[0] else time)
    seen = center + _rotation(turn) @ (where - center - (x, y)) * magnify
    return seen, turn + float(_at(body.angle, time)), body.radius * float(_at(body.scale, time)) * magnify


def _polygon(scene: Scene, body: Body, time: float) -> NDArray[np.int32]:
    """(V, 2) outline on the screen in fixed point."""
    center, turn, radius = _pose(scene, body, time)
    amplitude, lobes, speed = body.wave
    corners = body.outline
    if amplitude:
        theta = np.arctan2(corners[:, 1], corners[:, 0])
        corners = corners * (1 + amplitude * np.cos(lobes * theta + speed * time))[:, None]
    corners = corners @ (_rotation(turn).T * radius) + center
    return np.rint(corners * (1 << _POLYGON_BITS)).astype(np.int32)


def _look_up(
    texture: Image, matrix: NDArray[np.float64], offset: NDArray[np.float64], window: tuple[int, int, int, int]
) -> Image:
    """Texture values at `matrix @ (x, y) + offset` for the pixels of a window x0, y0, x1, y1."""
    x0, y0, x1, y1 = window
    one = 1 << _COEFFICIENT_BITS
    (a, b), (c, d) = np.rint(matrix * one).astype(np.int64).tolist()
    u0, v0 = np.rint(offset * one).astype(np.int64).tolist()
    columns, rows = np.arange(x0, x1, dtype=np.int32), np.arange(y0, y1, dtype=np.int32)[:, None]
    shift = _COEFFICIENT_BITS - _FRACTION_BITS
    u = ((a * columns + u0) + b * rows) >> shift
    v = ((c * columns + v0) + d * rows) >> shift
    whole = np.empty((y1 - y0, x1 - x0, 2), dtype=np.int16)
    whole[..., 0] = u >> _FRACTION_BITS
    whole[..., 1] = v >> _FRACTION_BITS
    low = (1 << _FRACTION_BITS) - 1
    fraction = ((v & low) << _FRACTION_BITS | (u & low)).astype(np.uint16)
    values = cv2.remap(texture, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return values.astype(np.uint8, copy=False)


def _at(values: NDArray[np.float64], time: float) -> NDArray[np.float64]:
    """Row of `values` at a possibly fractional time, linear in between."""
    low = min(int(time), len(values) - 1)
    high = min(low + 1, len(values) - 1)
    share = time - low
    return values[low] if share == 0 else values[low] * (1 - share) + values[high] * share


def _rotation(angle: float) -> NDArray[np.float64]:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def body_texture(rng: np.random.Generator, colors: Sequence[NDArray[np.int64]]) -> Image:
    """Square texture of one of four kinds (noise, stripes, checks, dots) in two colors.

    Args:
        rng: source of the pattern.
        colors: two (3,) RGB colors in 0 .. 255.
    Returns:
        (TEXTURE_SIDE, TEXTURE_SIDE, 3) uint8.
    """
    side = TEXTURE_SIDE
    y, x = np.arange(side, dtype=np.int32)[:, None], np.arange(side, dtype=np.int32)
    kind = int(rng.integers(4))
    period = int(rng.integers(14, 34))
    p, q = (int(v) for v in rng.integers(-8, 9, size=2))
    slant = (x * (8 + abs(p)) + y * q) // 8
    if kind == 0:
        weight = value_noise(rng, (side, side), octaves=(4, 9))
    elif kind == 1:
        weight = np.where(slant % period < period // 2, 255, 0)
    elif kind == 2:
        weight = np.where((x // (period // 2) + y // (period // 2)) % 2 == 0, 255, 0)
    else:
        dx, dy = x % period - period // 2, y % period - period // 2
        weight = np.where(dx * dx + dy * dy < (period * 3 // 10) ** 2, 255, 0)
    grain = value_noise(rng, (side, side), octaves=(12, 24))
    weight = (weight * 6 + grain * 2) // 8
    return mix(weight, colors)


def background(rng: np.random.Generator, size: Size, color: NDArray[np.int64], *, contrast: float) -> Image:
    """Textured canvas: coarse and fine value noise between colors around one, with stripes or checks laid over it.

    Args:
        rng: source of the pattern.
        size: (height, width) of the canvas.
        color: (3,) RGB, its mean.
        contrast: 1 = nearly all colors within 60 gray levels of the mean in every channel, 0 = one color.
    Returns:
        (height, width, 3) uint8.
    """
    height, width = size[0] // 2, size[1] // 2  # drawn at half size: fine grain would be noise to a small model
    side = max(height, width)
    size = (height, width)
    cells = int(rng.integers(3, 9))
    first = value_noise(rng, size, octaves=(cells, 2 * cells, 5 * cells))
    second = value_noise(rng, size, octaves=(2, 4))
    y, x = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)
    kind = int(rng.integers(4))
    period = int(rng.integers(side // 24, side // 10))
    if kind == 0:
        first = (first * 2 + np.where((x + y * int(rng.integers(-2, 3)) // 2) % period < period // 2, 255, 0)) // 3
    elif kind == 1:
        first = (first * 2 + np.where((x // period + y // period) % 2 == 0, 255, 0)) // 3
    high, other = (rng.integers(40, 91, size=3, dtype=np.int32) * rng.choice([-1, 1], size=3) for _ in range(2))
    image = (first[..., None] * high + second[..., None] * other) // 255
    mean = image.sum(axis=(0, 1), dtype=np.int64).astype(np.int32) // (height * width)
    image = color.astype(np.int32) + ((image - mean) * round(contrast * 256) >> 8)
    image = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR_EXACT)


def value_noise(rng: np.random.Generator, size: Size, *, octaves: Sequence[int]) -> NDArray[np.int32]:
    """(H, W) int32 in 0 .. 255: random grids of so many cells along the longer side, enlarged and added."""
    height, width = size
    total = np.zeros(size, dtype=np.int32)
    weights = range(len(octaves), 0, -1)
    for cells, weight in zip(octaves, weights, strict=True):
        shape = (max(2, cells * height // max(size)), max(2, cells * width // max(size)))
        grid = rng.integers(0, 256, size=shape, dtype=np.uint8)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int32)
    low, high = int(total.min()), int(total.max())
    return (total - low) * 255 // max(high - low, 1)


def mix(weight: NDArray[np.int32], colors: Sequence[NDArray[np.int64]]) -> Image:
    """(H, W, 3) uint8 between two colors, 0 = the first, 255 = the second."""
    low, high = (color.astype(np.int32) for color in colors)
    return (low + weight[..., None] * (high - low) // 255).astype(np.uint8)


def scene_colors(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """(1 + count, 3) RGB: the background's mean color, then one of each thing in front of it.

    A thing differs from the background by at least `GROUND_DISTANCE` and from the others by `BODY_DISTANCE`, Euclidean
    in gray levels (where 32 draws give no such color, by as much as they give): what moves through a video is seldom
    painted like what it moves over, and a small model that had to tell them apart by their outlines alone learns that
    first and tracking last.
    """
    colors = rng.integers(40, 216, size=(1, 3))
    for _ in range(count):
        drawn = rng.integers(25, 231, size=(32, 3))
        squares = ((drawn[:, None] - colors[None]) ** 2).sum(axis=2)
        needed = np.full(len(colors), BODY_DISTANCE**2)
        needed[0] = GROUND_DISTANCE**2
        far = (squares >= needed).all(axis=1)
        pick = int(np.argmax(far)) if far.any() else int(np.argmax((squares * 1000 // needed).min(axis=1)))
        colors = np.concatenate([colors, drawn[pick][None]])
    return colors


def body_colors(rng: np.random.Generator, mean: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Two colors on both sides of `mean`, 18 to 33 gray levels from it in every channel."""
    shift = rng.integers(18, 34, size=3) * rng.choice([-1, 1], size=3)
    return [np.clip(mean - shift, 0, 255), np.clip(mean + shift, 0, 255)]


def random_outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """Closed outline of unit radius: a blob, an ellipse, a polygon or a star; (V, 2)."""
    theta = np.arange(48) * (2 * np.pi / 48)
    kind = int(rng.integers(4))
    if kind == 0:  # a sum of a few waves around a circle
        radii = np.ones(48)
        for lobes in (2, 3, 4, 5):
            radii += rng.uniform(0, 0.42 / lobes) * np.cos(lobes * theta + rng.uniform(0, 2 * np.pi))
    elif kind == 1:
        flat = rng.uniform(0.55, 0.95)
        radii = flat / np.sqrt((flat * np.cos(theta)) ** 2 + np.sin(theta) ** 2)
    elif kind == 2:  # a regular polygon in polar form
        corners = int(rng.integers(3, 7))
        step = 2 * np.pi / corners
        radii = np.cos(step / 2) / np.cos(np.mod(theta, step) - step / 2)
    else:
        points = int(rng.integers(4, 7))
        radii = 0.8 + rng.uniform(0.12, 0.25) * np.cos(points * theta)
    area = 0.5 * np.sin(2 * np.pi / 48) * np.sum(radii * np.roll(radii, 1))
    radii *= np.sqrt(np.pi / area)  # every shape covers what the disc of its radius covers
    return np.stack([radii * np.cos(theta), radii * np.sin(theta)], axis=1)
