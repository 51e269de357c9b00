"""SAM 3's rule: bounded state reads what the program's walk over all frames finds."""

from drive import Offer, drive, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.policies.base import Entry, load_policy
from mosam.policies.sam3 import score

FRAME = st.tuples(st.sampled_from([0.0, 0.01, 0.3, 0.9]), st.sampled_from([-4.0, 0.0, 0.02, 0.5, 5.0]))
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=5), st.integers(1, 30))


def emulated(t: int, scores: list[float], threshold: float, length: int) -> tuple[list, list]:
    """Slots and pointers as the program finds them, with every frame kept; `scores[i]` of frame i."""
    valid: list[int] = []
    for i in range(t - 1, 0, -1):
        if scores[i] > threshold:
            valid.insert(0, i)
        if len(valid) >= min(length, 16) - 1:
            break
    if t - 1 > 0 and t - 1 not in valid:
        valid.append(t - 1)
    read = [(0, 6)] + [(valid[-rank], rank - 1) for rank in range(6, 0, -1) if rank <= len(valid)]
    positions = [(0, t)] + [(valid[-rank], rank) for rank in range(1, min(length, 16)) if rank < len(valid)]
    return read, positions


@settings(max_examples=60, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=4), st.sampled_from([0.01, 0.2]))
def test_the_bounded_memory_reads_what_the_program_reads(parts, threshold):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]
    scores = [1.0]
    for step in drive(
        load_policy("sam3", threshold=threshold),
        lambda t, trace: Offer((frames[t - 1][0], 0.0, 0.0), frames[t - 1][1]),
        len(frames),
    ):
        read, positions = emulated(step.t, scores, threshold, len(frames) + 1)
        assert slots(step.plans[0]) == read
        assert pointers(step.plans[0]) == positions
        iou, presence = frames[step.t - 1]
        scores.append(score(Entry(step.t, "track", presence, iou, 1)))


def test_an_absent_frame_is_only_read_right_after():
    for step in drive(load_policy("sam3"), lambda t, trace: Offer((0.9, 0, 0), -3.0 if t % 5 else 4.0), 60):
        absent = [f for f, _ in slots(step.plans[0]) if f % 5]
        assert absent in ([], [step.t - 1])
