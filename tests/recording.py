"""An engine that remembers the low-resolution logits it showed, for comparisons with other programs."""

from __future__ import annotations

from mosam.engine.engine import Engine


class RecordingEngine(Engine):
    """`low[frame][object_id]` is the (1, mask, mask) float32 logits shown on that frame."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.low: dict[int, dict[int, object]] = {}

    def _compose(self, video, frame, objects):
        self.low[frame] = {i: shown.low.clone() for i, shown in objects.items()}
        return super()._compose(video, frame, objects)
