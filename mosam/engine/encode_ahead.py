"""Features of the next frames, computed beside the tracking of the present ones.

A step waits for numbers from the device, and the device for the host in between. The image encoder depends on nothing
that is tracked, so its work for the next frames fills these gaps, on a stream of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch

from mosam.engine.capacity import is_out_of_memory, release_memory
from mosam.model.backbone import ImageFeatures
from mosam.model.streams import own_stream

PAUSE = 64  # batches that are not encoded ahead after one ran out of memory


class EncodeAhead:
    """At most one batch of frames that is encoded ahead.

    Where there is no memory for two batches, the step encodes its own frames, and encoding ahead pauses for `PAUSE`
    batches, twice as many each time.

    Args:
        encode: of a batch of frames, in one attempt, see `ModelRunner.encode_once`.
        device: a GPU gets a second stream; on anything else the batch is encoded at once.
    """

    def __init__(self, encode: Callable[[Sequence[np.ndarray]], ImageFeatures], device: torch.device):
        self._encode, self._device = encode, device
        self._stream: Any = None
        self._keys: list[Hashable] = []
        self._features: ImageFeatures | None = None
        self._pause, self._left = PAUSE, 0

    def begin(self, keys: Sequence[Hashable], images: Sequence[np.ndarray]) -> None:
        """Begins a batch; whatever was there is forgotten.

        Args:
            keys: of the frames; `take` wants the same.
            images: the frames.
        """
        self._features, self._keys = None, list(keys)
        if self._left:
            self._left -= 1
            return
        try:
            with torch.inference_mode():
                if self._device.type != "cuda":
                    self._features = self._encode(images)
                    return
                self._stream = self._stream or own_stream(self, self._device) or torch.cuda.Stream(self._device)
                # what the caller wrote before (weights, constants) comes first, its later work does not wait for this
                self._stream.wait_stream(torch.cuda.current_stream(self._device))
                with torch.cuda.stream(self._stream):
                    self._features = self._encode(images)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._left, self._pause = self._pause, 2 * self._pause
        if self._left:  # outside of the handler, so that nothing holds what the failed call had
            release_memory(self._device)

    def take(self, keys: Sequence[Hashable]) -> ImageFeatures | None:
        """The features of exactly these frames, each given once; None where others or none were encoded."""
        features, self._features = self._features, None
        if features is None:
            return None
        current = None
        if self._stream is not None:
            # also where the features are of no use: a graph that is replayed here must not meet itself over there
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
        if self._keys != list(keys):
            return None
        if current is not None:
            for tensor in (features.top, *features.high):
                tensor.record_stream(current)  # or its memory could be given away while it is still read
        return features
