"""Masks at video size: what is shown of a frame, and what a policy looks at before it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mosam.engine.model_runner import ModelRunner
from mosam.engine.records import FrameResult, Video
from mosam.engine.track import FrameMask, Track
from mosam.engine.transfer import download, to_host
from mosam.model.constants import OVERLAP_LOGIT
from mosam.policies.base import Entry
from mosam.types import FrameOutput, Mask, ObjectOutput, Size


class FrameComposer:
    """Makes outputs of frames, and hands them on once no later frame can change them.

    Args:
        runner: the network, for its device and how masks are shown.
        emit: of the policy: `online` = what is shown is final.
    """

    def __init__(self, runner: ModelRunner, emit: str):
        self._runner, self._emit = runner, emit

    def show(self, videos: Sequence[Video]) -> dict[Video, FrameOutput]:
        """Outputs of the frame that was just tracked, by video; moves on what is final."""
        now = {
            video: {i: track.hypotheses[0].pending[-1] for i, track in video.tracks.items() if track.started}
            for video in videos
        }
        shown = self.compose([(video, video.next_frame, current) for video, current in now.items()])
        outputs = dict(zip(videos, shown, strict=True))
        for video, current in now.items():
            started = {i: video.tracks[i] for i in current}
            video.pending.append((video.next_frame, dict.fromkeys(started)))
            for track in started.values():
                self.pop_final(video, track, everything=self._emit == "online")
                track.offload()
            self.flush(video, {video.next_frame: (current, outputs[video])})
        return outputs

    def show_nothing(self, video: Video) -> FrameOutput:
        """The output of a frame on which nothing is tracked yet."""
        video.pending.append((video.next_frame, {}))
        self.flush(video, {})
        return FrameOutput(video.next_frame)

    def pop_final(self, video: Video, track: Track, *, everything: bool) -> None:
        """Take over the masks of a track that no later frame can change, or all of its best hypothesis."""
        first = video.pending[0][0] if video.pending else 0
        for shown in track.pop_final(everything=everything):
            video.pending[shown.frame - first][1][track.info.object_id] = shown

    def flush(self, video: Video, composed: Mapping[int, tuple[Mapping[int, FrameMask], FrameOutput]]) -> None:
        """Move frames whose objects are all settled to the finished ones; `composed` frames need no second look."""
        while video.pending and all(shown is not None for shown in video.pending[0][1].values()):
            frame, objects = video.pending.popleft()
            final = {i: shown for i, shown in objects.items() if shown is not None}
            if frame in composed and all(composed[frame][0][i] is shown for i, shown in final.items()):
                video.finished.append(composed[frame][1])
            else:
                video.finished += self.compose([(video, frame, final)])

    def compose(self, wanted: Sequence[tuple[Video, int, Mapping[int, FrameMask]]]) -> list[FrameOutput]:
        """Masks of frames at video size, all in one transfer."""
        known = [_known_masks(video, objects) for video, _, objects in wanted]
        masks = to_host(
            [
                self._masks(video, objects)
                for (video, _, objects), have in zip(wanted, known, strict=True)
                if have is None
            ]
        )
        outputs = []
        for (_, frame, objects), have in zip(wanted, known, strict=True):
            planes = masks.pop(0) if have is None else have
            outputs.append(
                FrameOutput(
                    frame,
                    {
                        object_id: ObjectOutput(mask, shown.object_score, shown.iou, shown.log)
                        for mask, (object_id, shown) in zip(planes, objects.items(), strict=True)
                    },
                )
            )
        return outputs

    def _masks(self, video: Video, objects: Mapping[int, FrameMask]) -> Tensor:
        """(objects, H, W) bool: up-sampled logits, overlap resolved where asked, threshold 0."""
        device = self._runner.model.device
        low_res = torch.stack([shown.low_res.to(device, torch.float32) for shown in objects.values()])
        low_res = self._runner.shown(low_res)
        logits = F.interpolate(low_res, size=video.size, mode="bilinear", align_corners=False)
        if video.non_overlap and len(objects) > 1:
            winner = logits.argmax(dim=0, keepdim=True)
            mine = torch.arange(len(objects), device=logits.device)[:, None, None, None]
            logits = torch.where(winner == mine, logits, logits.clamp(max=OVERLAP_LOGIT))
        return logits[:, 0] > 0

    def chosen_masks(self, written: Sequence[FrameResult]) -> list[Mask]:
        """(H, W) masks at video size of the chosen candidates, as they are shown, in one transfer."""
        return to_host(
            [_enlarged(self._runner.shown(w.low_res[w.index][None, None]), w.video.size)[0] for w in written]
        )

    def network_masks(self, low_res: Tensor) -> NDArray[np.bool_]:
        """(K, mask, mask) logits -> (K, image, image) bool at network input size."""
        (masks,) = to_host([self._runner.upsample(low_res[None])[0] > 0])
        return masks


def _known_masks(video: Video, objects: Mapping[int, FrameMask]) -> list[Mask] | None:
    """Masks at video size that a policy has asked for already, where they are also what is shown."""
    known = [shown.mask for shown in objects.values() if shown.mask is not None]
    overlap = video.non_overlap and len(objects) > 1
    return known if len(known) == len(objects) and not overlap else None


def _enlarged(low_res: Tensor, size: Size) -> Tensor:
    """(N, 1, mask, mask) logits -> (N, H, W) bool at video size."""
    return F.interpolate(low_res, size=size, mode="bilinear", align_corners=False)[:, 0] > 0


class StepMasks:
    """Masks of a step's candidates at video size, computed when a policy asks.

    What is asked for one object is computed for all that are visible, in one transfer: each transfer waits for the
    device. Alternatives are seldom asked for, and on a CPU nothing waits: there each object gets its own.
    """

    def __init__(self, composer: FrameComposer, written: Sequence[FrameResult]):
        self._composer = composer
        self._followed = [w for w in written if w.entry.kind == "track"]
        self._visible = [w for w in self._followed if w.entry.area > 0]
        self._chosen: dict[int, Mask] = {}
        self._alternatives: dict[int, NDArray[np.bool_]] = {}

    def together(self, w: FrameResult) -> tuple[Entry, ...]:
        """Of the best hypothesis of each object of its video."""
        best = {id(one.track): one.entry for one in reversed(self._followed) if one.video is w.video}
        return tuple(reversed(best.values()))

    def chosen(self, w: FrameResult) -> Mask:
        """(H, W) bool."""
        if id(w) not in self._chosen:
            rows = self._visible if w in self._visible else [w]
            self._chosen |= dict(zip(map(id, rows), self._composer.chosen_masks(rows), strict=True))
        return self._chosen[id(w)]

    def known(self, w: FrameResult) -> Mask | None:
        """The chosen mask where it is there."""
        return self._chosen.get(id(w))

    def alternatives(self, w: FrameResult) -> NDArray[np.bool_]:
        """(K - 1, H, W) bool."""
        if id(w) not in self._alternatives:
            rows = self._visible if w in self._visible and w.low_res.device.type != "cpu" else [w]
            planes = to_host([_enlarged(_others(row)[:, None], row.video.size) for row in rows])
            self._alternatives |= dict(zip(map(id, rows), planes, strict=True))
        return self._alternatives[id(w)]

    def probability(self, w: FrameResult) -> float:
        """Of the chosen candidate's pixels."""
        logits = w.low_res[w.index].float()
        on = logits > 0
        return float(download((torch.sigmoid(logits) * on).sum() / on.sum().clamp(min=1)))

    def at_network_size(self, w: FrameResult) -> NDArray[np.bool_]:
        """(K, image, image) bool, the chosen candidate first."""
        return self._composer.network_masks(torch.cat((w.low_res[w.index][None], _others(w))))


def _others(w: FrameResult) -> Tensor:
    """(K - 1, mask, mask) candidates that were not chosen."""
    return torch.cat([w.low_res[: w.index], w.low_res[w.index + 1 :]])


class FullSizeMasks:
    """Masks of one finished frame at video size, see `mosam.policies.base.ImageSide`."""

    def __init__(self, masks: StepMasks, written: FrameResult):
        self._masks, self._written = masks, written

    def chosen(self) -> Mask:
        """See `mosam.policies.base.ImageSide`."""
        return self._masks.chosen(self._written)

    def alternatives(self) -> NDArray[np.bool_]:
        """See `mosam.policies.base.ImageSide`."""
        return self._masks.alternatives(self._written)

    def at_network_size(self) -> NDArray[np.bool_]:
        """See `mosam.policies.base.ImageSide`."""
        return self._masks.at_network_size(self._written)

    def together(self) -> tuple[Entry, ...]:
        """See `mosam.policies.base.ImageSide`."""
        return self._masks.together(self._written)

    def probability(self) -> float:
        """See `mosam.policies.base.ImageSide`."""
        return self._masks.probability(self._written)
