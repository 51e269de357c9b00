"""The public loop: open a video, step it frame by frame, close it. Any number of videos and objects step together."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.engine.candidates import DecodedCandidate, decision_log, decoded_candidates
from mosam.engine.checks import as_images, as_prompts, as_size, check_engine, check_place
from mosam.engine.encode_ahead import EncodeAhead
from mosam.engine.memory_bank import MemoryBank
from mosam.engine.model_runner import MemoryJob, ModelRunner, Wants
from mosam.engine.output import FrameComposer, FullSizeMasks, StepMasks
from mosam.engine.parity import ABSENT_LOGIT, Parity
from mosam.engine.records import FrameResult, Row, Video, active, begun, by_track
from mosam.engine.track import Hypothesis, Shown, Track
from mosam.engine.transfer import download, upload_index
from mosam.model.backbone import Backbone, ImageFeatures
from mosam.motion.beside import carry, learn
from mosam.motion.field import MotionPair, MotionSettings, MotionStream
from mosam.motion.forecast import forecast
from mosam.policies.base import Choice, Entry, Guide, MemoryPolicy, TrackInfo, Update
from mosam.system.arguments import instance, switch, whole
from mosam.types import Forecast, FrameOutput, Image, MotionNeeds, Prompt, Size

MOTION_SIDE = 128  # least side of the grid on which motion moves a mask; small networks have coarser masks


class Engine:
    """Tracks objects through videos with one network and one policy.

    The network is stateless; what a track remembers lives in the memory bank and in its policy state, and is gone when
    its video is closed.

    Args:
        model: a backbone (`mosam.load_model`).
        policy: a memory policy (`mosam.load_policy`).
        parity: official program or port, where they differ.
        max_lanes: videos expected to be open at once; sizes the memory pool, which grows if there are more.
        max_rows: rows of one memory-attention call; None = by the device.
        log: fill `ObjectOutput.log` with what was read and chosen.
    Raises:
        ValueError: an argument of another type or out of range.

    Attributes:
        ahead: whether `step` should be given `next_images`: on a GPU, which computes while this process waits for it.

    Usage::

        engine = Engine(model, policy)
        video = engine.open(sequence.prompts, size=sequence.size, num_frames=len(sequence))
        for image in sequence.frames():
            output = engine.step({video: image})[video]
        engine.close(video)
    """

    def __init__(
        self,
        model: Backbone,
        policy: MemoryPolicy,
        *,
        parity: Parity | None = None,
        max_lanes: int = 1,
        max_rows: int | None = None,
        log: bool = False,
    ):
        self.model, self.policy, self.log = model, policy, log
        self.parity = Parity() if parity is None else parity
        check_engine(model, policy, self.parity, max_lanes, max_rows, log)
        sizes = model.sizes
        capacity = max_lanes * policy.live_features(self._info(1, 0, None, (1, 1))) + 2
        self.bank = MemoryBank(
            tokens=sizes.tokens, memory=sizes.memory, width=sizes.width, device=model.device, capacity=capacity
        )
        wants = Wants(boxes=policy.needs_boxes, probability=policy.needs_probability)
        self.runner = ModelRunner(model, self.bank, self.parity, max_rows=max_rows, wants=wants)
        self._composer = FrameComposer(self.runner, policy.emit)
        self.ahead = model.device.type == "cuda"
        self._encoder = EncodeAhead(self.runner.encode_once, model.device)
        self._motion = policy.motion()
        self._motion_side = max(sizes.mask, MOTION_SIDE)
        self._numbers = itertools.count()
        self._open: set[Video] = set()

    def open(
        self,
        prompts: Iterable[Prompt],
        *,
        size: Size,
        num_frames: int | None = None,
        non_overlap: bool = False,
    ) -> Video:
        """Begin a video.

        Args:
            prompts: one or more per object; an object starts at its earliest one.
            size: (height, width) of every frame.
            num_frames: length of the clip, or None for a stream.
            non_overlap: give each pixel to one object at most in what is shown (memory never changes).
        Returns:
            The handle for `step`, `drain` and `close`.
        Raises:
            ValueError: no prompt, two prompts of an object on one frame, a prompt beyond the clip, a mask of another
                size, a box of which less than half is in the picture, a point outside, or an argument of another type.
        """
        length = None if num_frames is None else whole(num_frames, "open: num_frames", 1)
        switch(non_overlap, "open: non_overlap")
        video = Video(next(self._numbers), as_size(size), length, non_overlap, {})
        self._add_prompts(video, prompts)
        video.motion = self.motion_stream()
        self._open.add(video)
        return video

    def prompt(self, video: Video, prompts: Iterable[Prompt]) -> None:
        """Add prompts to an open video: of objects it has, or of new ones.

        Args:
            video: where.
            prompts: for its next frame or later ones.
        Raises:
            ValueError: a closed video, a frame that has been played, and as `open`.
        """
        self._check_open(video, "prompt")
        prompts = as_prompts(prompts, "prompt")
        for prompt in prompts:
            if prompt.frame_index < video.next_frame:
                raise ValueError(
                    f"object {prompt.object_id}: expected a prompt for frame {video.next_frame} or later, "
                    f"got one for frame {prompt.frame_index}"
                )
        self._add_prompts(video, prompts)

    def _check_open(self, video: object, where: str) -> None:
        instance(video, Video, where, "a video that `open` gave")
        if video not in self._open:
            raise ValueError(f"{where}: expected an open video, got one that was closed")

    def _add_prompts(self, video: Video, prompts: Iterable[Prompt]) -> None:
        by_object: dict[int, dict[int, Prompt]] = {}
        for prompt in as_prompts(prompts, "open"):
            check_place(prompt, video)
            frames = by_object.setdefault(prompt.object_id, {})
            track = video.tracks.get(prompt.object_id)
            if prompt.frame_index in frames or (track is not None and prompt.frame_index in track.prompts):
                raise ValueError(
                    f"object {prompt.object_id}: expected one prompt on frame {prompt.frame_index}, got two"
                )
            if prompt.mask is not None and prompt.mask.shape != video.size:
                raise ValueError(f"object {prompt.object_id}: expected a mask of {video.size}, got {prompt.mask.shape}")
            frames[prompt.frame_index] = prompt
        if not by_object:
            raise ValueError("open: expected at least one prompt, got none")
        for object_id, frames in sorted(by_object.items()):
            track = video.tracks.get(object_id)
            if track is None:
                info = self._info(object_id, min(frames), video.num_frames, video.size)
                video.tracks[object_id] = Track(info, dict(sorted(frames.items())))
            else:
                track.prompts.update(frames)

    def motion_stream(self) -> MotionStream | None:
        """A stream that estimates the motion this policy reads, for a reader thread; None where it reads none."""
        if self._motion is None:
            return None
        return MotionStream(MotionSettings(self._motion.sparse, self._motion.dense, self._motion_side))

    def step(
        self,
        images: Mapping[Video, Image],
        motion: Mapping[Video, MotionPair] | None = None,
        next_images: Mapping[Video, Image] | None = None,
    ) -> dict[Video, FrameOutput]:
        """The next frame of each of these videos.

        Args:
            images: uint8 RGB (H, W, 3) by video; videos may be at different frames.
            motion: what each video's own `motion_stream()` gave for this frame, if a reader computed it ahead;
                otherwise it is computed here.
            next_images: the frames after these, of the videos that have one: they are encoded beside what this step
                computes, and used if the next step has the same videos. Worth giving where `ahead` is true.
        Returns:
            What is known now, by video. A policy that decides later (`emit="final"`) may still change it: `drain` has
            the masks that are final.
        Raises:
            ValueError: a closed video, a frame of another size, or anything but frames by video.
        """
        images = as_images(images, "step")
        if motion is not None:
            instance(motion, Mapping, "step: motion", "motion by video or None")
        after = self._frames_after(next_images)
        videos = list(images)
        for video in videos:
            self._check_open(video, "step")
            if images[video].shape != (*video.size, 3) or images[video].dtype != np.uint8:
                got = f"{images[video].dtype} {images[video].shape}"
                raise ValueError(f"frame {video.next_frame}: expected uint8 {(*video.size, 3)}, got {got}")
        busy = [video for video in videos if any(active(track, video.next_frame) for track in video.tracks.values())]
        for video in videos:
            if video.motion is not None:
                ahead = None if motion is None else motion.get(video)
                video.pair = ahead or video.motion.push(images[video])
        outputs: dict[Video, FrameOutput] = {}
        with torch.inference_mode():
            if busy:
                features = self._encoder.take([(video, video.next_frame) for video in busy])
                if features is None:
                    features = self.runner.encode([images[video] for video in busy])
                if after:
                    self._encoder.begin(list(after), list(after.values()))
                prompted = self._prompted(features, busy)
                written = prompted + self._tracked(features, busy, {id(w.track) for w in prompted})
                self._remember(features, written)
                outputs = self._composer.show(busy)
        for video in videos:
            if video not in outputs:  # nothing to track yet
                video.pending.append((video.next_frame, {}))
                outputs[video] = FrameOutput(video.next_frame)
                self._composer.flush(video, {})
            video.next_frame += 1
        return outputs

    def drain(self, video: Video) -> list[FrameOutput]:
        """Outputs that no later frame can change, in frame order, each handed out once; ValueError for no video."""
        instance(video, Video, "drain", "a video that `open` gave")
        done, video.finished = video.finished, []
        return done

    def close(self, video: Video) -> list[FrameOutput]:
        """End a video, give back all it held, and return the outputs that were still open; ValueError for no video."""
        instance(video, Video, "close", "a video that `open` gave")
        if video in self._open:
            with torch.inference_mode():
                for track in video.tracks.values():
                    if track.started:
                        self._composer.settle(video, track, everything=True)
                self._composer.flush(video, {})
            for track in video.tracks.values():
                for hypothesis in track.hypotheses:
                    self.bank.drop(hypothesis.features, hypothesis.pointers)
                track.hypotheses = []
            self._open.discard(video)
        return self.drain(video)

    # one step, in order

    def _frames_after(self, images: Mapping[Video, Image] | None) -> dict[tuple[Video, int], Image]:
        """The frames to encode ahead, by video and frame number: those on which something is tracked."""
        if images is None:
            return {}
        images = as_images(images, "step: next_images")
        for video in images:
            self._check_open(video, "step: next_images")
        return {
            (video, video.next_frame + 1): image
            for video, image in images.items()
            if any(begun(track, video.next_frame + 1) for track in video.tracks.values())
        }

    def _prompted(self, features: ImageFeatures, videos: Sequence[Video]) -> list[FrameResult]:
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
        starts = self._starts(features, rows, [j[3] for j in jobs], sizes)
        made = self.runner.condition(features, rows, starts, sizes, threshold=self.policy.presence_threshold)
        written = []
        for (row, video, track, prompt), start, conditioned in zip(jobs, starts, made, strict=True):
            t = video.next_frame
            entry = Entry(t, "prompt", conditioned.object_score, conditioned.iou, conditioned.area)
            shown = self.runner.shown(conditioned.low[None])[0]
            written.append(
                FrameResult(
                    video=video,
                    track=track,
                    frame_row=row,
                    low=shown if self.parity.cond_memory != "hf" else conditioned.low,
                    index=0,
                    score=conditioned.score,
                    entry=entry,
                    state=track.hypotheses[0].state if track.started else None,
                    trail=track.hypotheses[0].trail if track.started else deque(),
                    binarize=self.parity.cond_memory != "official",
                    store=True,
                    log={"prompt": prompt.kind},
                    exact=self._exact(start),
                )
            )
            self._store_pointers([(entry, conditioned.pointer)])
        return written

    def _starts(
        self, features: ImageFeatures, rows: Sequence[int], prompts: Sequence[Prompt], sizes: Sequence[Size]
    ) -> list[Prompt]:
        """The prompts as the policy starts from them: boxes may become masks first."""
        starts = list(prompts)
        boxes = [i for i, prompt in enumerate(prompts) if prompt.box is not None and self.policy.starts_from_masks]
        if boxes:
            parts = ([values[i] for i in boxes] for values in (rows, prompts, sizes))
            for i, decoded in zip(boxes, self.runner.decode_boxes(features, *parts), strict=True):  # type: ignore[arg-type]
                starts[i] = decoded
        return starts

    def _exact(self, prompt: Prompt) -> Tensor | None:
        """The port memorizes a mask prompt as given, not through its low-resolution logits."""
        if self.parity.cond_memory != "hf" or prompt.mask is None:
            return None
        return self.runner.exact_prompt([prompt])[0]

    def _tracked(self, features: ImageFeatures, videos: Sequence[Video], prompted: Container[int]) -> list[FrameResult]:
        """Objects that are followed on this frame: read, attend, decode, choose."""
        rows = [
            Row(video, track, h, row, self.policy.read(hypothesis.state, video.next_frame))
            for row, video in enumerate(videos)
            for track in video.tracks.values()
            for h, hypothesis in enumerate(track.hypotheses)
            if id(track) not in prompted
        ]
        if not rows:
            return []
        guides = {id(row.track): self._guide(row) for row in rows if row.hypothesis == 0}
        row_guides = [guides[id(row.track)] for row in rows]
        free = self.runner.track(
            features,
            [row.frame_row for row in rows],
            [row.plan for row in rows],
            threshold=self.policy.presence_threshold,
            expected=[guide.expected if guide else None for guide in row_guides],
            beside=[row.track.beside for row in rows],
        )
        groups = by_track(rows)
        offers = [decoded_candidates(free, "free", {i: i for i in members}, members, row_guides) for members in groups]
        for members, own in zip(groups, offers, strict=True):
            self._spare(rows, members, own, row_guides)
        prompted_rows = [i for i, guide in enumerate(row_guides) if guide is not None and guide.prompts]
        guided = None
        if prompted_rows:
            guided = self.runner.guided(
                features,
                [rows[i].frame_row for i in prompted_rows],
                free.top[upload_index(free.top.device, prompted_rows)],
                [guide for guide in row_guides if guide is not None and guide.prompts],
                [rows[i].video.size for i in prompted_rows],
                beside=[rows[i].track.beside for i in prompted_rows],
            )
        written = []
        for members, own in zip(groups, offers, strict=True):
            if guided is not None:
                where = {i: n for n, i in enumerate(prompted_rows) if i in members}
                own += decoded_candidates(guided, "guided", where, members, row_guides)
            written += self._choose([rows[i] for i in members], own, row_guides[members[0]])
        self._store_chosen_pointers(written)
        return written

    def _guide(self, row: Row) -> Guide | None:
        """What the policy makes of motion for this object."""
        if self._motion is None:
            return None
        needs, video, track = self._motion, row.video, row.track

        def look() -> Forecast | None:
            if video.pair is None or track.probability is None:
                return None
            return forecast(video.pair, track.probability, needs)

        if track.beside is not None:
            track.beside = carry(track.beside, None if video.pair is None else video.pair.current)
        return self.policy.guide(track.hypotheses[0].state, video.next_frame, look)

    def _spare(
        self, rows: Sequence[Row], members: Sequence[int], free: Sequence[DecodedCandidate], guides: list[Guide | None]
    ) -> None:
        """Take the prompt off the guide of one object where its policy sees that it could not matter."""
        guide, row = guides[members[0]], rows[members[0]]
        if guide is None or not guide.prompts:
            return
        state = row.track.hypotheses[0].state
        reason = self.policy.spare(state, row.video.next_frame, [offer.candidate for offer in free])
        if reason is not None:
            log = {**(guide.log or {}), "withheld": reason}
            for i in members:
                guides[i] = replace(guide, box=None, points=None, log=log)

    def _choose(
        self, rows: Sequence[Row], offers: Sequence[DecodedCandidate], guide: Guide | None
    ) -> list[FrameResult]:
        """Ask the policy once for the object; one `FrameResult` for each hypothesis that lives on."""
        track, video = rows[0].track, rows[0].video
        candidates = [offer.candidate for offer in offers]
        choices = self.policy.choose([h.state for h in track.hypotheses], video.next_frame, candidates)
        return [self._chosen(choice, offers[choice.candidate], rows, guide) for choice in choices]

    def _chosen(self, choice: Choice, offer: DecodedCandidate, rows: Sequence[Row], guide: Guide | None) -> FrameResult:
        candidate = offer.candidate
        row = rows[candidate.hypothesis]
        low, score = offer.decodes.masks[offer.row], offer.decodes.score[offer.row]
        entry = Entry(row.video.next_frame, "track", candidate.object_score, candidate.iou, candidate.area)
        if choice.absent and entry.visible:
            low, score = torch.full_like(low, ABSENT_LOGIT), -score
            entry.object_score, entry.area = -candidate.object_score, 0
        return FrameResult(
            video=row.video,
            track=row.track,
            frame_row=row.frame_row,
            low=low,
            index=candidate.index,
            score=score,
            entry=entry,
            state=choice.state,
            trail=row.track.hypotheses[candidate.hypothesis].trail.copy(),
            binarize=False,
            store=choice.memory != "skip",
            log=decision_log(row.plan, candidate, choice, guide) if self.log else {},
            decodes=offer.decodes,
            decode_row=offer.row,
            remask=choice.remask,
        )

    def _store_chosen_pointers(self, written: Sequence[FrameResult]) -> None:
        """Object pointers of the chosen candidates, presence-gated by the policy's own threshold."""
        tokens = torch.stack([w.decodes.tokens[w.decode_row, w.index] for w in written if w.decodes is not None])
        present = torch.stack([w.score for w in written]) > self.policy.presence_threshold
        pointers = self.model.pointer(tokens, present)
        self._store_pointers([(w.entry, pointers[n]) for n, w in enumerate(written)])

    def _store_pointers(self, pairs: Sequence[tuple[Entry, Tensor]]) -> None:
        rows = self.bank.pointers.allocate(len(pairs))
        for (entry, _), row in zip(pairs, rows, strict=True):
            entry.pointer_row = row
        self.bank.pointers.write(rows, torch.stack([pointer for _, pointer in pairs]))

    def _remember(self, features: ImageFeatures, written: Sequence[FrameResult]) -> None:
        """Encode and store memories, tell the policy, and give back what it can no longer read."""
        if self.parity.binarize_scope == "frame":
            prompted = {w.video for w in written if w.entry.kind == "prompt"}
            for w in written:
                w.binarize = w.binarize or w.video in prompted
        self._encode([w for w in written if w.store], features)
        masks = StepMasks(self._composer, written)
        for members in by_track(written):
            group = [written[i] for i in members]
            hypotheses = []
            for w in group:
                update = self._tell(w, masks)
                if update.reencode:
                    w.entry.kind = "anchor"
                    w.binarize, w.low, w.index = True, self.runner.shown(w.low[w.index][None, None])[0], 0
                    self._write_features([w], features)
                if update.log and self.log:
                    w.log.update(update.log)
                self.bank.hold(update.features, update.pointers)
                low = w.low[w.index][None]
                log, mask = w.log if self.log else None, None if update.reencode else masks.known(w)
                w.trail.append(Shown(w.entry.frame, low, w.entry.object_score, w.entry.iou, log, mask))
                hypotheses.append(Hypothesis.of(update, w.trail))
            for old in group[0].track.hypotheses:
                self.bank.drop(old.features, old.pointers)
            for w in group:  # the writer's own hold
                self.bank.drop([w.entry] if w.entry.feature_row is not None else [], [w.entry])
            group[0].track.hypotheses = hypotheses
        if self._motion is not None:
            self._look_back([written[members[0]] for members in by_track(written)], self._motion)

    def _look_back(self, written: Sequence[FrameResult], needs: MotionNeeds) -> None:
        """Keep what motion needs of this frame: where each object is shown, and what lies beside it."""
        side = self._motion_side
        logits = F.interpolate(
            torch.stack([w.low[w.index][None] for w in written]), (side, side), mode="bilinear", align_corners=False
        )
        for w, plane in zip(written, download(torch.sigmoid(logits[:, 0])), strict=True):
            w.track.probability = plane
            if needs.beside and w.entry.visible:
                w.track.beside = learn(w.track.beside, plane, prompted=w.entry.kind == "prompt")

    def _tell(self, w: FrameResult, masks: StepMasks) -> Update:
        """Tell the policy that a frame is finished."""
        if w.entry.kind == "track":
            return self.policy.wrote(w.state, w.entry.frame, w.entry, FullSizeMasks(masks, w))
        if w.state is None:
            return self.policy.start(w.track.info, w.entry)
        return self.policy.prompted(w.state, w.entry.frame, w.entry)

    def _encode(self, written: Sequence[FrameResult], features: ImageFeatures) -> None:
        if not written:
            return
        for w, row in zip(written, self.bank.features.allocate(len(written)), strict=True):
            w.entry.feature_row = row
        self._write_features(written, features)
        if self.policy.needs_reliability:
            rows = self.bank.reliability.allocate(len(written))
            for w, row in zip(written, rows, strict=True):
                w.entry.reliability_row = row
            self.bank.reliability.write(rows, self.runner.reliability(torch.stack([w.low[w.index] for w in written])))

    def _write_features(self, written: Sequence[FrameResult], features: ImageFeatures) -> None:
        jobs = [MemoryJob(w.frame_row, w.low, w.index, w.score, w.binarize, w.exact, w.remask) for w in written]
        rows = [w.entry.feature_row for w in written]
        self.bank.features.write([row for row in rows if row is not None], self.runner.memorize(features, jobs))

    # what is shown

    def _info(self, object_id: int, start: int, num_frames: int | None, size: Size) -> TrackInfo:
        sizes = self.model.sizes
        return TrackInfo(
            object_id=object_id,
            start=start,
            num_frames=num_frames,
            size=size,
            slots=sizes.slots,
            pointers=sizes.pointers,
            model=self.model.name,
            pointer_norm=self.parity.pointer_norm,
        )
