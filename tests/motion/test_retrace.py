"""Following masks back in time: the numbers of HiM2SAM's program on made-up tracks, and what must hold for any."""

from pathlib import Path

import him2sam_points as cases
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mosam.motion.lk import LucasKanadeWalk
from mosam.motion.retrace import NOTHING, SIDE, farthest, retraced

STORED = np.load(Path(__file__).parents[1] / "parity" / "him2sam_points.npz")


class Given:
    """A tracker that says what the case says."""

    def __init__(self, case: str):
        self.case, self.points = case, None

    def follow(self, clip, points):
        self.points = points
        return cases.follow(points, len(clip), self.case)


def old_mask(case: str) -> np.ndarray:
    low = torch.from_numpy(cases.history(case)[-1])[None, None]
    return F.interpolate(low, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)[0, 0].numpy()


@pytest.mark.parametrize("case", cases.CASES)
def test_scores_and_points_are_those_of_the_program(case):
    tracker, clip = Given(case), [np.zeros((SIDE, SIDE, 3), np.uint8)] * len(cases.history(case))
    found = retraced(cases.masks(case) > 0, old_mask(case), clip, tracker)
    scores = [cases.SHARE * one.dice + (1 - cases.SHARE) * one.box for one in found]
    assert scores == pytest.approx(STORED[f"{case}/scores"], abs=2e-4)
    if case in ("tiny", "thin", "gone"):
        assert tracker.points is None, "there is nothing to follow, or nothing to compare with"
    else:
        assert np.array_equal(tracker.points, STORED[f"{case}/points"])


def test_the_program_s_numbers_show_every_branch():
    scores = {case: STORED[f"{case}/scores"] for case in cases.CASES}
    assert scores["apart"][0] > scores["apart"][1] > scores["apart"][2] == 0, "a look-alike elsewhere"
    assert 0 < scores["small"].max() < 0.8
    for case in ("tiny", "thin", "lost", "gone"):
        assert not scores[case].any(), case
    assert {f"{case}/points" in STORED.files for case in ("tiny", "thin")} == {False}


def texture(shift: int) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(0)
    large = cv2.GaussianBlur(rng.integers(0, 255, (300, 500, 3), dtype=np.uint8), (0, 0), 2)
    return np.ascontiguousarray(large[20:260, 60 - shift : 380 - shift])


def test_a_mask_that_moves_with_the_picture_is_found_where_it_was():
    """Everything moves by 4 pixels a frame; the second candidate lies where nothing was shown."""
    clip = [texture(4 * t) for t in (3, 2, 1, 0)]
    y, x = np.mgrid[:SIDE, :SIDE]
    masks = np.stack([np.hypot(x - at, y - 500) < 120 for at in (500, 800)])
    there = np.hypot(x - 500 + 12 * SIDE / 320, y - 500) < 120
    right, wrong = retraced(masks, np.where(there, 8, -8).astype(np.float32), clip, LucasKanadeWalk())
    assert right.dice > 0.8
    assert right.box > 0.7
    assert wrong.dice < 0.1


def test_nothing_is_said_of_nothing():
    empty, old = np.zeros((3, SIDE, SIDE), dtype=bool), np.full((SIDE, SIDE), 5, np.float32)
    assert retraced(empty, old, [texture(0)] * 2, LucasKanadeWalk()) == [NOTHING] * 3


def test_points_are_spread_greedily():
    rng = np.random.default_rng(1)
    points = rng.integers(0, 50, (200, 2))
    chosen = points[farthest(points, 12)].astype(float)
    for count in range(1, 12):
        gaps = np.linalg.norm(points[:, None] - chosen[None, :count], axis=2).min(axis=1)
        assert np.linalg.norm(chosen[count] - chosen[:count], axis=1).min() == pytest.approx(gaps.max())
    assert len(farthest(points[:5], 12)) == 5
