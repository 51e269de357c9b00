"""A network-free backbone whose every answer for a row depends on that row alone, exactly.

Numbers are small integers in float64-safe ranges and each row is computed by itself, so a batch must equal its rows bit
for bit; any difference is the engine's.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from mosam.model.backbone import BackboneSizes, ImageFeatures, MemoryRead, PromptTokens
from mosam.model.logits import mask_prompts, memory_values, pool_cells, select_outputs

GRID, WIDTH, MEMORY = 4, 8, 4


class FakeBackbone:
    """Brightness tracker: the mask is where the picture is as bright as memory says the object was."""

    name = "fake"
    random = True
    weights_hash = "fake"
    device = torch.device("cpu")
    dtype = torch.float32
    tokens_per_pointer = WIDTH // MEMORY
    sizes = BackboneSizes(
        image=64,
        grid=GRID,
        mask=16,
        mask_input=64,
        width=WIDTH,
        tokens=GRID * GRID,
        memory=MEMORY,
        slots=7,
        pointers=16,
        candidates=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize="pil_bicubic",
    )

    frame_position = torch.zeros(WIDTH, GRID, GRID)

    def __init__(self):
        self.attended_rows: list[int] = []
        self.encoded_frames = 0

    def preprocess(self, images):
        rows = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() for image in images]
        return torch.cat([F.interpolate(row, size=(64, 64), mode="nearest") for row in rows])

    def encode(self, pixels):
        self.encoded_frames += len(pixels)
        gray = pixels.mean(dim=1, keepdim=True).round()
        top = F.avg_pool2d(gray, 16).round().expand(-1, WIDTH, -1, -1).contiguous()
        return ImageFeatures(top, (F.avg_pool2d(gray, 4).round(), F.avg_pool2d(gray, 8).round()))

    def prompt_tokens(self, prompts, sizes):
        points, labels = [], []
        for prompt, (h, w) in zip(prompts, sizes, strict=True):
            xy = [] if prompt.points is None else list(prompt.points)
            own = [] if prompt.labels is None else list(prompt.labels)
            if prompt.box is not None:
                x, y, bw, bh = prompt.box
                xy, own = [(x, y), (x + bw, y + bh), *xy], [2, 3, *own]
            points.append([(px * 64 / w, py * 64 / h) for px, py in xy])
            labels.append(own)
        return PromptTokens(torch.tensor(points, dtype=torch.float32), torch.tensor(labels, dtype=torch.int32))

    def release(self):
        self.released = True

    def no_prompt(self, rows):
        return PromptTokens(torch.zeros(rows, 1, 2), torch.full((rows, 1), -1, dtype=torch.int32))

    def mask_prompt(self, prompts):
        masks = [torch.from_numpy(p.mask)[None, None].float() for p in prompts]
        masks = torch.cat([(F.interpolate(m, size=(64, 64), mode="nearest") >= 0.5).float() for m in masks])
        return mask_prompts(masks, self.sizes.mask)

    def attend(self, features, rows, read: MemoryRead):
        self.attended_rows.append(len(rows))
        out = []
        for i, row in enumerate(rows):
            weight = torch.ones(
                read.memory.shape[1] * self.sizes.tokens + read.pointers.shape[1] * self.tokens_per_pointer
            )
            if read.bias is not None:
                weight = torch.exp(read.bias[i])
            tokens = self.sizes.tokens
            slots = weight[: read.memory.shape[1] * tokens].view(-1, tokens)
            scale = torch.ones(len(slots)) if read.slot_scale is None else read.slot_scale[i]
            total = torch.zeros(())
            for j in range(len(slots)):
                total = (
                    total
                    + (slots[j] * read.memory[i, j].float().sum(dim=1)).sum() * (1 + read.temporal[i, j]) * scale[j]
                )
            for j in range(read.pointers.shape[1]):
                w = weight[read.memory.shape[1] * tokens + j * self.tokens_per_pointer]
                if w > 0:
                    total = total + read.pointers[i, j].sum() * (1 + read.positions[i, j])
            out.append(features.top[row] + torch.sin(total))
        return torch.stack(out)

    def without_memory(self, features, rows):
        return features.top[rows] + 1

    def decode(self, top, features, rows, prompts, *, outputs):
        masks, ious, tokens, scores = [], [], [], []
        for i, row in enumerate(rows):
            base = features.high[0][row, 0] - features.high[0][row, 0].mean() + top[i].mean() % 7
            if prompts.mask_logits is not None:
                base = base + prompts.mask_logits[i, 0]
            base = base + (prompts.points[i].sum() % 5)
            four = torch.stack([base - 3 * k for k in range(4)])
            masks.append(four)
            ious.append(torch.stack([(torch.sin(top[i].mean() * (k + 1)) + 1) / 2 for k in range(4)]))
            tokens.append(torch.stack([top[i].flatten()[:WIDTH] + k for k in range(4)]))
            scores.append(torch.cos(top[i].mean() * 3) * 4 + 2)
        return select_outputs(*(torch.stack(answers) for answers in (masks, ious, tokens, scores)), outputs)

    def mask_dense_prompt(self, mask):
        return F.avg_pool2d(mask, 4)

    def pointer(self, tokens, present):
        return torch.where(present[:, None], tokens, -1.0)

    def pool_tokens(self, planes, how):
        return pool_cells(planes, GRID, how)

    def memorize(self, features, rows, logits, present, binarize=None):
        out, mask_values = [], memory_values(logits, binarize)
        for i, row in enumerate(rows):
            cells = F.avg_pool2d(mask_values[i], 16).flatten()
            value = torch.stack(
                [cells, cells + features.top[row, 0].flatten(), cells.abs(), torch.full_like(cells, float(present[i]))]
            )
            out.append(value.T)
        return torch.stack(out).to(torch.bfloat16)
