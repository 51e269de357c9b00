"""`mosam score --realtime` against the real-time experiment of the VOT toolkit, on the same recorded times.

The toolkit's runtime is given a tracker that answers with recorded boxes and says that it took the recorded seconds.
What the toolkit writes then, scored as it is, must be what `--realtime` makes of the record.
"""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from trees import write_text
from vot_environment import toolkit_environment

from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.realtime import RealTime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REPLAY = """
import json, sys
from vot.region.shapes import Rectangle
from vot.tracker import ObjectStatus, OnlineTrackerRuntime, RealtimeTrackerRuntime

class Replay(OnlineTrackerRuntime):
    def __init__(self, rows, seconds):
        super().__init__(None)
        self.rows, self.seconds, self.frame = rows, seconds, 0
    def answer(self):
        return [ObjectStatus(Rectangle(*self.rows[self.frame]), {})], self.seconds[self.frame]
    def initialize(self, frame, new=None):
        self.frame = frame
        return self.answer()
    def update(self, frame, new=None):
        self.frame = frame  # frames that are passed over do not reach the tracker
        return self.answer()
    def stop(self): pass
    def restart(self): pass

out = []
for case in json.load(sys.stdin):
    runtime = RealtimeTrackerRuntime(Replay(case["rows"], case["seconds"]), case["grace"], 1 / case["fps"])
    found = [runtime.initialize(0, [])]
    found += [runtime.update(frame) for frame in range(1, len(case["rows"]))]
    shown = [status[0].region for status, _ in found]
    out.append([[float(value) for value in (r.x, r.y, r.width, r.height)] for r in shown])
json.dump(out, sys.stdout)
"""
RATES = [RealTime(5), RealTime(20), RealTime(20, 3), RealTime(60, 1)]


@pytest.mark.parametrize("version", ["0.9.0"])
def test_scores_at_a_rate_are_those_of_what_the_toolkit_writes(tmp_path, version):
    python = toolkit_environment(version) / "bin" / "python"
    data = load_dataset("lasot", root=make_tree("lasot", tmp_path / "tree", frames=40, sequences=3, scale=8))
    random = np.random.default_rng(5)
    boxes, seconds = {}, {}
    for name in data:
        truth = np.nan_to_num(data[name].truth.boxes)
        shifts = random.integers(-8, 9, truth.shape) / 16  # the toolkit keeps 32 bits
        boxes[name] = truth + shifts * (truth[:, 2:].min(axis=1) > 1)[:, None]
        seconds[name] = np.where(random.random(len(truth)) < 0.3, random.exponential(0.3, len(truth)), 0.02).round(8)
        for folder in ("recorded", *(str(rate) for rate in RATES)):
            write_text(tmp_path / folder / f"{name}_time.txt", "".join(f"{one:.8f}\n" for one in seconds[name]))
        write_text(tmp_path / "recorded" / f"{name}.txt", rows(boxes[name]))
    cases = [
        {"rows": boxes[name].tolist(), "seconds": seconds[name].tolist(), "fps": rate.fps, "grace": rate.grace}
        for rate in RATES
        for name in data
    ]
    done = subprocess.run([python, "-c", REPLAY], input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = iter(json.loads(done.stdout))
    for rate in RATES:
        for name in data:
            write_text(tmp_path / str(rate) / f"{name}.txt", rows(np.array(next(found))))
        theirs = evaluate(tmp_path / str(rate), data)
        ours = evaluate(tmp_path / "recorded", data, realtime=rate)
        assert 0 < ours.overall["in_time"] < 1
        for measure in data.info.metrics:
            assert ours.overall[measure] == theirs.overall[measure], (rate, measure)
        assert {s: v["success_auc"] for s, v in ours.sequences.items()} == {
            s: v["success_auc"] for s, v in theirs.sequences.items()
        }
    plain = evaluate(tmp_path / "recorded", data)
    assert plain.overall["success_auc"] > evaluate(tmp_path / str(RealTime(60, 1)), data).overall["success_auc"]


def rows(boxes):
    return "".join(",".join(map(repr, row)) + "\n" for row in boxes.tolist())
