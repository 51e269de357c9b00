import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info, walk

from mosam.errors import MosamError
from mosam.policies.base import Candidate, Entry, load_policy
from mosam.policies.mosam import BIN, GUIDE_CONFIDENCE, MosamState, Rated
from mosam.types import Forecast


def entry(t: int, conf: float = 0.9, area: int = 50) -> Entry:
    """A tracked frame whose confidence is `conf` (presence logit 20)."""
    visible = conf > 0
    return Entry(
        t, "track", 20.0 if visible else -5.0, conf, area if visible else 0, feature_row=t if visible else None
    )


def frames(plan):
    return [s.entry.frame for s in plan.slots[1:]]


def plans(policy, conf, count, start=0):
    """Read plans by local frame, for confidences given by local frame."""
    return {t - start: p for t, p in walk(policy, info(1000, start), lambda t: entry(t, conf(t - start)), count)}


def test_worked_selection():
    got = plans(load_policy("mosam", mgp="off"), lambda t: 0.9, 40)
    assert frames(got[1]) == []
    assert frames(got[2]) == [1]
    assert frames(got[7]) == [5, 6]
    assert frames(got[38]) == [15, 20, 25, 30, 35, 37]
    assert [s.temporal for s in got[38].slots] == [6, 5, 4, 3, 2, 1, 0]
    assert [(p.entry.frame, p.position) for p in got[38].pointers][:3] == [(0, 38), (37, 1), (36, 2)]


def test_the_pool_survives_a_long_absence():
    got = plans(load_policy("mosam", mgp="off"), lambda t: 0.9 if t < 30 or t > 200 else 0.0, 220)
    assert frames(got[200]) == [5, 10, 15, 20, 25] or len(frames(got[200])) == 5
    assert max(frames(got[200])) < 30
    pointers = [(p.entry.frame, p.position) for p in got[200].pointers[1:]]
    assert pointers == [(f, 15) for f in range(29, 14, -1)]


def test_a_bad_multiple_leaves_no_hole():
    got = plans(load_policy("mosam", mgp="off", keep_last="off"), lambda t: 0.1 if t == 5 else 0.9, 12)
    assert frames(got[8]) == [6]


def test_bins_prefer_the_newer_of_equals_and_strict_the_surer():
    conf = lambda t: {5: 0.94, 10: 0.91, 15: 0.93, 20: 0.70}.get(t, 0.92)  # noqa: E731
    binned = plans(load_policy("mosam", mgp="off", topk=2, keep_last="off"), conf, 24)
    strict = plans(load_policy("mosam", mgp="off", topk=2, keep_last="off", rank="strict"), conf, 24)
    assert frames(binned[23]) == [10, 15]
    assert frames(strict[23]) == [5, 15]


def test_literal_window_slides_and_forgets():
    got = plans(load_policy("mosam-literal", mgp="off"), lambda t: 0.9, 70)
    assert frames(got[60]) == [30, 35, 40, 45, 50, 55]
    assert frames(got[62]) == [32, 37, 42, 47, 52, 57]
    gone = plans(load_policy("mosam-literal", mgp="off"), lambda t: 0.9 if t < 20 else 0.0, 90)
    assert frames(gone[90]) == []


def test_visible_only_memory_of_the_ablation():
    options = {"stride": 1, "pool": 6, "topk": 6, "admit_conf": 0, "keep_last": "off"}
    policy = load_policy("mosam", mgp="off", w_motion=0, distractors="off", **options)
    got = plans(policy, lambda t: 0.0 if t in (7, 8) else 0.9, 12)
    assert frames(got[10]) == [3, 4, 5, 6, 9] or frames(got[10]) == [2, 3, 4, 5, 6, 9]
    assert policy.motion() is None


def test_selection_off_is_sam2():
    ours = load_policy(
        "mosam", selection="off", pointers="sam2", pix_mode="off", mgp="off", w_motion=0, distractors="off"
    )
    rows = {t: Entry(t, "track", 3.0 if t % 3 else -3.0, 0.5, 9 if t % 3 else 0, feature_row=t) for t in range(40)}
    a = walk(ours, info(1000), rows.__getitem__, 30)
    b = walk(load_policy("sam2"), info(1000), rows.__getitem__, 30)
    for (_, x), (_, y) in zip(a, b, strict=True):
        assert [(s.entry.frame, s.temporal) for s in x.slots] == [(s.entry.frame, s.temporal) for s in y.slots]
        assert [(p.entry.frame, p.position) for p in x.pointers] == [(p.entry.frame, p.position) for p in y.pointers]


def everything(policy, history, t):
    """Selection by the rules alone, over all frames ever seen (no keeping rule)."""
    c = policy.config
    visible = [(f, q) for f, q in history if q > 0]
    if c.pool_rule == "window":
        wanted = {t - i * c.stride for i in range(1, c.pool + 1)}
        pool = [(f, q) for f, q in visible if f in wanted and q >= c.admit_conf]
    else:
        pool, admitted = [], 0
        for f, q in history:
            if q > 0 and q >= c.admit_conf and (f % c.stride == 0 or f - admitted >= c.stride):
                pool, admitted = [*pool, (f, q)][-c.pool :], f
    key = (lambda fq: (fq[1], fq[0])) if c.rank == "strict" else (lambda fq: (np.floor(fq[1] / BIN), fq[0]))
    chosen = [f for f, _ in sorted(pool, key=key, reverse=True)[: c.topk]]
    last, quality = history[-1]
    if quality > 0 and last not in chosen and (c.keep_last or not chosen):
        chosen = [*chosen[:5], last]
    return sorted(chosen)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.31, 0.55, 0.8, 0.83, 0.97]), min_size=2, max_size=90),
    st.sampled_from(["mosam", "mosam-literal", "mosam[strict]", "mosam[k6]"]),
)
def test_bounded_state_equals_the_whole_history(quality, name):
    policy = {
        "mosam": lambda: load_policy("mosam"),
        "mosam-literal": lambda: load_policy("mosam-literal"),
        "mosam[strict]": lambda: load_policy("mosam", rank="strict", stride=3, pool=6, topk=3),
        "mosam[k6]": lambda: load_policy("mosam", topk=6, stride=2),
    }[name]()
    got = plans(policy, lambda t: quality[t - 1], len(quality))
    history = []
    for t in range(2, len(quality) + 1):
        f = t - 1
        q = policy.confidence(entry(f, quality[f - 1]))
        history.append((f, q))
        assert frames(got[t]) == everything(policy, history, t)
        assert all(dict(history)[s] > 0 for s in frames(got[t]))


@pytest.mark.parametrize("name", ["mosam", "mosam-literal"])
def test_memory_is_bounded_over_long_absences(name):
    policy = load_policy(name)
    track = info(None)
    update = policy.start(track, Entry(0, "prompt", 10.0, 1.0, 50, feature_row=0))
    most = 0
    for t in range(1, 3001):
        update = policy.memorized(update.state, t, entry(t, 0.0 if (t // 400) % 2 else 0.9), None)
        most = max(most, len(update.features))
        assert len(update.pointers) <= 16
    assert most <= policy.live_features(track)


# Motion-Guided Prompting


def seen(box=(0.3, 0.3, 0.5, 0.5), trust=0.9, previous=(0.28, 0.3, 0.48, 0.5), survival=0.9):
    return Forecast(
        None if box is None else np.array(box), np.array([[0.4, 0.4]]), np.zeros((8, 8), bool), trust, trust, trust,
        None if previous is None else np.array(previous), survival,
    )  # fmt: skip


def state(t=9, conf=0.9, area=50):
    first = Entry(0, "prompt", 10.0, 1.0, 50)
    return MosamState(info(100), (first,), Rated(entry(t, conf, area), conf))


@pytest.mark.parametrize(
    ("before", "what", "t", "reason"),
    [
        (state(), seen(), 10, None),
        (state(conf=0.0), seen(), 10, "absent before"),
        (state(conf=GUIDE_CONFIDENCE - 0.01), seen(), 10, "low confidence"),
        (state(area=3), seen(), 10, "too small"),
        (state(), seen(survival=0.05), 10, "scene cut"),
        (state(), seen(box=None), 10, "no valid box"),
        (state(), None, 10, "no motion yet"),
        (state(0), seen(), 1, "too early"),
        (state(), seen(box=(0.0, 0.3, 0.05, 0.5), previous=(0.2, 0.3, 0.3, 0.5)), 10, "leaving"),
        (state(), seen(box=(0.0, 0.3, 0.2, 0.5), previous=(0.05, 0.3, 0.25, 0.5)), 10, None),
    ],
)
def test_prompts_are_withheld_with_a_reason(before, what, t, reason):
    guide = load_policy("mosam").guide(before, t, lambda: what)
    assert guide.log["withheld"] == reason
    assert guide.prompts == (reason is None)
    if what is not None and before.last.entry.visible:
        assert guide.expected is what.expected


def test_motion_off_still_scores_but_never_prompts():
    policy = load_policy("mosam", mgp="off")
    guide = policy.guide(state(), 10, seen)
    assert not guide.prompts
    assert guide.expected is not None
    assert load_policy("mosam", mgp="off", w_motion=0, distractors="off").motion() is None


def offers(free, guided=None, score=5.0):
    """Candidates from (iou, motion_iou[, trust]) tuples."""
    made = [Candidate(0, "free", k, q, score, 9, motion_iou=m, motion_trust=0.9) for k, (q, m) in enumerate(free)]
    if guided:
        q, m, trust = guided
        made.append(Candidate(0, "guided", 0, q, 5.0, 9, motion_iou=m, motion_trust=trust))
    return made


@pytest.mark.parametrize(
    ("candidates", "options", "winner", "why"),
    [
        (offers([(0.8, None), (0.9, None), (0.7, None)]), {}, 1, None),
        (offers([(0.85, 0.9), (0.9, 0.1), (0.7, 1.0)]), {}, 0, None),
        (offers([(0.8, 0.8), (0.7, 0.8), (0.6, 0.8)], (0.8, 0.85, 0.9)), {}, 0, None),
        (offers([(0.6, 0.6), (0.5, 0.5), (0.4, 0.4)], (0.9, 0.9, 0.9)), {}, 3, "score"),
        (offers([(0.6, 0.6), (0.5, 0.5), (0.4, 0.4)], (0.9, 0.9, 0.5)), {}, 0, None),
        (offers([(0.9, 0.05), (0.2, 0.05), (0.2, 0.0)], (0.55, 0.8, 0.9)), {}, 3, "jump"),
        (offers([(0.9, 0.05), (0.2, 0.05), (0.2, 0.0)], (0.45, 0.8, 0.9)), {}, 0, None),
        (offers([(0.1, 0.0)] * 3, (0.9, 0.9, 0.9), score=-2.0), {}, 0, None),
        (offers([(0.9, 0.9)] * 3, (0.1, 0.1, 0.1)), {"mgp": "always"}, 3, "always"),
        (offers([(0.85, 0.9), (0.9, 0.1), (0.7, 1.0)]), {"w_motion": "0"}, 1, None),
    ],
)  # fmt: skip
def test_which_mask_is_taken(candidates, options, winner, why):
    [choice] = load_policy("mosam", **options).choose([state()], 10, candidates)
    assert choice.candidate == winner
    assert choice.log["guided_won"] == why


@pytest.mark.parametrize(
    ("free", "options", "reason"),
    [
        (offers([(0.6, 0.6), (0.5, 0.5)]), {}, None),
        (offers([(0.6, 0.85), (0.5, 0.5)]), {}, None),
        (offers([(0.6, 0.95), (0.5, 0.5)]), {}, "no doubt"),
        (offers([(0.6, 0.85), (0.5, 0.5)]), {"guide_below_iou": 0.8}, "no doubt"),
        (offers([(0.6, 0.95), (0.5, 0.5)]), {"guide_below_iou": 1}, None),
        (offers([(0.6, 0.95), (0.5, 0.5)]), {"mgp": "always"}, None),
        (offers([(0.1, 0.0)], score=-2.0), {}, "absent"),
        (offers([(0.9, 0.79)], score=3.0), {}, None),
        (offers([(0.99, 0.79)], score=3.0), {"w_motion": 0}, "cannot win"),
        (offers([(1.0, 0.05)], score=3.0), {"w_motion": 0}, None),
    ],
)
def test_a_decode_that_could_not_matter_is_spared(free, options, reason):
    assert load_policy("mosam", **options).skip_guided_decode(state(), 10, free) == reason


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_is_spared_for_another_reason_than_doubt_could_never_win(data):
    unit = st.floats(0, 1, allow_nan=False)
    trust = data.draw(unit)
    made = [
        Candidate(0, source, k, data.draw(unit), data.draw(st.sampled_from([-1.0, 0.5, 4.0])), 9,
                  motion_iou=data.draw(unit), motion_trust=trust)
        for k, source in enumerate(["free", "free", "free", "guided"])
    ]  # fmt: skip
    policy = load_policy("mosam", guide_below_iou=1, w_motion=data.draw(unit))
    before = state(conf=data.draw(unit))
    if policy.skip_guided_decode(before, 10, made[:3]) not in (None, "no doubt"):
        [choice] = policy.choose([before], 10, made)
        assert choice.candidate < 3 or made[3].iou == made[3].motion_iou == 1.0


def distractors(*offered, score=5.0):
    """Candidates without motion from (iou, beside) pairs."""
    return [Candidate(0, "free", k, q, score, 9, distractors=b) for k, (q, b) in enumerate(offered)]


@pytest.mark.parametrize(
    ("candidates", "options", "winner", "rejected"),
    [
        (distractors((0.9, 0.3), (0.8, 0.0), (0.1, 0.0)), {}, 1, False),  # 0.75 against 0.8
        (distractors((0.9, 0.1), (0.8, 0.0), (0.1, 0.0)), {}, 0, False),
        (distractors((0.9, 0.3), (0.8, 0.0), (0.1, 0.0)), {"distractor_weight": "0"}, 0, False),
        (distractors((0.9, 0.8), (0.5, 0.9), (0.1, 0.0)), {}, 0, True),
        (distractors((0.9, 0.8), (0.5, 0.9), (0.1, 0.0)), {"distractor_reject": "1"}, 0, False),
        (distractors((0.9, 0.4), (0.1, 0.9), (0.1, 0.9)), {}, 0, False),  # only above the threshold
        (distractors((0.9, None), (0.8, None), (0.1, None)), {}, 0, False),
    ],
)  # fmt: skip
def test_a_mask_of_what_was_seen_beside_the_object_is_passed_over_or_rejected(candidates, options, winner, rejected):
    [choice] = load_policy("mosam", **options).choose([state()], 10, candidates)
    assert (choice.candidate, choice.absent, choice.log["rejected"]) == (winner, rejected, rejected)
    assert choice.memory == ("skip" if rejected else "sigmoid")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, True),
        ({"mgp": "off", "w_motion": "0"}, True),
        ({"distractors": "off"}, False),
        ({"dense": "off"}, False),
    ],
)
def test_what_lies_beside_needs_the_flow_to_this_frame(options, kept):
    assert load_policy("mosam", **options).motion().distractors == kept


def test_absent_frames_are_not_memorized():
    [choice] = load_policy("mosam").choose([state()], 10, offers([(0.5, None)] * 3, score=-1.0))
    assert choice.memory == "skip"
    [kept] = load_policy("mosam", selection="off").choose([state()], 10, offers([(0.5, None)] * 3, score=-1.0))
    assert kept.memory == "sigmoid"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, r"stride: expected 1\.\.100"),
        ({"topk": 7}, r"topk: expected 0\.\.6"),
        ({"rank": "best"}, "one of binned, strict"),
        ({"w_motion": "2"}, "w_motion"),
        ({"distractor_reject": "-0.1"}, r"distractor_reject: expected 0\.\.1"),
    ],
)
def test_values_out_of_range_name_the_field(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("mosam", **options)


def test_remask_and_filter_reach_the_plan():
    assert load_policy("mosam", pix_mode="remask").choose([state()], 10, offers([(0.5, None)]))[0].remask == 0.5
    plan = plans(load_policy("mosam"), lambda t: 0.9, 12)[12]
    assert plan.pixel_filter.mode == "bias"
    assert [s.filtered for s in plan.slots] == [False, *itertools.repeat(True, len(plan.slots) - 1)]
    off = plans(load_policy("mosam", pix_mode="off"), lambda t: 0.9, 12)[12]
    assert off.pixel_filter is None
