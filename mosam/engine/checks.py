"""Arguments of the engine: whatever the caller can mend is a ValueError that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mosam.engine.parity import Parity
from mosam.engine.records import Video
from mosam.errors import MosamError
from mosam.geometry import inside_share
from mosam.model.backbone import Backbone
from mosam.policies.base import MemoryPolicy
from mosam.system.arguments import described, has, instance, numbers, switch, whole
from mosam.types import Image, Prompt, Size

LEAST_INSIDE = 0.5  # share of a box that must be in the picture; annotated boxes may reach out of it a little


def check_engine(
    model: object, policy: object, parity: object, max_lanes: object, max_rows: object, log: object
) -> None:
    """ValueError that names the argument of an engine which is of another type or out of range."""
    has(model, ("sizes", "encode"), "Engine: model", "a network (mosam.load_model)")
    instance(policy, MemoryPolicy, "Engine: policy", "a policy (mosam.load_policy)")
    instance(parity, Parity, "Engine: parity", "a mosam.Parity or None")
    whole(max_lanes, "Engine: max_lanes", 1)
    if max_rows is not None:
        whole(max_rows, "Engine: max_rows", 1)
    switch(log, "Engine: log")


def check_policy(model: Backbone, policy: MemoryPolicy) -> None:
    """MosamError where a policy asks for what this network does not have."""
    if policy.needs_memory_grid and not model.sizes.memory_grid:
        raise MosamError(
            f"{policy.label}: {policy.needs_memory_grid} expects memories that are a grid of cells, those of "
            f"{model.name} are not; use another value or another network"
        )


def as_size(size: object) -> Size:
    """(height, width) of a video."""
    if not isinstance(size, list | tuple | np.ndarray) or len(size) != 2:
        hint = "; write image.shape[:2]" if isinstance(size, tuple) and len(size) == 3 else ""
        raise ValueError(f"open: expected a size (height, width), got {described(size)}{hint}")
    return whole(size[0], "open: height", 1), whole(size[1], "open: width", 1)


def as_prompts(prompts: object, where: str) -> list[Prompt]:
    """Prompts, in a list."""
    if isinstance(prompts, Prompt | str | Mapping) or not isinstance(prompts, Iterable):
        raise ValueError(f"{where}: expected a list of prompts, got {described(prompts)}")
    found = list(prompts)
    for prompt in found:
        instance(prompt, Prompt, where, "a list of prompts (mosam.Prompt), and in it one")
    return found


def as_images(images: object, where: str) -> Mapping[Video, Image]:
    """Frames by video, as arrays."""
    if not isinstance(images, Mapping):
        raise ValueError(f"{where}: expected frames by video, {{video: image}}, got {described(images)}")
    for video, image in images.items():
        instance(video, Video, where, "frames by video, {video: image}, and as a key")
        if not isinstance(image, np.ndarray | list | tuple):
            got = described(image)
            raise ValueError(f"{where}: expected a uint8 RGB array (H, W, 3), got {got}; np.asarray may make one")
    if not any(isinstance(image, list | tuple) for image in images.values()):
        return images
    return {video: _listed_image(image, where) for video, image in images.items()}


def _listed_image(image: NDArray[np.uint8] | list[object] | tuple[object, ...], where: str) -> Image:
    if isinstance(image, np.ndarray):
        return image
    values = numbers(image, where, "a uint8 RGB image (H, W, 3)")
    if values.size and not ((values >= 0) & (values <= 255) & (values == np.rint(values))).all():
        raise ValueError(f"{where}: expected a uint8 RGB image (H, W, 3), got numbers that are not 0 to 255")
    return values.astype(np.uint8)


def check_place(prompt: Prompt, video: Video) -> None:
    """ValueError where a prompt lies beyond the clip or outside of its picture."""
    where = f"object {prompt.object_id}"
    if video.num_frames is not None and prompt.frame_index >= video.num_frames:
        last = video.num_frames - 1
        raise ValueError(f"{where}: expected a prompt on frame 0 to {last}, got one on frame {prompt.frame_index}")
    picture = f"the picture of {video.size[1]}x{video.size[0]} (width x height)"
    if prompt.box is not None and inside_share(prompt.box, video.size) < LEAST_INSIDE:
        shown = ",".join(f"{value:g}" for value in prompt.box)
        raise ValueError(
            f"{where}: expected a box x,y,w,h of which half is in {picture}, got {shown}, of which "
            f"{inside_share(prompt.box, video.size):.0%} is"
        )
    if prompt.points is not None:
        outside = ~((prompt.points >= 0) & (prompt.points <= video.size[::-1])).all(axis=1)
        if outside.any():
            shown = ",".join(f"{value:g}" for value in prompt.points[outside][0])
            raise ValueError(f"{where}: expected points x,y in {picture}, got {shown}")
