import json

import numpy as np
import pytest
from trees import label_map, stems, write_frames, write_labels, write_text

from mosam.datasets.base import load_dataset
from mosam.errors import DataError, MissingDataError


def one(root, *, late=True):
    """Two objects, of which the second shows from the third frame on."""
    write_frames(root / "JPEGImages" / "a", stems(4))
    for number, shown in ((0, (0, 1, 2, 3)), (1, (2, 3) if late else ())):
        for t in range(4):
            boxes = {1: (2 + t, 1 + 3 * number, 3, 3)} if t in shown else {}
            write_labels(root / "Annotations" / "a" / f"{number:03d}" / f"{t:05d}.png", label_map(boxes))
    write_text(root / "video_id.txt", "a\n")
    return load_dataset("secvos", root=root)


def test_an_object_starts_where_it_shows(tmp_path):
    dataset = one(tmp_path)
    sequence = dataset["a"]
    assert dataset.subset == "1 of 160 official sequences"
    assert [(prompt.object_id, prompt.frame_index) for prompt in sequence.prompts] == [(1, 0), (2, 2)]
    assert sequence.frames_out == (0, 1, 2, 3)
    assert sequence.truth.object_ids == (1, 2)
    np.testing.assert_array_equal(sequence.prompts[1].mask, sequence.truth.read(2)[2])


def test_shots(tmp_path):
    one(tmp_path)
    scenes = {"a": {"first_segment": ["0", "1"], "second_segment": [2, 2], "remain_segments": [], "scenes": 3}}
    write_text(tmp_path / "scene_info.json", json.dumps(scenes))
    dataset = load_dataset("secvos", root=tmp_path)
    assert dataset["a"].truth.shots == {"first": frozenset({0, 1}), "second": frozenset({2})}
    assert [path.name for path in dataset.shared_files()] == ["video_id.txt", "scene_info.json"]
    for other in ({"b": {}}, {"a": {}}, {"a": {"second_segment": [1, 3]}}):
        write_text(tmp_path / "scene_info.json", json.dumps(other))
        shots = load_dataset("secvos", root=tmp_path)["a"].truth.shots
        assert shots["first"] == frozenset(range(4))  # all of it, as in the official program
        assert set(shots) == {"first", *(["second"] if "second_segment" in other.get("a", {}) else [])}


@pytest.mark.parametrize(
    ("scenes", "said"),
    [
        ({"a": 3}, "expected shots of a, got int"),
        ({"a": {"first_segment": [1]}}, r"expected the first and last frame of a shot of a, got \[1\]"),
        ({"a": {"second_segment": ["x", 2]}}, "expected the first and last frame of a shot of a"),
        ({"a": {"remain_segments": "12"}}, "expected the first and last frame of a shot of a, got 12"),
        ([], "expected a JSON object"),
    ],
)
def test_bad_shots(tmp_path, scenes, said):
    one(tmp_path)
    write_text(tmp_path / "scene_info.json", json.dumps(scenes))
    with pytest.raises(DataError, match=rf"scene_info\.json: {said}"):
        load_dataset("secvos", root=tmp_path)["a"]


def test_an_object_that_never_shows(tmp_path):
    sequence = one(tmp_path, late=False)["a"]
    with pytest.raises(DataError, match=r"001/00000\.png: expected a mask to start with, got an empty one"):
        _ = sequence.prompts


def test_a_wrong_root_shows_the_tree(tmp_path):
    write_frames(tmp_path / "x", stems(1))
    with pytest.raises(MissingDataError, match=r"(?s)expected SeCVOS, found no Annotations; expected tree:"):
        load_dataset("secvos", root=tmp_path)
