"""An engine that remembers what it computed, for comparisons with other programs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from mosam.engine.engine import Engine


@dataclass
class Record:
    """One frame of one object: `low_res` as shown (1, mask, mask), `memory` as stored, `ious` of all candidates."""

    low_res: torch.Tensor
    memory: torch.Tensor | None = None
    pointer: torch.Tensor | None = None
    object_score: float = float("nan")
    iou: float = float("nan")
    ious: list[float] = field(default_factory=list)


class RecordingEngine(Engine):
    """`records[object_id][frame]` of the best hypothesis."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.records: dict[int, dict[int, Record]] = {}
        self._ious: dict[int, list[float]] = {}
        self._choose, self._predictor.choose = self._predictor.choose, self._recorded_choose
        self._remember, self._memorizer.remember = self._memorizer.remember, self._recorded_remember

    def _recorded_choose(self, rows, offers, guide):
        self._ious[rows[0].track.info.object_id] = [offer.candidate.iou for offer in offers]
        return self._choose(rows, offers, guide)

    def _recorded_remember(self, features, written):
        self._remember(features, written)
        for w in written:
            object_id = w.track.info.object_id
            low_res = self.runner.shown(w.low_res[w.index][None, None])[0]
            record = Record(low_res.clone(), object_score=w.entry.object_score, iou=w.entry.iou)
            record.ious = self._ious.pop(object_id, [])
            if w.entry.feature_row is not None:
                record.memory = self.bank.features.rows[w.entry.feature_row].clone()
            record.pointer = self.bank.pointers.rows[w.entry.pointer_row].clone()
            self.records.setdefault(object_id, {}).setdefault(w.entry.frame, record)
