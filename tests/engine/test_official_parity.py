"""The official SAM 2 predictor's stored numbers, replayed bit for bit.

Tolerances as wide as the port's own rounding do not see the typical mistakes of such a loop (a pointer from the wrong
token, a wrong pointer norm, an exact instead of a blurred prompt memory), hence bits. On other kernels than those
behind the numbers, bits cannot be compared and the stored arrays are, within 2e-3; logits of the presence head, which
the runs scale by 80, within 1e-2. There rounding may also decide whether a pixel near 0 counts as a hole to be filled.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity_cases import CASES, SIZE, Case, build_model, clip, digest, official, prompt, same_kernels
from recording import RecordingEngine

from mosam.engine.parity import Parity
from mosam.model.sam2 import Sam2Backbone
from mosam.policies.base import load_policy

TOLERANCE, SCORE_TOLERANCE = 2e-3, 1e-2
FILLED = 0.1  # logit of a filled hole


@pytest.fixture(scope="module")
def backbone():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads already give other bits
    yield Sam2Backbone(build_model(), name="random:mini")
    torch.set_num_threads(threads)


def replay(
    backbone: Sam2Backbone, case: Case, **changes: object
) -> tuple[RecordingEngine, dict[int, dict[int, np.ndarray]]]:
    """Run a case; what the engine recorded, and masks at video size by object and frame."""
    settings = {"fill_holes": case.fill_holes, "stability": case.post_processing}
    settings["cond_memory"] = "official_post" if case.post_processing else "official"
    engine = RecordingEngine(backbone, load_policy("sam2"), parity=Parity(**{**settings, **changes}))
    prompts = [prompt(*one) for one in case.prompts]
    video = engine.open(prompts, size=SIZE, num_frames=case.frames)
    masks: dict[int, dict[int, np.ndarray]] = {}
    for t, image in enumerate(clip()[0][: case.frames]):
        for object_id, output in engine.step({video: image})[video].objects.items():
            masks.setdefault(object_id, {})[t] = output.mask
        engine.drain(video)
    return engine, masks


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_replay(backbone, case):
    engine, masks = replay(backbone, case)
    exact = same_kernels() and len({object_id for object_id, _, _ in case.prompts}) == 1
    for object_id in {object_id for object_id, _, _ in case.prompts}:
        stored, records = official(case, object_id), engine.records[object_id]
        assert sorted(records) == list(stored.frames)
        for i, t in enumerate(map(int, stored.frames)):
            record = records[t]
            mine = {
                "logits": record.low_res.numpy(),
                "memory": record.memory.view(torch.int16).numpy(),
                "pointer": record.pointer.numpy(),
                "mask": masks[object_id][t],
            }
            sample, theirs = mine["logits"][0, ::8, ::8], stored.logits_sample[i]
            apart = np.abs(sample - theirs)
            if case.fill_holes and not exact:  # filled here and just under 0 there, or the other way round
                low, high = np.minimum(sample, theirs), np.maximum(sample, theirs)
                apart[(np.abs(high - FILLED) < 1e-6) & (np.abs(low) <= TOLERANCE)] = 0
            near = apart.max()
            assert near <= (0 if exact else TOLERANCE), f"frame {t}: logits differ by {near}"
            if exact:
                assert np.float32(record.object_score) == stored.object_score[i]
                different = [kind for kind, value in mine.items() if digest(value) != stored.hashes[t][kind]]
                assert not different, f"frame {t}: bits differ in {different}"
            assert np.allclose(record.object_score, stored.object_score[i], atol=SCORE_TOLERANCE)
            if not stored.prompted[i]:
                assert np.allclose(record.ious, stored.ious[i], atol=0 if exact else TOLERANCE)
            elif case.prompts[0][2] != "mask" and not case.post_processing:
                assert np.isclose(record.iou, np.nanmax(stored.ious[i]), atol=0 if exact else TOLERANCE)


def test_the_runs_take_every_branch():
    chosen, absent, present = set(), 0, 0
    for case in CASES:
        for object_id in {object_id for object_id, _, _ in case.prompts}:
            stored = official(case, object_id)
            tracked = ~stored.prompted
            chosen |= set(stored.chosen[tracked])
            absent += int((stored.object_score[tracked] <= 0).sum())
            present += int((stored.object_score[tracked] > 0).sum())
    assert {0, 1, 2} <= chosen
    assert absent > 20
    assert present > 60


@pytest.mark.parametrize(
    "mistake",
    [{"pointer_norm": "seen"}, {"pointer_norm": "fixed16"}, {"cond_pointer": "multi"}, {"cond_memory": "hf"}],
    ids=lambda mistake: "-".join(mistake.values()),
)
def test_typical_mistakes_are_seen(backbone, mistake):
    if not same_kernels():
        pytest.skip("bits can only be compared on the kernels behind the stored numbers")
    case = next(c for c in CASES if c.name == "mask-short")  # a short clip, or two norms agree
    engine, _ = replay(backbone, case, **mistake)
    stored = official(case, 1)
    same = [
        digest(engine.records[1][t].memory.view(torch.int16).numpy()) == stored.hashes[t]["memory"]
        for t in map(int, stored.frames)
    ]
    assert not all(same)
