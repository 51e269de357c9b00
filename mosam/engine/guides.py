"""Prompts and guides as the decoder takes them, and which of them may share a call."""

from __future__ import annotations

import numpy as np

from mosam.policies.base import MotionPrompt
from mosam.types import Prompt, Size


def prompt_kind(prompt: Prompt) -> tuple[str, int]:
    """Prompts of one kind share a decoder call: it has one multimask flag and one token count."""
    if prompt.mask is not None:
        return ("mask", 0)
    return ("points", (2 if prompt.box is not None else 0) + (0 if prompt.points is None else len(prompt.points)))


def guide_kind(guide: MotionPrompt) -> tuple[bool, bool, int]:
    """Guides of one kind share a decoder call."""
    return guide.likeness is not None, guide.box is not None, 0 if guide.points is None else len(guide.points)


def as_prompt(guide: MotionPrompt, size: Size) -> Prompt:
    """A guide, in fractions of the picture, as a prompt in video pixels."""
    scale = np.array([size[1], size[0]], dtype=np.float64)
    box = None
    if guide.box is not None:
        corner = guide.box[:2] * scale
        box = np.concatenate([corner, guide.box[2:] * scale - corner])
    points = None if guide.points is None else guide.points * scale
    labels = None if points is None else np.ones(len(points), dtype=np.int64)
    return Prompt(1, box=box, points=points, labels=labels)
