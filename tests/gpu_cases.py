"""Clips for tests that compare devices: trained network, sequences of toy, what was read and chosen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from mosam.datasets.base import load_dataset
from mosam.engine.engine import Engine
from mosam.model.checkpoints import load_model
from mosam.model.graphs import CudaRecorder
from mosam.policies.base import load_policy

CLIPS = ("scale-1", "full_occlusion-1", "crossing-1")
DECISIONS = ("slots", "pointers", "candidate", "source")


@dataclass
class Played:
    """What a tracker did, by (sequence, frame, object).

    Attributes:
        masks: (H, W) bool.
        decisions: what was read and chosen.
    """

    masks: dict = field(default_factory=dict)
    decisions: dict = field(default_factory=dict)


class Repeating:
    """A recorder of graphs for the processor: replays by calling again."""

    def __init__(self, device):
        pass

    def has_room(self):
        return True

    def record(self, work):
        outputs = work()

        def replay():
            for output, made in zip(outputs, work(), strict=True):
                output.copy_(made)

        return replay, outputs

    def wait(self):
        pass

    def close(self):
        pass


def network(device, precision="fp32", *, graphs=False):
    """`nano` on a device; its calls are graphs only where that is asked for."""
    net = load_model("nano", device=device.type, precision=precision)
    net.use_graphs((CudaRecorder if device.type == "cuda" else Repeating) if graphs else None)
    return net


def play(net, tracker, *, lanes=1, frames=12, ahead=False):
    """The first frames of `CLIPS`, so many clips at a time."""
    data = load_dataset("toy").select(CLIPS)
    found = Played()
    for start in range(0, len(CLIPS), lanes):
        sequences = [data[name] for name in CLIPS[start : start + lanes]]
        engine = Engine(net, load_policy(tracker), max_lanes=lanes, log=True)
        engine.ahead = ahead
        videos = [engine.open(s.prompts, size=s.source.size(), num_frames=frames) for s in sequences]
        pictures = [[s.source.read(t) for t in range(frames)] for s in sequences]
        for t in range(frames):
            now = {video: shots[t] for video, shots in zip(videos, pictures, strict=True)}
            after = (
                {video: shots[t + 1] for video, shots in zip(videos, pictures, strict=True)} if t + 1 < frames else {}
            )
            engine.step(now, next_images=after if ahead else None)
        for video, sequence in zip(videos, sequences, strict=True):
            for output in engine.close(video):
                for number, one in output.objects.items():
                    key = sequence.name, output.frame_index, number
                    found.masks[key] = one.mask
                    found.decisions[key] = {name: (one.log or {}).get(name) for name in DECISIONS}
    return found


def least_iou(found, expected, *, pixels=0):
    """The least IoU of masks that differ in more than so many pixels."""
    least = 1.0
    for key, mask in expected.masks.items():
        other = found.masks[key]
        if int((mask ^ other).sum()) > pixels:
            least = min(least, int((mask & other).sum()) / int((mask | other).sum()))
    return least


def noise(count, size, seed=0):
    """(H, W, 3) uint8 pictures."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8))


def allocated(device):
    """Bytes of a GPU's memory in use; 0 on a processor."""
    return torch.cuda.memory_allocated() if device.type == "cuda" else 0
