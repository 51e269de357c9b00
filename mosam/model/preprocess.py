"""Frames and prompts of any size -> the tensors a network takes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.types import Mask, Prompt, Size

Resize = Literal["pil_bicubic", "tv_bilinear_aa", "tv_bilinear"]
RESIZES: tuple[Resize, ...] = get_args(Resize)

Pixel = tuple[float, float, float]
MEAN: Pixel = (0.485, 0.456, 0.406)  # of ImageNet, RGB, as in SAM 2
STD: Pixel = (0.229, 0.224, 0.225)

POSITIVE, BOX_CORNERS, NO_POINT = 1, (2, 3), -1  # point labels of the prompt encoder


def load_pixels(
    images: Sequence[np.ndarray],
    side: int,
    *,
    resize: Resize,
    device: torch.device,
    mean: Pixel = MEAN,
    std: Pixel = STD,
    on_device: bool | None = None,
) -> Tensor:
    """Resize and normalize frames.

    Args:
        images: uint8 RGB (H, W, 3), each of its own size; the aspect ratio is not kept.
        side: side of the square result.
        resize: `pil_bicubic` on uint8 (SAM 2, SAMURAI, SAM2Long; bit-equal to the official loader), `tv_bilinear`
            without antialias (DAM4SAM), `tv_bilinear_aa` with it (`transformers`).
        device: where the result goes.
        mean, std: of the colors, by which they are normalized.
        on_device: upload the frames as they are and resize them there, within one gray level of the same on the host;
            None = on a GPU.
    Returns:
        (B, 3, side, side) float32.
    Raises:
        ValueError: an image is not uint8 RGB.
    """
    if device.type == "cuda" if on_device is None else on_device:
        pixels = torch.cat([_resized_there(image, side, resize, device) for image in images])
        return _normalize(pixels, resize, mean, std)
    pixels = torch.stack([_resized(image, side, resize) for image in images]).to(device, non_blocking=True)
    pixels = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return _normalize(pixels, resize, mean, std)


def _normalize(pixels: Tensor, resize: Resize, mean: Pixel, std: Pixel) -> Tensor:
    """(B, 3, side, side) float32 gray levels (in [0, 1] where the filter works on those), changed in place."""
    if resize != "tv_bilinear":  # DAM4SAM divides first
        pixels.div_(255)
    return pixels.sub_(_uploaded(mean, pixels.device)).div_(_uploaded(std, pixels.device))


@functools.lru_cache(maxsize=16)
def _uploaded(values: Pixel, device: torch.device) -> Tensor:
    """Three values as a (3, 1, 1) tensor, uploaded once: an upload from a list waits for the device."""
    with torch.inference_mode(False):  # it may be used with gradients later
        return torch.tensor(values, device=device).view(3, 1, 1)


def _resized_there(image: np.ndarray, side: int, resize: Resize, device: torch.device) -> Tensor:
    """(H, W, 3) uint8 on the host -> (1, 3, side, side) float32 on the device, as `_resized` gives them."""
    _check(image)
    raw = torch.from_numpy(np.ascontiguousarray(image))
    if device.type == "cuda":
        raw = raw.pin_memory()  # or the upload would wait for what the device is doing
    planes = raw.to(device, non_blocking=True).permute(2, 0, 1)[None].to(torch.float32)
    if resize == "tv_bilinear":
        return F.interpolate(planes / 255, size=(side, side), mode="bilinear", align_corners=False)
    if planes.shape[2:] == (side, side):
        return planes.contiguous()
    mode = "bicubic" if resize == "pil_bicubic" else "bilinear"
    for size in (
        (planes.shape[2], side),
        (side, side),
    ):  # as on 8 bits: columns, then rows, in whole gray levels
        if planes.shape[2:] != size:
            planes = F.interpolate(planes, size=size, mode=mode, antialias=True, align_corners=False)
            planes = planes.round_().clamp_(0, 255)
    return planes


def _check(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"preprocess: expected a uint8 RGB image (H, W, 3), got {image.dtype} {image.shape}")


def _resized(image: np.ndarray, side: int, resize: Resize) -> Tensor:
    """(H, W, 3) uint8 -> (side, side, 3): uint8, or float32 in [0, 1] where the filter works on floats."""
    _check(image)
    if resize == "pil_bicubic":
        from PIL import Image

        picture = Image.fromarray(image)
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(picture))
    antialias = resize == "tv_bilinear_aa"
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    if antialias:  # on uint8, as the port's image processor does
        out = F.interpolate(planes, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    else:
        out = F.interpolate(planes.float() / 255, size=(side, side), mode="bilinear", align_corners=False)
    return out[0].permute(1, 2, 0)


def load_mask(mask: Mask, side: int) -> Tensor:
    """(H, W) bool -> (1, side, side) float32 of 0 and 1: bilinear with antialias, then `>= 0.5`."""
    planes = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    if mask.shape != (side, side):
        planes = F.interpolate(planes, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        planes = (planes >= 0.5).float()
    return planes[0]


def prompt_points(prompt: Prompt, size: Size, side: int) -> tuple[Tensor, Tensor]:
    """Box and points of a prompt as network points, the corners of the box first.

    Args:
        prompt: with a box, points or both.
        size: (height, width) of the frame.
        side: side of the network's input.
    Returns:
        (N, 2) float32 x, y in input pixels; (N,) int32 labels.
    Raises:
        ValueError: a mask prompt.
    """
    if prompt.mask is not None:
        raise ValueError(f"prompt of object {prompt.object_id}: expected a box or points, got a mask; use mask_prompt")
    points = np.zeros((0, 2))
    labels: list[int] = []
    if prompt.box is not None:
        x, y, w, h = prompt.box
        points = np.array([[x, y], [x + w, y + h]])
        labels = list(BOX_CORNERS)
    if prompt.points is not None and prompt.labels is not None:
        points = np.concatenate([points, prompt.points])
        labels += [int(label) for label in prompt.labels]
    height, width = size
    # Divide first, in fp32: the official order of operations.
    scaled = torch.from_numpy(points).float() / torch.tensor([width, height]) * side
    return scaled, torch.tensor(labels, dtype=torch.int32)
