"""The network work of one batch: stack rows, call the backbone, bring small numbers back in one transfer.

Rows are (sequence, object, hypothesis). Rows that read the same number of slots and pointers form a bucket that needs
no attention mask; only MoSAM's pixel filter adds a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mosam.engine.capacity import RowLimit, is_out_of_memory, release_memory
from mosam.engine.capacity import max_rows as usual_rows
from mosam.engine.holes import fill_holes
from mosam.engine.memory_bank import MemoryBank
from mosam.engine.parity import ABSENT_LOGIT, STABILITY_DELTA, STABILITY_THRESHOLD, Parity
from mosam.engine.transfer import download, upload, upload_index
from mosam.model.backbone import Backbone, Decoded, ImageFeatures, MemoryRead
from mosam.policies.base import Guide, PixelFilter, ReadPlan
from mosam.types import DecodedPrompt, Prompt, Size

MEMORY_SCALE, MEMORY_BIAS = 20.0, -10.0  # SAM 2: sigmoid_scale_for_mem_enc, sigmoid_bias_for_mem_enc
PROMPT_LOGIT = 10.0  # a mask prompt stands for logits of +-10 and an object score of +-10
RELIABILITY_FLOOR = 0.05  # MoSAM's pixel filter: smallest weight of a token, ln(0.05) = -3
PROTECTED_PROBABILITY = 0.9  # tokens holding a pixel surer than this are never filtered (tiny objects)
DROP_LIMIT = 0.6  # a slot that would lose more of its tokens than this is weighted instead of cut

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wants:
    """Numbers of tracked candidates that cost extra and only some policies read.

    Attributes:
        boxes: corners of each mask.
        probability: mean probability of its own pixels.
    """

    boxes: bool = False
    probability: bool = False


@dataclass(slots=True, eq=False)
class Decodes:
    """Candidates of R rows: masks stay on the device, the small numbers are on the host.

    Attributes:
        masks: (R, K, mask, mask) float32 logits, blanked where the object is absent.
        tokens: (R, K, width) token a pointer is made from.
        score: (R,) presence logit on the device.
        top: (R, width, grid, grid) features the masks were decoded from.
        iou: (R, K) float64. object_score: (R,) float64. area: (R, K) int64.
        boxes: (R, K, 4) float64 inclusive corners at network input size, zeros where empty; or None.
        probability: (R, K) float64 mean probability of a mask's own pixels; or None.
        motion_iou: (R, K) float64 IoU with the expected mask, NaN where there is none; or None.
        beside: (R, K) float64 how surely a mask's pixels show what was seen beside the object, on average; NaN where
            that is not kept; or None.
    """

    masks: Tensor
    tokens: Tensor
    score: Tensor
    top: Tensor
    iou: NDArray[np.float64]
    object_score: NDArray[np.float64]
    area: NDArray[np.int64]
    boxes: NDArray[np.float64] | None = None
    probability: NDArray[np.float64] | None = None
    motion_iou: NDArray[np.float64] | None = None
    beside: NDArray[np.float64] | None = None


@dataclass(slots=True, eq=False)
class Conditioned:
    """A prompted frame of one object.

    Attributes:
        low: (1, mask, mask) float32 logits.
        pointer: (width,) float32.
        iou, object_score, area: host numbers.
        score: () presence logit on the device.
    """

    low: Tensor
    pointer: Tensor
    score: Tensor
    iou: float
    object_score: float
    area: int


@dataclass(frozen=True, slots=True, eq=False)
class MemoryJob:
    """One memory to encode.

    Attributes:
        frame_row: row of the frame batch.
        low: (K, mask, mask) logits, of which candidate `index` is taken.
        score: () presence logit.
        binarize: memorize `logit > 0` instead of its sigmoid.
        exact: (1, image, image) logits to memorize instead (the port's mask prompts), or None.
        remask: low-resolution pixels of lower reliability become sure background first, or None.
    """

    frame_row: int
    low: Tensor
    index: int
    score: Tensor
    binarize: bool = False
    exact: Tensor | None = None
    remask: float | None = None


class ModelRunner:
    """Runs a backbone over batches of rows; holds no state of any track.

    Args:
        model: the network.
        bank: where memories are read from.
        parity: what to imitate.
        max_rows: rows of one memory-attention call, and frames of one call of the image encoder; None = by the grid and
            the device. Halved when a call runs out of memory, which is then repeated in parts; see `RowLimit`.
        wants: what the policy reads of candidates beyond the plain numbers.
    """

    def __init__(
        self,
        model: Backbone,
        bank: MemoryBank,
        parity: Parity,
        *,
        max_rows: int | None = None,
        wants: Wants | None = None,
    ):
        self.model = model
        self.bank = bank
        self.parity = parity
        self.wants = wants or Wants()
        self.limit = RowLimit(max_rows or usual_rows(model))

    @property
    def max_rows(self) -> int:
        """Rows of the next call, at most."""
        return self.limit.rows

    def encode_once(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """As `encode`, but running out of memory is an error at once and changes nothing."""
        most = self.limit.rows
        parts = [images[start : start + most] for start in range(0, len(images), most)]
        return _joined([self.model.encode(self.model.preprocess(part)) for part in parts])

    def encode(self, images: Sequence[np.ndarray]) -> ImageFeatures:
        """Features of a batch of uint8 RGB frames."""
        parts = [
            part
            for _, part in self._in_parts(
                list(range(len(images))),
                lambda members: self.model.encode(self.model.preprocess([images[i] for i in members])),
            )
        ]
        return _joined(parts)

    def _in_parts(self, members: list[int], work: Callable[[list[int]], T]) -> Iterator[tuple[list[int], T]]:
        """Work on at most `max_rows` members at a time, on fewer where the device has no memory for so many.

        `work` must be repeatable: what it did before it failed is done again.
        """
        start = 0
        while start < len(members):
            part = members[start : start + self.limit.rows]
            try:
                made = work(part)
            except Exception as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                self.limit.exceeded(len(part))
                made = None
            if made is None:  # outside of the handler, so that nothing holds what the failed call had
                self.model.release()
                release_memory(self.model.device)
                continue
            self.limit.worked()
            yield part, made
            start += len(part)

    # prompted frames

    def condition(
        self,
        features: ImageFeatures,
        frame_rows: Sequence[int],
        prompts: Sequence[Prompt],
        sizes: Sequence[Size],
        *,
        threshold: float = 0.0,
    ) -> list[Conditioned]:
        """Prompted frames, decoded without memory; like prompts share one call.

        Args:
            features: of the frame batch.
            frame_rows: row of the frame batch for each prompt.
            prompts: one a row.
            sizes: (height, width) of the video of each prompt.
            threshold: presence logit above which a mask is not blanked and its pointer is its own.
        """
        results: list[Conditioned | None] = [None] * len(prompts)
        for members in _groups([_prompt_kind(prompt) for prompt in prompts]):
            rows = self._index([frame_rows[i] for i in members])
            group = [prompts[i] for i in members]
            if group[0].mask is not None:
                made = self._condition_masks(features, rows, group, threshold)
            else:
                made = self._condition_points(features, rows, group, [sizes[i] for i in members], threshold)
            for i, one in zip(members, made, strict=True):
                results[i] = one
        return [one for one in results if one is not None]

    def _condition_masks(
        self, features: ImageFeatures, rows: Tensor, prompts: Sequence[Prompt], threshold: float
    ) -> list[Conditioned]:
        """The mask itself becomes the output; the decoder only makes the pointer, from raw features."""
        side = self.model.sizes.mask
        mask = self.model.mask_prompt(prompts)
        high = mask.float() * (2 * PROMPT_LOGIT) - PROMPT_LOGIT
        low = F.interpolate(high, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        given = mask.flatten(1).any(dim=1)
        tokens = self.model.no_prompt(len(prompts))
        dense = self.model.mask_dense_prompt(mask)
        tokens = type(tokens)(tokens.points, tokens.labels, dense)
        outputs: Literal["single", "multi"] = self.parity.cond_pointer  # type: ignore[assignment]
        decoded = self.model.decode(features.top[rows], features, rows, tokens, outputs=outputs)
        best = decoded.iou.argmax(dim=1)
        token = decoded.tokens[torch.arange(len(prompts), device=best.device), best]
        pointers = self.model.pointer(token, (decoded.object_score > threshold) & given)
        score = torch.where(given, PROMPT_LOGIT, -PROMPT_LOGIT)
        area = (low > 0).flatten(1).sum(dim=1)
        host = download(torch.stack([score.float(), area.float()])).astype(np.float64)
        return [
            Conditioned(low[i], pointers[i], score[i], 1.0, float(host[0, i]), int(host[1, i]))
            for i in range(len(prompts))
        ]

    def _condition_points(
        self,
        features: ImageFeatures,
        rows: Tensor,
        prompts: Sequence[Prompt],
        sizes: Sequence[Size],
        threshold: float,
    ) -> list[Conditioned]:
        tokens = self.model.prompt_tokens(prompts, sizes)
        top = self.model.without_memory(features, rows)
        multimask = tokens.points.shape[1] <= 1
        decodes = self._decode(top, features, rows, tokens, multimask=multimask, threshold=threshold)
        made = []
        for i in range(len(prompts)):
            k = int(decodes.iou[i].argmax())
            score = decodes.score[i]
            pointer = self.model.pointer(decodes.tokens[i : i + 1, k], (score > threshold)[None])[0]
            iou, present, area = decodes.iou[i, k], decodes.object_score[i], decodes.area[i, k]
            made.append(Conditioned(decodes.masks[i, k : k + 1], pointer, score, float(iou), float(present), int(area)))
        return made

    def decode_boxes(
        self, features: ImageFeatures, frame_rows: Sequence[int], prompts: Sequence[Prompt], sizes: Sequence[Size]
    ) -> list[Prompt]:
        """The mask prompts that DAM4SAM's program makes of boxes.

        The mask is what is positive at video size, whatever the presence head says; it may be empty.

        Args:
            features, frame_rows, prompts, sizes: as for `condition`; each prompt has a box.
        """
        made: list[Prompt | None] = [None] * len(prompts)
        for members in _groups([_prompt_kind(prompt) for prompt in prompts]):
            rows = self._index([frame_rows[i] for i in members])
            tokens = self.model.prompt_tokens([prompts[i] for i in members], [sizes[i] for i in members])
            outputs: Literal["all", "single"] = "all" if self.parity.stability else "single"
            top = self.model.without_memory(features, rows)
            decoded = self.model.decode(top, features, rows, tokens, outputs=outputs)
            low = _stable_single(decoded)[0] if outputs == "all" else decoded.masks.float()
            for i, one in zip(members, low, strict=True):
                logits = F.interpolate(one[None], size=sizes[i], mode="bilinear", align_corners=False)
                mask = (logits[0, 0] > 0).cpu().numpy()
                made[i] = DecodedPrompt(prompts[i].object_id, prompts[i].frame_index, mask=mask)
        return [prompt for prompt in made if prompt is not None]

    # tracked frames

    def track(
        self,
        features: ImageFeatures,
        frame_rows: Sequence[int],
        plans: Sequence[ReadPlan],
        *,
        threshold: float,
        expected: Sequence[NDArray[np.bool_] | None] = (),
        beside: Sequence[NDArray[np.float32] | None] = (),
    ) -> Decodes:
        """Memory attention and the decoder without prompt, for every row.

        Args:
            features: of the frame batch.
            frame_rows: row of the frame batch for each row.
            plans: what each row reads.
            threshold: presence logit above which a mask is not blanked.
            expected: (side, side) mask that motion expects, or None, for each row; empty = none at all.
            beside: (side, side) what was seen beside each row's object, or None, likewise.
        """

        def work(members: list[int]) -> Decodes:
            rows, read = self.memory_read([plans[i] for i in members], [frame_rows[i] for i in members])
            top = self.model.attend(features, rows, read)
            tokens = self.model.no_prompt(len(members))
            return self._decode(
                top,
                features,
                rows,
                tokens,
                multimask=True,
                threshold=threshold,
                wants=self.wants,
                expected=[expected[i] for i in members] if expected else [],
                beside=[beside[i] for i in members] if beside else [],
            )

        parts = [part for group in _buckets(plans) for part in self._in_parts(group, work)]
        return _merge(parts, len(plans))

    def guided(
        self,
        features: ImageFeatures,
        frame_rows: Sequence[int],
        top: Tensor,
        guides: Sequence[Guide],
        sizes: Sequence[Size],
        *,
        beside: Sequence[NDArray[np.float32] | None] = (),
    ) -> Decodes:
        """A second decode of the same memory-conditioned features, with each row's extra prompt.

        Rows with equal numbers of points share a call: the padding label of the decoder is a token that takes part in
        attention, so unlike rows cannot be padded.
        """
        prompts = [_guide_prompt(guide, size) for guide, size in zip(guides, sizes, strict=True)]
        parts = []
        for members in _groups([_prompt_kind(prompt) for prompt in prompts]):
            rows, taken = self._indices([frame_rows[i] for i in members], members)
            tokens = self.model.prompt_tokens([prompts[i] for i in members], [sizes[i] for i in members])
            chosen = top[taken]
            multimask = tokens.points.shape[1] <= 1
            decodes = self._decode(
                chosen,
                features,
                rows,
                tokens,
                multimask=multimask,
                threshold=0.0,
                stability=True,
                wants=self.wants,
                expected=[guides[i].expected for i in members],
                beside=[beside[i] for i in members] if beside else [],
            )
            parts.append((members, _best_only(decodes)))
        return _merge(parts, len(guides))

    def _decode(
        self,
        top: Tensor,
        features: ImageFeatures,
        rows: Tensor,
        tokens: object,
        *,
        multimask: bool,
        threshold: float,
        stability: bool | None = None,
        wants: Wants | None = None,
        expected: Sequence[NDArray[np.bool_] | None] = (),
        beside: Sequence[NDArray[np.float32] | None] = (),
    ) -> Decodes:
        stable = self.parity.stability if stability is None else stability
        outputs: Literal["multi", "single", "all"] = "multi" if multimask else ("all" if stable else "single")
        decoded = self.model.decode(top, features, rows, tokens, outputs=outputs)  # type: ignore[arg-type]
        masks, iou, mask_tokens = decoded.masks, decoded.iou, decoded.tokens
        if outputs == "all":
            masks, iou = _stable_single(decoded)
            mask_tokens = mask_tokens[:, :1]
        present = decoded.object_score > threshold
        masks = torch.where(present[:, None, None, None], masks.float(), ABSENT_LOGIT)
        wants = wants or Wants()
        on = masks > 0
        area = on.flatten(2).sum(dim=2)
        numbers = {"iou": iou, "area": area, "object_score": decoded.object_score[:, None]}
        if wants.boxes:
            numbers["boxes"] = self._boxes(masks)
        if wants.probability:
            numbers["probability"] = (torch.sigmoid(masks) * on).flatten(2).sum(dim=2) / area.clamp(min=1)
        if any(mask is not None for mask in expected):
            numbers["motion_iou"] = _motion_iou(masks, *_planes(expected, masks.device))
        if any(mask is not None for mask in beside):
            numbers["beside"] = _beside(masks, *_planes(beside, masks.device))
        host = _to_host(numbers)  # the one transfer of this decode
        return Decodes(
            masks,
            mask_tokens,
            decoded.object_score,
            top,
            iou=host["iou"],
            object_score=host["object_score"][:, 0],
            area=host["area"].astype(np.int64),
            boxes=host.get("boxes"),
            probability=host.get("probability"),
            motion_iou=host.get("motion_iou"),
            beside=host.get("beside"),
        )

    def _boxes(self, masks: Tensor) -> Tensor:
        """(R, K, 4) inclusive x0, y0, x1, y1 of the masks at network input size; zeros where empty."""
        on = self.upsample(masks) > 0
        columns, rows = on.any(dim=2), on.any(dim=3)
        x0, y0 = columns.int().argmax(dim=2), rows.int().argmax(dim=2)
        last = self.model.sizes.image - 1
        x1, y1 = last - columns.flip(2).int().argmax(dim=2), last - rows.flip(2).int().argmax(dim=2)
        boxes = torch.stack([x0, y0, x1, y1], dim=2)
        return torch.where(columns.any(dim=2)[..., None], boxes, 0)

    def upsample(self, low: Tensor) -> Tensor:
        """(R, K, mask, mask) logits to network input size."""
        side = self.model.sizes.image
        return F.interpolate(low.float(), size=(side, side), mode="bilinear", align_corners=False)

    # memory

    def memory_read(self, plans: Sequence[ReadPlan], frame_rows: Sequence[int]) -> tuple[Tensor, MemoryRead]:
        """What a batch of rows attends to.

        Args:
            plans: what each row reads, equally many slots and pointers.
            frame_rows: row of the frame batch of each.
        Returns:
            the frame rows on the device, which went up together with the rest, and the memories.
        """
        sizes, bank, device = self.model.sizes, self.bank, self.model.device
        slots, pointers = len(plans[0].slots), len(plans[0].pointers)
        slot_rows = np.zeros((len(plans), slots), dtype=np.int64)
        pointer_rows = np.zeros((len(plans), pointers), dtype=np.int64)
        temporal = np.zeros((len(plans), slots), dtype=np.int64)
        positions = np.zeros((len(plans), pointers), dtype=np.float32)
        slot_scale = np.ones((len(plans), slots), dtype=np.float32)
        pointer_scale = np.ones((len(plans), pointers), dtype=np.float32)
        for i, plan in enumerate(plans):
            for j, slot in enumerate(plan.slots):
                slot_rows[i, j] = _stored(slot.entry.feature_row)
                temporal[i, j], slot_scale[i, j] = slot.temporal, slot.key_scale
            for j, pointer in enumerate(plan.pointers):
                pointer_rows[i, j] = _stored(pointer.entry.pointer_row)
                pointer_scale[i, j] = pointer.key_scale
                positions[i, j] = np.float32(pointer.position) / np.float32(max(plan.span - 1, 1))
        frames, at_slots, at_pointers, times, places, slot_scales, pointer_scales = upload(
            device,
            np.asarray(frame_rows, dtype=np.int64),
            slot_rows,
            pointer_rows,
            temporal,
            positions,
            None if (slot_scale == 1).all() else slot_scale,
            None if (pointer_scale == 1).all() else pointer_scale,
        )
        return frames, MemoryRead(
            memory=bank.features.gather(at_slots),
            temporal=times,
            pointers=bank.pointers.gather(at_pointers).reshape(len(plans), pointers, sizes.width),
            positions=places,
            slot_scale=slot_scales,
            pointer_scale=pointer_scales,
            bias=self._bias(plans),
        )

    def _bias(self, plans: Sequence[ReadPlan]) -> Tensor | None:
        """(R, keys) additive bias of the pixel filter on filtered slots; None where nothing is filtered."""
        if not any(p.pixel_filter is not None and any(s.filtered for s in p.slots) for p in plans):
            return None
        device, rows = self.model.device, len(plans)
        bias = torch.zeros(rows, len(plans[0].slots), self.model.sizes.tokens, device=device)
        rules = _filtered_slots(plans)
        indices = [np.asarray([*zip(*places, strict=True), stored], dtype=np.int64) for _, places, stored in rules]
        for (rule, _, _), index in zip(rules, upload(device, *indices) if indices else (), strict=True):
            bias[index[0], index[1]] = _filter_bias(self.bank.reliability.gather(index[2]), rule)
        free = torch.zeros(rows, len(plans[0].pointers) * self.model.tokens_per_pointer, device=device)
        return torch.cat([bias.flatten(1), free], dim=1)

    def memorize(self, features: ImageFeatures, jobs: Sequence[MemoryJob]) -> Tensor:
        """(N, tokens, memory) bfloat16, one for each job."""
        made: list[Tensor | None] = [None] * len(jobs)
        for group in _groups([job.low.shape[0] for job in jobs]):
            for members, memory in self._in_parts(
                group, lambda part: self._memorize(features, [jobs[i] for i in part])
            ):
                for i, one in zip(members, memory, strict=True):
                    made[i] = one
        return torch.stack([one for one in made if one is not None])

    def _memorize(self, features: ImageFeatures, jobs: Sequence[MemoryJob]) -> Tensor:
        frame_rows, taken, flags = self._indices(
            [job.frame_row for job in jobs], [job.index for job in jobs], [int(job.binarize) for job in jobs]
        )
        high = self._high(jobs, taken)
        if all(job.binarize for job in jobs):
            values = (high > 0).float()
        elif any(job.binarize for job in jobs):
            binarize = flags.bool()
            values = torch.where(binarize[:, None, None, None], (high > 0).float(), torch.sigmoid(high))
        else:
            values = torch.sigmoid(high)
        values = values * MEMORY_SCALE + MEMORY_BIAS
        score = torch.stack([job.score for job in jobs])
        return self.model.memorize(features, frame_rows, values, score > 0)

    def _high(self, jobs: Sequence[MemoryJob], taken: Tensor) -> Tensor:
        """(N, 1, image, image) logits to memorize, of candidate `taken` of each job."""
        low = torch.stack([_sure(job) for job in jobs])
        each = torch.arange(len(jobs), device=low.device)
        if low.device.type == "cpu":
            # all candidates are up-sampled before one is taken: one channel alone rounds differently on a CPU
            high = self.upsample(low)[each, taken][:, None]
        else:
            high = self.upsample(low[each, taken][:, None])
        if any(job.exact is not None for job in jobs):
            high = torch.stack([one if job.exact is None else job.exact for one, job in zip(high, jobs, strict=True)])
        return high

    def exact_prompt(self, prompts: Sequence[Prompt]) -> Tensor:
        """(R, 1, image, image) +-10 logits of mask prompts at network input size (the port memorizes these)."""
        return self.model.mask_prompt(prompts).float() * (2 * PROMPT_LOGIT) - PROMPT_LOGIT

    def shown(self, low: Tensor) -> Tensor:
        """(N, 1, mask, mask) logits as they are shown: small holes filled where parity asks for it."""
        return fill_holes(low, self.parity.fill_holes) if self.parity.fill_holes else low

    def reliability(self, low: Tensor) -> Tensor:
        """(N, mask, mask) encoded logits -> (N, tokens) uint8: mean reliability of a token, 0..254; 255 = protected."""
        sure = torch.sigmoid(low.float())
        cell = self.model.sizes.mask // self.model.sizes.grid
        c = F.avg_pool2d((2 * sure - 1).abs()[:, None], cell).flatten(1)
        protected = F.max_pool2d((sure > PROTECTED_PROBABILITY).float()[:, None], cell).flatten(1) > 0
        return torch.where(protected, 255, (c * 254).round().clamp(0, 254)).to(torch.uint8)

    def _index(self, values: Sequence[int]) -> Tensor:
        return upload_index(self.model.device, values)

    def _indices(self, *values: Sequence[int]) -> list[Tensor]:
        """Lists of equal length as int64 tensors, in one upload."""
        return list(self._index([value for one in values for value in one]).view(len(values), -1).unbind(0))


def _joined(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Features of the frames of all parts."""
    if len(parts) == 1:
        return parts[0]
    return ImageFeatures(
        torch.cat([part.top for part in parts]),
        tuple(torch.cat(level) for level in zip(*(part.high for part in parts), strict=True)),
    )


def _prompt_kind(prompt: Prompt) -> tuple[str, int]:
    """Prompts of one kind share a decoder call: it has one multimask flag and one token count."""
    if prompt.mask is not None:
        return ("mask", 0)
    return ("points", (2 if prompt.box is not None else 0) + (0 if prompt.points is None else len(prompt.points)))


def _guide_prompt(guide: Guide, size: Size) -> Prompt:
    """A guide, in fractions of the picture, as a prompt in video pixels."""
    scale = np.array([size[1], size[0]], dtype=np.float64)
    box = None
    if guide.box is not None:
        low, high = guide.box[:2] * scale, guide.box[2:] * scale
        box = np.concatenate([low, high - low])
    points = None if guide.points is None else guide.points * scale
    labels = None if points is None else np.ones(len(points), dtype=np.int64)
    return Prompt(1, box=box, points=points, labels=labels)


def _to_host(numbers: dict[str, Tensor]) -> dict[str, NDArray[np.float64]]:
    """Arrays of equal first dimension, in one transfer; counts of pixels are exact in 32 bits up to 2^24."""
    flat = download(torch.cat([value.flatten(1).float() for value in numbers.values()], dim=1)).astype(np.float64)
    host, start = {}, 0
    for name, value in numbers.items():
        count = value[0].numel()
        host[name] = flat[:, start : start + count].reshape(value.shape)
        start += count
    return host


def _stable_single(decoded: Decoded) -> tuple[Tensor, Tensor]:
    """Output 0, or the best of 1..3 where it is unstable (SAM 2's dynamic multimask); the token stays that of 0."""
    single, iou = decoded.masks[:, :1].float(), decoded.iou[:, :1]
    inner = (single > STABILITY_DELTA).flatten(1).sum(dim=1).float()
    outer = (single > -STABILITY_DELTA).flatten(1).sum(dim=1).float()
    stability = torch.where(outer > 0, inner / outer, 1.0)
    best = decoded.iou[:, 1:].argmax(dim=1)
    row = torch.arange(len(best), device=best.device)
    use_best = stability < STABILITY_THRESHOLD
    masks = torch.where(use_best[:, None, None, None], decoded.masks[row, best + 1][:, None].float(), single)
    return masks, torch.where(use_best[:, None], decoded.iou[row, best + 1][:, None], iou)


def _planes(known: Sequence[NDArray | None], device: torch.device) -> tuple[Tensor, Tensor]:
    """(R, 1, side, side) planes of one kind, zeros where a row has none, and (R,) which rows have one."""
    some = next(plane for plane in known if plane is not None)
    stacked = np.stack([np.zeros_like(some) if plane is None else plane for plane in known])
    planes, has = upload(device, stacked, np.array([plane is not None for plane in known]))
    return planes[:, None], has


def _at_side(masks: Tensor, side: int) -> Tensor:
    """(R, K, side, side) bool of (R, K, mask, mask) logits."""
    return F.interpolate(masks, size=(side, side), mode="bilinear", align_corners=False) > 0


def _motion_iou(masks: Tensor, expected: Tensor, has: Tensor) -> Tensor:
    """(R, K) IoU of candidates with what motion expects, NaN in rows without."""
    on = _at_side(masks, expected.shape[-1])
    union = (on | expected).flatten(2).sum(dim=2)
    iou = (on & expected).flatten(2).sum(dim=2) / union.clamp(min=1)
    return torch.where(has[:, None], iou, torch.nan)


def _beside(masks: Tensor, beside: Tensor, has: Tensor) -> Tensor:
    """(R, K) mean of what was seen beside the object over the pixels of each candidate, 0 where empty; NaN in rows
    without.
    """
    on = _at_side(masks, beside.shape[-1])
    share = (on * beside).flatten(2).sum(dim=2) / on.flatten(2).sum(dim=2).clamp(min=1)
    return torch.where(has[:, None], share, torch.nan)


def _best_only(decodes: Decodes) -> Decodes:
    """Each row's candidate with the highest predicted IoU."""
    if decodes.masks.shape[1] == 1:
        return decodes
    best = decodes.iou.argmax(axis=1)
    row = np.arange(len(best))
    k = upload_index(decodes.masks.device, best.tolist())
    i = torch.arange(len(best), device=k.device)
    taken: dict[str, Any] = {
        name: None if value is None else value[row, best][:, None]
        for name in ("iou", "area", "boxes", "probability", "motion_iou", "beside")
        for value in [getattr(decodes, name)]
    }
    return replace(decodes, masks=decodes.masks[i, k][:, None], tokens=decodes.tokens[i, k][:, None], **taken)


def _stored(row: int | None) -> int:
    """The row of an entry that a plan reads; a policy must not read what it gave back."""
    assert row is not None, "a plan reads an entry whose memory is not stored"
    return row


def _filtered_slots(plans: Sequence[ReadPlan]) -> list[tuple[PixelFilter, list[tuple[int, int]], list[int]]]:
    """For each rule in use: (row, slot) of the slots it filters, and the rows their reliability is stored in."""
    found: dict[PixelFilter, tuple[list[tuple[int, int]], list[int]]] = {}
    for i, plan in enumerate(plans):
        for j, slot in enumerate(plan.slots if plan.pixel_filter is not None else ()):
            if slot.filtered and slot.entry.reliability_row is not None:
                assert plan.pixel_filter is not None
                places, stored = found.setdefault(plan.pixel_filter, ([], []))
                places.append((i, j))
                stored.append(slot.entry.reliability_row)
    return [(rule, places, stored) for rule, (places, stored) in found.items()]


def _filter_bias(stored: Tensor, rule: PixelFilter) -> Tensor:
    """(N, tokens) bias of MoSAM's pixel filter from the stored reliability of N slots (255 = protected)."""
    c = torch.arange(256, device=stored.device) / 254  # every value a stored byte can stand for
    low = (c < rule.tau) & (c <= 1)
    level = stored.int()
    soft = torch.where(low, rule.beta * torch.log(c.clamp(min=RELIABILITY_FLOOR)), 0.0)[level]
    if rule.mode == "bias":
        return soft
    weak = low[level]
    many = weak.float().mean(dim=1, keepdim=True) > DROP_LIMIT
    return torch.where(many, soft, torch.where(weak, -torch.inf, 0.0))


def _sure(job: MemoryJob) -> Tensor:
    """(K, mask, mask) logits of a job, unreliable pixels set to sure background where it asks for that."""
    if job.remask is None:
        return job.low
    reliability = (2 * torch.sigmoid(job.low) - 1).abs()
    return torch.where(reliability < job.remask, -PROMPT_LOGIT, job.low)


def _buckets(plans: Sequence[ReadPlan]) -> list[list[int]]:
    """Rows that may go through memory attention together: those that read equally many slots and pointers."""
    return _groups([(len(plan.slots), len(plan.pointers)) for plan in plans])


def _groups(keys: Sequence[object]) -> list[list[int]]:
    """Indices by equal key, in order of first appearance."""
    groups: dict[object, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _merge(parts: list[tuple[list[int], Decodes]], count: int) -> Decodes:
    """Chunks back into the order of the rows."""
    if len(parts) == 1 and parts[0][0] == list(range(count)):
        return parts[0][1]
    order = np.argsort([i for members, _ in parts for i in members])
    index = upload_index(parts[0][1].masks.device, order.tolist())

    def joined(name: str) -> Any:
        values = [getattr(part, name) for _, part in parts]
        present = [value for value in values if value is not None]
        if not present:
            return None
        if isinstance(present[0], Tensor):
            return torch.cat(values)[index]
        if len(present) < len(values):  # motion is known in some chunks only
            values = [
                np.full(part.iou.shape, np.nan) if v is None else v for v, (_, part) in zip(values, parts, strict=True)
            ]
        return np.concatenate(values)[order]

    return Decodes(**{field.name: joined(field.name) for field in fields(Decodes)})
