"""Against `transformers`' own video model in port mode: the same network run by two independent loops."""

import numpy as np
import pytest
import torch
from recording import RecordingEngine

from mosam.engine.parity import Parity
from mosam.model import networks
from mosam.model.sam2 import Sam2Backbone
from mosam.policies.base import load_policy
from mosam.types import Prompt

SIZE = (96, 128)
FRAMES = 10
TOLERANCE = 2e-3  # of logits up to 14: the two programs round layer norms and rotary codes differently


@pytest.fixture(scope="module")
def library_model():
    from transformers import Sam2VideoModel

    torch.manual_seed(3)
    model = Sam2VideoModel(networks.library_config(networks.NETWORKS["mini"])).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in model.named_parameters():
            fan = p[0].numel() if p.ndim > 1 else 0
            std = 0.8 / fan**0.5 if fan else 0.1
            base = 1.0 if p.ndim == 1 and name.endswith("weight") else 0.0
            p.copy_(torch.randn(p.shape, generator=generator) * std + base)
            if "pred_obj_score_head.proj_out" in name or "iou_prediction_head.proj_out" in name:
                p.mul_(6.0)
    return model


def clip() -> list[np.ndarray]:
    """A bright disc over noise, moving and gone for two frames."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    frames = []
    for t in range(FRAMES):
        image = rng.integers(0, 90, (*SIZE, 3), dtype=np.uint8)
        if t not in (5, 6):
            image[(y - 40 - t) ** 2 + (x - 40 - 4 * t) ** 2 < 300] = (220, 180, 60)
        frames.append(image)
    return frames


def disc() -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (y - 40) ** 2 + (x - 40) ** 2 < 300


@pytest.mark.parametrize("kind", ["mask", "box", "click"])
def test_masks_and_scores_agree(library_model, kind):
    import copy

    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    ours = Sam2Backbone(copy.deepcopy(library_model), name="random:mini", formulas="library")
    frames = clip()
    prompt = {
        "mask": Prompt(1, mask=disc()),
        "box": Prompt(1, box=np.array([22.0, 22.0, 36.0, 36.0])),
        "click": Prompt(1, points=np.array([[40.0, 41.0]]), labels=np.array([1])),
    }[kind]

    session = Sam2VideoInferenceSession(
        video=ours.preprocess(frames), video_height=SIZE[0], video_width=SIZE[1], dtype=torch.float32
    )
    index = session.obj_id_to_idx(1)
    if kind == "mask":
        session.add_mask_inputs(index, 0, ours.mask_prompt([prompt]).mask)
    else:
        tokens = ours.prompt_tokens([prompt], [SIZE])
        session.add_point_inputs(
            index, 0, {"point_coords": tokens.points[:, None], "point_labels": tokens.labels[:, None]}
        )
    session.obj_with_new_inputs = [1]
    engine = RecordingEngine(ours, load_policy("sam2"), parity=Parity.port())
    video = engine.open([prompt], size=SIZE, num_frames=FRAMES)
    scores, differences = [], []
    with torch.inference_mode():
        for t, image in enumerate(frames):
            theirs = library_model(session, frame_idx=t)
            output = engine.step({video: image})[video].objects[1]
            differences.append((engine.records[1][t].low_res - theirs.pred_masks[0]).abs().max().item())
            scores.append((output.object_score, theirs.object_score_logits.flatten()[0].item()))
    assert max(differences) <= TOLERANCE, differences
    assert np.allclose(*np.transpose(scores), atol=TOLERANCE)
    assert np.ptp([s for s, _ in scores[1:]]) > 0.02, "the clip must move the scores for the test to mean anything"
