from collections import deque

import torch

from mosam.engine.track import DEVICE_FRAMES, OPEN_FRAMES, Hypothesis, Shown, Track
from mosam.policies.base import TrackInfo

INFO = TrackInfo(1, 0, None, (4, 4), 7, 16)


def shown(frame: int) -> Shown:
    batch = torch.full((8, 1, 4, 4), float(frame))
    return Shown(frame, batch[3], 5.0, 0.9)


def test_what_all_hypotheses_share_is_settled():
    common, own = [shown(0), shown(1)], [shown(2), shown(2)]
    track = Track(INFO, {}, [Hypothesis(None, trail=deque([*common, one])) for one in own])
    assert track.settle(everything=False) == common
    assert track.settle(everything=False) == []
    assert track.settle(everything=True) == [own[0]]
    assert all(not h.trail for h in track.hypotheses)


def test_hypotheses_that_never_agree_leave_a_bounded_trail():
    track = Track(INFO, {}, [Hypothesis(None) for _ in range(3)])
    settled = []
    for t in range(OPEN_FRAMES + 200):
        for hypothesis in track.hypotheses:
            hypothesis.trail.append(shown(t))
        settled += [one.frame for one in track.settle(everything=False)]
        track.shelve()
        lengths = {len(h.trail) for h in track.hypotheses}
        assert lengths == {min(t + 1, OPEN_FRAMES)}
    assert settled == list(range(200)), "the best hypothesis decides on the oldest"
    for hypothesis in track.hypotheses:
        low = [one.low for one in hypothesis.trail]
        assert all(x.untyped_storage().nbytes() == x.numel() * x.element_size() for x in low), "no view of a batch"
        assert {x.dtype for x in low[:-DEVICE_FRAMES]} == {torch.float16}
        assert {x.dtype for x in low[-DEVICE_FRAMES:]} == {torch.float32}


def test_shelving_keeps_the_sign_and_what_16_bit_networks_say():
    values = torch.tensor([-1024.0, -10.0, -0.0078125, 0.0, 0.0078125, 31.25]).bfloat16().float()
    track = Track(INFO, {}, [Hypothesis(None)])
    for t in range(DEVICE_FRAMES + 1):
        track.hypotheses[0].trail.append(Shown(t, values.clone(), 1.0, 1.0))
        track.shelve()
    oldest = track.hypotheses[0].trail[0].low
    assert oldest.dtype == torch.float16
    assert torch.equal(oldest.float(), values)
