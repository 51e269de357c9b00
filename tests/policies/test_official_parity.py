"""The policies against stored numbers of their own programs: memories, choices and masks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import policy_cases
import pytest
import torch
from policy_cases import CASES, FRAMES, SIZE, Case

from mosam.engine.engine import Engine
from mosam.model.sam2 import Sam2Backbone
from mosam.policies.base import Candidate, Choice, ReadPlan, load_policy
from mosam.types import Retraced

FOLDER = Path(__file__).parents[1] / "parity"
TOLERANCE = 1e-3  # of logits up to 40
NO_FRAME, ABSENT_POINTER = -1, -2
# where the decoder pass of the mask that is given says that the object is absent, so that its pointer says so too
PROMPT_ABSENT = {"him2sam-seed9", "him2sam-default", "rcms-seed7", "rcms-default"}


@dataclass
class Run:
    """What our engine read, was offered, chose and showed, by frame from 1; logits and areas from 0."""

    plans: list[list[ReadPlan]]
    offers: list[list[Candidate]]
    choices: list[list[Choice]]
    places: list[list[tuple[int, ...]]]
    logits: np.ndarray
    area: np.ndarray
    outputs: list
    start: np.ndarray | None = None


class FinalMasks(Engine):
    """Remembers the low-resolution logits of every frame as they were shown last, and what tracks started from."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.low_res: dict[int, torch.Tensor] = {}
        self.starts: list = []
        compose = self._composer.compose

        def watched(wanted):
            for _, frame, objects in wanted:
                if objects:
                    self.low_res[frame] = self.runner.shown(objects[1].low_res.float()[None])[0, 0]
            return compose(wanted)

        self._composer.compose = watched
        make_starts = self._predictor.starts

        def watched_starts(*arguments):
            self.starts = make_starts(*arguments)
            return self.starts

        self._predictor.starts = watched_starts


@cache
def ours(name: str) -> Run:
    """One case through our engine."""
    case = case_of(name)
    torch.set_num_threads(1)
    model = Sam2Backbone(case.model(), name="random:mini", resize=case.resize)
    policy = load_policy(case.policy, **dict(case.options))
    run = Run([[] for _ in range(FRAMES - 1)], [], [], [], np.empty(0), np.empty(0), [])
    read, choose = policy.read, policy.choose

    def recorded_read(state, t):
        plan = read(state, t)
        run.plans[t - 1].append(plan)
        return plan

    def recorded_choose(states, t, candidates):
        if "points" in dict(case.options):
            said = policy_cases.point_scores(t)
            ways = [partial(Retraced, said[one.index], said[one.index]) for one in candidates]
            candidates = [replace(one, retraced=way) for one, way in zip(candidates, ways, strict=True)]
        choices = choose(states, t, candidates)
        run.offers.append(list(candidates))
        run.choices.append(choices)
        run.places.append([getattr(state, "pathways", (0,)) for state in states])
        return choices

    policy.read, policy.choose = recorded_read, recorded_choose
    with patch("mosam.engine.engine.load_arrays", lambda name: policy_cases.motion_weights(*case.motion)):
        engine = FinalMasks(model, policy, parity=case.parity, log=True)
    video = engine.open([case.prompts()], size=SIZE, num_frames=FRAMES)
    for image in policy_cases.clip(case.clip)[0]:
        engine.step({video: image})
        run.outputs += engine.drain(video)
    run.outputs += engine.close(video)
    low_res = torch.stack([engine.low_res[t] for t in range(FRAMES)]).numpy()
    run.start = engine.starts[0].mask
    run.logits, run.area = low_res[:, ::4, ::4], (low_res > 0).sum((1, 2))
    return run


@cache
def official(name: str) -> dict[str, np.ndarray]:
    """The stored arrays of one case."""
    with np.load(FOLDER / f"{case_of(name).file}_official.npz") as stored:
        return {key.split("/")[1]: stored[key] for key in stored.files if key.split("/")[0] == name}


def case_of(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


SLOW = {"him2sam-default", "rcms-default", "rcms-seed7"}  # of `make test-slow`


def some(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


ALL = some(case.name for case in CASES)


def decodes(run: Run, t: int, count: int) -> list[int]:
    """Index of our hypothesis for each of `count` official decodes of frame `t`, which repeats equal ones."""
    by_place = {place: h for h, places in enumerate(run.places[t - 1]) for place in places}
    return [by_place[place] for place in range(count)]


def theirs_at(name: str, t: int) -> int:
    """How many decodes the program made on frame `t`."""
    return int((~np.isnan(official(name)["presence"][t - 1])).sum())


@pytest.mark.parametrize("name", ALL)
def test_the_stored_runs_are_those_of_the_cases(name):
    case = case_of(name)
    meta = json.loads((FOLDER / f"{case.file}_official.json").read_text())
    stored = meta["cases"][name]
    assert (stored["post_processing"], stored["holes"]) == (case.post_processing, case.holes)
    assert (tuple(stored["shrink"]), tuple(stored["presence"])) == (case.shrink, case.presence)
    assert len(meta["program"].split()[1]) == 40, "the commit"


@pytest.mark.parametrize("name", ALL)
def test_the_same_memories_are_read(name):
    run, stored = ours(name), official(name)
    for t in range(1, FRAMES):
        for theirs, mine in enumerate(decodes(run, t, theirs_at(name, t))):
            plan = run.plans[t - 1][mine]
            slots = [tuple(s) for s in stored["slots"][t - 1, theirs] if s[0] != NO_FRAME]
            assert [(s.entry.frame, s.temporal) for s in plan.slots] == slots, t
            frames, positions = stored["pointer_frames"][t - 1, theirs], stored["pointer_positions"][t - 1, theirs]
            count = int((frames != NO_FRAME).sum())
            assert len(plan.pointers) == count, t
            threshold = load_policy(case_of(name).policy).presence_threshold
            for pointer, frame, position in zip(plan.pointers, frames[:count], positions[:count], strict=True):
                if not np.isnan(position):  # SAM 2.0 has no code of it
                    assert pointer.position / (plan.span - 1) == pytest.approx(position, abs=1e-6), t
                if frame == ABSENT_POINTER:
                    prompt = pointer.entry.kind == "prompt" and name in PROMPT_ABSENT
                    assert prompt or pointer.entry.object_score <= threshold
                else:
                    assert pointer.entry.frame == frame, t


@pytest.mark.parametrize("name", ALL)
def test_the_decoder_says_the_same(name):
    run, stored = ours(name), official(name)
    for t in range(1, FRAMES):
        for theirs, mine in enumerate(decodes(run, t, theirs_at(name, t))):
            offers = [c for c in run.offers[t - 1] if c.hypothesis == mine and c.source == "free"]
            assert [c.iou for c in offers] == pytest.approx(stored["ious"][t - 1, theirs], abs=TOLERANCE), t
            assert offers[0].object_score == pytest.approx(stored["presence"][t - 1, theirs], abs=TOLERANCE), t


@pytest.mark.parametrize("name", some(case.name for case in CASES if case.policy != "sam2long"))
def test_the_same_candidate_is_chosen(name):
    run = ours(name)
    chosen = [offers[choices[0].candidate].index for offers, choices in zip(run.offers, run.choices, strict=True)]
    assert chosen == official(name)["candidate"].tolist()


def test_the_same_pathways_survive():
    run, stored = ours("sam2long"), official("sam2long")
    for t in range(2, FRAMES):
        offers, places = run.offers[t - 1], run.places[t - 1]
        survivors = {}
        for choice in run.choices[t - 1]:
            candidate = offers[choice.candidate]
            for place in choice.state.pathways:
                survivors[place] = (places[candidate.hypothesis], candidate.index)
                assert choice.state.score == pytest.approx(stored["scores"][t - 2, place], abs=1e-2)
        for place, (parent, index) in enumerate(stored["survivors"][t - 2]):
            assert parent in survivors[place][0] or t == 2
            assert index == survivors[place][1]


@pytest.mark.parametrize("name", ALL)
def test_the_same_masks_are_shown(name):
    run, stored = ours(name), official(name)
    difference = np.abs(run.logits - stored["logits"]).max(axis=(1, 2))
    assert difference.max() <= TOLERANCE, difference
    assert np.abs(run.area - stored["area"]).max() <= 2


@pytest.mark.parametrize("name", ["samosa-a", "samosa-b"])
def test_the_same_errors_are_noticed(name):
    stored, outputs = official(name), ours(name).outputs[1:]
    assert [o.objects[1].log["error"] for o in outputs] == stored["error"].tolist()
    motion = [np.nan if o.objects[1].log["motion"] is None else o.objects[1].log["motion"] for o in outputs]
    assert motion == pytest.approx(stored["motion"], abs=TOLERANCE, nan_ok=True)


@pytest.mark.parametrize("name", ["samite", "samite-2"])
def test_the_same_decode_is_taken(name):
    run, stored = ours(name), official(name)
    for t, (offers, choices) in enumerate(zip(run.offers, run.choices, strict=True)):
        guided = [c for c in offers if c.source == "guided"]
        assert [c.iou for c in guided] == pytest.approx(stored["guided_ious"][t], abs=TOLERANCE), t
        assert guided[0].object_score == pytest.approx(stored["guided_presence"][t], abs=TOLERANCE), t
        taken = offers[choices[0].candidate]
        assert (taken.source == "guided") == stored["row"][t], t
        assert taken.cycle_iou == pytest.approx(stored["cycle"][t, stored["row"][t]], abs=TOLERANCE), t


@pytest.mark.parametrize("name", ["dam4sam", "dam4sam-box"])
def test_the_same_frames_are_promoted(name):
    run, stored = ours(name), official(name)
    promoted = [o.frame_index for o in run.outputs[1:] if o.objects[1].log.get("promoted")]
    assert promoted == stored["promoted"].tolist()
    assert [int(o.objects[1].mask.sum()) for o in run.outputs[1:]] == pytest.approx(stored["areas"], abs=2)


def test_a_box_is_decoded_to_the_mask_that_the_program_starts_from():
    run, theirs = ours("dam4sam-box"), np.unpackbits(official("dam4sam-box")["start_mask"], axis=1).astype(bool)
    assert theirs.sum() > 1000
    assert (run.start ^ theirs).sum() <= 2
    first = run.outputs[0].objects[1]
    assert first.log["prompt"] == "box"
    assert (first.object_score, first.iou) == (10.0, 1.0), "a given mask is not doubted"


@pytest.mark.parametrize("name", ALL)
def test_the_runs_are_not_empty(name):
    """The stored numbers show every event the comparison is about."""
    stored = official(name)
    presence = stored["presence"][:, 0]
    absent = np.flatnonzero(presence <= 0) + 1
    assert 3 <= len(absent) <= 40 or name == "him2sam-default"
    slots = stored["slots"][:, 0, :, 0]
    newest_gap = [t for t in range(8, FRAMES) if not set(range(t - 6, t)) <= set(slots[t - 1])]
    assert name.startswith(("rcms", "sam2.0")) or len(newest_gap) > 5, "memory is filtered"
    own = (stored["pointer_frames"][:, 0] == 0).any(axis=1)
    assert own.any() != (name in PROMPT_ABSENT), "the prompt has a pointer of its own"
    if name.startswith("samurai"):
        chosen = stored["candidate"]
        assert len(set(chosen.tolist())) == 3
        best = stored["ious"][:, 0].argmax(axis=1)
        assert (best != chosen).sum() >= 2, "the filter decides"
        assert ((presence > -1) & (presence <= 0)).any(), "between the two presence thresholds"
        states = [choices[0].log["stable"] for choices in ours(name).choices]
        assert 15 in states
        assert 0 in states, "the filter starts again"
    if name == "sam2long":
        parents = stored["survivors"][1:, :, 0]
        assert (parents[:, 0] != 0).any(), "another pathway becomes the best"
        assert any(len(set(row)) > 1 for row in parents.tolist()), "several parents survive"
        assert any(len(set(row)) == 1 for row in parents.tolist()), "pathways die out"
        sure = np.nanmax(np.abs(stored["presence"]), axis=1) > 2
        assert 10 < sure.sum() < 55, "both ways of choosing"
        assert len(ours(name).choices[1]) == 1, "equal pathways after the first sure frame"
    if name.startswith("dam4sam"):
        assert len(stored["promoted"]) >= 4
    if name.startswith("him2sam"):
        marked = [o.frame_index for o in ours(name).outputs[1:] if o.objects[1].log.get("marked")]
        assert marked == stored["promoted"].tolist()
        assert len(marked) >= (1 if name == "him2sam-default" else 3)
        assert any((slots == 6).sum() == 2 for slots in stored["slots"][:, 0, :, 1]), "a mark is read"
    if "points" in dict(case_of(name).options):
        run = ours(name)
        asked = [t for t in range(1, FRAMES) if "points" in run.choices[t - 1][0].log]
        assert asked == stored["asked"].tolist()
        assert len(asked) > 5
        changed = [t for t in asked if run.choices[t - 1][0].candidate != np.argmax([c.iou for c in run.offers[t - 1]])]
        assert len(changed) > (0 if case_of(name).seed == 6 else 2), "points decide"
    if name.startswith("samosa"):
        error = stored["error"]
        assert error.sum() > 5
        assert (error[:-1] & ~error[1:]).sum() >= 3, "recovered from errors"
        assert (stored["ious"][:, 0].argmax(axis=1) != stored["candidate"]).any(), "motion or a recovery decides"
        assert np.isnan(stored["motion"]).sum() > 5, "without a history"
        assert (stored["motion"] > 0.2).sum() > 10
    if name.startswith("samite"):
        row, cycle = stored["row"], stored["cycle"]
        assert 5 < row.sum() < 58, "both decodes are taken"
        assert ((cycle.max(axis=1) < 0.3) & (row == 0)).any(), "too little is found again"
        assert (np.diff(slots[40:], axis=1).max(axis=1) > 1).any(), "likeness decides, not age"
    if name.startswith("rcms"):
        slots = stored["slots"][:, 0]
        assert (slots[-1][:, 0] != NO_FRAME).sum() == 11, "the prompted frame, four promoted ones and the last six"
        assert (slots[-1, :5, 1] == 6).all()
