"""From a recipe (what makes a video hard) to a scene, and short clips of such scenes for training.

The benchmark and the training clips come from the same recipes and the same painter: what a model learns on is what
it is asked about, with other draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mosam.datasets.toy_render import (
    Body,
    Scene,
    background,
    body_colors,
    body_texture,
    label,
    paint,
    random_outline,
    scene_colors,
)
from mosam.datasets.toy_render import place as place_path
from mosam.types import Image, Size

_RECTANGLE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
# A clip for training offers the objects that show at least this share of the picture on its first frame.
MIN_TARGET_SHARE = 0.01
# Share of the bodies of such a clip that are gone for some frames, whatever the scene is about: absence is learned from
# few frames otherwise.
VANISHING = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """What happens in a scene. Lengths are shares of the frame height, speeds are per frame.

    Attributes:
        targets: annotated objects.
        others: unrelated objects that nobody tracks.
        twins: look-alikes of the first target, with its pattern.
        unlike: how far the colors of a twin are from its model's, in gray levels.
        meet: whether twins keep crossing the first target (else they go their own way).
        cross: whether the targets run through one another.
        radius: smallest and largest radius of an object.
        speed: mean speed of the objects.
        growth: amplitude of the logarithm of the size.
        spin: radians per frame.
        deform: amplitude of the outline's own movement, in radii.
        hide: how the first target goes away: behind a wall, out of the frame, or at once (`vanish`).
        absence: frames it stays away each time.
        absences: how often.
        elsewhere: whether it comes back at another place.
        posts: narrow pillars in front of the objects, which cover them in part.
        camera: amplitude of the camera's movement.
        shake: amplitude of its trembling.
        shutter: exposures per frame, 1 = no motion blur.
        light: amplitude of the logarithm of the brightness.
        late: whether the last target appears only after a third of the video.
        contrast: of the background, against the objects'.
    """

    targets: int = 1
    others: int = 2
    twins: int = 0
    unlike: int = 0
    meet: bool = False
    cross: bool = False
    radius: tuple[float, float] = (0.18, 0.25)
    speed: float = 0.008
    growth: float = 0.08
    spin: float = 0.008
    deform: float = 0.05
    hide: Literal["no", "wall", "leave", "vanish"] = "no"
    absence: int = 12
    absences: int = 1
    elsewhere: bool = False
    posts: int = 0
    camera: float = 0.06
    shake: float = 0.0
    shutter: int = 1
    light: float = 0.0
    late: bool = False
    contrast: float = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A short video for training.

    Attributes:
        images: (T, H, W, 3) uint8 RGB.
        labels: (T, H, W) uint8, 0 = background, else the number of the object seen there.
        targets: numbers in `labels` that can be tracked: large enough on frame 0.
        main: the one of them that the scene is about (that hides, has look-alikes), or 0 where it is not among them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    targets: tuple[int, ...]
    main: int


def build_scene(rng: np.random.Generator, recipe: Recipe, frames: int, size: Size) -> Scene:
    """A scene of `frames` frames that follows the recipe; equal generators give equal scenes."""
    height, width = size
    camera, shake = _camera(rng, recipe, frames, size)
    ground, *colors = scene_colors(rng, recipe.targets + recipe.others + 2 + recipe.posts)
    movers = _movers(rng, recipe, frames, size, colors)
    front: list[Body] = []
    if recipe.hide != "no":
        movers[0], front = _hide(rng, recipe, movers[0], size, colors)
    if recipe.late:
        last = recipe.targets - 1
        shown = np.arange(frames) >= frames // 3
        movers[last] = replace(movers[last], shown=shown)
    depth = rng.permutation(len(movers))
    if recipe.cross:  # the larger goes behind, so that nobody is covered entirely
        depth = np.argsort([-body.radius for body in movers], kind="stable")
    front += [_post(rng, recipe, frames, size, number, colors) for number in range(recipe.posts)]
    bodies = [movers[number] for number in depth] + front
    bodies = [replace(body, path=place_path(camera, size, body.path)) for body in bodies]
    camera = camera.copy()
    camera[:, :2] += shake
    gain = np.exp(recipe.light * _wave(rng, frames, period=rng.uniform(0.4, 0.9) * max(frames, 24)))
    canvas = background(rng, (height * 2, width * 2), ground, contrast=recipe.contrast)
    return Scene(size, canvas, tuple(bodies), camera, gain, recipe.shutter)


def training_clip(
    rng: np.random.Generator,
    frames: int,
    *,
    recipe_of: Callable[[np.random.Generator], Recipe] | None = None,
    jump: int = 0,
    stride: int = 2,
    size: Size = (144, 192),
    side: int = 128,
) -> Clip:
    """A clip of a scene with a drawn recipe, resized to the square a model sees.

    Any moving body of the scene may be asked for, look-alikes included, so that neither saliency nor one frame's
    appearance tells which one is meant.

    Args:
        rng: source of everything.
        frames: length of the clip.
        recipe_of: draws a recipe; by default `random_recipe`.
        jump: frames of the scene left out after the first one: the object may be anywhere, and look otherwise.
        stride: some clips take only every second, third ... frame, up to this.
        size: (height, width) the scene is painted at before it is resized.
        side: pixels of the square result.
    Returns:
        The clip; at least one of its objects can be tracked.
    """
    while True:
        recipe = (recipe_of or random_recipe)(rng)
        share, draw = min(0.25 * (stride - 1), 0.75), rng.random()
        step = 2 + int(draw / share * (stride - 1)) if draw < share else 1
        span = frames * step + jump
        if recipe.hide != "no":  # away for no longer than half of what is seen
            recipe = replace(recipe, absence=int(rng.integers(2, max(4, span // 2))))
        length = max(40, span + 8)
        scene = build_scene(rng, recipe, length, size)
        first = _first_frame(rng, recipe, length, span)
        indices = [first] + [first + jump + step * k for k in range(1, frames)]
        scene = _vanishings(rng, scene, indices, VANISHING)
        start = label(scene, indices[0])
        if not (start.visible >= MIN_TARGET_SHARE * size[0] * size[1]).any():
            continue
        if rng.random() < 0.15:
            scene = replace(scene, shutter=3)
        labels = [cv2.resize(label(scene, i).index, (side, side), interpolation=cv2.INTER_NEAREST) for i in indices]
        counts = np.bincount(labels[0].ravel(), minlength=len(scene.bodies) + 1)[1:]
        large = counts >= MIN_TARGET_SHARE * side * side
        targets = tuple(
            n + 1 for n, body in enumerate(scene.bodies) if large[n] and len(body.outline) > len(_RECTANGLE)
        )
        main = next(n + 1 for n, body in enumerate(scene.bodies) if body.object_id == 1)
        # a scene of hiding teaches most where the one that hides is asked for
        if targets and (main in targets or recipe.hide == "no"):
            images = [cv2.resize(paint(scene, i), (side, side), interpolation=cv2.INTER_AREA) for i in indices]
            return Clip(np.stack(images), np.stack(labels), targets, main if main in targets else 0)


def _vanishings(rng: np.random.Generator, scene: Scene, indices: list[int], share: float) -> Scene:
    """Takes some of the bodies away at once, for up to half of the frames of a clip but never its first."""
    bodies = list(scene.bodies)
    for number, body in enumerate(bodies):
        if len(body.outline) == len(_RECTANGLE) or rng.random() >= share or not body.shown.all():
            continue
        start = int(rng.integers(1, len(indices)))
        stop = start + int(rng.integers(1, max(2, len(indices) // 2 + 1)))
        shown = body.shown.copy()
        shown[indices[start] : indices[stop] if stop < len(indices) else None] = False
        bodies[number] = replace(body, shown=shown)
    return replace(scene, bodies=tuple(bodies))


def random_recipe(rng: np.random.Generator) -> Recipe:
    """A recipe as training draws them: every difficulty of the benchmark, mixed."""
    hide: Literal["no", "wall", "leave", "vanish"] = "no"
    if rng.random() < 0.55:
        hide = ("wall", "leave", "vanish")[int(rng.integers(3))]  # type: ignore[assignment]
    twins = int(rng.integers(1, 3)) if rng.random() < 0.5 else 0
    return Recipe(
        targets=int(rng.integers(1, 4)),
        others=int(rng.integers(0, 3)),
        twins=twins,
        unlike=int(rng.integers(0, 70)),
        meet=bool(rng.random() < 0.5),
        cross=bool(rng.random() < 0.25),
        radius=(0.13, 0.25),
        speed=float(np.exp(rng.uniform(np.log(0.004), np.log(0.07)))),
        growth=float(rng.uniform(0, 0.5)),
        spin=float(rng.uniform(0, 0.1)),
        deform=float(rng.uniform(0, 0.1)),
        hide=hide,
        absence=int(rng.integers(2, 7)),
        absences=3,
        elsewhere=bool(rng.random() < 0.5),
        posts=int(rng.integers(1, 3)) if rng.random() < 0.3 else 0,
        camera=float(rng.uniform(0, 0.2)),
        shake=float(rng.uniform(0, 0.02)) if rng.random() < 0.3 else 0.0,
        light=float(rng.uniform(0, 0.5)) if rng.random() < 0.4 else 0.0,
        contrast=float(rng.uniform(0.3, 1.0)),
    )


def _first_frame(rng: np.random.Generator, recipe: Recipe, length: int, span: int) -> int:
    """Where a training clip starts: mostly so that an absence of the first target falls into it."""
    latest = length - span
    if recipe.hide != "no" and rng.random() < 0.75:
        start = absence_starts(recipe, length)[int(rng.integers(recipe.absences))]
        lead = int(rng.integers(2, max(3, span // 2 + 1)))
        return int(np.clip(start - lead, 0, latest))
    return int(rng.integers(0, latest + 1))


def absence_starts(recipe: Recipe, frames: int) -> list[int]:
    """First frame of each absence of the first target; they are spread evenly."""
    free = frames - recipe.absences * recipe.absence
    gap = free / (recipe.absences + 1)
    return [round(gap * (k + 1)) + k * recipe.absence for k in range(recipe.absences)]


Colors = list[NDArray[np.int64]]  # of the things in front of the background, each taken by the one that uses it


def _movers(rng: np.random.Generator, recipe: Recipe, frames: int, size: Size, colors: Colors) -> list[Body]:
    """Targets (numbered from 1), then twins of the first, then unrelated objects, on screen paths."""
    bodies = [_mover(rng, recipe, frames, size, number + 1, colors.pop()) for number in range(recipe.targets)]
    if recipe.cross:
        bodies = [_crossing(rng, recipe, body, number, size) for number, body in enumerate(bodies)]
    first, mean = bodies[0], np.zeros(3, dtype=np.int64)  # a twin gets its model's texture
    twins = [_twin(rng, recipe, first, _mover(rng, recipe, frames, size, 0, mean)) for _ in range(recipe.twins)]
    others = [_mover(rng, recipe, frames, size, 0, colors.pop()) for _ in range(recipe.others)]
    return bodies + twins + others


def _mover(
    rng: np.random.Generator, recipe: Recipe, frames: int, size: Size, object_id: int, color: NDArray[np.int64]
) -> Body:
    low, high = recipe.radius
    turn = recipe.spin * (1 if rng.random() < 0.5 else -1)
    steps = np.arange(frames)
    return Body(
        object_id=object_id,
        texture=body_texture(rng, body_colors(rng, color)),
        outline=random_outline(rng),
        radius=float(rng.uniform(low, high)) * size[0],
        path=_wander(rng, recipe, frames, size),
        angle=np.asarray(rng.uniform(0, 2 * np.pi) + turn * steps, dtype=np.float64),
        scale=np.exp(recipe.growth * _wave(rng, frames, period=rng.uniform(30, 60))),
        wave=(recipe.deform, int(rng.integers(2, 5)), float(rng.uniform(0.05, 0.25))),
        shown=np.ones(frames, dtype=bool),
    )


def _wander(rng: np.random.Generator, recipe: Recipe, frames: int, size: Size) -> NDArray[np.float64]:
    """(T, 2) smooth screen path inside the frame with the recipe's mean speed."""
    height, width = size
    speed = recipe.speed * height * rng.uniform(0.7, 1.3)
    path = np.empty((frames, 2))
    for axis, extent in enumerate((width, height)):
        reach = rng.uniform(0.14, 0.26) * extent
        period = 2 * np.pi * reach * 0.9 / max(speed, 1e-6)
        slow = 0.35 * _wave(rng, frames, period=2.3 * period)
        path[:, axis] = extent * rng.uniform(0.42, 0.58) + reach * (_wave(rng, frames, period=period) + slow)
    return path


def _crossing(rng: np.random.Generator, recipe: Recipe, body: Body, number: int, size: Size) -> Body:
    """Sends the body to and fro through the middle, each along its own line and a little after the one before."""
    height, width = size
    frames = len(body.path)
    direction = number * 2 * np.pi / 3 + rng.uniform(-0.3, 0.3)
    period = 2 * np.pi * 0.3 * height * 0.64 / (recipe.speed * height)
    run = np.cos(2 * np.pi * np.arange(frames) / period - number * 0.6)[:, None]
    ray = np.array([np.cos(direction) * 0.33 * width, np.sin(direction) * 0.28 * height])
    return replace(body, path=np.array([width, height]) / 2 + run * ray)


def _twin(rng: np.random.Generator, recipe: Recipe, model: Body, body: Body) -> Body:
    """Gives `body` the looks of `model`, and half of the time its outline."""
    shift = rng.integers(-1, 2, size=3) * recipe.unlike
    texture = np.clip(model.texture.astype(np.int64) + shift, 0, 255).astype(np.uint8)
    outline = model.outline if rng.random() < 0.5 else body.outline
    path = body.path
    if recipe.meet:
        frames = len(path)
        period = rng.uniform(24, 40) * 0.012 / max(recipe.speed, 0.006)
        sway = _wave(rng, frames, period=max(period, 14.0))[:, None]
        heading = rng.uniform(0, 2 * np.pi) + 0.02 * np.arange(frames)
        offset = sway * np.stack([np.cos(heading), np.sin(heading)], axis=1) * model.radius * rng.uniform(2.4, 3.4)
        path = model.path + offset
    return replace(body, texture=texture, outline=outline, radius=model.radius * rng.uniform(0.9, 1.1), path=path)


def _hide(rng: np.random.Generator, recipe: Recipe, body: Body, size: Size, colors: Colors) -> tuple[Body, list[Body]]:
    """Takes the body away for the recipe's absences; returns it and the walls that hide it."""
    frames = len(body.path)
    steps = np.arange(frames)
    path, shown = body.path.copy(), body.shown.copy()
    places = _hiding_places(rng, recipe, body, size)
    approach = int(np.clip(0.22 / max(recipe.speed, 1e-6), 4, 14))
    for number, start in enumerate(absence_starts(recipe, frames)):
        stop = start + recipe.absence
        middle = (start + stop) / 2
        if recipe.hide == "vanish":
            shown[start:stop] = False
            if recipe.elsewhere:
                path[steps >= middle] = _wander(rng, recipe, frames, size)[steps >= middle]
            continue
        entry = places[number % 2]
        leave = places[(number + 1) % 2] if recipe.elsewhere else entry
        away = np.where((steps < middle)[:, None], entry, leave)
        before = np.clip((start - steps) / approach, 0, 1)
        after = np.clip((steps - stop + 1) / approach, 0, 1)
        share = np.maximum(before, after)[:, None]
        share = share * share * (3 - 2 * share)
        path = path * share + away * (1 - share)
    walls = [_wall(rng, recipe, body, place, frames, colors) for place in places] if recipe.hide == "wall" else []
    if walls and not recipe.elsewhere and recipe.absences == 1:
        walls = walls[:1]
    return replace(body, path=path, shown=shown), walls


def _hiding_places(rng: np.random.Generator, recipe: Recipe, body: Body, size: Size) -> list[NDArray[np.float64]]:
    """Two places on the screen: inside the frame for walls, outside of it for leaving."""
    height, width = size
    if recipe.hide == "leave":
        margin = body.radius * float(body.scale.max()) * 2.0
        left = np.array([-margin, rng.uniform(0.2, 0.8) * height])
        right = np.array([width + margin, rng.uniform(0.2, 0.8) * height])
        places = [left, right]
    else:
        left = np.array([rng.uniform(0.15, 0.27) * width, rng.uniform(0.3, 0.7) * height])
        right = np.array([rng.uniform(0.73, 0.85) * width, rng.uniform(0.3, 0.7) * height])
        places = [left, right]
    return places if rng.random() < 0.5 else places[::-1]


def _wall(
    rng: np.random.Generator, recipe: Recipe, body: Body, place: NDArray[np.float64], frames: int, colors: Colors
) -> Body:
    half = body.radius * float(body.scale.max()) * (1.65 + recipe.deform)
    outline = _RECTANGLE * np.array([1.0, rng.uniform(1.0, 1.5)])
    texture = body_texture(rng, body_colors(rng, colors.pop()))
    return _still(texture, outline, half, np.broadcast_to(place, (frames, 2)).copy())


def _post(rng: np.random.Generator, recipe: Recipe, frames: int, size: Size, number: int, colors: Colors) -> Body:
    """A pillar from top to bottom, narrower than the objects."""
    height, width = size
    half = 0.5 * recipe.radius[0] * height * rng.uniform(0.6, 1.0)
    x = width * ((number + 0.5) / max(recipe.posts, 1) + rng.uniform(-0.1, 0.1))
    outline = _RECTANGLE * np.array([1.0, 0.75 * height / half])
    texture = body_texture(rng, body_colors(rng, colors.pop()))
    return _still(texture, outline, half, np.broadcast_to(np.array([x, height / 2]), (frames, 2)).copy())


def _still(texture: Image, outline: NDArray[np.float64], radius: float, path: NDArray[np.float64]) -> Body:
    frames = len(path)
    shown = np.ones(frames, dtype=bool)
    return Body(0, texture, outline, radius, path, np.zeros(frames), np.ones(frames), (0.0, 1, 0.0), shown)


def _camera(
    rng: np.random.Generator, recipe: Recipe, frames: int, size: Size
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth camera (T, 4) and its trembling (T, 2) in pixels."""
    height, width = size
    period = rng.uniform(40, 90)
    amount = recipe.camera * np.array([1.2 * width, 1.2 * height, 0.8, 0.7])
    camera = np.stack([_wave(rng, frames, period=period * rng.uniform(0.7, 1.4)) for _ in range(4)], axis=1) * amount
    shake = rng.uniform(-1, 1, size=(frames, 2)) * recipe.shake * height
    return camera, shake


def _wave(rng: np.random.Generator, frames: int, *, period: float) -> NDArray[np.float64]:
    """(T,) sine with a random phase."""
    return np.sin(2 * np.pi * np.arange(frames) / period + rng.uniform(0, 2 * np.pi))
