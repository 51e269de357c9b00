from collections import deque

import torch

from mosam.engine.track import DEVICE_FRAMES, OPEN_FRAMES, FrameMask, Hypothesis, Track
from mosam.policies.base import TrackInfo

INFO = TrackInfo(1, 0, None, (4, 4), 7, 16)


def shown(frame: int) -> FrameMask:
    batch = torch.full((8, 1, 4, 4), float(frame))
    return FrameMask(frame, batch[3], 5.0, 0.9)


def test_what_all_hypotheses_share_is_settled():
    common, own = [shown(0), shown(1)], [shown(2), shown(2)]
    track = Track(INFO, {}, [Hypothesis(None, pending=deque([*common, one])) for one in own])
    assert track.pop_final(everything=False) == common
    assert track.pop_final(everything=False) == []
    assert track.pop_final(everything=True) == [own[0]]
    assert all(not h.pending for h in track.hypotheses)


def test_hypotheses_that_never_agree_leave_a_bounded_trail():
    track = Track(INFO, {}, [Hypothesis(None) for _ in range(3)])
    final = []
    for t in range(OPEN_FRAMES + 200):
        for hypothesis in track.hypotheses:
            hypothesis.pending.append(shown(t))
        final += [one.frame for one in track.pop_final(everything=False)]
        track.offload()
        lengths = {len(h.pending) for h in track.hypotheses}
        assert lengths == {min(t + 1, OPEN_FRAMES)}
    assert final == list(range(200)), "the best hypothesis decides on the oldest"
    for hypothesis in track.hypotheses:
        low_res = [one.low_res for one in hypothesis.pending]
        assert all(x.untyped_storage().nbytes() == x.numel() * x.element_size() for x in low_res), "no view of a batch"
        assert {x.dtype for x in low_res[:-DEVICE_FRAMES]} == {torch.float16}
        assert {x.dtype for x in low_res[-DEVICE_FRAMES:]} == {torch.float32}


def test_shelving_keeps_the_sign_and_what_16_bit_networks_say():
    values = torch.tensor([-1024.0, -10.0, -0.0078125, 0.0, 0.0078125, 31.25]).bfloat16().float()
    track = Track(INFO, {}, [Hypothesis(None)])
    for t in range(DEVICE_FRAMES + 1):
        track.hypotheses[0].pending.append(FrameMask(t, values.clone(), 1.0, 1.0))
        track.offload()
    oldest = track.hypotheses[0].pending[0].low_res
    assert oldest.dtype == torch.float16
    assert torch.equal(oldest.float(), values)
