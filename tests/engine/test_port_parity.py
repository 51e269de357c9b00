"""Against `transformers`' own video models in port mode: the same network run by two independent loops."""

import copy
import importlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from recording import RecordingEngine

from mosam.engine.parity import Parity
from mosam.model.family import families
from mosam.policies.base import load_policy
from mosam.types import Prompt

SIZE = (96, 128)
LONGEST = 20
FRAMES = {"mask": LONGEST}  # others: 11, until after it was gone
GONE = (6, 7)
TOLERANCE = 2e-3  # of logits up to 14: the two programs round layer norms and rotary codes differently
BATCHED = 2e-2  # two rows of a product round otherwise than one, and a flipped bit of a 16-bit memory is 0.4 % of it
SIZES = ("mini", "sam2.0-mini", "edgetam-mini", "sam3-mini")
PRESENCE = {"mini": 0.0, "sam2.0-mini": 0.0, "edgetam-mini": 2.0, "sam3-mini": 4.0}  # added to the presence logit


@pytest.fixture(scope="module", params=SIZES)
def library(request):
    """A family, and a library model of it whose heads say something."""
    if request.param.startswith("edgetam"):
        pytest.importorskip("timm", reason="EdgeTAM needs timm")
        pytest.importorskip("transformers", minversion="5.24", reason="EdgeTAM needs a newer library")
    family = next(family for family in families() if request.param in family.random_sizes)
    model = family.random(request.param, 0)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith("vision_encoder.backbone.timm_model"):
                continue
            fan = p[0].numel() if p.ndim > 1 else 0
            std = 0.8 / fan**0.5 if fan else 0.1
            base = 1.0 if p.ndim == 1 and name.endswith("weight") else 0.0
            p.copy_(torch.randn(p.shape, generator=generator) * std + base)
            if "pred_obj_score_head.proj_out" in name or "iou_prediction_head.proj_out" in name:
                p.mul_(6.0)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(PRESENCE[request.param])
    return family, model


def clip() -> list[np.ndarray]:
    """A bright disc over noise, moving and gone for three frames, and a square that stays."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = []
    for t in range(LONGEST):
        image = rng.integers(0, 90, (*SIZE, 3), dtype=np.uint8)
        image[60:85, 90:120] = (40, 90, 230)
        if t not in GONE:
            image[(y - 40 - t) ** 2 + (x - 40 - 2 * t) ** 2 < 300] = (220, 180, 60)
        frames.append(image)
    return frames


def disc() -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (y - 40) ** 2 + (x - 40) ** 2 < 300


def square() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[60:85, 90:120] = True
    return mask


CASES = {
    "mask": [Prompt(1, mask=disc())],
    "box": [Prompt(1, box=np.array([22.0, 22.0, 36.0, 36.0]))],
    "click": [Prompt(1, points=np.array([[40.0, 41.0]]), labels=np.array([1]))],
    "late": [Prompt(1, 4, mask=disc())],
    "two objects, one late": [Prompt(1, mask=disc()), Prompt(2, 4, mask=square())],
}


def session_of(model, ours, frames, prompts):
    """The library's session of a clip."""
    module = importlib.import_module(type(model).__module__)
    kind = type(model).__name__.replace("Model", "InferenceSession")
    session = getattr(module, kind)(
        video=ours.preprocess(frames), video_height=SIZE[0], video_width=SIZE[1], dtype=torch.float32
    )
    for prompt in prompts:
        index = session.obj_id_to_idx(prompt.object_id)
        if prompt.mask is not None:
            session.add_mask_inputs(index, prompt.frame_index, ours.mask_prompt([prompt]).mask)
            continue
        tokens = ours.prompt_tokens([prompt], [SIZE])
        points = {"point_coords": tokens.points[:, None], "point_labels": tokens.labels[:, None]}
        session.add_point_inputs(index, prompt.frame_index, points)
    return session


def ours_of(library):
    family, model = library
    return family.backbone(
        copy.deepcopy(model),
        name="random:mini",
        device=torch.device("cpu"),
        precision="fp32",
        formulas="library",
        resize=None,
        random=True,
        weights_hash="",
    )


@pytest.mark.parametrize("case", CASES)
def test_masks_and_scores_agree(library, case):
    count = FRAMES.get(case, 11)
    model, ours, frames = library[1], ours_of(library), clip()[:count]
    # the library's sessions have one object each here, so that no prompt touches the memory of another object
    parity = replace(Parity.port(), binarize_scope="object")
    engine = RecordingEngine(ours, load_policy("sam2"), parity=parity)
    video = engine.open(CASES[case], size=SIZE, num_frames=count)
    scores, differences, visible = [], [], 0
    with torch.inference_mode():
        for prompt in CASES[case]:  # the library expects every object from the first frame on: one session for each
            session = session_of(model, ours, frames, [prompt])
            theirs = {}
            for t in range(prompt.frame_index, count):
                session.obj_with_new_inputs = [prompt.object_id] if t == prompt.frame_index else []
                theirs[t] = model(session, frame_idx=t)
            if prompt is CASES[case][0]:
                outputs = [engine.step({video: image})[video] for image in frames]
            for t, output in theirs.items():
                mine = outputs[t].objects[prompt.object_id]
                low = engine.records[prompt.object_id][t].low_res
                differences.append((low - output.pred_masks[0]).abs().max().item())
                visible += low.max().item() > -100
                scores.append((mine.object_score, output.object_score_logits.flatten()[0].item()))
    tolerance = TOLERANCE if len(CASES[case]) == 1 else BATCHED
    assert max(differences) <= tolerance, differences
    assert np.allclose(*np.transpose(scores), atol=tolerance)
    assert visible > count // 3, "masks must be compared, not blanks"
    assert np.ptp([s for s, _ in scores[1:]]) > 0.02, "the clip must move the scores for the test to mean anything"
