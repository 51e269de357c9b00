"""Arguments of the public interface: what is meant is taken, everything else is refused by name in one line."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeModel
from PIL import Image

import mosam
from mosam.evaluation import evaluate, find_runs
from mosam.model.library import build_random
from mosam.model.networks import NETWORKS
from mosam.model.sam2 import Sam2Backbone

SIZE = (48, 64)
MASK = np.zeros(SIZE, bool)
MASK[10:20, 10:30] = True
BOX = [10.0, 10.0, 20.0, 10.0]
IMAGE = np.zeros((*SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return Sam2Backbone(build_random(NETWORKS["nano"], 0), name="random:nano")


@pytest.fixture
def engine(model):
    return mosam.Engine(model, mosam.load_policy("sam2"))


@pytest.fixture(scope="module")
def toy():
    return mosam.load_dataset("toy", split="val").select(limit=1)


def refused(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_lists_and_tuples_are_taken_where_arrays_are_meant(engine):
    listed = mosam.Prompt(1, mask=MASK.astype(int).tolist())
    assert listed.mask.dtype == bool
    assert np.array_equal(listed.mask, MASK)
    box = mosam.Prompt(np.int64(2), box=tuple(BOX), points=[(12, 12), (40, 40)], labels=[1, 0])
    assert (box.box.dtype, box.points.shape, box.labels.dtype) == (np.float64, (2, 2), np.int64)
    assert type(box.object_id) is int
    video = engine.open((listed, box), size=[*SIZE], num_frames=np.int64(3))
    assert set(engine.step({video: IMAGE.tolist()})[video].objects) == {1, 2}


PROMPTS = {
    "id 1.5": ({"object_id": 1.5, "box": BOX}, "object id: expected a whole number >= 1, got 1.5"),
    "id True": ({"object_id": True, "box": BOX}, "object id"),
    "id as text": ({"object_id": "1", "box": BOX}, "object id: .* the text '1'"),
    "frame 0.0": ({"frame_index": 0.0, "box": BOX}, "frame index"),
    "empty mask": ({"mask": np.zeros(SIZE, bool)}, "expected a mask with pixels"),
    "mask of PIL": ({"mask": Image.new("1", (4, 4))}, "expected a bool .* got Image of PIL"),
    "mask of 0 to 2": ({"mask": [[0, 2]]}, "expected a bool"),
    "ragged mask": ({"mask": [[True], [True, False]]}, "expected a bool"),
    "box as text": ({"box": "1,2,3,4"}, "four finite numbers x,y,w,h, got the text"),
    "box of text": ({"box": ["1", "2", "3", "4"]}, "four finite numbers"),
    "box of three": ({"box": [1, 2, 3]}, "four finite numbers"),
    "flat point": ({"points": [3, 4], "labels": [1]}, r"\(N, 2\)"),
    "points off it": ({"points": [[3, 4]], "labels": [0]}, "only points off it"),
    "labels alone": ({"box": BOX, "labels": [1]}, "labels and no points"),
    "label 0.5": ({"points": [[3, 4]], "labels": [0.5]}, "one label, 0 or 1"),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_prompts(case):
    given, words = PROMPTS[case]
    refused(lambda: mosam.Prompt(**{"object_id": 1, **given}), words)


ENGINES = {
    "policy by name": ({"policy": "sam2"}, "Engine: policy: expected a policy .* got the text 'sam2'"),
    "policy class": ({"policy": mosam.MemoryPolicy}, "Engine: policy"),
    "model by name": ({"model": "nano"}, "Engine: model: expected a network .* got the text 'nano'"),
    "parity by name": ({"parity": "hf"}, "Engine: parity"),
    "no lanes": ({"max_lanes": 0}, "max_lanes: expected a whole number >= 1, got 0"),
    "half a row": ({"max_rows": 1.5}, "max_rows"),
    "log": ({"log": "yes"}, "Engine: log"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_engines(model, case):
    changes, words = ENGINES[case]
    arguments = {"model": model, "policy": mosam.load_policy("sam2"), **changes}
    refused(lambda: mosam.Engine(arguments.pop("model"), arguments.pop("policy"), **arguments), words)


OPENED = {
    "one prompt": ({"prompts": mosam.Prompt(1, box=BOX)}, "expected a list of prompts, got Prompt"),
    "a box": ({"prompts": [BOX]}, "list of prompts .* got list"),
    "nothing": ({"prompts": None}, "list of prompts"),
    "no prompt": ({"prompts": []}, "at least one prompt"),
    "image.shape": ({"size": IMAGE.shape}, r"expected a size \(height, width\), got tuple .*; write image.shape\[:2\]"),
    "one side": ({"size": 48}, "expected a size"),
    "floats": ({"size": (48.0, 64.0)}, "open: height: expected a whole number"),
    "no frames": ({"num_frames": 0}, "open: num_frames"),
    "beyond": ({"prompts": [mosam.Prompt(1, 9, box=BOX)], "num_frames": 9}, "frame 0 to 8, got one on frame 9"),
    "box outside": ({"prompts": [mosam.Prompt(1, box=[70, 5, 10, 10])]}, "in the picture of 64x48 .* of which 0% is"),
    "two corners": ({"prompts": [mosam.Prompt(1, box=[30, 20, 200, 40])]}, "of which .* is"),
    "point outside": ({"prompts": [mosam.Prompt(1, points=[[3, 50]], labels=[1])]}, "points x,y in .* got 3,50"),
    "another mask": ({"prompts": [mosam.Prompt(1, mask=MASK.T)]}, "expected a mask of"),
    "overlap": ({"non_overlap": "no"}, "open: non_overlap"),
}


@pytest.mark.parametrize("case", OPENED)
def test_open(engine, case):
    changes, words = OPENED[case]
    arguments = {"prompts": [mosam.Prompt(1, box=BOX)], "size": SIZE, **changes}
    refused(lambda: engine.open(arguments.pop("prompts"), **arguments), words)


def test_an_annotated_box_may_reach_out_of_the_picture_a_little(engine):
    assert engine.open([mosam.Prompt(1, box=[-4, -4, 20, 20])], size=SIZE)


def test_step_and_the_calls_around_it(engine):
    video = engine.open([mosam.Prompt(1, box=BOX)], size=SIZE)
    refused(lambda: engine.step(video, IMAGE), r"step: expected frames by video, {video: image}, got Video")
    refused(lambda: engine.step(IMAGE), "step: expected frames by video")
    refused(lambda: engine.step({0: IMAGE}), "step: .* as a key, got 0")
    refused(lambda: engine.step({video: Image.fromarray(IMAGE)}), "expected a uint8 RGB array .* got Image of PIL")
    refused(lambda: engine.step({video: IMAGE[:, :, 0]}), "expected uint8")
    refused(lambda: engine.step({video: IMAGE / 255}), "expected uint8")
    refused(lambda: engine.step({video: IMAGE}, IMAGE), "step: motion")
    refused(lambda: engine.step({video: IMAGE}, next_images=video), "step: next_images: expected frames by video")
    refused(lambda: engine.prompt(video, mosam.Prompt(2, box=BOX)), "prompt: expected a list of prompts")
    refused(lambda: engine.prompt(0, []), "prompt: expected a video")
    refused(lambda: engine.drain(0), "drain: expected a video")
    refused(lambda: engine.close(None), "close: expected a video")
    engine.close(video)
    refused(lambda: engine.step({video: IMAGE}), "closed")


OTHERS = {
    "dataset[0]": (lambda toy: toy[0], "the name of a sequence .* got 0"),
    "select text": (lambda toy: toy.select("bird-1"), "select: expected a list of names"),
    "limit 1.5": (lambda toy: toy.select(limit=1.5), "number of sequences"),
    "dataset": (lambda toy: mosam.load_dataset(3), "dataset: expected a name, got 3"),
    "root": (lambda toy: mosam.load_dataset("lasot", root=3), "load_dataset: root"),
    "split": (lambda toy: mosam.load_dataset("toy", split=1), "load_dataset: split"),
    "seed": (lambda toy: mosam.load_dataset("toy", seed=-1), "load_dataset: seed"),
    "policy": (lambda toy: mosam.load_policy(mosam.MemoryPolicy), "expected a name"),
    "model": (lambda toy: mosam.load_model(None), "load_model: expected a name, got None"),
    "device": (lambda toy: mosam.load_model("random:nano", device=0), "load_model: device"),
    "precision": (lambda toy: mosam.load_model("random:nano", precision=16), "load_model: precision"),
    "model seed": (lambda toy: mosam.load_model("random:nano", seed="0"), "load_model: seed"),
    "frames": (lambda toy: mosam.open_frames(0), "open_frames: expected a path, got 0"),
    "count": (lambda toy: mosam.open_frames("clip", count=0), "open_frames: count"),
    "parity": (lambda toy: mosam.Parity(cond_memory="exact"), "Parity: cond_memory: expected one of official"),
    "holes": (lambda toy: mosam.Parity(fill_holes=-1), "Parity: fill_holes"),
    "codec": (lambda toy: mosam.CodecOptions(absent_as=["zeros"]), "absent_as"),
    "run dataset": (lambda toy: mosam.run("toy", FakeModel(), mosam.load_policy("sam2"), out="x"), "run: dataset"),
    "run model": (lambda toy: mosam.run(toy, "nano", mosam.load_policy("sam2"), out="x"), "run: model"),
    "run policy": (lambda toy: mosam.run(toy, FakeModel(), "sam2", out="x"), "run: policy: .* the text 'sam2'"),
    "run out": (lambda toy: mosam.run(toy, FakeModel(), mosam.load_policy("sam2"), out=None), "run: out"),
    "evaluate": (lambda toy: mosam.evaluate(None, toy), "find_runs: path"),
    "evaluate dataset": (lambda toy: evaluate("x", "toy"), "evaluate: dataset: .* the text 'toy'"),
    "evaluate jobs": (lambda toy: evaluate("x", toy, jobs=0), "evaluate: jobs"),
    "evaluate protocol": (lambda toy: evaluate("x", toy, protocol=1), "evaluate: protocol"),
    "find_runs": (lambda toy: find_runs("x", None), "find_runs: dataset"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_loading_running_and_scoring(toy, case):
    call, words = OTHERS[case]
    refused(lambda: call(toy), words)
