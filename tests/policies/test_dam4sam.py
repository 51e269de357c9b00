import numpy as np
import pytest
from drive import Offer, Side, drive, live_features, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.errors import MosamError
from mosam.policies.base import Entry, load_policy
from mosam.policies.dam4sam import raster_box_iou

HEIGHT, WIDTH = 40, 60


def plane(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of filled boxes, x, y, w, h."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] = True
    return mask


OBJECT = plane((5, 5, 10, 10))
ALIKE = plane((5, 5, 10, 10), (5, 6, 11, 8))  # a box hardly larger
DISTRACTOR = plane((40, 20, 10, 10))
NOTHING = plane()


def scene(area_scale: float = 1.0, distractor: bool = False) -> Side:
    chosen = plane((5, 5, 10, max(1, round(10 * area_scale))))
    return Side(chosen, np.stack([DISTRACTOR if distractor else chosen, NOTHING]))


class Official:
    """The official selection with every frame kept: ordinary and conditioning stores by frame, areas and promotions."""

    def __init__(self):
        self.conditioning = {0: True}  # frame -> has a positive pixel
        self.ordinary: dict[int, bool] = {}
        self.areas: list[int] = []
        self.last = None

    def plan(self, t: int):
        picks = {}
        before = max((f for f in self.conditioning if f < t - 1), default=None)
        if before is not None:
            picks[before] = True
        picks.setdefault(0, True)
        rest = sorted((f for f in self.conditioning if f not in picks and f != t - 1), key=lambda f: abs(f - t))
        for f in rest[: 4 - len(picks)]:
            picks[f] = True
        recent, place = [], None
        for i in range(7 - len(picks)):
            found = None
            if i == 0:
                place = t - 1
                store = self.conditioning if place in self.conditioning else self.ordinary
                found = place if store.get(place) and place not in picks else None
                step = 1
            elif place >= 0:
                place, step = (place - 1) // 5 * 5, 5
                found = place if self.ordinary.get(place) else None
            else:
                continue
            while found is None and place - step > 0:
                place -= step
                found = place if self.ordinary.get(place) else None
            if found is None:
                place = -1
                continue
            recent.append(found)
        recent.sort()
        read = [(f, 6) for f in picks] + [(f, len(recent) - 1 - n) for n, f in enumerate(recent)]
        ptrs = [(f, t - f) for f in picks]
        for back in range(1, min(t + 1, 16)):
            f = t - back
            if f not in picks and (self.ordinary.get(f) or self.conditioning.get(f)):
                ptrs.append((f, back))
        return read, ptrs

    def memorized(self, t: int, iou: float, side: Side, present: bool) -> bool:
        area = int(side.chosen().sum()) if present else 0
        self.areas.append(area)
        ratio = -1.0
        if len(self.areas) > 1 and area >= 1:
            ratio = area / np.median([a for a in self.areas[-300:] if a >= 1][-10:])
        promote = False
        if iou > 0.8 and 0.8 <= ratio <= 1.2 and (self.last is None or t - self.last > 5):
            promote = bool((side.alternatives()[0] & DISTRACTOR).any())
        if promote:
            self.last = t
            self.conditioning[t] = True
        else:
            self.ordinary[t] = present
        return promote


FRAME = st.tuples(st.booleans(), st.sampled_from([0.5, 0.9]), st.sampled_from([1.0, 1.0, 1.3, 0.5]), st.booleans())
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=5), st.integers(1, 30))


def run(frames, policy=None, track=None):
    def offer(t, trace):
        present, iou, _, _ = frames[t - (track.start if track else 0) - 1]
        return Offer((iou - 0.1, iou, 0.3), 4.0 if present else -4.0)

    def side(t):
        _, _, scale, distractor = frames[t - (track.start if track else 0) - 1]
        return scene(scale, distractor)

    return drive(policy or load_policy("dam4sam"), offer, len(frames), side=side, track=track)


def replay(steps, frames) -> int:
    """Compares every plan and promotion with the official selection; the number of promotions."""
    official, promotions = Official(), 0
    for step, (present, iou, scale, distractor) in zip(steps, frames, strict=True):
        read, ptrs = official.plan(step.t)
        assert slots(step.plans[0]) == read, step.t
        assert pointers(step.plans[0]) == ptrs, step.t
        assert step.plans[0].span == min(step.t + 1, 16)
        promoted = official.memorized(step.t, iou, scene(scale, distractor), present)
        assert step.updates[0].reencode == promoted, step.t
        promotions += promoted
    return promotions


@settings(max_examples=40, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=6))
def test_the_bounded_bank_reads_what_the_official_selection_reads(parts):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]
    replay(run(frames), frames)


def test_anchors_come_and_go_through_long_absences():
    frames = [((t // 60) % 3 != 2, 0.9, 1.0, t % 4 == 0) for t in range(500)]
    steps = run(frames)
    assert replay(steps, frames) > 40
    assert slots(steps[120 + 50].plans[0])[0][1] == 6, "in the second absence"
    assert {len(slots(step.plans[0])) for step in steps} >= {1, 2, 7}


def test_counts_from_the_start_of_the_track():
    frames = [(t % 11 != 3, 0.9, 1.0, t % 7 == 0) for t in range(60)]
    for a, b in zip(run(frames), run(frames, track=info(200, 13)), strict=True):
        assert [(f + 13, r) for f, r in slots(a.plans[0])] == slots(b.plans[0])
        assert a.plans[0].span == b.plans[0].span


def test_frames_without_the_object_are_never_read_nor_memorized():
    frames = [((t // 7) % 2 == 0, 0.9, 1.0, False) for t in range(100)]
    for step, (present, *_) in zip(run(frames), frames, strict=True):
        read = {f for f, _ in (*slots(step.plans[0]), *pointers(step.plans[0]))} - {0}
        assert all(frames[f - 1][0] for f in read)
        assert (step.choices[0].memory == "skip") == (not present)


def promotes(**changes) -> bool:
    """Whether the tenth frame is promoted, where everything is right but for the changes."""
    given = {"iou": 0.9, "scale": 1.0, "chosen": OBJECT, "others": (DISTRACTOR, NOTHING), "options": {}} | changes

    def offer(t, trace):
        return Offer((given["iou"] if t == 10 else 0.7, 0.2, 0.1), 4.0)

    def side(t):
        if t == 10:
            return Side(given["chosen"], np.stack(given["others"]))
        return Side(OBJECT, np.stack([NOTHING, NOTHING]))

    return drive(load_policy("dam4sam", **given["options"]), offer, 10, side=side)[-1].updates[0].reencode


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"iou": 0.8}, False),
        ({"iou": 0.81}, True),
        ({"chosen": plane((5, 5, 10, 12))}, True),
        ({"chosen": plane((5, 5, 10, 13))}, False),
        ({"chosen": plane((5, 5, 10, 8))}, True),
        ({"chosen": plane((5, 5, 10, 7))}, False),
        ({"others": (NOTHING, NOTHING)}, False),
        ({"others": (OBJECT, ALIKE)}, False),
        ({"others": (plane((16, 5, 1, 1)), NOTHING)}, False),
        ({"others": (plane((50, 30, 1, 1)), NOTHING)}, True),
        ({"others": (plane((50, 30, 1, 1), (5, 6, 11, 8)), NOTHING)}, False),
        ({"options": {"promote_overlap": 0.0}}, False),
        ({"options": {"promote_iou": 0.95}}, False),
    ],
)
def test_promotion(changes, expected):
    assert promotes(**changes) == expected


def test_promotions_keep_their_distance():
    frames = [(True, 0.9, 1.0, True)] * 40
    promoted = [step.t for step in run(frames) if step.updates[0].reencode]
    assert promoted == [2, 8, 14, 20, 26, 32, 38]


def test_the_newest_anchor_is_recent_appearance_first():
    frames = [(True, 0.9, 1.0, t == 20) for t in range(40)]  # frame 21 is promoted
    plans = {step.t: slots(step.plans[0]) for step in run(frames)}
    assert plans[22] == [(0, 6), (5, 4), (10, 3), (15, 2), (20, 1), (21, 0)]
    assert plans[23] == [(21, 6), (0, 6), (5, 4), (10, 3), (15, 2), (20, 1), (22, 0)]


def test_a_later_prompt_is_an_anchor():
    policy = load_policy("dam4sam")
    update = policy.start(info(100), Entry(0, "prompt", 10.0, 1.0, 50))
    for t in range(1, 12):
        entry = Entry(t, "track", 4.0, 0.5, 50, t, t)
        update = policy.memorized(update.state, t, entry, Side(OBJECT, np.stack([NOTHING])))
    update = policy.prompted(update.state, 12, Entry(12, "prompt", 10.0, 1.0, 50))
    assert slots(policy.read(update.state, 13)) == [(0, 6), (5, 2), (10, 1), (12, 0)]
    assert slots(policy.read(update.state, 14))[:2] == [(12, 6), (0, 6)]
    assert (12, 1) in pointers(policy.read(update.state, 13))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((5, 5, 10, 10), (5, 5, 10, 10), 1.0),
        ((5, 5, 11, 11), (5, 5, 21, 11), 0.5),
        ((5, 5, 1, 1), (5, 5, 2, 30), 1.0),
        ((5, 5, 1, 1), (5, 5, 3, 30), 0.0),
        ((0, 0, 5, 5), (20, 20, 5, 5), 0.0),
    ],
    ids=["equal", "half", "two pixels wide", "three pixels wide", "apart"],
)
def test_boxes_overlap_as_the_toolkit_has_it(a, b, expected):
    assert raster_box_iou(plane(a), plane(b)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride: expected 1..100"),
        ({"anchors": 1}, "anchors: expected 2..6"),
        ({"promote_iou": 1.1}, "promote_iou: expected 0..1"),
        ({"area_window": 1}, "area_window: expected 2..10000"),
    ],
)
def test_ranges(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("dam4sam", **options)


def test_memory_stays_bounded():
    rng = np.random.default_rng(0)
    frames = [((t // 250) % 2 == 0 and rng.random() < 0.9, 0.9, 1.0, rng.random() < 0.2) for t in range(3000)]
    policy = load_policy("dam4sam")
    steps = run(frames, policy)
    assert policy.live_features(info(3001)) == 12
    assert 11 <= max(live_features(step) for step in steps) <= 12
    assert max(len(step.updates[0].pointers) for step in steps) <= 1 + 4 + 15
    assert len(steps[-1].updates[0].state.areas) == 300
