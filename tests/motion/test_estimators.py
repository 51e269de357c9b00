import numpy as np
import pytest

from mosam.errors import MissingDataError, MosamError, UnknownNameError
from mosam.motion.base import FLOW_ESTIMATORS, POINT_ESTIMATORS, PointTracks, find_estimator
from mosam.motion.field import MotionSettings, MotionStream, build_estimators, cell_centers, sample
from mosam.policies.base import load_policy
from mosam.policies.mosam import SCENE_CUT

H, W = 96, 128


def texture(seed: int = 0) -> np.ndarray:
    import cv2

    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 255, (H + 40, W + 40, 3), dtype=np.uint8), (0, 0), 2)


def shifted(dx: int, dy: int, seed: int = 0) -> np.ndarray:
    return np.ascontiguousarray(texture(seed)[20 - dy : 20 - dy + H, 20 - dx : 20 - dx + W])


@pytest.mark.parametrize(("name", "step"), [("lk", 16), ("lk-fast", 24)])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, -3), (-9, 7)])
def test_points_follow_a_shift(name, step, dx, dy):
    tracks = POINT_ESTIMATORS[name]().track(shifted(0, 0), shifted(dx, dy))
    moved = (tracks.end - tracks.start)[tracks.kept]
    assert tracks.kept.mean() > 0.5
    assert np.allclose(np.median(moved, axis=0), (dx, dy), atol=0.2)
    assert len(tracks.start) - tracks.sentinel.sum() == (H // step) * (W // step), "corners and the grid"


@pytest.mark.parametrize("name", ["dis-medium", "dis-fast"])
@pytest.mark.parametrize(("dx", "dy"), [(4, 2), (-6, 5)])
def test_flow_leads_back_and_forth(name, dx, dy):
    backward, forward = FLOW_ESTIMATORS[name]().flow(shifted(0, 0), shifted(dx, dy))
    inner = np.s_[20:-20, 20:-20]
    assert np.allclose(np.median(backward[inner], axis=(0, 1)), (-dx, -dy), atol=0.5)
    assert np.allclose(np.median(forward[inner], axis=(0, 1)), (dx, dy), atol=0.5)


def test_a_flat_picture_has_no_corners_so_its_grid_tells_a_cut():
    flat = np.full((H, W, 3), 90, np.uint8)
    tracks = POINT_ESTIMATORS["lk"]().track(flat, flat)
    assert tracks.sentinel.all()
    assert len(tracks.start) == (H // 16) * (W // 16)


@pytest.mark.parametrize("name", ["lk", "lk-fast"])
def test_a_cut_is_told_from_motion_over_a_plain_background(name):
    """Most of the grid is lost on a plain background between any two pictures, which once counted as a cut."""
    plain = np.full((H, W, 3), 120, np.uint8)
    before, after, other = plain.copy(), plain.copy(), plain.copy()
    before[30:70, 30:80], after[30:70, 34:84] = texture(1)[:40, :50], texture(1)[:40, :50]
    other[20:60, 60:110] = texture(2)[:40, :50]
    stream = MotionStream(MotionSettings(name, "off", 64))
    stream.push(before)
    moved = stream.push(after).current
    cut = stream.push(other).current
    tracks = POINT_ESTIMATORS[name]().track(before, after)
    assert tracks.kept[~tracks.sentinel].mean() < 0.5
    assert cut.survival < SCENE_CUT < 0.7 < moved.survival


def test_stream_gives_motion_in_fractions():
    stream = MotionStream(MotionSettings("lk", "dis-fast", 64))
    first, _, third = (stream.push(shifted(4 * k, 0)) for k in range(3))
    assert first.current is None
    assert np.allclose(np.median(third.current.end - third.current.start, axis=0), (4 / W, 0), atol=0.01)
    assert third.current.backward.shape == (64, 64, 2)
    assert third.current.consistent.mean() > 0.7


def test_large_pictures_are_reduced_and_small_ones_are_not():
    stream = MotionStream(MotionSettings("lk", "off", 16))
    stream.push(np.zeros((600, 1280, 3), np.uint8))
    assert stream.push(np.zeros((600, 1280, 3), np.uint8)).current.shape == (300, 640)
    small = MotionStream(MotionSettings("lk", "off", 16))
    small.push(shifted(0, 0))
    assert small.push(shifted(0, 0)).current.shape == (H, W)


def test_both_can_be_left_out():
    stream = MotionStream(MotionSettings("off", "off", 16))
    stream.push(shifted(0, 0))
    motion = stream.push(shifted(1, 0)).current
    assert motion.backward is None
    assert len(motion.start) == 0
    assert np.isnan(motion.survival)


def test_sample_reads_cell_centers():
    picture = np.arange(12, dtype=np.float32).reshape(3, 4)
    y, x = np.mgrid[:3, :4]
    places = np.stack([(x + 0.5) / 4, (y + 0.5) / 3], axis=-1).astype(np.float32)
    assert np.allclose(sample(picture, places), picture)
    assert sample(picture, np.full((1, 1, 2), 2.0, np.float32), outside=-1.0) == -1
    assert cell_centers(4).shape == (4, 4, 2)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (11, 40), (700, 9)])
@pytest.mark.parametrize("dense", ["dis-medium", "dis-fast"])
def test_pictures_of_any_shape_have_motion(shape, dense):
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    stream = MotionStream(MotionSettings("lk-fast", dense, 32))
    stream.push(picture)
    motion = stream.push(picture).current
    assert np.abs(motion.backward).max() < 0.2
    assert ((motion.end >= -0.2) & (motion.end <= 1.2)).all()


class Still:
    """A user's own point estimator: nothing moves."""

    def track(self, previous, current):
        start = np.array([[10.0, 10.0]], np.float32)
        return PointTracks(start, start, np.array([True]), np.array([False]))


def test_a_users_estimator_plugs_in_by_import_path(monkeypatch):
    import sys
    import types

    module = types.ModuleType("users_tracker")
    module.Still = Still
    monkeypatch.setitem(sys.modules, "users_tracker", module)
    assert find_estimator(POINT_ESTIMATORS, "users_tracker:Still") is Still
    policy = load_policy("mosam", sparse="users_tracker:Still")
    assert policy.motion().sparse == "users_tracker:Still"
    stream = MotionStream(MotionSettings("users_tracker:Still", "off", 16))
    stream.push(shifted(0, 0))
    assert len(stream.push(shifted(3, 0)).current.start) == 1


def test_what_is_no_estimator_is_refused(monkeypatch):
    import sys
    import types

    module = types.ModuleType("users_tracker")
    module.Still = Still
    monkeypatch.setitem(sys.modules, "users_tracker", module)
    with pytest.raises(MosamError, match=r"users_tracker:Still: expected a class with flow\(previous, current\)"):
        build_estimators("off", "users_tracker:Still")
    with pytest.raises(MosamError, match=r"users_tracker:Moving': expected Moving in users_tracker, found none"):
        build_estimators("users_tracker:Moving", "off")
    assert build_estimators("off", "off") == (None, None)


def test_unknown_estimators_are_named():
    with pytest.raises(UnknownNameError, match="did you mean dis-medium"):
        find_estimator(FLOW_ESTIMATORS, "dis-mediun")
    with pytest.raises(MosamError, match="found no module nowhere_at_all"):
        find_estimator(FLOW_ESTIMATORS, "nowhere_at_all:Flow")


def test_raft_without_weights_says_what_to_do(monkeypatch, tmp_path):
    pytest.importorskip("torchvision")
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(MissingDataError, match=r"raft_small.*or use dense=dis-medium"):
        FLOW_ESTIMATORS["raft-small"]()


def test_raft_runs_on_any_size(monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.optical_flow.Raft_Small_Weights
    state = torchvision.models.optical_flow.raft_small(weights=None).state_dict()
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **_: state)
    backward, forward = FLOW_ESTIMATORS["raft-small"]().flow(
        np.zeros((132, 150, 3), np.uint8), np.ones((132, 150, 3), np.uint8)
    )
    assert backward.shape == forward.shape == (132, 150, 2)
    assert np.isfinite(backward).all()
