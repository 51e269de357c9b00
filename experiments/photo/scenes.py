"""What happens in the clips of a batch: numbers only, drawn with NumPy from a seed.

Positions are in half sides of the frame: the frame is the square from -1 to 1, and x is stretched by the aspect ratio
of the video it was squeezed from, so that things turn and grow in the video's own proportions. Layers are squares from
-1 to 1 as well. Time is in frames of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
LAYERS = 6
HARMONICS = 6
CUTOUT, CLOTHED, OUTLINE = 0, 1, 2  # a cut-out as it is; its outline over a photograph; a drawn outline over one


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """B clips of T frames with K layers, far to near.

    Attributes:
        photo: (B,) photograph behind everything.
        camera: (B, T, 3, 3) from the frame to that photograph.
        kind: (B, K) `CUTOUT`, `CLOTHED` or `OUTLINE`.
        cutout: (B, K) its number.
        cloth: (B, K) photograph that a layer is cut from.
        window: (B, K, 3) x, y and half side of that cut.
        outline: (B, K, 1 + 2 * HARMONICS) exponent of a superellipse, then amplitudes and phases of its waves.
        color: (B, K, 3, 4) affine map of a layer's colors.
        place: (B, T, K, 3, 3) from the frame to the layer.
        wave: (B, T, K, 7) two waves (amplitude, number, phase) that bend a layer, and a quadratic bend.
        gain: (B, T, K) brightness of a layer.
        shown: (B, T, K) whether it is there at all.
        shadow: (B, K, 5) x, y, two radii and depth of the shadow below it.
        size: (B, K) its half side in half frames, for the choice of a filter.
        light: (B, T) brightness of the picture.
        blur: (B, 2) vector of the motion blur in half sides.
        noise: (B,) standard deviation in gray levels.
        coarse: (B,) factor by which resolution is lost.
        steps: (B,) step of the coarsest code of a lossy picture, 0 = none.
    """

    photo: NDArray[np.int64]
    camera: Array
    kind: NDArray[np.int64]
    cutout: NDArray[np.int64]
    cloth: NDArray[np.int64]
    window: Array
    outline: Array
    color: Array
    place: Array
    wave: Array
    gain: Array
    shown: NDArray[np.bool_]
    shadow: Array
    size: Array
    light: Array
    blur: Array
    noise: Array
    coarse: Array
    steps: Array


def draw_scenes(
    rng: np.random.Generator,
    times: NDArray[np.float64],
    *,
    cutouts: Sequence[int],
    photos: Sequence[int],
    hard: float,
) -> Scenes:
    """Scenes of a batch; equal generators give equal scenes.

    Args:
        rng: source of everything.
        times: (B, T) when each frame of a clip is taken.
        cutouts, photos: numbers that may be used.
        hard: 0 = few slow bodies in good pictures, 1 = everything.
    """
    clips, frames = times.shape
    shape = (clips, LAYERS)
    aspect = np.where(rng.random(clips) < 0.7, rng.uniform(1.5, 1.9, clips), rng.uniform(0.6, 1.5, clips))
    count = rng.integers(1, 3 + round(hard * (LAYERS - 2)), clips)
    exists = np.arange(LAYERS)[None] < count[:, None]
    order = rng.random(shape).argsort(axis=1)  # who is in front has nothing to do with who comes first
    size = np.exp(rng.uniform(np.log(0.14), np.log(0.75), shape))
    cover = (rng.random(shape) < 0.12 * hard) & (np.arange(LAYERS)[None] > 0)  # large and near: hides others
    size = np.where(cover, size * 1.6, size)
    order = np.where(cover, order + LAYERS, order).argsort(axis=1).argsort(axis=1)
    kind = rng.choice(3, shape, p=(0.55, 0.2, 0.25))
    cutout, cloth = rng.choice(cutouts, shape), rng.choice(photos, shape)
    window = np.concatenate([rng.uniform(-0.6, 0.6, (*shape, 2)), rng.uniform(0.12, 0.4, (*shape, 1))], axis=2)
    outline, color = _outlines(rng, shape), _colors(rng, shape, hard)
    _look_alikes(rng, hard, (kind, cutout, cloth, window, outline, color, size))
    motion = _motion(rng, times, size, aspect, hard)
    camera_matrix, camera = _camera(rng, times, aspect, hard)
    place = motion @ camera_matrix[:, :, None]
    shown = np.broadcast_to(exists[:, None], (clips, frames, LAYERS)) & ~_vanished(rng, clips, frames, hard)
    scene = Scenes(
        photo=rng.choice(photos, clips),
        camera=_f32(camera),
        kind=kind,
        cutout=cutout,
        cloth=cloth,
        window=_f32(window),
        outline=_f32(outline),
        color=_f32(color),
        place=_f32(place),
        wave=_f32(_waves(rng, times, hard)),
        gain=_f32(np.exp(0.25 * hard * rng.random((clips, 1, LAYERS)) * _sway(rng, times, LAYERS))),
        shown=shown,
        shadow=_f32(_shadows(rng, shape)),
        size=_f32(size),
        light=_f32(np.exp(0.3 * hard * rng.random((clips, 1)) * _sway(rng, times, 1)[..., 0])),
        blur=_f32(rng.normal(0, 0.02, (clips, 2)) * (rng.random((clips, 1)) < 0.3 * hard)),
        noise=_f32(rng.exponential(4.0, clips) * (rng.random(clips) < 0.6)),
        coarse=_f32(np.where(rng.random(clips) < 0.35 * hard, rng.uniform(1.2, 2.5, clips), 1.0)),
        steps=_f32(np.where(rng.random(clips) < 0.5, rng.uniform(6, 40, clips), 0.0)),
    )
    return _reordered(scene, order.argsort(axis=1))


def _f32(values: NDArray[np.float64]) -> Array:
    return np.ascontiguousarray(values, dtype=np.float32)


def _reordered(scene: Scenes, order: NDArray[np.int64]) -> Scenes:
    """Layers sorted far to near."""
    clips = np.arange(len(order))[:, None]
    changed = {}
    for name in ("kind", "cutout", "cloth", "window", "outline", "color", "shadow", "size"):
        changed[name] = getattr(scene, name)[clips, order]
    for name in ("place", "wave", "gain", "shown"):
        changed[name] = np.moveaxis(getattr(scene, name), 2, 1)[clips, order].swapaxes(1, 2)
    rest = {name: getattr(scene, name) for name in Scenes.__slots__ if name not in changed}
    return Scenes(**rest, **changed)


def _outlines(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    exponent = np.exp(rng.uniform(np.log(2), np.log(8), (*shape, 1)))
    waves = rng.normal(0, 1, (*shape, HARMONICS)) * rng.uniform(0, 0.28, (*shape, 1)) / np.arange(1, HARMONICS + 1)
    return np.concatenate([exponent, waves, rng.uniform(0, 2 * np.pi, (*shape, HARMONICS))], axis=-1)


def _colors(rng: np.random.Generator, shape: tuple[int, ...], hard: float) -> NDArray[np.float64]:
    """Affine maps of RGB in [0, 1]: brightness, contrast, saturation, tint, and now and then other channels."""
    gray = np.full((3, 3), 1 / 3)
    saturation = np.where(rng.random(shape) < 0.1, 0.0, np.exp(rng.normal(0, 0.3, shape)))[..., None, None]
    mix = saturation * np.eye(3) + (1 - saturation) * gray
    swap = np.eye(3)[np.where((rng.random(shape) < 0.25)[..., None], rng.random((*shape, 3)).argsort(-1), np.arange(3))]
    tint = np.exp(rng.normal(0, 0.12, (*shape, 3, 1)) + rng.normal(0, 0.2 + 0.1 * hard, (*shape, 1, 1)))
    matrix = tint * (mix @ swap)
    offset = rng.normal(0, 0.06, (*shape, 1, 1)) * np.ones((3, 1))
    return np.concatenate([matrix, offset], axis=-1)


def _look_alikes(rng: np.random.Generator, hard: float, looks: tuple[NDArray[np.generic], ...]) -> None:
    """Some layers get the looks of the first of their clip, in place."""
    twin = (rng.random(looks[0].shape) < 0.25 * hard) & (np.arange(LAYERS)[None] > 0)
    clips, layers = np.nonzero(twin)
    for values in looks:
        values[clips, layers] = values[clips, 0]
    color, size = looks[5], looks[6]
    color[clips, layers] = color[clips, layers] * np.exp(rng.normal(0, 0.05, (len(clips), 3, 1)))
    size[clips, layers] = size[clips, layers] * np.exp(rng.normal(0, 0.15, len(clips)))


def _sway(rng: np.random.Generator, times: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(B, T, count) smooth curves that are 0 at time 0 and stay within 2."""
    clips = len(times)
    speed = 2 * np.pi / np.exp(rng.uniform(np.log(12), np.log(90), (clips, 1, count)))
    phase = rng.uniform(0, 2 * np.pi, (clips, 1, count))
    return np.sin(speed * times[..., None] + phase) - np.sin(phase)


def _motion(
    rng: np.random.Generator, times: NDArray[np.float64], size: NDArray[np.float64], aspect: NDArray[np.float64],
    hard: float,
) -> NDArray[np.float64]:  # fmt: skip
    """(B, T, K, 3, 3) from the scene to each layer."""
    clips = len(times)
    shape = (clips, 1, LAYERS)
    fastest = np.log(0.01 + 0.06 * hard)
    speed = np.exp(rng.uniform(np.log(0.002), fastest, shape)) * (rng.random(shape) > 0.15)
    heading = rng.uniform(0, 2 * np.pi, shape)
    reach = rng.uniform(0, 0.25 + 0.35 * hard, shape) * (rng.random(shape) < 0.5)
    t = times[..., None]
    across = np.where(rng.random(shape) < 0.4, 1.0, 0.35)  # most things move sideways
    x = rng.normal(0, 0.38, shape) * aspect[:, None, None] + np.cos(heading) * speed * t
    x = x + reach * _sway(rng, times, LAYERS)
    y = rng.normal(0, 0.38, shape) + across * np.sin(heading) * speed * t + across * reach * _sway(rng, times, LAYERS)
    scale = size[:, None] * np.exp(rng.uniform(0, 0.05 + 0.25 * hard, shape) * _sway(rng, times, LAYERS))
    free = rng.random(shape) < 0.15  # any way up
    angle = np.where(free, rng.uniform(0, 2 * np.pi, shape), rng.normal(0, 0.2, shape))
    angle = angle + rng.uniform(0, 0.1 + 0.4 * hard, shape) * _sway(rng, times, LAYERS)
    angle = angle + np.where(rng.random(shape) < 0.15 * hard, rng.normal(0, 0.04, shape), 0.0) * t
    stretch = np.exp(rng.normal(0, 0.15, shape) + 0.12 * hard * _sway(rng, times, LAYERS))
    flip = np.where(rng.random(shape) < 0.5, 1.0, -1.0)
    tilt = 0.12 * hard * np.stack([_sway(rng, times, LAYERS), _sway(rng, times, LAYERS)]) * rng.random((2, *shape))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.zeros((*x.shape, 3, 3))
    wide, high = flip / (scale * stretch), stretch / scale
    matrix[..., 0, 0], matrix[..., 0, 1] = wide * cos, wide * sin
    matrix[..., 1, 0], matrix[..., 1, 1] = -high * sin, high * cos
    matrix[..., 0, 2] = -(matrix[..., 0, 0] * x + matrix[..., 0, 1] * y)
    matrix[..., 1, 2] = -(matrix[..., 1, 0] * x + matrix[..., 1, 1] * y)
    matrix[..., 2, 2] = 1
    lean = np.zeros_like(matrix)
    lean[..., range(3), range(3)] = 1
    lean[..., 2, 0], lean[..., 2, 1] = tilt[0], tilt[1]
    return lean @ matrix


def _camera(
    rng: np.random.Generator, times: NDArray[np.float64], aspect: NDArray[np.float64], hard: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, T, 3, 3) from the frame to the scene, and from the frame to the photograph behind it."""
    clips, frames = times.shape
    shape = (clips, 1)
    moves = rng.random(shape) < 0.75
    speed = np.exp(rng.uniform(np.log(0.001), np.log(0.008 + 0.05 * hard), shape)) * moves
    heading = rng.normal(0, 0.5, shape) + np.pi * rng.integers(0, 2, shape)
    shake = rng.normal(0, 0.012, (2, clips, frames)) * (rng.random(shape) < 0.3 * hard)
    reach = 0.15 * hard * moves * rng.random(shape)
    x = np.cos(heading) * speed * times + shake[0] + reach * _sway(rng, times, 1)[..., 0]
    y = np.sin(heading) * speed * times + shake[1] + 0.5 * reach * _sway(rng, times, 1)[..., 0]
    zoom = np.exp(0.12 * hard * moves * _sway(rng, times, 1)[..., 0])
    turn = 0.06 * hard * moves * _sway(rng, times, 1)[..., 0]
    frame = np.zeros((clips, frames, 3, 3))
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    wide = aspect[:, None]
    frame[..., 0, 0], frame[..., 0, 1], frame[..., 0, 2] = cos * wide, sin, x
    frame[..., 1, 0], frame[..., 1, 1], frame[..., 1, 2] = -sin * wide, cos, y
    frame[..., 2, 2] = 1
    part = rng.uniform(0.45, 0.9, shape)
    behind = np.zeros((clips, 1, 3, 3))
    behind[..., 0, 0] = part / wide * np.where(rng.random(shape) < 0.5, 1, -1)
    behind[..., 1, 1] = part
    behind[..., :2, 2] = rng.uniform(-1, 1, (clips, 1, 2)) * (1 - part[..., None])
    behind[..., 2, 2] = 1
    return frame, behind @ frame


def _waves(rng: np.random.Generator, times: NDArray[np.float64], hard: float) -> NDArray[np.float64]:
    """(B, T, K, 7) two waves across a layer, in amplitude, number and phase, and a quadratic bend."""
    clips, frames = times.shape
    shape = (clips, 1, LAYERS)
    alive = rng.random(shape) < 0.2 + 0.5 * hard
    parts = []
    for _ in range(2):
        amplitude = alive * rng.uniform(0, 0.12, shape)
        number, phase = rng.uniform(1, 4, shape), rng.uniform(0, 2 * np.pi, shape)
        speed = 2 * np.pi / np.exp(rng.uniform(np.log(8), np.log(80), shape))
        moving = phase + speed * times[..., None]
        parts += [np.broadcast_to(a, (clips, frames, LAYERS)) for a in (amplitude, number, moving)]
    bend = alive * rng.uniform(0, 0.15, shape) * _sway(rng, times, LAYERS)
    return np.stack([*parts, bend], axis=-1)


def _shadows(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """(B, K, 5) soft ellipses below layers; most have none."""
    depth = rng.uniform(0.2, 0.65, shape) * (rng.random(shape) < 0.35)
    parts = [rng.normal(0, 0.3, shape), rng.uniform(0.5, 0.95, shape)]
    parts += [rng.uniform(0.6, 1.2, shape), rng.uniform(0.1, 0.35, shape), depth]
    return np.stack(parts, axis=-1)


def _vanished(rng: np.random.Generator, clips: int, frames: int, hard: float) -> NDArray[np.bool_]:
    """(B, T, K) frames of which a layer is missing, never the first."""
    start = rng.integers(1, max(2, frames), (clips, 1, LAYERS))
    length = rng.integers(1, max(2, frames // 2 + 1), (clips, 1, LAYERS))
    t = np.arange(frames)[None, :, None]
    gone = rng.random((clips, 1, LAYERS)) < 0.12 * hard
    return gone & (t >= start) & (t < start + length)
