"""The network work of one batch: stack rows, call the backbone, bring small numbers back in one transfer.

Rows are (sequence, object, hypothesis). Rows that read the same number of slots and pointers form a bucket that needs
no attention mask; only MoSAM's pixel filter adds a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mosam.engine.appearance import Appearance
from mosam.engine.capacity import RowLimit, is_out_of_memory, release_memory
from mosam.engine.capacity import max_rows as usual_rows
from mosam.engine.decodes import Decodes, best_only, groups, measured, merged, to_host_numbers
from mosam.engine.guides import as_prompt, guide_kind, prompt_kind
from mosam.engine.holes import fill_holes
from mosam.engine.memory_bank import MemoryBank
from mosam.engine.memory_reader import MemoryReader
from mosam.engine.parity import Parity
from mosam.engine.transfer import upload_index
from mosam.model.backbone import Backbone, ImageFeatures, Outputs, PromptTokens
from mosam.model.constants import PROMPT_LOGIT
from mosam.policies.base import Likeness, MotionPrompt, PrototypeNeeds, ReadPlan
from mosam.types import DecodedPrompt, Prompt, Size

PROTECTED_PROBABILITY = 0.9  # tokens holding a pixel surer than this are never filtered (tiny objects)

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Conditioned:
    """A prompted frame of one object.

    Attributes:
        low_res: (1, mask, mask) float32 logits.
        pointer: (width,) float32.
        iou, object_score, area: host numbers.
        score: () presence logit on the device.
        box, prototype: of its mask, as in `Entry`.
    """

    low_res: Tensor
    pointer: Tensor
    score: Tensor
    iou: float
    object_score: float
    area: int
    box: NDArray[np.float64] | None = None
    prototype: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MemoryJob:
    """One memory to encode.

    Attributes:
        frame_row: row of the frame batch.
        low_res: (K, mask, mask) logits, of which candidate `index` is taken.
        score: () presence logit.
        binarize: memorize `logit > 0` instead of its sigmoid.
        exact: (1, mask_input, mask_input) logits to memorize instead (the port's mask prompts), or None.
        remask: low-resolution pixels of lower reliability become sure background first, or None.
    """

    frame_row: int
    low_res: Tensor
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
        boxes: whether the policy reads the corners of candidates.
        prototypes: of what the policy reads prototypes, or None.
    """

    def __init__(
        self,
        model: Backbone,
        bank: MemoryBank,
        parity: Parity,
        *,
        max_rows: int | None = None,
        boxes: bool = False,
        prototypes: PrototypeNeeds | None = None,
    ):
        self.model = model
        self.bank = bank
        self.parity = parity
        self.boxes = boxes
        self.reader = MemoryReader(model, bank)
        self.appearance = Appearance(model, bank, prototypes)
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
        for members in groups([prompt_kind(prompt) for prompt in prompts]):
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
        given = self.model.mask_prompt(prompts)
        tokens = self.model.no_prompt(len(prompts))
        tokens = PromptTokens(tokens.points, tokens.labels, self.model.mask_dense_prompt(given.mask))
        outputs: Literal["single", "multi"] = self.parity.cond_pointer  # type: ignore[assignment]
        top = features.top[rows]
        decoded = self.model.decode(top, features, rows, tokens, outputs=outputs)
        best = decoded.iou.argmax(dim=1)
        token = decoded.tokens[torch.arange(len(prompts), device=best.device), best]
        low_res, score = given.low_res, given.object_score
        pointers = self.model.pointer(token, (decoded.object_score > threshold) & (score > 0))
        area = (low_res > 0).flatten(1).sum(dim=1)
        numbers = {"object_score": score[:, None], "area": area[:, None]}
        measures = self._measures(top, features, rows)
        host = to_host_numbers(numbers | {name: measure(low_res) for name, measure in measures.items()})
        object_score, areas = host["object_score"][:, 0], host["area"][:, 0]
        boxes, prototypes = host.get("boxes"), host.get("prototypes")
        return [
            Conditioned(
                low_res[i],
                pointers[i],
                score[i],
                1.0,
                float(object_score[i]),
                int(areas[i]),
                box=None if boxes is None else boxes[i, 0],
                prototype=None if prototypes is None else prototypes[i, 0],
            )
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
            made.append(
                Conditioned(
                    decodes.masks[i, k : k + 1],
                    pointer,
                    score,
                    float(decodes.iou[i, k]),
                    float(decodes.object_score[i]),
                    int(decodes.area[i, k]),
                    box=None if decodes.boxes is None else decodes.boxes[i, k],
                    prototype=None if decodes.prototypes is None else decodes.prototypes[i, k],
                )
            )
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
        for members in groups([prompt_kind(prompt) for prompt in prompts]):
            rows = self._index([frame_rows[i] for i in members])
            tokens = self.model.prompt_tokens([prompts[i] for i in members], [sizes[i] for i in members])
            outputs: Outputs = "stable" if self.parity.stability else "single"
            top = self.model.without_memory(features, rows)
            decoded = self.model.decode(top, features, rows, tokens, outputs=outputs)
            for i, one in zip(members, decoded.masks.float(), strict=True):
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
        distractors: Sequence[NDArray[np.float32] | None] = (),
        likenesses: Sequence[Likeness | None] = (),
    ) -> Decodes:
        """Memory attention and the decoder without prompt, for every row.

        Args:
            features: of the frame batch.
            frame_rows: row of the frame batch for each row.
            plans: what each row reads.
            threshold: presence logit above which a mask is not blanked.
            expected: (side, side) mask that motion expects, or None, for each row; empty = none at all.
            distractors: (side, side) what was seen beside each row's object, or None, likewise.
            likenesses: memories to check the masks against, or None, likewise.
        """

        def work(members: list[int]) -> Decodes:
            rows, read = self.reader.read([plans[i] for i in members], [frame_rows[i] for i in members])
            top = self.model.attend(features, rows, read)
            tokens = self.model.no_prompt(len(members))
            return self._decode(
                top,
                features,
                rows,
                tokens,
                multimask=True,
                threshold=threshold,
                expected=[expected[i] for i in members] if expected else [],
                distractors=[distractors[i] for i in members] if distractors else [],
                likenesses=[likenesses[i] for i in members] if likenesses else [],
            )

        parts = [part for group in _buckets(plans) for part in self._in_parts(group, work)]
        return merged(parts, len(plans))

    def guided(
        self,
        features: ImageFeatures,
        frame_rows: Sequence[int],
        top: Tensor,
        guides: Sequence[MotionPrompt],
        sizes: Sequence[Size],
        *,
        threshold: float = 0.0,
        distractors: Sequence[NDArray[np.float32] | None] = (),
    ) -> Decodes:
        """A second decode of the same memory-conditioned features, with each row's extra prompt.

        Rows with equal numbers of points share a call: the padding label of the decoder is a token that takes part in
        attention, so unlike rows cannot be padded. All rows have a dense prompt, or none has.
        """
        parts = []
        for members in groups([guide_kind(guide) for guide in guides]):
            rows, taken = self._indices([frame_rows[i] for i in members], members)
            tokens = self._guide_tokens(features, rows, [guides[i] for i in members], [sizes[i] for i in members])
            dense = tokens.mask_logits is not None
            decodes = self._decode(
                top[taken],
                features,
                rows,
                tokens,
                multimask=tokens.points.shape[1] <= 1,
                threshold=threshold,
                stability=True,
                expected=[guides[i].expected for i in members],
                distractors=[distractors[i] for i in members] if distractors else [],
                likenesses=[guides[i].likeness for i in members],
            )
            parts.append((members, decodes if dense else best_only(decodes)))
        return merged(parts, len(guides))

    def _guide_tokens(
        self, features: ImageFeatures, rows: Tensor, guides: Sequence[MotionPrompt], sizes: Sequence[Size]
    ) -> PromptTokens:
        """Prompts of guides of one kind."""
        dense = [guide.likeness for guide in guides if guide.likeness is not None]
        if not dense:
            prompts = [as_prompt(guide, size) for guide, size in zip(guides, sizes, strict=True)]
            return self.model.prompt_tokens(prompts, sizes)
        none = self.model.no_prompt(len(guides))
        return PromptTokens(none.points, none.labels, self.appearance.dense_prompts(features, rows, dense))

    def _decode(
        self,
        top: Tensor,
        features: ImageFeatures,
        rows: Tensor,
        tokens: PromptTokens,
        *,
        multimask: bool,
        threshold: float,
        stability: bool | None = None,
        expected: Sequence[NDArray[np.bool_] | None] = (),
        distractors: Sequence[NDArray[np.float32] | None] = (),
        likenesses: Sequence[Likeness | None] = (),
    ) -> Decodes:
        stable = self.parity.stability if stability is None else stability
        outputs: Outputs = "multi" if multimask else "stable" if stable else "single"
        return measured(
            self.model.decode(top, features, rows, tokens, outputs=outputs),
            top,
            threshold=threshold,
            measures=self._measures(top, features, rows, likenesses),
            expected=expected,
            distractors=distractors,
        )

    def _measures(
        self, top: Tensor, features: ImageFeatures, rows: Tensor, likenesses: Sequence[Likeness | None] = ()
    ) -> dict[str, Callable[[Tensor], Tensor]]:
        """What the policy reads of masks decoded from `top`, by its name in `Decodes`."""
        boxes = {"boxes": self._boxes} if self.boxes else {}
        return boxes | self.appearance.measures(top, features, rows, likenesses)

    def _boxes(self, masks: Tensor) -> Tensor:
        """(R, K, 4) inclusive x0, y0, x1, y1 of the masks at network input size; zeros where empty."""
        on = self.upsample(masks) > 0
        columns, rows = on.any(dim=2), on.any(dim=3)
        x0, y0 = columns.int().argmax(dim=2), rows.int().argmax(dim=2)
        last = self.model.sizes.image - 1
        x1, y1 = last - columns.flip(2).int().argmax(dim=2), last - rows.flip(2).int().argmax(dim=2)
        boxes = torch.stack([x0, y0, x1, y1], dim=2)
        return torch.where(columns.any(dim=2)[..., None], boxes, 0)

    def upsample(self, low_res: Tensor) -> Tensor:
        """(R, K, mask, mask) logits to network input size."""
        side = self.model.sizes.image
        return F.interpolate(low_res.float(), size=(side, side), mode="bilinear", align_corners=False)

    # memory

    def memorize(self, features: ImageFeatures, jobs: Sequence[MemoryJob]) -> Tensor:
        """(N, tokens, memory) bfloat16, one for each job."""
        made: list[Tensor | None] = [None] * len(jobs)
        for group in groups([job.low_res.shape[0] for job in jobs]):
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
        binarize = flags.bool() if any(job.binarize for job in jobs) else None
        present = torch.stack([job.score for job in jobs]) > 0
        return self.model.memorize(features, frame_rows, self._high(jobs, taken), present, binarize)

    def _high(self, jobs: Sequence[MemoryJob], taken: Tensor) -> Tensor:
        """(N, 1, image, image) logits to memorize, of candidate `taken` of each job."""
        low_res = torch.stack([_sure(job) for job in jobs])
        each = torch.arange(len(jobs), device=low_res.device)
        if low_res.device.type == "cpu":
            # all candidates are up-sampled before one is taken: one channel alone rounds differently on a CPU
            high = self.upsample(low_res)[each, taken][:, None]
        else:
            high = self.upsample(low_res[each, taken][:, None])
        if any(job.exact is not None for job in jobs):
            high = torch.stack([one if job.exact is None else job.exact for one, job in zip(high, jobs, strict=True)])
        return high

    def exact_prompt(self, prompts: Sequence[Prompt]) -> Tensor:
        """(R, 1, mask_input, mask_input) logits of mask prompts as given (the port memorizes these)."""
        return self.model.mask_prompt(prompts).logits

    def shown(self, low_res: Tensor) -> Tensor:
        """(N, 1, mask, mask) logits as they are shown: small holes filled where parity asks for it."""
        return fill_holes(low_res, self.parity.fill_holes) if self.parity.fill_holes else low_res

    def reliability(self, low_res: Tensor) -> Tensor:
        """(N, mask, mask) encoded logits -> (N, tokens) uint8: mean reliability of a token, 0..254; 255 = protected."""
        sure = torch.sigmoid(low_res.float())
        c = self.model.pool_tokens((2 * sure - 1).abs(), "mean")
        protected = self.model.pool_tokens((sure > PROTECTED_PROBABILITY).float(), "max") > 0
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


def _sure(job: MemoryJob) -> Tensor:
    """(K, mask, mask) logits of a job, unreliable pixels set to sure background where it asks for that."""
    if job.remask is None:
        return job.low_res
    reliability = (2 * torch.sigmoid(job.low_res) - 1).abs()
    return torch.where(reliability < job.remask, -PROMPT_LOGIT, job.low_res)


def _buckets(plans: Sequence[ReadPlan]) -> list[list[int]]:
    """Rows that may go through memory attention together: those that read equally many slots and pointers."""
    return groups([(len(plan.slots), len(plan.pointers)) for plan in plans])
