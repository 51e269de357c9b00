"""The differentiable side of `nano`'s training: first weights, batches of clips, tracking through a clip, and losses.

Everything that is a network comes from `mosam.model`; the loop here strings its calls together as the engine does with
the `sam2` policy (no stability fallback, memory of the sigmoid, nothing filled), but for many objects at once and with
gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from train_settings import LossWeights

from mosam.errors import MismatchError
from mosam.model.backbone import Decoded, ImageFeatures, MemoryRead, PromptTokens
from mosam.model.networks import NETWORKS, Network, library_config
from mosam.model.preprocess import MEAN, STD
from mosam.model.sam2 import Sam2Backbone

POSITION_NORM = 15.0  # of pointer distances: what every clip of 16 frames and more has
BLANK = -1024.0  # logits of an absent object
LOSS_SIDE = 64
CERTAIN = 10.0  # logit of a pixel of a mask prompt
FEWEST_PIXELS = 12  # at input size; an object that shows less is neither asked for as a mask nor as present

BLOCKS = "vision_encoder.backbone.blocks."

Kind = str  # of the first prompt: mask, box or point


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B clips of T frames with R objects to track, each in one of the clips.

    Attributes:
        images: (T, B, H, W, 3) uint8; or (T, B, 3, H, W) float32 in [0, 1], painted where the network runs.
        clips: (R,) int64, clip of each object, ascending.
        masks: (T, R, 1, H, W) float32 of 0 and 1.
        kinds: what object r is prompted with on frame 0.
        teach: (T, R) bool, True = memory of the true mask instead of the predicted one.
        cut: frames after which gradients through the memory end; 0 = never.
        gap: frames that lie between frame 0 and frame 1, or are said to; adds to the distance of the first pointer.
        correct: frame on which objects are prompted again, or 0.
        seed: of the random prompts.
        labels: (T, B, H, W) uint8, every body's pixels by its number in the clip, 0 = background.
    """

    images: NDArray[np.uint8] | Tensor
    clips: NDArray[np.int64]
    masks: Tensor
    kinds: tuple[Kind, ...]
    teach: NDArray[np.bool_]
    gap: int
    correct: int
    seed: tuple[int, ...]
    labels: NDArray[np.uint8] | Tensor
    cut: int = 0

    def pixels(self, backbone: Sam2Backbone) -> Tensor:
        """(T * B, 3, image, image) normalized input of the network."""
        if isinstance(self.images, Tensor):
            mean, std = (torch.tensor(values, device=backbone.device).view(3, 1, 1) for values in (MEAN, STD))
            return (self.images.flatten(0, 1).to(backbone.device) - mean) / std
        return backbone.preprocess(list(self.images.reshape(-1, *self.images.shape[2:])))

    def bodies(self, device: torch.device) -> Tensor:
        """`labels` on a device."""
        return torch.as_tensor(self.labels, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What the network says of R objects on one frame.

    Attributes:
        decoded: all four masks.
        chosen: (R,) int64, the mask that went on (0 = the single mask).
        logits: (R, 1, mask, mask) of that mask, blanked where the object is taken for absent.
        prompted: whether the object was given by its mask, so that the network's own mask was not used.
        extra: on frame 0, masks of all objects from a box or a point, also of those that were given by their mask; None
            where not asked for.
        top: (R, width, grid, grid) features conditioned on memory; None on frame 0.
        raw: (T * B, width, grid, grid) features of all frames, unconditioned; on frame 0 only, else None.
    """

    decoded: Decoded
    chosen: Tensor
    logits: Tensor
    prompted: Tensor
    extra: Decoded | None = None
    top: Tensor | None = None
    raw: Tensor | None = None


class Helpers(nn.Module):
    """What is trained along and thrown away: it brings gradients to the features and the memory without detours.

    Attributes:
        mask: from features conditioned on memory to the mask, 4 x 4 values a cell.
        looks: from features of a frame to a space in which cells of one body are alike.
    Args:
        width: channels of the features.
    """

    def __init__(self, width: int):
        super().__init__()
        self.mask = nn.Conv2d(width, 16, 1)
        self.looks = nn.Conv2d(width, 64, 1)

    def mask_loss(self, top: Tensor, masks: Tensor) -> Tensor:
        """Class-balanced cross-entropy of (R, width, grid, grid) features against (R, 1, H, W) masks."""
        logits = F.pixel_shuffle(self.mask(top), 4)
        truth = F.adaptive_avg_pool2d(masks, logits.shape[-1])
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        on = (entropy * truth).sum() / truth.sum().clamp(min=1)
        off = (entropy * (1 - truth)).sum() / (1 - truth).sum().clamp(min=1)
        return 0.5 * (on + off)

    def looks_loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        """How badly cells of a body find those of the same body in other frames among all others of the clip.

        Args:
            raw: (T * B, width, grid, grid) features, frames first.
            labels: (T, B, H, W) body of each pixel, 0 = background.
        """
        frames, clips = labels.shape[:2]
        grid = raw.shape[-1]
        size = labels.shape[-1] // grid
        # the body that fills most of a cell, where it fills enough of it
        cells = labels.unflatten(3, (grid, size)).unflatten(2, (grid, size)).transpose(3, 4).flatten(4)
        body = cells.mode(dim=-1).values
        pure = (cells == body[..., None]).float().mean(dim=-1) > 0.6
        code = F.normalize(self.looks(raw), dim=1).unflatten(0, (frames, clips)).permute(1, 0, 3, 4, 2).flatten(1, 3)
        body = body.transpose(0, 1).flatten(1)
        pure = pure.transpose(0, 1).flatten(1)
        frame = torch.arange(frames, device=raw.device).repeat_interleave(grid * grid)
        total, count = raw.sum() * 0, 0
        for clip in range(clips):
            keep = pure[clip].nonzero()[:, 0]
            these, when, found = body[clip, keep], frame[keep], code[clip, keep]
            asks = (these > 0).nonzero()[:, 0]
            likeness = found[asks] @ found.T / 0.1
            other = when[asks][:, None] != when[None]
            same = (these[asks][:, None] == these[None]) & other
            usable = same.any(dim=1)
            if not usable.any():
                continue
            among = likeness.masked_fill(~other, -torch.inf)
            every = among.logsumexp(dim=1)
            right = likeness.masked_fill(~same, -torch.inf).logsumexp(dim=1)
            total = total + (every - right)[usable].mean()
            count += 1
        return total / max(count, 1)


def new_backbone(seed: int, device: str = "cpu", name: str = "nano", network: Network | None = None) -> Sam2Backbone:
    """The network of a name, or of a shape of its own, with first weights drawn from `seed`."""
    from transformers import Sam2VideoModel

    torch.manual_seed(seed)
    model = Sam2VideoModel(library_config(network or NETWORKS[name]))
    draw_weights(model)
    return Sam2Backbone(model, name=name, device=device)


def resized(backbone: Sam2Backbone, network: Network, image: int) -> Sam2Backbone:
    """A network with the very same parameters for frames of another size."""
    from transformers import Sam2VideoModel

    model = Sam2VideoModel(library_config(replace(network, image=image)))
    other = Sam2Backbone(model, name=backbone.name, device=backbone.device)
    other.model.load_state_dict(backbone.model.state_dict())  # buffers, too
    for name, parameter in backbone.model.named_parameters():
        owner, _, last = name.rpartition(".")
        setattr(other.model.get_submodule(owner), last, parameter)
    return other


@torch.no_grad()
def begin_with(backbone: Sam2Backbone, weights: dict[str, Tensor]) -> None:
    """Take over weights of a network of the same widths that may have fewer blocks, in place.

    Blocks of the image encoder that the other network has not are placed after those of their stage, and add nothing
    at first: the network begins as the other one, at its own resolution.

    Raises:
        MismatchError: other widths.
    """
    own, ends = backbone.model.state_dict(), list(backbone.model.vision_encoder.backbone.stage_ends)
    blocks = sorted({int(name.split(".")[3]) for name in weights if name.startswith(BLOCKS)})
    firsts = [n for n in blocks if n == 0 or f"{BLOCKS}{n}.proj.weight" in weights]  # of each stage
    places, begin = {}, 0
    for stage, first in enumerate(firsts):
        last = firsts[stage + 1] if stage + 1 < len(firsts) else len(blocks)
        places.update({first + n: begin + n for n in range(last - first)})
        begin = ends[stage] + 1
    for name, value in weights.items():
        if name.startswith(BLOCKS):
            number, rest = name[len(BLOCKS) :].split(".", 1)
            name = f"{BLOCKS}{places[int(number)]}.{rest}"
        if name not in own or own[name].shape != value.shape:
            raise MismatchError(f"start: expected weights of a network of the same widths, got another {name}")
        own[name].copy_(value)
    for number in set(range(ends[-1] + 1)) - set(places.values()):
        for part in ("attn.proj", "mlp.proj_out"):
            for end in ("weight", "bias"):
                own[f"{BLOCKS}{number}.{part}.{end}"].zero_()


@torch.no_grad()
def draw_weights(model: nn.Module) -> None:
    """Draw all weights, in place, at scales from which a narrow network learns.

    The library's are made for fine-tuning: too small for narrow layers, zero for what memory needs. Two further choices
    make both kinds of attention look at their own place first: equal query and key projections where prompts meet the
    image, and constant queries and keys under the rotary code in memory attention.
    """
    for name, parameter in model.named_parameters():
        if "norm" in name:
            continue  # ones and zeros already
        if name.endswith("bias"):
            parameter.zero_()
        elif name.endswith(".scale"):
            parameter.fill_(0.3)
        elif "pos_embed" in name:
            parameter.normal_(std=0.05)
        elif name.startswith(("no_", "memory_temporal", "occlusion")):
            parameter.normal_(std=0.1)
        elif "embed.weight" in name or "token" in name.split(".")[-2]:
            parameter.normal_(std=0.5)
        else:
            parameter.normal_(std=0.6 / parameter[0].numel() ** 0.5)
    for module in model.mask_decoder.transformer.modules():
        for side in ("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image"):
            attention = getattr(module, side, None)
            if attention is not None:
                attention.q_proj.weight.normal_(std=2.0 / attention.q_proj.in_features**0.5)
                attention.k_proj.weight.copy_(attention.q_proj.weight)
    for layer in model.memory_attention.layers:
        for projection in (layer.cross_attn_image.q_proj, layer.cross_attn_image.k_proj):
            projection.weight.normal_(std=0.5 / projection.in_features**0.5)
            projection.bias.fill_(1.3)
    codes = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(codes)


def track(backbone: Sam2Backbone, batch: Batch, *, memory: bool = True, extra: bool = False) -> Iterator[FrameResult]:
    """Run the objects of a batch through their clips; yields one result per frame.

    Args:
        backbone: its gradients flow from every frame to the memories before it.
        batch: clips, objects and prompts.
        memory: False leaves the memory out, to see what a frame alone tells.
        extra: on frame 0, also answer a box or a point for the objects that are given by their mask.
    """
    frames, rows = batch.masks.shape[:2]
    device, sizes = backbone.device, backbone.sizes
    clips = torch.from_numpy(batch.clips).to(device)
    masks = batch.masks.to(device)
    rng = np.random.default_rng(batch.seed)
    features = backbone.encode(batch.pixels(backbone))
    count = batch.images.shape[1]
    memories: list[Tensor] = []
    pointers: list[Tensor] = []
    for t in range(frames):
        here = slice(t * count, (t + 1) * count)
        now = ImageFeatures(features.top[here], tuple(level[here] for level in features.high))
        if t == 0:
            result = _start(backbone, now, clips, masks[0], batch.kinds, rng, extra=extra)
            result = replace(result, raw=features.top)
        else:
            if batch.cut and t % batch.cut == 0:
                memories = [memories[0], *(memory.detach() for memory in memories[1:])]
                pointers = [pointers[0], *(pointer.detach() for pointer in pointers[1:])]
            top = backbone.without_memory(now, clips)
            if memory:
                top = backbone.attend(now, clips, _read(backbone, memories, pointers, batch.gap))
            prompts = backbone.no_prompt(rows)
            if t == batch.correct:
                prompts = _correction(backbone, masks[t], result, rng)
            decoded = backbone.decode(top, now, clips, prompts, outputs="all")
            chosen = 1 + decoded.iou[:, 1:].detach().argmax(dim=1)
            result = _result(decoded, chosen, torch.zeros(rows, dtype=torch.bool, device=device))
            result = replace(result, top=top)
        yield result
        if t + 1 == frames:
            return
        present = result.decoded.object_score.detach() > 0
        truth = masks[t].flatten(1).any(dim=1)
        logits = result.logits
        taught = torch.from_numpy(batch.teach[t]).to(device)
        if t > 0 and taught.any():
            present = torch.where(taught, truth, present)
            logits = torch.where(taught[:, None, None, None], _certain(masks[t], sizes.mask), logits)
        present = torch.where(result.prompted, truth, present)
        values = F.interpolate(logits, size=(sizes.image, sizes.image), mode="bilinear", align_corners=False)
        memories.append(backbone.memorize(now, clips, values, present))
        token = result.decoded.tokens[torch.arange(rows, device=device), result.chosen]
        # The pointer of a mask prompt depends on the decoder's own presence too, as in the official program.
        own = result.decoded.object_score.detach() > 0
        pointers.append(backbone.pointer(token, torch.where(result.prompted, own & truth, present)))


def _start(
    backbone: Sam2Backbone,
    now: ImageFeatures,
    clips: Tensor,
    masks: Tensor,
    kinds: tuple[Kind, ...],
    rng: np.random.Generator,
    *,
    extra: bool,
) -> FrameResult:
    """Frame 0: every object from its prompt."""
    rows = len(kinds)
    by_mask = torch.tensor([kind == "mask" for kind in kinds], device=masks.device)
    given = by_mask.nonzero()[:, 0]
    others = torch.arange(rows, device=masks.device) if extra else (~by_mask).nonzero()[:, 0]
    parts: list[Decoded] = []
    if len(given):
        owners, prompts = clips[given], backbone.no_prompt(len(given))
        prompts = PromptTokens(prompts.points, prompts.labels, backbone.mask_dense_prompt(masks[given]))
        parts.append(backbone.decode(now.top[owners], now, owners, prompts, outputs="all"))
    if len(others):
        owners = clips[others]
        given_otherwise = [kind for kind in kinds if kind != "mask"] or ["point" if rng.random() < 0.3 else "box"]
        kind = given_otherwise[0]
        prompts = _point_tokens(masks[others], rng) if kind == "point" else _box_tokens(masks[others], rng)
        parts.append(backbone.decode(backbone.without_memory(now, owners), now, owners, prompts, outputs="all"))
    everything = _joined(parts)
    # Row of each object in the joined answers: those of its own kind of prompt.
    place = torch.empty(rows, dtype=torch.int64, device=masks.device)
    place[others] = len(given) + torch.arange(len(others), device=masks.device)
    place[given] = torch.arange(len(given), device=masks.device)
    decoded = _rows(everything, place)
    several = torch.tensor([kind == "point" for kind in kinds], device=masks.device)
    best = 1 + decoded.iou[:, 1:].detach().argmax(dim=1)
    chosen = torch.where(several, best, torch.zeros(rows, dtype=torch.int64, device=masks.device))
    result = _result(decoded, chosen, by_mask)
    logits = torch.where(by_mask[:, None, None, None], _certain(masks, backbone.sizes.mask), result.logits)
    return FrameResult(decoded, chosen, logits, by_mask, parts[-1] if extra else None)


def _joined(parts: list[Decoded]) -> Decoded:
    return Decoded(
        masks=torch.cat([part.masks for part in parts]),
        iou=torch.cat([part.iou for part in parts]),
        tokens=torch.cat([part.tokens for part in parts]),
        object_score=torch.cat([part.object_score.reshape(-1) for part in parts]),
    )


def _rows(decoded: Decoded, rows: Tensor) -> Decoded:
    return Decoded(decoded.masks[rows], decoded.iou[rows], decoded.tokens[rows], decoded.object_score[rows])


def _result(decoded: Decoded, chosen: Tensor, prompted: Tensor) -> FrameResult:
    logits = decoded.masks[torch.arange(len(chosen), device=chosen.device), chosen][:, None]
    present = decoded.object_score.detach().reshape(-1) > 0
    return FrameResult(decoded, chosen, torch.where(present[:, None, None, None], logits, BLANK), prompted)


def _certain(masks: Tensor, side: int) -> Tensor:
    """(R, 1, H, W) 0/1 masks -> low-resolution logits of a mask prompt."""
    high = 2 * CERTAIN * masks - CERTAIN
    return F.interpolate(high, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def _read(backbone: Sam2Backbone, memories: list[Tensor], pointers: list[Tensor], gap: int) -> MemoryRead:
    """What the `sam2` policy reads: frame 0 and the six newest, oldest first, and the pointers of the last fifteen."""
    sizes, t = backbone.sizes, len(memories)
    device = memories[0].device
    recent = list(range(max(1, t - sizes.slots + 1), t))
    slots = torch.stack([memories[0], *(memories[i] for i in recent)], dim=1)
    temporal = torch.tensor([sizes.slots - 1, *(t - i - 1 for i in recent)], device=device)
    newest = list(range(t - 1, max(0, t - sizes.pointers), -1))
    tokens = torch.stack([pointers[0], *(pointers[i] for i in newest)], dim=1)
    positions = torch.tensor([t + gap, *(t - i for i in newest)], device=device) / POSITION_NORM
    rows = slots.shape[0]
    return MemoryRead(slots, temporal.expand(rows, -1), tokens, positions.float().expand(rows, -1))


def _box_tokens(masks: Tensor, rng: np.random.Generator, jitter: float = 0.05) -> PromptTokens:
    """Boxes around (R, 1, H, W) masks, each edge moved by a share of the side."""
    boxes = np.stack([_box(mask) for mask in masks[:, 0].cpu().numpy() > 0])
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes += side * rng.uniform(-jitter, jitter, size=boxes.shape) * (rng.random((len(boxes), 1)) < 0.5)
    points = torch.from_numpy(boxes.reshape(-1, 2, 2)).float().to(masks.device)
    return PromptTokens(points, torch.tensor([[2, 3]], dtype=torch.int32, device=masks.device).expand(len(points), 2))


def _point_tokens(masks: Tensor, rng: np.random.Generator) -> PromptTokens:
    """One random point on each (R, 1, H, W) mask."""
    points = np.stack([_inside(mask, rng) for mask in masks[:, 0].cpu().numpy() > 0])[:, None]
    labels = torch.ones((len(points), 1), dtype=torch.int32, device=masks.device)
    return PromptTokens(torch.from_numpy(points).float().to(masks.device), labels)


def _correction(backbone: Sam2Backbone, masks: Tensor, last: FrameResult, rng: np.random.Generator) -> PromptTokens:
    """A loose box and a click for two of three objects that are visible; nothing for the others."""
    rows = len(masks)
    points = np.zeros((rows, 3, 2))
    labels = np.full((rows, 3), -1, dtype=np.int32)
    side = backbone.sizes.image
    blank = F.interpolate(last.logits, size=(side, side), mode="bilinear", align_corners=False)[:, 0] > 0
    shown = masks[:, 0].cpu().numpy() > 0
    believed = blank.cpu().numpy()
    for row in range(rows):
        if shown[row].sum() < FEWEST_PIXELS or rng.random() < 0.33:
            continue
        box = _box(shown[row])
        box += np.tile(box[2:] - box[:2], 2) * rng.uniform(-0.12, 0.12, size=4)
        if rng.random() < 0.7:
            points[row, :2], labels[row, :2] = box.reshape(2, 2), (2, 3)
        wrong = believed[row] & ~shown[row]
        if wrong.sum() >= FEWEST_PIXELS and rng.random() < 0.4:
            points[row, 2], labels[row, 2] = _inside(wrong, rng), 0
        elif rng.random() < 0.7:
            points[row, 2], labels[row, 2] = _inside(shown[row], rng), 1
    device = masks.device
    return PromptTokens(torch.from_numpy(points).float().to(device), torch.from_numpy(labels).to(device))


def _box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """x0, y0, x1, y1 with exclusive right and bottom edges."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def _inside(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """x, y of a random pixel of a mask."""
    y, x = np.nonzero(mask)
    pick = int(rng.integers(len(x)))
    return np.array([x[pick], y[pick]], dtype=np.float64)


def frame_loss(decoded: Decoded, masks: Tensor, weights: LossWeights) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of one frame and its parts.

    Every object trains its presence; those that show enough also train the single mask, the best of the other three,
    and the predicted IoU of all four.

    Args:
        decoded: answers for R objects.
        masks: (R, 1, H, W) true masks.
        weights: of the parts.
    """
    area = masks.flatten(1).sum(dim=1)
    present = area >= FEWEST_PIXELS
    clear = present | (area == 0)
    score = decoded.object_score.reshape(-1).float()
    presence = F.binary_cross_entropy_with_logits(score, present.float(), reduction="none")
    weight = clear * torch.where(present, 1.0, weights.absent)
    presence = (presence * weight).sum() / weight.sum().clamp(min=1)
    keep = present.nonzero()[:, 0]
    zero = score.sum() * 0
    if len(keep) == 0:
        return weights.presence * presence, {"mask": zero.detach(), "iou": zero.detach(), "presence": presence.detach()}
    logits = F.interpolate(
        decoded.masks[keep].float(), size=(LOSS_SIDE, LOSS_SIDE), mode="bilinear", align_corners=False
    ).flatten(2)
    truth = F.adaptive_avg_pool2d(masks[keep], LOSS_SIDE).flatten(2)  # a share of a pixel counts as that share
    each = _mask_loss(logits, truth, weights)
    several = (1 - weights.every) * each[:, 1:].min(dim=1).values + weights.every * each[:, 1:].mean(dim=1)
    mask = 0.5 * (each[:, 0] + several).mean()
    with torch.no_grad():
        inside, true = logits > 0, truth > 0.5
        iou = (inside & true).sum(dim=2) / (inside | true).sum(dim=2).clamp(min=1)
    error = (decoded.iou[keep].float() - iou).abs().mean()
    loss = mask + weights.iou * error + weights.presence * presence
    return loss, {"mask": mask.detach(), "iou": error.detach(), "presence": presence.detach()}


def _mask_loss(logits: Tensor, truth: Tensor, weights: LossWeights) -> Tensor:
    """(R, K, P) logits against (R, 1, P) truth in [0, 1] -> (R, K)."""
    truth = truth.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    right = probability * truth + (1 - probability) * (1 - truth)
    focal = ((0.75 - 0.5 * truth) * (1 - right).square() * entropy).mean(dim=2)
    dice = 1 - (2 * (probability * truth).sum(dim=2) + 1) / (probability.sum(dim=2) + truth.sum(dim=2) + 1)
    loss = weights.focal * (1 - weights.balance) * focal + weights.dice * dice
    if weights.balance > 0:
        on = (entropy * truth).sum(dim=2) / truth.sum(dim=2)
        off = (entropy * (1 - truth)).sum(dim=2) / (1 - truth).sum(dim=2)
        loss = loss + weights.balance * 0.5 * (on + off)
    return loss
