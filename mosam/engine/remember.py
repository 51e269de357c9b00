"""What a finished frame leaves: its memories in the bank, the policy's next states, and what motion needs of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from mosam.engine.memory_bank import MemoryBank
from mosam.engine.model_runner import MemoryJob, ModelRunner
from mosam.engine.output import FrameComposer, FullSizeMasks, StepMasks
from mosam.engine.records import FrameResult, by_track
from mosam.engine.retrace import Retracer
from mosam.engine.track import FrameMask, Hypothesis
from mosam.engine.transfer import download
from mosam.model.backbone import ImageFeatures
from mosam.motion.distractors import learn
from mosam.policies.base import MemoryPolicy, Update
from mosam.types import MotionNeeds


class Memorizer:
    """Stores the memories of finished frames and frees those that a policy can no longer read.

    Args:
        runner: the network and the memories.
        policy: what decides.
        composer: makes the full-size masks that a policy may look at.
        retracer: keeps the last masks for it, or None.
        motion_side: side of the planes kept for motion.
        log: keep what the policy notes.
    """

    def __init__(
        self,
        runner: ModelRunner,
        policy: MemoryPolicy,
        composer: FrameComposer,
        retracer: Retracer | None,
        *,
        motion_side: int,
        log: bool,
    ):
        self._runner, self._policy, self._composer, self._retracer = runner, policy, composer, retracer
        self._bank: MemoryBank = runner.bank
        self._motion, self._motion_side, self._log = policy.motion(), motion_side, log

    def remember(self, features: ImageFeatures, written: Sequence[FrameResult]) -> None:
        """Encode and store memories, tell the policy, and give back what it can no longer read."""
        if self._runner.parity.binarize_scope == "frame":
            prompted = {w.video for w in written if w.entry.kind == "prompt"}
            for w in written:
                w.binarize = w.binarize or w.video in prompted
        self._encode([w for w in written if w.store], features)
        masks, groups = StepMasks(self._composer, written), by_track(written)
        for members in groups:
            self._advance([written[i] for i in members], masks, features)
        best = [written[members[0]] for members in groups]
        if self._motion is not None and self._motion.forecasts:
            self._keep_for_motion(best, self._motion)
        if self._retracer is not None:
            for w in best:
                self._retracer.keep(w.track, self._runner.shown(w.low_res[w.index][None, None])[0, 0])

    def _encode(self, written: Sequence[FrameResult], features: ImageFeatures) -> None:
        if not written:
            return
        for w, row in zip(written, self._bank.features.allocate(len(written)), strict=True):
            w.entry.feature_row = row
        self._write_features(written, features)
        if not (self._policy.needs_reliability or self._policy.keeps_views):
            return
        low_res = torch.stack([w.low_res[w.index] for w in written])
        if self._policy.needs_reliability:
            rows = self._bank.reliability.allocate(len(written))
            for w, row in zip(written, rows, strict=True):
                w.entry.reliability_row = row
            self._bank.reliability.write(rows, self._runner.reliability(low_res))
        if self._policy.keeps_views:
            self._runner.appearance.keep(features, [(w.entry, w.frame_row) for w in written], low_res)

    def _write_features(self, written: Sequence[FrameResult], features: ImageFeatures) -> None:
        jobs = [MemoryJob(w.frame_row, w.low_res, w.index, w.score, w.binarize, w.exact, w.remask) for w in written]
        rows = [w.entry.feature_row for w in written]
        self._bank.features.write([row for row in rows if row is not None], self._runner.memorize(features, jobs))

    def _advance(self, group: Sequence[FrameResult], masks: StepMasks, features: ImageFeatures) -> None:
        """The next hypotheses of one object."""
        track = group[0].track
        hypotheses = [self._hypothesis(w, masks, features) for w in group]
        for old in track.hypotheses:
            self._bank.drop(old.features, old.pointers)
        for w in group:  # the writer's own hold
            self._bank.drop([w.entry] if w.entry.feature_row is not None else [], [w.entry])
        track.hypotheses = hypotheses

    def _hypothesis(self, w: FrameResult, masks: StepMasks, features: ImageFeatures) -> Hypothesis:
        update = self._tell(w, masks)
        if update.reencode:
            w.entry.kind = "anchor"
            w.binarize, w.low_res, w.index = True, self._runner.shown(w.low_res[w.index][None, None])[0], 0
            self._write_features([w], features)
        if update.log and self._log:
            w.log.update(update.log)
        self._bank.hold(update.features, update.pointers)
        log, mask = w.log if self._log else None, None if update.reencode else masks.known(w)
        w.pending.append(
            FrameMask(w.entry.frame, w.low_res[w.index][None], w.entry.object_score, w.entry.iou, log, mask)
        )
        return Hypothesis.of(update, w.pending)

    def _tell(self, w: FrameResult, masks: StepMasks) -> Update:
        """Tell the policy that a frame is finished."""
        if w.entry.kind == "track":
            return self._policy.memorized(w.state, w.entry.frame, w.entry, FullSizeMasks(masks, w))
        if w.state is None:
            return self._policy.start(w.track.info, w.entry)
        return self._policy.prompted(w.state, w.entry.frame, w.entry)

    def _keep_for_motion(self, written: Sequence[FrameResult], needs: MotionNeeds) -> None:
        """Keep what motion needs of this frame: where each object is shown, and what lies beside it."""
        side = self._motion_side
        logits = F.interpolate(
            torch.stack([w.low_res[w.index][None] for w in written]), (side, side), mode="bilinear", align_corners=False
        )
        for w, plane in zip(written, download(torch.sigmoid(logits[:, 0])), strict=True):
            w.track.probability = plane
            if needs.distractors and w.entry.visible:
                w.track.distractors = learn(w.track.distractors, plane, prompted=w.entry.kind == "prompt")
