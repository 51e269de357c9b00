"""The worked example of CONTRIBUTING.md: taken from the page, tried as a benchmark."""

import re
from pathlib import Path

import pytest
from trees import stems, write_frames, write_text

from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.check import check
from mosam.datasets.make import make_tree
from mosam.datasets.pack import pack
from mosam.errors import DataError, MissingDataError

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


@pytest.fixture
def drones(monkeypatch):
    list(DATASETS)  # scanned before the name is added
    monkeypatch.setattr(DATASETS, "_items", dict(DATASETS._items))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "class Drones" in block)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "drones"})


@pytest.fixture
def root(tmp_path):
    write_frames(tmp_path / "tree" / "frames" / "bike", stems(3, base=1, digits=6))
    write_text(tmp_path / "tree" / "boxes" / "bike.txt", "1,2,3,4\nnan,nan,nan,nan\n2,2,3,4\n")
    return tmp_path / "tree"


@pytest.mark.usefixtures("drones")
def test_the_example_is_a_whole_benchmark(root, tmp_path):
    dataset = load_dataset("drones", root=root)
    packed = load_dataset("drones", root=pack(dataset, tmp_path / "packed"))
    for form in (dataset, packed):
        sequence = form["bike"]
        assert (len(sequence), sequence.size) == (3, (10, 14))
        assert sequence.prompts[0].box.tolist() == [1, 2, 3, 4]
        assert sequence.truth.absent.tolist() == [False, True, False]
        assert check(form) == []
    assert packed.annotation_hash() == dataset.annotation_hash()


@pytest.mark.usefixtures("drones")
def test_the_example_makes_its_own_tree(tmp_path):
    dataset = load_dataset("drones", root=make_tree("drones", tmp_path / "made", frames=6, scale=8))
    assert check(dataset) == []
    assert len(dataset) == 2


@pytest.mark.usefixtures("drones")
def test_the_example_says_what_is_wrong(root, tmp_path):
    with pytest.raises(MissingDataError, match=r"(?s)expected Drones, found no boxes/; expected tree:\nDrones/"):
        load_dataset("drones", root=tmp_path / "tree" / "frames")
    write_text(root / "boxes" / "bike.txt", "1,2,x,4\n")
    with pytest.raises(DataError, match=r"bike\.txt:1: expected numbers, got '1,2,x,4'"):
        load_dataset("drones", root=root)["bike"]
    write_text(root / "boxes" / "bike.txt", "1,2,3,4\n")
    assert "expected" in "".join(check(load_dataset("drones", root=root)))
