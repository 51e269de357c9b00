"""Point trackers: given points over several pictures, and CoTracker without CoTracker."""

import numpy as np
import pytest
import torch

from mosam.errors import MissingDataError, MosamError, UnknownNameError
from mosam.motion.base import POINT_TRACKERS
from mosam.motion.field import MotionSettings, MotionStream, build_tracker

H, W = 96, 128


def picture(dx: int, seed: int = 0) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(seed)
    large = cv2.GaussianBlur(rng.integers(0, 255, (H + 40, W + 80, 3), dtype=np.uint8), (0, 0), 2)
    return np.ascontiguousarray(large[20 : 20 + H, 40 - dx : 40 - dx + W])


def test_lucas_kanade_walks_over_all_pictures():
    points = np.array([[40, 40], [64, 48.5], [80, 30]], np.float32)
    places, seen = POINT_TRACKERS["lk"]().follow([picture(3 * t) for t in range(5)], points)
    assert np.array_equal(places[0], points)
    assert seen.all()
    for t in range(5):
        assert np.allclose(places[t] - points, (3 * t, 0), atol=0.3)


def test_what_was_lost_stays_lost():
    clip = [picture(0), picture(2), picture(0, seed=9), picture(0), picture(2)]
    _, seen = POINT_TRACKERS["lk"]().follow(clip, np.array([[40, 40], [64, 48], [80, 30]], np.float32))
    assert seen[1].all()
    assert not seen[2:].any()


def test_no_points_and_one_picture():
    places, seen = POINT_TRACKERS["lk"]().follow([picture(0)], np.zeros((4, 2), np.float32))
    assert places.shape == (1, 4, 2)
    assert seen.all()
    places, seen = POINT_TRACKERS["lk"]().follow([picture(0), picture(1)], np.zeros((0, 2), np.float32))
    assert places.shape == (2, 0, 2)


def test_the_stream_keeps_as_many_pictures_as_are_asked_for():
    stream = MotionStream(MotionSettings("off", "off", 8, frames=2))
    pairs = [stream.push(picture(t)) for t in range(4)]
    assert [len(pair.clip) for pair in pairs] == [1, 2, 3, 3]
    assert all(np.array_equal(a, picture(t)) for a, t in zip(pairs[3].clip, (3, 2, 1), strict=True))
    assert MotionStream(MotionSettings("off", "off", 8)).push(picture(0)).clip == ()


class Model(torch.nn.Module):
    """Answers as CoTracker's predictor: everything moves right by one pixel a picture, the last point is hidden."""

    def forward(self, video, queries):
        self.video, self.queries = video, queries
        steps = torch.arange(video.shape[1], dtype=torch.float32)[:, None, None]
        tracks = queries[0, None, :, 1:] + steps * torch.tensor([1.0, 0.0])
        seen = torch.ones(tracks.shape[:2], dtype=torch.bool)
        seen[1:, -1] = False
        return tracks[None], seen[None]


@pytest.mark.parametrize(("name", "brightest"), [("cotracker", 200), ("cotracker-dim", 200 / 255)])
def test_cotracker_is_asked_as_its_authors_say(name, brightest, monkeypatch):
    model, asked = Model(), []

    def load(*words, **options):
        asked.append((words, options))
        return model

    monkeypatch.setattr(torch.hub, "load", load)
    tracker = build_tracker(name)
    assert asked[0][0] == ("facebookresearch/co-tracker", "cotracker3_offline")
    clip = [np.full((H, W, 3), 50 * t, np.uint8) for t in range(5)]
    points = np.array([[10, 20], [30.5, 40]], np.float32)
    places, seen = tracker.follow(clip, points)
    assert model.video.shape == (1, 5, 3, H, W)
    assert model.video.dtype == torch.float32
    assert float(model.video.max()) == pytest.approx(brightest)
    assert model.queries[0].tolist() == [[0, 10, 20], [0, 30.5, 40]]
    assert np.array_equal(places[4] - points, [[4, 0], [4, 0]])
    assert seen.tolist() == [[True, True]] + [[True, False]] * 4


def test_without_cotracker_one_line_says_what_to_do(monkeypatch):
    def load(*words, **options):
        raise OSError("<urlopen error no network>\nand more")

    monkeypatch.setattr(torch.hub, "load", load)
    with pytest.raises(MissingDataError, match=r"no network.*network connection, or use points=lk") as found:
        build_tracker("cotracker")
    assert "\n" not in str(found.value)


def test_a_wrong_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="known: cotracker, cotracker-dim, lk"):
        build_tracker("lukas")
    with pytest.raises(MosamError, match=r"expected a class with follow\(clip, points\)"):
        build_tracker("mosam.motion.lk:LucasKanade")
