"""Masks of every object on one frame: those that are prompted, and those that are followed."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mosam.engine.candidates import DecodedCandidate, decision_log, decoded_candidates
from mosam.engine.decodes import Decodes
from mosam.engine.model_runner import Conditioned, ModelRunner
from mosam.engine.records import FrameResult, Row, Video, by_track
from mosam.engine.retrace import Retracer
from mosam.engine.transfer import upload_index
from mosam.model.backbone import ImageFeatures
from mosam.model.constants import ABSENT_LOGIT
from mosam.motion.distractors import carry
from mosam.motion.forecast import forecast
from mosam.policies.base import Choice, Entry, MemoryPolicy, MotionPrompt
from mosam.types import Forecast, Prompt, Size


class Predictor:
    """Asks a policy what to read and which mask to take, and the network for the masks.

    Args:
        runner: the network and the memories.
        policy: what decides.
        retracer: lets it follow candidates back, or None.
        log: note what was read and chosen.
    """

    def __init__(self, runner: ModelRunner, policy: MemoryPolicy, retracer: Retracer | None, *, log: bool):
        self._runner, self._policy, self._retracer, self._log = runner, policy, retracer, log
        self._parity, self._pointers = runner.parity, runner.bank.pointers
        self._motion = policy.motion()

    # prompted objects

    def prompted(self, features: ImageFeatures, videos: Sequence[Video]) -> list[FrameResult]:
        """Objects that are prompted on this frame."""
        jobs = [
            (row, video, track, track.prompts.pop(video.next_frame))
            for row, video in enumerate(videos)
            for track in video.tracks.values()
            if video.next_frame in track.prompts
        ]
        if not jobs:
            return []
        rows, sizes = [j[0] for j in jobs], [j[1].size for j in jobs]
        starts = self.starts(features, rows, [j[3] for j in jobs], sizes)
        made = self._runner.condition(features, rows, starts, sizes, threshold=self._policy.presence_threshold)
        written = []
        for (row, video, track, prompt), start, one in zip(jobs, starts, made, strict=True):
            entry = Entry(
                video.next_frame,
                "prompt",
                one.object_score,
                one.iou,
                one.area,
                box=one.box,
                prototype=one.prototype,
            )
            written.append(
                FrameResult(
                    video=video,
                    track=track,
                    frame_row=row,
                    low_res=self._prompted_logits(one),
                    index=0,
                    score=one.score,
                    entry=entry,
                    state=track.hypotheses[0].state if track.started else None,
                    pending=track.hypotheses[0].pending if track.started else deque(),
                    binarize=self._parity.cond_memory != "official",
                    store=True,
                    log={"prompt": prompt.kind},
                    exact=self._exact(start),
                )
            )
            self._store_pointers([entry], one.pointer[None])
        return written

    def starts(
        self, features: ImageFeatures, rows: Sequence[int], prompts: Sequence[Prompt], sizes: Sequence[Size]
    ) -> list[Prompt]:
        """The prompts as the policy starts from them: boxes may get a point, or become masks first."""
        starts = [with_center(prompt) if self._policy.adds_center else prompt for prompt in prompts]
        boxes = [i for i, prompt in enumerate(prompts) if prompt.box is not None and self._policy.starts_from_masks]
        if boxes:
            decoded = self._runner.decode_boxes(
                features, [rows[i] for i in boxes], [prompts[i] for i in boxes], [sizes[i] for i in boxes]
            )
            for i, mask in zip(boxes, decoded, strict=True):
                starts[i] = mask
        return starts

    def _prompted_logits(self, conditioned: Conditioned) -> Tensor:
        """(1, mask, mask) logits as memory takes them; the port's are those before holes are filled."""
        if self._parity.cond_memory == "hf":
            return conditioned.low_res
        return self._runner.shown(conditioned.low_res[None])[0]

    def _exact(self, prompt: Prompt) -> Tensor | None:
        """The port memorizes a mask prompt as given, not through its low-resolution logits."""
        if self._parity.cond_memory != "hf" or prompt.mask is None:
            return None
        return self._runner.exact_prompt([prompt])[0]

    # followed objects

    def tracked(self, features: ImageFeatures, videos: Sequence[Video], prompted: Container[int]) -> list[FrameResult]:
        """Objects that are followed on this frame: read, attend, decode, choose."""
        rows = [
            Row(video, track, h, row, self._policy.read(hypothesis.state, video.next_frame))
            for row, video in enumerate(videos)
            for track in video.tracks.values()
            for h, hypothesis in enumerate(track.hypotheses)
            if id(track) not in prompted
        ]
        if not rows:
            return []
        groups, guides = by_track(rows), self._guides(rows)
        free = self._free(features, rows, guides)
        offers = [decoded_candidates(free, "free", {i: i for i in members}, members, guides) for members in groups]
        if self._retracer is not None:
            pairs = zip(groups, offers, strict=True)
            offers = [self._retraceable(self._retracer, rows, members, own) for members, own in pairs]
        for members, own in zip(groups, offers, strict=True):
            self._skip_guided_decode(rows, members, own, guides)
        for own, more in zip(offers, self._guided(features, rows, free.top, groups, guides), strict=True):
            own += more
        written = []
        for members, own in zip(groups, offers, strict=True):
            written += self.choose([rows[i] for i in members], own, guides[members[0]])
        self._store_chosen_pointers(written)
        return written

    @staticmethod
    def _retraceable(
        retracer: Retracer, rows: Sequence[Row], members: Sequence[int], offers: Sequence[DecodedCandidate]
    ) -> list[DecodedCandidate]:
        """Candidates of one object, each decode's with a way back."""
        decodes = [[offer for offer in offers if offer.candidate.hypothesis == h] for h in range(len(members))]
        return [one for i, own in zip(members, decodes, strict=True) for one in retracer.offer(rows[i], own)]

    def _guides(self, rows: Sequence[Row]) -> list[MotionPrompt | None]:
        """The guide of each row's object."""
        guides = {id(row.track): self._guide(row) for row in rows if row.hypothesis == 0}
        return [guides[id(row.track)] for row in rows]

    def _guide(self, row: Row) -> MotionPrompt | None:
        """What the policy makes of motion for this object."""
        if (self._motion is None or not self._motion.forecasts) and not self._policy.keeps_views:
            return None
        needs, video, track = self._motion, row.video, row.track

        def forecast_now() -> Forecast | None:
            if needs is None or video.pair is None or track.probability is None:
                return None
            return forecast(video.pair, track.probability, needs)

        if track.distractors is not None:
            track.distractors = carry(track.distractors, None if video.pair is None else video.pair.current)
        return self._policy.guide(track.hypotheses[0].state, video.next_frame, forecast_now)

    def _free(self, features: ImageFeatures, rows: Sequence[Row], guides: Sequence[MotionPrompt | None]) -> Decodes:
        """Every row, decoded without prompt."""
        return self._runner.track(
            features,
            [row.frame_row for row in rows],
            [row.plan for row in rows],
            threshold=self._policy.presence_threshold,
            expected=[guide.expected if guide else None for guide in guides],
            distractors=[row.track.distractors for row in rows],
            likenesses=[guide.likeness if guide else None for guide in guides],
        )

    def _skip_guided_decode(
        self,
        rows: Sequence[Row],
        members: Sequence[int],
        free: Sequence[DecodedCandidate],
        guides: list[MotionPrompt | None],
    ) -> None:
        """Take the prompt off the guide of one object where its policy sees that it could not matter."""
        guide, row = guides[members[0]], rows[members[0]]
        if guide is None or not guide.prompts:
            return
        state = row.track.hypotheses[0].state
        reason = self._policy.skip_guided_decode(state, row.video.next_frame, [offer.candidate for offer in free])
        if reason is not None:
            log = {**(guide.log or {}), "withheld": reason}
            for i in members:
                guides[i] = replace(guide, box=None, points=None, likeness=None, log=log)

    def _guided(
        self,
        features: ImageFeatures,
        rows: Sequence[Row],
        top: Tensor,
        groups: Sequence[Sequence[int]],
        guides: Sequence[MotionPrompt | None],
    ) -> list[list[DecodedCandidate]]:
        """Candidates decoded with a prompt, of each object; none where there is no prompt."""
        prompts = {i: guide for i, guide in enumerate(guides) if guide is not None and guide.prompts}
        if not prompts:
            return [[] for _ in groups]
        decodes = self._runner.guided(
            features,
            [rows[i].frame_row for i in prompts],
            top[upload_index(top.device, list(prompts))],
            list(prompts.values()),
            [rows[i].video.size for i in prompts],
            threshold=self._policy.presence_threshold,
            distractors=[rows[i].track.distractors for i in prompts],
        )
        where = {i: n for n, i in enumerate(prompts)}
        return [
            decoded_candidates(decodes, "guided", {i: where[i] for i in members if i in where}, members, guides)
            for members in groups
        ]

    def choose(
        self, rows: Sequence[Row], offers: Sequence[DecodedCandidate], guide: MotionPrompt | None
    ) -> list[FrameResult]:
        """Ask the policy once for the object; one `FrameResult` for each hypothesis that lives on."""
        track, video = rows[0].track, rows[0].video
        candidates = [offer.candidate for offer in offers]
        choices = self._policy.choose([h.state for h in track.hypotheses], video.next_frame, candidates)
        return [self._chosen(choice, offers[choice.candidate], rows, guide) for choice in choices]

    def _chosen(
        self, choice: Choice, offer: DecodedCandidate, rows: Sequence[Row], guide: MotionPrompt | None
    ) -> FrameResult:
        candidate = offer.candidate
        row = rows[candidate.hypothesis]
        low_res, score = offer.decodes.masks[offer.row], offer.decodes.score[offer.row]
        entry = Entry(
            row.video.next_frame,
            "track",
            candidate.object_score,
            candidate.iou,
            candidate.area,
            box=candidate.box,
            prototype=candidate.prototype,
        )
        if choice.absent and entry.visible:
            low_res, score = torch.full_like(low_res, ABSENT_LOGIT), -score
            entry.object_score, entry.area = -candidate.object_score, 0
        return FrameResult(
            video=row.video,
            track=row.track,
            frame_row=row.frame_row,
            low_res=low_res,
            index=candidate.index,
            score=score,
            entry=entry,
            state=choice.state,
            pending=row.track.hypotheses[candidate.hypothesis].pending.copy(),
            binarize=False,
            store=choice.memory != "skip",
            log=decision_log(row.plan, candidate, choice, guide) if self._log else {},
            decodes=offer.decodes,
            decode_row=offer.row,
            remask=choice.remask,
        )

    def _store_chosen_pointers(self, written: Sequence[FrameResult]) -> None:
        """Object pointers of the chosen candidates, presence-gated by the policy's own threshold."""
        tokens = torch.stack([w.decodes.tokens[w.decode_row, w.index] for w in written if w.decodes is not None])
        present = torch.stack([w.score for w in written]) > self._policy.presence_threshold
        self._store_pointers([w.entry for w in written], self._runner.model.pointer(tokens, present))

    def _store_pointers(self, entries: Sequence[Entry], pointers: Tensor) -> None:
        rows = self._pointers.allocate(len(entries))
        for entry, row in zip(entries, rows, strict=True):
            entry.pointer_row = row
        self._pointers.write(rows, pointers)


def with_center(prompt: Prompt) -> Prompt:
    """A box prompt with its center as a point on the object, in whole pixels; others as they are."""
    if prompt.box is None or prompt.points is not None:
        return prompt
    center = np.floor(prompt.box[:2] + prompt.box[2:] / 2)
    return replace(prompt, points=center[None], labels=np.ones(1, dtype=np.int64))
