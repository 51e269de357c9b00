"""Prototypes, dense prompts and cycle checks of the rows of a batch, from what the memory bank keeps of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mosam.engine import likeness
from mosam.engine.memory_bank import MemoryBank
from mosam.engine.transfer import upload_index
from mosam.model.backbone import Backbone, ImageFeatures
from mosam.policies.base import Entry, Likeness, PrototypeNeeds

Measure = Callable[[Tensor], Tensor]  # (R, K, mask, mask) logits -> (R, K) or (R, K, C) numbers


class Appearance:
    """Looks at features where masks are.

    Args:
        model: the network.
        bank: where views are kept.
        needs: what prototypes are made of; None = none are.
    """

    def __init__(self, model: Backbone, bank: MemoryBank, needs: PrototypeNeeds | None):
        self._model, self._bank, self._needs = model, bank, needs

    def measures(
        self, top: Tensor, features: ImageFeatures, rows: Tensor, likenesses: Sequence[Likeness | None]
    ) -> dict[str, Measure]:
        """What is measured of candidates, by its name in `Decodes`.

        Args:
            top: (R, C, grid, grid) features that the candidates were decoded from.
            features: of the frame batch.
            rows: (R,) into it.
            likenesses: of each row, or empty.
        """
        found: dict[str, Measure] = {}
        if self._needs is not None:
            found["prototypes"] = lambda masks: self._prototypes(masks, top, features, rows)
        if any(one is not None for one in likenesses):
            found["cycle_iou"] = lambda masks: torch.stack(
                [self._cycle_iou(*row) for row in zip(top, masks, likenesses, strict=True)]
            )
        return found

    def _prototypes(self, masks: Tensor, top: Tensor, features: ImageFeatures, rows: Tensor) -> Tensor:
        assert self._needs is not None
        weigh = likeness.covered if self._needs.cells == "share" else likeness.inside
        seen = top if self._needs.features == "memory" else features.top[rows]
        return likeness.prototypes(seen.float(), weigh(masks, seen.shape[-1]))

    def _cycle_iou(self, top: Tensor, masks: Tensor, wanted: Likeness | None) -> Tensor:
        if wanted is None:
            return torch.full(masks.shape[:1], torch.nan, device=masks.device)
        return likeness.cycle_iou(top.float(), masks, *self._kept(wanted.entries))

    def dense_prompts(self, features: ImageFeatures, rows: Tensor, likenesses: Sequence[Likeness]) -> Tensor:
        """(R, 1, mask, mask) logits of mask prompts, one for each row of `rows` (R,) into the frame batch."""
        sizes, position = self._model.sizes, self._model.frame_position
        made = []
        for top, wanted in zip(features.top[rows], likenesses, strict=True):  # one by one: views are large
            views, cells = self._kept(wanted.entries)
            last = self._kept((wanted.near,))[1][0]
            made.append(likeness.dense_prompt(top + position, views, cells, last, (sizes.image, sizes.mask)))
        return torch.stack(made)

    def _kept(self, entries: Sequence[Entry]) -> tuple[Tensor, Tensor]:
        """(P, C, grid, grid) views and (P, grid, grid) cells of entries."""
        places = [(entry.view_row, entry.cells_row) for entry in entries]
        assert all(row is not None for place in places for row in place), "a likeness with an entry that is not kept"
        rows = [row for place in places for row in place if row is not None]
        views, cells = upload_index(self._model.device, rows).view(-1, 2).unbind(1)
        return self._bank.views.gather(views), self._bank.cells.gather(cells)

    def keep(self, features: ImageFeatures, entries: Sequence[tuple[Entry, int]], masks: Tensor) -> None:
        """Keep what `Likeness` compares.

        Args:
            features: of the frame batch.
            entries: with the row of the frame batch of each.
            masks: (N, mask, mask) logits of their masks.
        """
        frames = sorted({row for _, row in entries})
        views = dict(zip(frames, self._bank.views.allocate(len(frames)), strict=True))
        self._bank.views.write(list(views.values()), features.top[upload_index(self._model.device, frames)])
        cells = self._bank.cells.allocate(len(entries))
        self._bank.cells.write(cells, likeness.inside(masks[:, None], self._model.sizes.grid)[:, 0])
        for (entry, row), cell in zip(entries, cells, strict=True):
            entry.view_row, entry.cells_row = views[row], cell
            self._bank.views.hold(views[row])
        for view in views.values():
            self._bank.views.drop(view)  # held by the entries now
