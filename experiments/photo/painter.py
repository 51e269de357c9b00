"""Clips painted from scenes, a batch at once, on whatever device the network trains on.

Layers are sampled from their textures and laid over the photograph far to near; the mask of a layer is where it is the
nearest that covers at least half of the pixel. Then come what cameras and codecs do to pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.errors import MismatchError
from photo.pack import COSINES, CUTOUT_SIDE, Picture
from photo.scenes import CUTOUT, HARMONICS, LAYERS, OUTLINE, Scenes

REACH = 9  # pixels of the longest motion blur
CLOTH_SIDE = CUTOUT_SIDE


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """All pictures of a pack on a device.

    Attributes:
        cutouts: (C, 4, side, side) uint8.
        photos: (P, 3, side, side) uint8.
        names: of both, cut-outs first.
        held: which are for validation alone.
    """

    cutouts: Tensor
    photos: Tensor
    names: tuple[str, ...]
    held: tuple[bool, ...]

    @classmethod
    def of(cls, pictures: Sequence[Picture], device: torch.device | str = "cpu") -> Pictures:
        """Upload pictures.

        Raises:
            MismatchError: a kind of picture is missing for training or for validation.
        """
        ordered = sorted(pictures, key=lambda picture: not picture.cutout)
        for kind in (True, False):
            if {picture.held for picture in ordered if picture.cutout == kind} != {True, False}:
                name = "cut-outs" if kind else "photographs"
                raise MismatchError(f"pack: expected {name} for training and others for validation")
        parts = [
            torch.from_numpy(np.stack([p.pixels for p in ordered if p.cutout == kind])).permute(0, 3, 1, 2).to(device)
            for kind in (True, False)
        ]
        held = tuple(picture.held for picture in ordered)
        return cls(parts[0].contiguous(), parts[1].contiguous(), tuple(p.name for p in ordered), held)

    def numbers(self, *, held: bool) -> tuple[list[int], list[int]]:
        """Cut-outs and photographs of training, or of validation."""
        count = len(self.cutouts)
        some = [number for number, other in enumerate(self.held) if other == held]
        return [n for n in some if n < count], [n - count for n in some if n >= count]


@torch.no_grad()
def paint(scenes: Scenes, pictures: Pictures, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frames of all clips.

    Args:
        scenes: B clips of T frames with K layers.
        pictures: on the device that paints.
        side: pixels of the square frames, a multiple of 8.
        seed: of the noise.
    Returns:
        (T, B, 3, side, side) float32 in [0, 1], in whole gray levels; (T, B, side, side) uint8 nearest layer of each
        pixel, counted from 1, 0 = the photograph behind.
    """
    with torch.autocast(pictures.photos.device.type, enabled=False):  # of 32 bits, whatever the network computes in
        return _painted(scenes, pictures, side, seed)


def _painted(scenes: Scenes, pictures: Pictures, side: int, seed: int) -> tuple[Tensor, Tensor]:
    device = pictures.photos.device
    scene = {field.name: torch.from_numpy(getattr(scenes, field.name)).to(device) for field in fields(scenes)}
    clips, frames = scene["light"].shape
    plane = _plane(side, device)
    points = torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1)
    picture = _behind(scene, pictures, points)
    label = torch.zeros((clips, frames, side, side), dtype=torch.uint8, device=device)
    textures = _filtered(_textures(scene, pictures), scene["size"], side)
    used = scenes.shown.any(axis=(0, 1))
    for layer in range(LAYERS):
        if not used[layer]:
            continue
        where = _bent(_mapped(scene["place"][:, :, layer], points), scene["wave"][:, :, layer])
        grid = where.flatten(1, 2)  # frames below one another
        sampled = F.grid_sample(textures[:, layer], grid, align_corners=False)
        sampled = sampled.unflatten(2, (frames, side)).transpose(1, 2)  # (B, T, 4, side, side)
        shown = scene["shown"][:, :, layer, None, None, None]
        alpha = sampled[:, :, 3:] * shown
        color = sampled[:, :, :3] / sampled[:, :, 3:].clamp(min=1e-3) * scene["gain"][:, :, layer, None, None, None]
        picture = picture * (1 - _shade(where, scene["shadow"][:, layer])[:, :, None] * shown)
        picture = torch.lerp(picture, color.clamp(0, 1), alpha)
        label.masked_fill_((alpha > 0.5)[:, :, 0], layer + 1)
    picture = picture * scene["light"][..., None, None, None]
    picture = _degraded(picture.clamp(0, 1), scene, scenes, seed)
    return (picture * 255).round().div(255).transpose(0, 1).contiguous(), label.transpose(0, 1).contiguous()


def _plane(side: int, device: torch.device) -> Tensor:
    """(side, side, 2) x and y of the pixels of a square from -1 to 1."""
    steps = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y], dim=-1)


def _mapped(matrix: Tensor, points: Tensor) -> Tensor:
    """(B, T, 3, 3) maps of (side, side, 3) points -> (B, T, side, side, 2)."""
    flat = points.flatten(0, 1) @ matrix.transpose(-1, -2)
    return (flat[..., :2] / flat[..., 2:].clamp(min=0.2)).unflatten(2, points.shape[:2])


def _bent(where: Tensor, wave: Tensor) -> Tensor:
    """Points of a layer after its waves and its bend."""
    x, y = where.unbind(-1)
    a, b, c, d, e, f, bend = (value[..., None, None] for value in wave.unbind(-1))
    return torch.stack([x + a * torch.sin(b * y + c) + bend * y * y, y + d * torch.sin(e * x + f)], dim=-1)


def _behind(scene: dict[str, Tensor], pictures: Pictures, points: Tensor) -> Tensor:
    """(B, T, 3, side, side) the photograph alone; beyond its edge it is mirrored."""
    grid = _mapped(scene["camera"], points)
    frames, side = grid.shape[1:3]
    photos = pictures.photos[scene["photo"]].float() / 255
    out = F.grid_sample(photos, grid.flatten(1, 2), padding_mode="reflection", align_corners=False)
    return out.unflatten(2, (frames, side)).transpose(1, 2)


def _textures(scene: dict[str, Tensor], pictures: Pictures) -> Tensor:
    """(B, K, 4, side, side) colors of each layer, weighted by the alpha beside them."""
    kind = scene["kind"]
    cut = pictures.cutouts[scene["cutout"]].float() / 255
    color, alpha = cut[:, :, :3], cut[:, :, 3:]
    dressed = (kind != CUTOUT).nonzero(as_tuple=True)
    if len(dressed[0]):
        color[dressed] = _cloth(pictures.photos[scene["cloth"][dressed]], scene["window"][dressed])
    drawn = (kind == OUTLINE).nonzero(as_tuple=True)
    if len(drawn[0]):
        alpha[drawn] = _drawn(scene["outline"][drawn])
    matrix = scene["color"]
    mixed = torch.einsum("bkij,bkjyx->bkiyx", matrix[..., :3], color) + matrix[..., 3][..., None, None]
    return torch.cat([mixed.clamp(0, 1) * alpha, alpha], dim=2)


def _cloth(photos: Tensor, window: Tensor) -> Tensor:
    """(N, 3, side, side) square cuts of photographs."""
    reach = window[:, 2, None, None, None]
    grid = _plane(CLOTH_SIDE, photos.device)
    return F.grid_sample(
        photos.float() / 255, window[:, None, None, :2] + reach * grid, padding_mode="reflection", align_corners=False
    )


def _drawn(outline: Tensor) -> Tensor:
    """(N, 1, side, side) alpha of superellipses with waves."""
    x, y = _plane(CLOTH_SIDE, outline.device).unbind(-1)
    angle, radius = torch.atan2(y, x), torch.hypot(x, y)
    exponent = outline[:, 0, None, None]
    round_ = (angle.cos().abs() ** exponent + angle.sin().abs() ** exponent) ** (-1 / exponent)
    number = torch.arange(1, HARMONICS + 1, device=outline.device)[:, None, None]
    amplitude, phase = (part[..., None, None] for part in outline[:, 1:].split(HARMONICS, dim=1))
    waves = (amplitude * torch.cos(number * angle + phase)).sum(dim=1)
    edge = (0.7 * round_ * (1 + waves)).clamp(0.08, 0.97)
    return ((edge - radius) * (CLOTH_SIDE / 3) + 0.5).clamp(0, 1)[:, None]


def _filtered(textures: Tensor, size: Tensor, side: int) -> Tensor:
    """Textures that will be made smaller lose first what their pixels could not show."""
    ratio = CUTOUT_SIDE / (size * side)
    flat, out = textures.flatten(0, 1), textures.flatten(0, 1).clone()
    for factor, least in ((2, 1.4), (4, 2.8)):
        some = (ratio.flatten() > least).nonzero()[:, 0]
        if len(some):
            small = F.avg_pool2d(flat[some], factor)
            out[some] = F.interpolate(small, size=flat.shape[-2:], mode="bilinear", align_corners=False)
    return out.unflatten(0, textures.shape[:2])


def _shade(where: Tensor, shadow: Tensor) -> Tensor:
    """(B, T, side, side) how much a layer darkens what is behind it."""
    x, y, wide, high, depth = (value[:, None, None, None] for value in shadow.unbind(-1))
    far = ((where[..., 0] - x) / wide).square() + ((where[..., 1] - y) / high).square()
    return depth * torch.exp(-far.square())


def _degraded(picture: Tensor, scene: dict[str, Tensor], scenes: Scenes, seed: int) -> Tensor:
    """(B, T, 3, side, side) pictures after motion blur, loss of resolution, noise and a lossy code."""
    side = picture.shape[-1]
    for clip in np.flatnonzero(np.abs(scenes.blur).max(axis=1) * side > 2):
        kernel = _line(scene["blur"][clip] * (side / 2)).expand(3, 1, -1, -1)
        padded = F.pad(picture[clip], (REACH // 2,) * 4, mode="replicate")
        picture[clip] = F.conv2d(padded, kernel, groups=3)
    for clip in np.flatnonzero(scenes.coarse > 1):
        less = round(side / float(scenes.coarse[clip]))
        small = F.interpolate(picture[clip], size=(less, less), mode="bilinear", antialias=True, align_corners=False)
        picture[clip] = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
    generator = torch.Generator(picture.device).manual_seed(seed)
    noise = torch.randn(picture.shape, generator=generator, device=picture.device)
    picture = picture + noise * (scene["noise"] / 255)[:, None, None, None, None]
    lossy = np.flatnonzero(scenes.steps > 0)
    if len(lossy):
        some = torch.from_numpy(lossy).to(picture.device)
        picture[some] = _coded(picture[some], scene["steps"][some] / 255)
    return picture.clamp(0, 1)


def _line(vector: Tensor) -> Tensor:
    """(REACH, REACH) kernel of a straight movement, a soft line through the middle."""
    steps = torch.arange(REACH, device=vector.device) - REACH // 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    length = vector.norm().clamp(1.0, REACH / 2)
    along, across = (x * vector[0] + y * vector[1]) / vector.norm(), (x * vector[1] - y * vector[0]) / vector.norm()
    kernel = (length - along.abs() + 0.5).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
    return kernel / kernel.sum()


def _coded(picture: Tensor, steps: Tensor) -> Tensor:
    """Pictures through a cosine transform of 8 x 8 blocks with coarse steps."""
    cosines = torch.from_numpy(COSINES).to(picture.device)
    growth = 0.3 + 0.1 * torch.arange(8, device=picture.device)
    growth = (growth[:, None] + growth[None]).reshape(64)
    n = picture.shape[-1] // 8
    blocks = picture.unflatten(-1, (n, 8)).unflatten(-3, (n, 8)).transpose(-3, -2).flatten(-2)
    step = steps[:, None, None, None, None, None] * growth
    codes = ((blocks - 0.5) @ cosines.T / step).round() * step
    return (codes @ cosines + 0.5).unflatten(-1, (8, 8)).transpose(-3, -2).flatten(-2).flatten(-3, -2)
