"""Switches between the official program and the `transformers` port, where the two compute different things.

The defaults are the official ones. Resize, precision and formulas are choices of the model (`load_model`), the rest is
decided here. Each difference was read in both programs; `docs/engine.md` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from mosam.model.constants import HOLE_AREA
from mosam.policies.base import PointerNorm
from mosam.system.arguments import one_of, switch, whole


@dataclass(frozen=True, slots=True)
class Parity:
    """What the engine imitates.

    Attributes:
        cond_memory: memory of a prompted frame: `official` = low-resolution logits up-sampled, sigmoid; `official_post`
            = the same, holes filled and binarized (library default, SAMURAI, DAM4SAM); `hf` = exact mask, binarized.
        cond_pointer: pointer of a mask-prompted frame from the `single` mask token, or from the best of `multi`.
        pointer_norm: what divides pointer distances; `policy` = each policy's own rule.
        stability: replace an unstable single mask by the best of three (official with post-processing).
        fill_holes: holes of up to so many low-resolution pixels are filled in what is shown; 0 = off (official: 8, 0).
        binarize_scope: in `hf`, a prompt on a frame binarizes the memory of every object on it (`frame`).
    Raises:
        ValueError: a value that is not one of these.
    """

    cond_memory: Literal["official", "official_post", "hf"] = "official"
    cond_pointer: Literal["single", "multi"] = "single"
    pointer_norm: PointerNorm = "policy"
    stability: bool = False
    fill_holes: int = 0
    binarize_scope: Literal["object", "frame"] = "object"

    def __post_init__(self) -> None:
        for name in ("cond_memory", "cond_pointer", "pointer_norm", "binarize_scope"):
            one_of(getattr(self, name), f"Parity: {name}", get_args(get_type_hints(Parity)[name]))
        switch(self.stability, "Parity: stability")
        whole(self.fill_holes, "Parity: fill_holes", 0)

    @classmethod
    def official(cls, *, post_processing: bool = False, holes: bool = True) -> Parity:
        """The official predictor; with `apply_postprocessing` as its library default and box-tracking forks have it.

        DAM4SAM's fork computes the filled holes and then throws them away: `holes=False`.
        """
        if not post_processing:
            return cls()
        return cls(cond_memory="official_post", stability=True, fill_holes=HOLE_AREA if holes else 0)

    @classmethod
    def port(cls) -> Parity:
        """`transformers`' Sam2VideoModel run over a whole clip."""
        return cls(cond_memory="hf", cond_pointer="multi", stability=True, binarize_scope="frame")
