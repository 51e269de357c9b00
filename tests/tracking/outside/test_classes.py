"""Trackers that are Python classes: what they are given, what their answers become, and what can go wrong."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
import pytest
from fakes import SquareDataset
from outside_cases import CLASSES, write_classes
from plugin_cases import no_plugins  # noqa: F401
from vot_squares import SIDE, position, write_squares

from mosam import load_tracker, run
from mosam.codecs import CODECS
from mosam.datasets.base import load_dataset
from mosam.errors import MismatchError, MosamError
from mosam.regions.files import read_trajectory
from mosam.regions.trajectory import Rectangle, Special
from mosam.results.record import read_record
from mosam.tracking.outside.classes import options_of

pytestmark = pytest.mark.usefixtures("no_plugins")


@pytest.fixture
def own(tmp_path):
    """What to type for the class `Step`, or another of the file."""
    path = write_classes(tmp_path)
    return lambda name="Step": f"{path}:{name}"


def track(tracker, folder, dataset=None, **options):
    return run(SquareDataset(None, prompt="box") if dataset is None else dataset, None, tracker, out=folder, **options)


def test_boxes_are_written_as_they_are(own, tmp_path):
    result = track(load_tracker(own("Step") + "[step=0.5]"), tmp_path / "run")
    assert result.done == ("apple", "bird", "car")
    rows = np.loadtxt(tmp_path / "run/bird.txt", delimiter=",")
    np.testing.assert_array_equal(rows, [[3 + t / 2, 4, 10, 8] for t in range(9)])


def test_the_record_names_class_file_and_options(own, tmp_path):
    result = track(load_tracker(own(), step=2), tmp_path / "run")
    settings = read_record(result.path).settings
    assert settings.tracker == "step[step=2]"
    assert settings.policy == {"step": 2, "fault": ""}
    assert settings.outside == {"class": "Step", "region": "box"}
    assert settings.plugins["own_step.py"]["version"] == "1.5"
    assert settings.model == settings.weights_hash == ""
    assert "torch" not in json.dumps(settings.network)


def test_times_are_those_of_the_class_alone(tmp_path):
    class Slow:
        def init(self, image, box):
            self.box = box

        def update(self, image):
            time.sleep(0.02)
            return self.box

    result = track(load_tracker(Slow), tmp_path / "run")
    times = np.loadtxt(tmp_path / "run/bird_time.txt")
    assert (times[1:] >= 0.02).all()
    assert times[0] < 0.02
    np.testing.assert_allclose(times.sum(), result.record.sequences["bird"].seconds, atol=1e-6)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("none", "frame 3: expected a box x,y,w,h or a mask, alone or as (region, score), got None"),
        ("nan", "frame 3: expected a box of four finite numbers x,y,w,h, got nan,1,2,3"),
        ("short", "frame 3: expected a box x,y,w,h or a mask, alone or as (region, score), got tuple (1, 2, 3)"),
        ("text", "got the text '1,2,3,4'"),
        ("size", "frame 3: expected a mask of the frame's 24x32 (height x width), got 3x4"),
        ("float", "expected a mask of bool or whole numbers, got a float64 array of shape (24, 32)"),
        ("score", "frame 3: expected a finite score, got nan"),
        ("raise", "frame 3: own_step.py:42: IndexError: list index out of range"),
        ("exit", "frame 3: own_step.py:50: SystemExit: 0"),
        ("no text", "frame 3: own_step.py:52: Mute"),
        ("endless", "frame 3: expected a box x,y,w,h or a mask, alone or as (region, score), got"),
        ("complex", "frame 3: expected a box x,y,w,h or a mask, alone or as (region, score), got"),
    ],
)
def test_a_fault_is_one_line_and_the_others_go_on(own, tmp_path, fault, reason):
    dataset = SquareDataset(None, prompt="box")
    result = track(load_tracker(own(), fault=fault), tmp_path / "run", dataset)
    assert result.done == ("car",)  # too short for the fault
    assert set(result.failed) == {"apple", "bird"}
    assert reason in result.failed["bird"]
    assert sorted(path.name for path in result.path.glob("*.txt")) == ["car.txt", "car_time.txt"]


def test_a_call_that_hangs_is_ended_and_the_others_go_on(own, tmp_path):
    before = threading.active_count()
    result = track(load_tracker(own(), fault="hang", frame_timeout=0.1), tmp_path / "run")
    assert result.done == ("car",)
    assert result.failed["bird"] == "frame 3: expected an answer within 0.1 s, got none"
    result = track(load_tracker(own(), fault="hang", sequence_timeout=0.2), tmp_path / "other")
    assert result.failed["bird"] == "frame 3: expected the sequence within 0.2 s, got no end"
    assert threading.active_count() == before


def test_a_tracker_that_changes_the_current_folder_leaves_the_results_where_they_were(tmp_path, monkeypatch):
    class Wanders:
        def init(self, image, box):
            self.box = box

        def update(self, image):
            os.chdir(tmp_path / "elsewhere")
            return self.box

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert track(load_tracker(Wanders), "run").done == ("apple", "bird", "car")
    assert (tmp_path / "run/bird.txt").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_resumes_unless_the_file_has_changed(own, tmp_path):
    dataset = SquareDataset(None, prompt="box")
    track(load_tracker(own()), tmp_path / "run", dataset.select(limit=1))
    events = []
    track(load_tracker(own()), tmp_path / "run", dataset, progress=events.append)
    assert [e.sequence for e in events if e.event == "kept"] == ["apple"]
    settings = json.loads((tmp_path / "run/run.json").read_text())
    settings["plugins"]["own_step.py"]["sha256"] = "0" * 64
    (tmp_path / "run/run.json").write_text(json.dumps(settings))
    with pytest.raises(MismatchError, match=r"plugins\.own_step\.py\.sha256"):
        track(load_tracker(own()), tmp_path / "run", dataset)


def test_masks_become_boxes_and_boxes_become_masks(own, tmp_path):
    track(load_tracker(own("Bright")), tmp_path / "boxes", SquareDataset(None))
    rows = np.loadtxt(tmp_path / "boxes/bird.txt", delimiter=",")
    np.testing.assert_array_equal(rows, [[3 + t, 4, 9, 7] for t in range(9)])  # one pixel short, as asked
    toy = load_dataset("toy").select(["scale-1"])
    assert track(load_tracker(own()), tmp_path / "masks", toy).done == ("scale-1",)
    sequence, codec = toy["scale-1"], CODECS["toy"]
    masks, boxes = codec.read_masks(tmp_path / "masks", sequence), codec.read_boxes(tmp_path / "masks", sequence)[1]
    x, y, w, h = boxes[5].astype(int)
    filled = np.zeros(sequence.size, dtype=bool)
    filled[y : y + h, max(x, 0) : x + w] = True
    np.testing.assert_array_equal(masks.read(5)[1], filled)


def test_several_objects_have_a_tracker_each_and_share_no_pixel(own, tmp_path):
    toy = load_dataset("toy").select(["late-1"])
    result = track(load_tracker(own()), tmp_path / "run", toy)
    assert result.done == ("late-1",)
    sequence = toy["late-1"]
    starts = {prompt.object_id: prompt.frame_index for prompt in sequence.prompts}
    assert len(starts) > 1
    assert max(starts.values()) > 0
    boxes = CODECS["toy"].read_boxes(tmp_path / "run", sequence)
    for object_id, first in starts.items():
        assert not boxes[object_id][:first].any()
        np.testing.assert_array_equal(np.diff(boxes[object_id][first + 1 :], axis=0)[:, 0], 1.0)


def test_resets_and_anchors_are_those_of_vot(own, tmp_path):
    write_squares(tmp_path / "tree", "a", 20)
    supervised = load_dataset("vot2019", root=tmp_path / "tree")
    track(load_tracker(own(), step=-4), tmp_path / "supervised", supervised)
    rows = list(read_trajectory(tmp_path / "supervised/baseline/a/a_001.txt"))
    first = rows.index(Special(2))
    assert rows[0] == Special(1)
    assert rows[first + 1 : first + 6] == [*[Special(0)] * 4, Special(1)]
    x, y = position(0)
    assert rows[1] == Rectangle(x - 4, y, SIDE, SIDE)
    write_squares(tmp_path / "anchors", "a", 20, anchors={0: 1, 19: -1}, kind="box")
    multistart = load_dataset("vot2022-stb", root=tmp_path / "anchors")
    assert track(load_tracker(own()), tmp_path / "multistart", multistart).done == ("a",)
    backward = list(read_trajectory(tmp_path / "multistart/baseline/a/a_00000019.txt"))
    assert (len(backward), backward[0]) == (20, Special(1))
    result = track(load_tracker(own(), fault="none"), tmp_path / "broken", multistart)
    assert "frame 3: expected a box" in result.failed["a"]


def test_options_are_the_arguments_of_the_constructor(own):
    class Odd:
        def __init__(self, size: int | None = None, scales=(1, 2), fast=False, **more):
            self.size, self.scales, self.fast = size, scales, fast

        def init(self, image, region): ...

        def update(self, image): ...

    options = options_of(Odd)()
    assert (options.size, options.scales, options.fast) == (None, (1, 2), False)
    assert load_tracker(Odd, size="12", fast="on").label == "Odd[size=12,fast=on]"
    assert load_tracker(own() + "[fault=none]").label == "step[fault=none]"
    with pytest.raises(MosamError, match="step: unknown option 'stepp'; did you mean step"):
        load_tracker(own(), stepp=3)
    with pytest.raises(MosamError, match=r"step\[step\]: expected a float, got 'far'"):
        load_tracker(own() + "[step=far]")


def test_what_is_no_tracker_is_refused(own, tmp_path):
    class NoDefault:
        def __init__(self, weights):
            self.weights = weights

        def init(self, image, region): ...

        def update(self, image): ...

    class Fails(NoDefault):
        def __init__(self):
            raise OSError("no weights here")

    with pytest.raises(MosamError, match="expected a default for every argument of __init__, weights has none"):
        load_tracker(NoDefault)
    with pytest.raises(MosamError, match=r"Fails: test_classes.py:\d+: OSError: no weights here"):
        track(load_tracker(Fails), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(MosamError, match="expected a class with the methods init and update"):
        load_tracker(dict)
    with pytest.raises(MosamError, match="expected Stop in"):
        load_tracker(own("Stop"))
    with pytest.raises(MosamError, match="expected a memory policy, or a class with the methods init and update"):
        load_tracker(own("np"))
    with pytest.raises(MosamError, match="unknown tracker 'opencv:CSTR'; did you mean opencv:CSRT"):
        load_tracker("opencv:CSTR")
    with pytest.raises(MosamError, match="sam2: expected no time limit"):
        load_tracker("sam2", frame_timeout=3)
    with pytest.raises(ValueError, match="run: model: expected None, for step needs no network"):
        run(SquareDataset(None), "nano", load_tracker(own()), out=tmp_path / "run")


def test_a_plugin_registers_one_by_name(tmp_path):
    from mosam.system import plugins

    text = CLASSES.replace("class Step:", '@TRACKERS.register("stepper")\nclass Step:')
    text = text.replace('    name = "step"\n', "")
    text = text.replace("import numpy as np", "import numpy as np\nfrom mosam.tracking.outside.classes import TRACKERS")
    plugins.load([str(write_classes(tmp_path, "plugin_step.py", text))])
    assert load_tracker("stepper[step=2]").label == "stepper[step=2]"


def test_a_memory_policy_in_a_file_is_one(tmp_path):
    from plugin_cases import TRACKER, write_plugin

    path = write_plugin(tmp_path / "own_policy.py", TRACKER.replace("@POLICIES", "# @POLICIES"))
    assert load_tracker(f"{path}:Mine").label == "mine"


def test_opencv_has_what_it_has(tmp_path):
    cv2 = pytest.importorskip("cv2")
    result = track(load_tracker("opencv:MIL"), tmp_path / "run", SquareDataset(None, prompt="box").select(limit=1))
    assert result.done == ("apple",)
    assert result.record.settings.outside["version"] == f"OpenCV {cv2.__version__}"
    if not hasattr(cv2, "TrackerCSRT_create"):
        with pytest.raises(MosamError, match="CSRT are in opencv-contrib-python-headless"):
            track(load_tracker("opencv:CSRT"), tmp_path / "none")
