"""Messages and regions of TraX: what is written is read, and nothing that a program says breaks the reader."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.regions.trajectory import Polygon, Rectangle, RunMask, Special, mask_region
from mosam.tracking.outside.answers import TrackerFailure, region_answer
from mosam.tracking.outside.engine import Deadline, Limits
from mosam.tracking.outside.process import TrackerProcess
from mosam.tracking.outside.trax import Message, TraxTracker, parse_region, text_of
from mosam.types import Prompt

words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=20)
keys = st.from_regex(r"[A-Za-z0-9._]{1,12}", fullmatch=True)


@given(st.lists(words.filter(lambda word: "=" not in word), max_size=3), st.dictionaries(keys, words, max_size=3))
def test_what_is_written_is_read(arguments, properties):
    line = Message("state", tuple(arguments), properties).line()
    assert line.count("\n") == 1
    assert Message.parse(line[:-1].encode()) == Message("state", tuple(arguments), properties)


@given(st.binary(max_size=60))
def test_any_bytes_are_some_message(data):
    assert isinstance(Message.parse(b"@@TRAX:" + data), Message)


@given(st.one_of(st.text(max_size=30), st.from_regex(r"(mask:|m)?[-0-9.e,nainf]{0,30}", fullmatch=True)))
def test_any_text_is_a_region_or_one_line(text):
    try:
        region = parse_region(text, 3)
    except TrackerFailure as error:
        told = str(error)
        assert told.startswith("frame 3: expected a region")
        assert "\n" not in told
    else:
        assert region_answer(region, (24, 32)).mask.shape == (24, 32)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("1.5,2,3,4", Rectangle(1.5, 2, 3, 4)),
        ("rect:1,2,3,4", Rectangle(1, 2, 3, 4)),
        ("poly:0,0,4,0,4,4", Polygon(((0, 0), (4, 0), (4, 4)))),
        ("mask:4,5,2,2,1,3", RunMask(4, 5, 2, 2, (1, 3))),
        ("m4,5,2,2,1,3", RunMask(4, 5, 2, 2, (1, 3))),
        ("mask:0,0,0,0", Special(0)),
        ("nan,nan,nan,nan", Special(0)),
        ("special:3", Special(0)),
        ("-1", Special(0)),
    ],
)
def test_regions_in_every_notation(text, region):
    assert parse_region(text, 0) == region


@given(st.integers(0, 2**32 - 1))
def test_masks_keep_every_pixel(seed):
    mask = np.random.default_rng(seed).random((9, 11)) < 0.4
    region = parse_region("mask:" + text_of(mask_region(mask))[1:], 0)
    np.testing.assert_array_equal(region_answer(region, (9, 11)).mask, mask)


SERVER = """
import trax
server = trax.Server(["{region}"], ["path"], multiobject={several})
objects = []
while True:
    request = server.wait()
    if request.type == "quit":
        break
    if request.type == "initialize":
        objects = [region for region, _ in request.objects]
    server.status([(region, {{"confidence": "0.25"}}) for region in objects])
"""


@pytest.mark.parametrize(("region", "several"), [("rectangle", False), ("mask", True), ("polygon", True)])
def test_the_protocol_s_own_library_understands_it(region, several):
    pytest.importorskip("trax", reason="vot-trax is not installed")
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:12, 3:13] = True
    prompts = [Prompt(1, mask=mask), Prompt(2, box=np.array([5.5, 6.25, 7.0, 8.0]))][: 2 if several else 1]
    command = [sys.executable, "-c", SERVER.format(region=region, several=several)]
    tracker = TraxTracker(TrackerProcess(command, {"TRAX": "1"}, talks=True), mask.shape, Deadline(Limits(frame=120)))
    try:
        tracker.introduce(0)
        assert tracker.several == several
        tracker.start("/a picture.png", prompts, 0)
        for frame in (1, 2):
            answers = [tracker.check(one, frame) for one in tracker.update(f"/{frame}.png", frame)]
            assert [answer.score for answer in answers] == [0.25] * len(prompts)
            if region == "polygon":  # the toolkit fills a polygon with its outline
                np.testing.assert_array_equal([one.box for one in answers], [[3, 4, 10, 8], [5.5, 6.25, 7, 8]])
            else:
                np.testing.assert_array_equal(answers[0].mask, mask)
    finally:
        tracker.close()


def test_nothing_of_the_library_is_needed():
    code = "import mosam.tracking.outside.trax, sys; print('trax' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
