"""Features of the next frames, computed beside the tracking of the present ones.

A step waits for small numbers from the device several times, and the device for the host in between. The image encoder
depends on nothing that is tracked, so its work for the next frames fills these gaps, on a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch

from mosam.engine.capacity import is_out_of_memory
from mosam.model.backbone import ImageFeatures


class EncodeAhead:
    """At most one batch of frames that is encoded ahead.

    Args:
        encode: of a batch of frames, see `ModelRunner.encode`.
        device: a GPU gets a second stream; on anything else the batch is encoded at once.
    """

    def __init__(self, encode: Callable[[Sequence[np.ndarray]], ImageFeatures], device: torch.device):
        self._encode, self._device = encode, device
        self._stream: Any = None
        self._keys: list[Hashable] = []
        self._features: ImageFeatures | None = None

    def begin(self, keys: Sequence[Hashable], images: Sequence[np.ndarray]) -> None:
        """Begins a batch; whatever was there is forgotten.

        Args:
            keys: of the frames; `take` wants the same.
            images: the frames.
        """
        self._features, self._keys = None, list(keys)
        try:
            with torch.inference_mode():
                if self._device.type != "cuda":
                    self._features = self._encode(images)
                    return
                self._stream = self._stream or torch.cuda.Stream(self._device)
                # what the caller wrote before (weights, constants) comes first, its later work does not wait for this
                self._stream.wait_stream(torch.cuda.current_stream(self._device))
                with torch.cuda.stream(self._stream):
                    self._features = self._encode(images)
        except Exception as error:
            if not is_out_of_memory(error):
                raise  # memory for two batches is a luxury: without it the step encodes its own

    def take(self, keys: Sequence[Hashable]) -> ImageFeatures | None:
        """The features of exactly these frames, each given once; None where others or none were encoded."""
        features, self._features = self._features, None
        if features is None or self._keys != list(keys):
            return None
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for tensor in (features.top, *features.high):
                tensor.record_stream(current)  # or its memory could be given away while it is still read
        return features
