"""What a command runs when the user does not say: default tracker and model, and the settings of published numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mosam.engine.parity import Parity
from mosam.errors import MosamError
from mosam.policies.base import POLICIES

SETTINGS = ("common", "published")
TOY = "toy"


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings that a tracker runs with; None = the default of the dataset or the machine.

    Attributes:
        precision: type the network computes in.
        resize: filter that brings frames to the network's input size.
        post_processing: the official program's hole filling, stability fallback and binarized prompt memory.
        holes: post-processing fills holes; DAM4SAM's program discards the result.
        stability: the stability fallback without the rest of post-processing, as in SAM 3's program.
    """

    precision: str | None = None
    resize: Literal["pil_bicubic", "tv_bilinear_aa", "tv_bilinear"] = "pil_bicubic"
    post_processing: bool = False
    holes: bool = True
    stability: bool = False

    @property
    def parity(self) -> Parity:
        """What the engine imitates."""
        parity = Parity.official(post_processing=self.post_processing, holes=self.holes)
        return replace(parity, stability=parity.stability or self.stability)


# What the authors' own programs do, by tracker and the task of the dataset (None = any): SAM 2's `vos_inference.py`,
# SAMURAI's box and mask scripts, the inference scripts of SAM2Long, DAM4SAM, HiM2SAM (LaSOT and VOT alike), SAMOSA and
# RCMS, SAM 3's `build_tracker`. The paper of MoSAM states none.
PUBLISHED: dict[tuple[str, str | None], Preset] = {
    ("sam2", None): Preset(precision="bf16"),
    ("samurai", None): Preset(precision="bf16"),
    ("samurai", "box"): Preset(precision="fp16", post_processing=True),
    ("sam2long", None): Preset(precision="bf16"),
    ("dam4sam", None): Preset(precision="fp16", resize="tv_bilinear", post_processing=True, holes=False),
    ("him2sam", None): Preset(precision="fp16", post_processing=True),
    ("samosa", None): Preset(precision="fp16", post_processing=True),
    ("rcms", None): Preset(precision="bf16"),
    ("sam3", None): Preset(precision="bf16", stability=True),
}


def preset(settings: str, tracker: str, task: str) -> Preset:
    """The preset of one tracker.

    Args:
        settings: `common` = the same for every tracker, so that they differ by their policy alone; `published` = those
            of its authors' program.
        tracker: name of a policy.
        task: of the dataset, `DatasetInfo.task`.
    Raises:
        MosamError: another word, or a tracker whose published settings are not known.
    """
    if settings not in SETTINGS:
        raise MosamError(f"--settings: expected {' or '.join(SETTINGS)}, got {settings!r}")
    if settings == "common":
        return Preset()
    found = PUBLISHED.get((tracker, task)) or PUBLISHED.get((tracker, None))
    if found is None:
        known = ", ".join(sorted({name for name, _ in PUBLISHED}))
        raise MosamError(f"--settings published: nothing is published for {tracker}; known are {known}; use common")
    return found


def default_tracker() -> str:
    """`mosam` where it is there, else the baseline."""
    return "mosam" if "mosam" in POLICIES else "sam2"


def default_model(dataset: str) -> str:
    """`nano` for the generated benchmark (with random weights where none are shipped), `large` for everything else."""
    if dataset != TOY:
        return "large"
    from mosam.model.checkpoints import RANDOM_PREFIX, SHIPPED, WEIGHTS_FOLDER

    shipped = (WEIGHTS_FOLDER / f"{SHIPPED}.safetensors").is_file()
    return SHIPPED if shipped else f"{RANDOM_PREFIX}{SHIPPED}"
