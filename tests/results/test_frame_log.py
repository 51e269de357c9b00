import json

import numpy as np
import pytest

from mosam.errors import DataError, MissingDataError
from mosam.results.frame_log import FrameLogWriter, log_path, read_frame_log
from mosam.types import FrameOutput, ObjectOutput


def output(t, **log):
    mask = np.zeros((4, 5), bool)
    mask[1, 1] = t != 1
    return FrameOutput(t, {3: ObjectOutput(mask, 1.5, 0.75, log)})


def test_round_trip(tmp_path):
    with FrameLogWriter(tmp_path, "bird-1") as writer:
        writer.add(output(0, prompt="mask"))
        writer.add(output(1, slots=[(0, 6)], trust_sparse=float("nan"), conf=np.float64(0.5)))
    lines = list(read_frame_log(tmp_path, "bird-1"))
    assert lines[0] == {"frame": 0, "object": 3, "visible": True, "iou": 0.75, "object_score": 1.5, "prompt": "mask"}
    assert lines[1]["slots"] == [[0, 6]]
    assert lines[1]["trust_sparse"] is None
    assert lines[1]["conf"] == 0.5
    assert lines[1]["visible"] is False


def test_lines_are_json_of_their_own(tmp_path):
    with FrameLogWriter(tmp_path, "a") as writer:
        writer.add(output(0))
    assert all(json.loads(line) for line in (tmp_path / log_path("a")).read_text().splitlines())


def test_no_log_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"log/a\.jsonl.*--log"):
        list(read_frame_log(tmp_path, "a"))
    (tmp_path / "log").mkdir()
    (tmp_path / log_path("a")).write_text('{"frame": 0, "object": 1}\n{"fra\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: expected JSON"):
        list(read_frame_log(tmp_path, "a"))


def test_earlier_keys_are_read_by_their_present_names(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").write_text('{"frame": 3, "object": 1, "beside": 0.5, "refused": true}\n')
    assert list(read_frame_log(tmp_path, "a")) == [{"frame": 3, "object": 1, "distractors": 0.5, "rejected": True}]
