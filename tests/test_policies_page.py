"""The worked example of docs/policies.md: taken from the page, tried as an estimator; and the page against the code."""

import dataclasses
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from fake_model import FakeBackbone

from mosam.engine.engine import Engine
from mosam.motion.field import MotionSettings, MotionStream
from mosam.policies.base import POLICIES, load_policy
from mosam.types import Prompt

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")
OWN = {"sparse": "my_motion:ShiftedPoints", "dense": "my_motion:ShiftedFlow"}


@pytest.fixture
def my_motion(monkeypatch):
    module = types.ModuleType("my_motion")
    monkeypatch.setitem(sys.modules, "my_motion", module)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/policies.md", "exec"), module.__dict__)


def pictures(count: int, dx: int = 3, dy: int = 2) -> list[np.ndarray]:
    """A texture under a camera that moves, so that everything goes by (dx, dy) a frame."""
    import cv2

    wide = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 240, 3), dtype=np.uint8), (0, 0), 1)
    places = ((60 - dy * t, 60 - dx * t) for t in range(count))
    return [np.ascontiguousarray(wide[y : y + 96, x : x + 128]) for y, x in places]


@pytest.mark.usefixtures("my_motion")
def test_the_example_follows_a_moving_camera():
    stream = MotionStream(MotionSettings(OWN["sparse"], OWN["dense"], 32))
    _, motion = [stream.push(picture).current for picture in pictures(2)]
    assert np.allclose((motion.end - motion.start) * (128, 96), (3, 2), atol=0.2)
    assert np.allclose(motion.backward * (128, 96), (-3, -2), atol=0.2)
    assert motion.consistent.all()
    assert motion.survival == 1


@pytest.mark.usefixtures("my_motion")
def test_the_example_prompts_the_tracker():
    mask = np.zeros((96, 128), dtype=bool)
    mask[30:60, 40:80] = True
    engine = Engine(FakeBackbone(), load_policy("mosam-literal", **OWN), log=True)
    video = engine.open([Prompt(1, mask=mask)], size=mask.shape, num_frames=8)
    logs = [engine.step({video: picture})[video].objects[1].log for picture in pictures(8)]
    assert any(log.get("source") == "guided" and log["trust"] == 1 for log in logs)


def test_options_the_page_shows_exist():
    config = {field.name for name in POLICIES for field in dataclasses.fields(load_policy(name).config)}
    shown = re.findall(r"`([a-z_]+)=[^`\[\]]*`", PAGE)
    assert len(shown) > 10
    assert set(shown) <= config
