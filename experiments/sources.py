"""Where the clips of a run come from, by the names that settings use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from nano_training import Batch
from train_settings import Settings, Stage

from mosam.errors import MismatchError

MakeBatch = Callable[[tuple[int, ...], Stage, float, int], Batch]


def open_source(settings: Settings, pack: Path | None) -> tuple[MakeBatch, MakeBatch]:
    """Functions that make the batches of training and of validation, from seed, stage, progress and side of a frame.

    Args:
        settings: of the run.
        pack: file of pictures, for photographic clips.
    Raises:
        MismatchError: no such source, or no pack for it.
        DataError: the pack is damaged.
    """
    if settings.source == "generated":
        from generated_batches import make_batch

        return make_batch, make_batch  # the seeds of validation are others
    if settings.source != "photo":
        raise MismatchError(f"source: expected generated or photo, got {settings.source!r}")
    if pack is None:
        raise MismatchError("source photo: expected --pack with a file made by `python -m photo.packages`, got none")
    from photo.batches import batch_maker
    from photo.pack import read_pack
    from photo.painter import Pictures

    pictures = Pictures.of(read_pack(pack), settings.device)
    return _mixed(batch_maker(pictures, held=False)), batch_maker(pictures, held=True)


def _mixed(photo: MakeBatch) -> MakeBatch:
    """Photographic batches, and the share of generated ones that a stage asks for."""

    def make(seed: tuple[int, ...], stage: Stage, progress: float, side: int) -> Batch:
        if stage.generated and np.random.default_rng((*seed, 3)).random() < stage.generated:
            from generated_batches import make_batch

            return make_batch(seed, stage, progress, side)
        return photo(seed, stage, progress, side)

    return make
