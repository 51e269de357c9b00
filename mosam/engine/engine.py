"""The public loop: open a video, step it frame by frame, close it. Any number of videos and objects step together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch

from mosam.engine.checks import as_images, as_prompts, as_size, check_engine, check_place, check_policy
from mosam.engine.encode_ahead import EncodeAhead
from mosam.engine.memory_bank import MemoryBank
from mosam.engine.model_runner import ModelRunner
from mosam.engine.output import FrameComposer
from mosam.engine.parity import Parity
from mosam.engine.predict import Predictor
from mosam.engine.records import Video, active, begun
from mosam.engine.remember import Memorizer
from mosam.engine.retrace import retracer_of
from mosam.engine.track import Track
from mosam.model.arrays import load_arrays
from mosam.model.backbone import Backbone, ImageFeatures
from mosam.motion.field import MotionPair, MotionSettings, MotionStream
from mosam.policies.base import MemoryPolicy, TrackInfo
from mosam.system.arguments import instance, switch, whole
from mosam.types import FrameOutput, Image, Prompt, Size

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
        MosamError: an option of the policy that this network cannot honor.
        MissingDataError: a file of numbers that the policy needs is not here and cannot be fetched.

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
        check_policy(model, policy)
        if policy.weights is not None:
            policy.receive(load_arrays(policy.weights))
        sizes = model.sizes
        capacity = max_lanes * policy.live_features(self._info(1, 0, None, (1, 1))) + 2
        self.bank = MemoryBank(
            tokens=sizes.tokens,
            memory=sizes.memory,
            width=sizes.width,
            device=model.device,
            capacity=capacity,
            views=((sizes.width, sizes.grid, sizes.grid), model.dtype) if policy.keeps_views else None,
        )
        self.runner = ModelRunner(
            model,
            self.bank,
            self.parity,
            max_rows=max_rows,
            boxes=policy.needs_boxes,
            prototypes=policy.prototypes,
        )
        self._composer = FrameComposer(self.runner, policy.emit)
        self.ahead = model.device.type == "cuda"
        self._encoder = EncodeAhead(self.runner.encode_once, model.device)
        self._motion, self._motion_side = policy.motion(), max(sizes.mask, MOTION_SIDE)
        retracer = retracer_of(self._motion)
        self._predictor = Predictor(self.runner, policy, retracer, log=log)
        self._memorizer = Memorizer(
            self.runner, policy, self._composer, retracer, motion_side=self._motion_side, log=log
        )
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
        needs = self._motion
        return MotionStream(MotionSettings(needs.sparse, needs.dense, self._motion_side, needs.frames))

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
        images, after = self._checked(images), self._frames_after(next_images)
        if motion is not None:
            instance(motion, Mapping, "step: motion", "motion by video or None")
        self._push_motion(images, motion or {})
        busy = [video for video in images if any(active(track, video.next_frame) for track in video.tracks.values())]
        outputs: dict[Video, FrameOutput] = {}
        if busy:
            with torch.inference_mode():
                features = self._encode(busy, images, after)
                prompted = self._predictor.prompted(features, busy)
                tracked = self._predictor.tracked(features, busy, {id(result.track) for result in prompted})
                self._memorizer.remember(features, prompted + tracked)
                outputs = self._composer.show(busy)
        for video in images:
            if video not in outputs:
                outputs[video] = self._composer.show_nothing(video)
            video.next_frame += 1
        return outputs

    def _checked(self, images: object) -> Mapping[Video, Image]:
        """The frames of a step; ValueError where one cannot be."""
        checked = as_images(images, "step")
        for video, image in checked.items():
            self._check_open(video, "step")
            if image.shape != (*video.size, 3) or image.dtype != np.uint8:
                got = f"{image.dtype} {image.shape}"
                raise ValueError(f"frame {video.next_frame}: expected uint8 {(*video.size, 3)}, got {got}")
        return checked

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

    def _push_motion(self, images: Mapping[Video, Image], known: Mapping[Video, MotionPair]) -> None:
        """The motion of each video up to this frame, computed here where no reader did."""
        for video, image in images.items():
            if video.motion is not None:
                video.pair = known.get(video) or video.motion.push(image)

    def _encode(
        self, videos: Sequence[Video], images: Mapping[Video, Image], after: Mapping[tuple[Video, int], Image]
    ) -> ImageFeatures:
        """Features of the frames of this step; begins those of the next."""
        features = self._encoder.take([(video, video.next_frame) for video in videos])
        if features is None:
            features = self.runner.encode([images[video] for video in videos])
        if after:
            self._encoder.begin(list(after), list(after.values()))
        return features

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
                        self._composer.pop_final(video, track, everything=True)
                self._composer.flush(video, {})
            for track in video.tracks.values():
                for hypothesis in track.hypotheses:
                    self.bank.drop(hypothesis.features, hypothesis.pointers)
                track.hypotheses = []
            self._open.discard(video)
        return self.drain(video)

    def discard(self, video: Video) -> None:
        """End a video whose outputs are no longer wanted; ValueError for no video."""
        self.close(video)

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
            conditioning=sizes.conditioning,
        )
