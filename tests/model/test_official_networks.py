"""EdgeTAM and SAM 3's tracker against stored runs of their own programs: memories, scores, pointers and masks."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from network_cases import CASES, HEADS, Case, build_model
from recording import RecordingEngine

from mosam.model.family import families
from mosam.policies.base import load_policy

FOLDER = Path(__file__).parents[1] / "parity"
TOLERANCE = 1e-4
# SAM 3 with two objects: a product of two rows rounds otherwise than one row's, and memory has 16 bits. Object 2 alone
# and with object 1 differ by 4e-3 in our engine after 20 frames, so later frames cannot be held to less; the first ones
# are held to what all others are.
TWO_ROWS, FIRST = 1e-2, 3
NO_FRAME, ABSENT_POINTER = -1, -2


def name_of(case: Case) -> str:
    return f"{case.network.removesuffix('-mini')}-{case.name}"


@cache
def stored(file: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{file}_official.npz") as arrays:
        return dict(arrays)


def official(case: Case, object_id: int) -> dict[str, np.ndarray]:
    """The stored arrays of one object of a case."""
    start = f"{case.name}/{object_id}/"
    file = stored(case.file)
    return {key.removeprefix(start): value for key, value in file.items() if key.startswith(start)}


@cache
def backbone(network: str):
    if network.startswith("edgetam"):
        pytest.importorskip("timm", reason="EdgeTAM needs timm")
        pytest.importorskip("transformers", minversion="5.24", reason="EdgeTAM needs a newer library")
    family = next(family for family in families() if network in family.random_sizes)
    return family.backbone(
        build_model(network),
        name=f"random:{network}",
        device=torch.device("cpu"),
        precision="fp32",
        formulas="official",
        resize=None,
        random=True,
        weights_hash="",
    )


@cache
def ours(case: Case):
    """What our engine remembers of a case, and what it read: (object, frame) -> plan."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    policy, plans = load_policy(case.tracker), {}
    read = policy.read

    def recorded(state, t):
        plan = read(state, t)
        plans[state.track.object_id, t] = plan
        return plan

    policy.read = recorded
    engine = RecordingEngine(backbone(case.network), policy, parity=case.parity)
    video = engine.open(case.ours(), size=case.size, num_frames=case.frames)
    areas = {}
    for image in case.clip()[0]:
        engine.step({video: image})
        for output in engine.drain(video):
            areas |= {(k, output.frame_index): int(v.mask.sum()) for k, v in output.objects.items()}
    for output in engine.close(video):
        areas |= {(k, output.frame_index): int(v.mask.sum()) for k, v in output.objects.items()}
    torch.set_num_threads(threads)
    return engine.records, plans, areas


QUICK = ("mask", "box-post", "box", "two", "selection")
RUNS = [pytest.param(c, id=name_of(c), marks=[] if c.name in QUICK else pytest.mark.slow) for c in CASES]


@pytest.fixture(params=RUNS)
def case(request):
    return request.param


def objects(case: Case) -> list[int]:
    return sorted({object_id for object_id, _, _ in case.prompts})


def test_the_stored_runs_are_those_of_the_cases(case):
    meta = json.loads((FOLDER / f"{case.file}_official.json").read_text())
    heads = HEADS[case.network]
    prompts = [list(prompt) for prompt in case.prompts]
    assert meta["cases"][case.name] == {"prompts": prompts, "post_processing": case.post_processing}
    assert meta["heads"] == {
        "seed": heads.seed, "iou": [heads.iou[0], list(heads.iou[1])], "presence": list(heads.presence),
        "shrink": list(heads.shrink), "mask": heads.mask,
    }  # fmt: skip
    assert len(meta["program"].split()[1]) == 40, "the commit"


def test_the_same_memories_are_read(case):
    _, plans, _ = ours(case)
    for object_id in objects(case):
        theirs = official(case, object_id)
        for n, t in enumerate(theirs["frames"][1:], start=1):
            plan = plans[object_id, int(t)]
            slots = [tuple(slot) for slot in theirs["slots"][n] if slot[0] != NO_FRAME]
            assert [(s.entry.frame, s.temporal) for s in plan.slots] == slots, t
            frames = [frame for frame in theirs["pointer_frames"][n] if frame != NO_FRAME]
            assert len(plan.pointers) == len(frames), t
            for pointer, frame, place in zip(plan.pointers, frames, theirs["pointer_positions"][n], strict=False):
                if not np.isnan(place):  # EdgeTAM has no code of it
                    assert pointer.position / (plan.span - 1) == pytest.approx(place, abs=1e-6), t
                if frame == ABSENT_POINTER:
                    assert pointer.entry.object_score <= 0
                else:
                    assert pointer.entry.frame == frame, t


def test_the_same_is_computed(case):
    records, _, areas = ours(case)
    tolerance, pixels = (TWO_ROWS, 30) if name_of(case) == "sam3-two" else (TOLERANCE, 2)
    for object_id in objects(case):
        theirs, mine = official(case, object_id), records[object_id]
        frames = [int(t) for t in theirs["frames"]]
        logits = np.stack([mine[t].low_res[0].numpy() for t in frames])
        apart = np.abs(logits[:, ::8, ::8] - theirs["logits_sample"])
        assert apart[:FIRST].max() <= TOLERANCE
        assert apart.max() <= tolerance
        assert np.abs(logits[-1] - theirs["logits_last"]).max() <= tolerance
        ious = np.array([mine[t].ious for t in frames[1:]])
        assert np.abs(ious - theirs["ious"][1:]).max() <= tolerance
        pointers = np.stack([mine[t].pointer.numpy() for t in frames])
        assert np.abs(pointers - theirs["pointer"]).max() <= tolerance
        scores = np.array([mine[t].object_score for t in frames])
        assert np.abs(scores - theirs["object_score"]).max() <= 10 * tolerance  # scaled by 40
        found = np.array([areas[object_id, t] for t in frames])
        assert np.abs(found - theirs["area"]).max() <= pixels  # whose logit is nearly 0


@pytest.mark.parametrize("network", sorted(HEADS))
def test_the_runs_take_every_branch(network):
    cases = [case for case in CASES if case.network == network]
    runs = [official(case, object_id) for case in cases for object_id in objects(case)]
    assert {0, 1, 2} == {int(best) for run in runs for best in np.argmax(run["ious"][1:], axis=1)}
    scores = np.concatenate([run["object_score"][1:] for run in runs])
    assert (scores <= 0).sum() > 10
    assert (scores > 0).sum() > 60
    kinds = {kind for case in cases for _, _, kind in case.prompts}
    assert kinds == {"mask", "box", "click"}
    assert max(case.frames for case in cases) == 40
