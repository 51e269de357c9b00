"""TraX as the toolkit speaks it, with the client that it uses; the network is a thread of the test."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from vot.test_service import ORDER, pictures, place, serve  # noqa: F401
from vot.test_session import Engine

from mosam.errors import MosamError
from mosam.vot.session import Answer
from mosam.vot.trax_process import region_text, require_trax, trax_object

trax = pytest.importorskip("trax", reason="vot-trax is not installed")

from trax import TraxException  # noqa: E402
from trax.client import Client  # noqa: E402
from trax.image import FileImage  # noqa: E402
from trax.region import Mask, Polygon, Rectangle  # noqa: E402


@pytest.fixture
def toolkit():
    """Starts the tracker process as the toolkit does, and gives a client."""
    processes = []

    def start(tracker="sam2"):
        command = [sys.executable, "-m", "mosam", "vot", "track", "--tracker", tracker, "--model", ORDER.model]
        process = subprocess.Popen(
            [*command, "--keep", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TRAX": "1"},
            bufsize=0,
        )
        processes.append(process)
        return Client(stream=(process.stdin.fileno(), process.stdout.fileno()), log=lambda text: None), process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def image(path):
    return {"color": FileImage.create(path)}


def test_one_process_tracks_again_and_again(place, monkeypatch, pictures, toolkit):  # noqa: F811
    serve(monkeypatch)
    client, process = toolkit()
    assert client.get("multiobject")
    assert client.get("vot") is None  # which would have the toolkit start a process for every anchor
    square = np.ones((8, 8), dtype=np.uint8)
    status, _ = client.initialize(image(pictures[0]), [(Mask.create(square, x=2, y=6), {})], {})
    assert len(status) == 1
    # vot-trax has no default for new objects that works; the toolkit gives an empty list
    ((region, properties),), _ = client.frame(image(pictures[1]), {}, [])
    assert (region.offset(), region.array().sum(), properties["confidence"]) == ((3, 6), 64, "0.440399")
    corners = Polygon.create([(2.0, 6.0), (10.0, 6.0), (10.0, 14.0), (2.0, 14.0)])
    client.initialize(image(pictures[0]), [(corners, {})], {})
    ((region, _),), _ = client.frame(image(pictures[2]), {}, [])
    assert region.bounds() == (4, 6, 7, 7)
    several = [(Mask.create(square, x=2, y=6), {}), (Rectangle.create(2, 6, 8, 8), {})]
    client.initialize(image(pictures[0]), several, {})
    answers, _ = client.frame(image(pictures[3]), {}, [(Rectangle.create(5, 6, 8, 8), {})])
    assert [answer[0].type for answer in answers] == ["mask", "rectangle", "rectangle"]
    client.quit()
    assert process.wait(30) == 0


def test_a_failure_is_one_line_for_the_toolkit_and_for_people(place, monkeypatch, pictures, toolkit):  # noqa: F811
    class Broken(Engine):
        def step(self, images, motion=None):
            raise RuntimeError("CUDA out of memory\nand more")

    serve(monkeypatch, Broken)
    client, process = toolkit()
    with pytest.raises(TraxException, match="Server terminated the session: RuntimeError: CUDA out of memory"):
        client.initialize(image(pictures[0]), [(Rectangle.create(2, 6, 8, 8), {})], {})
    assert process.wait(30) == 2
    assert process.stderr.read().decode().splitlines() == ["RuntimeError: CUDA out of memory"]


def test_a_tracker_that_cannot_be_loaded_is_told_when_it_is_asked_for(place, pictures, toolkit):  # noqa: F811
    client, process = toolkit("samm")
    with pytest.raises(TraxException, match="unknown tracker 'samm'"):
        client.initialize(image(pictures[0]), [(Rectangle.create(2, 6, 8, 8), {})], {})
    assert process.wait(30) == 2


def test_regions_keep_every_pixel():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pixels = (rng.random(rng.integers(1, 9, 2)) < 0.4).astype(np.uint8)
        x, y = map(int, rng.integers(0, 9, 2))
        text = region_text(Mask.create(np.ascontiguousarray(pixels), x=x, y=y))
        region, _ = trax_object(Answer(text, 1.0))
        whole = np.zeros((20, 20), dtype=np.uint8)
        whole[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        back = np.zeros((20, 20), dtype=np.uint8)
        (u, v), array = region.offset(), region.array()
        back[v : v + array.shape[0], u : u + array.shape[1]] = array
        np.testing.assert_array_equal(back, whole)


def test_boxes_and_corners_keep_their_numbers():
    assert region_text(Rectangle.create(1.5, -2, 3, 4.25)) == "1.5,-2.0,3.0,4.25"
    assert region_text(Polygon.create([(0.5, 1.0), (2.0, 1.0), (2.0, 3.0)])) == "0.5,1.0,2.0,1.0,2.0,3.0"
    region, properties = trax_object(Answer("1.5,-2.0,3.0,4.25", 0.25))
    assert (region.bounds(), properties) == ((1.5, -2, 3, 4.25), {"confidence": "0.250000"})


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trax.server", None)
    with pytest.raises(MosamError, match="pip install vot-trax"):
        require_trax()
