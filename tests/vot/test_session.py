from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeEngine
from vot_squares import SIDE, SIZE, position, write_squares

from mosam.codecs import CodecOptions
from mosam.errors import DataError, MosamError
from mosam.vot.session import Session

BOX = "2,6,8,8"
MASK = "m2,6,8,8,0,64"
POLYGON = "2,6,10,6,10,14,2,14"


class Engine(FakeEngine):
    """Follows what is bright, for every object; its videos are handles with a next frame, as the real engine's."""

    def open(self, prompts, **options):
        assert options["num_frames"] is None
        assert options["size"] == SIZE
        self.prompts = list(prompts)
        return Video()

    def prompt(self, video, prompts):
        self.prompts += prompts

    def step(self, images, motion=None):
        from mosam.types import FrameOutput, ObjectOutput

        ((video, image),) = images.items()
        objects = {p.object_id: ObjectOutput(image[..., 0] > 100, 2.0, 0.5) for p in self.prompts}
        video.next_frame += 1
        return {video: FrameOutput(video.next_frame - 1, objects)}

    def drain(self, video):
        return []

    def close(self, video):
        video.open = False


class Video:
    next_frame, open = 0, True


@pytest.fixture
def pictures(tmp_path):
    folder = write_squares(tmp_path, "a", 6, lost=[5])
    return [str(path) for path in sorted((folder / "color").iterdir())]


def test_the_answer_is_of_the_kind_that_was_given(pictures):
    session = Session(Engine())
    for given, kind in ((BOX, "box"), (POLYGON, "box"), (MASK, "mask")):
        session.start(pictures[0], [given])
        (answer,) = session.frame(pictures[2])
        x, y = position(2)
        short, full = SIDE - 1, SIDE
        expected = f"{x}.0,{y}.0,{short}.0,{short}.0" if kind == "box" else f"m{x},{y},{full},{full},0,64"
        assert answer.region == expected
        assert answer.confidence == pytest.approx(0.5 / (1 + np.exp(-2)))


def test_a_tracker_is_started_with_what_is_given_or_asked_for(pictures):
    engine = Engine()
    for prompt, given, kind in (("auto", MASK, "mask"), ("auto", POLYGON, "box"), ("box", MASK, "box")):
        Session(engine, prompt=prompt).start(pictures[0], [given])
        assert engine.prompts[0].kind == kind
        if kind == "box":
            assert engine.prompts[0].box.tolist() == [2, 6, 8, 8]
    with pytest.raises(MosamError, match="expected an annotated mask"):
        Session(engine, prompt="mask").start(pictures[0], [BOX])


def test_objects_answer_in_the_order_they_came(pictures):
    engine = Engine()
    session = Session(engine)
    assert len(session.start(pictures[0], [MASK, BOX])) == 2
    answers = session.frame(pictures[1], [BOX])
    assert [answer.region[0] == "m" for answer in answers] == [True, False, False]
    assert engine.prompts[2].frame_index == 1


def test_a_session_starts_anew(pictures):
    engine = Engine()
    session = Session(engine)
    session.start(pictures[0], [MASK, BOX])
    assert len(session.start(pictures[1], [BOX])) == 1
    session.close()
    session.close()


def test_boxes_as_they_are_asked_for(pictures):
    session = Session(Engine(), options=CodecOptions(box_from_mask="inclusive"))
    session.start(pictures[0], [BOX])
    assert session.frame(pictures[1])[0].region == "3.0,6.0,8.0,8.0"


def test_what_cannot_be_tracked_is_said_in_a_line(pictures, tmp_path):
    session = Session(Engine())
    with pytest.raises(MosamError, match="expected a start"):
        session.frame(pictures[0])
    with pytest.raises(MosamError, match="got none"):
        session.start(pictures[0], [])
    with pytest.raises(MosamError, match="got the code 0"):
        session.start(pictures[0], ["0"])
    with pytest.raises(MosamError, match="empty mask"):
        session.start(pictures[0], ["m0,0,0,0,0"])
    with pytest.raises(DataError, match="cannot be read"):
        session.start(str(tmp_path / "absent.png"), [BOX])
