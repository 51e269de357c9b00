"""Everything that can be wrong with results and annotation, and the one line that says so."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cups import LENGTH, NAMES, Cups, boxes
from PIL import Image
from vot_cases import DATASETS as DATASET_OF
from vot_cases import FOLDER, INTERVALS, write_files

from mosam.datasets.base import DATASETS, BoxTruth, load_dataset
from mosam.errors import MosamError
from mosam.evaluation.evaluate import evaluate


def write(folder: Path, *, rows: dict[int, str] | None = None, count: int = LENGTH) -> Path:
    """Good results, but for some rows of the second sequence."""
    folder.mkdir()
    for name in NAMES:
        lines = [",".join(f"{value:g}" for value in row) for row in np.resize(boxes(name), (count, 4))]
        if name == NAMES[1]:
            for number, text in (rows or {}).items():
                lines[number] = text
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def message(folder: Path, dataset, **options) -> str:
    with pytest.raises(MosamError) as caught:
        evaluate(folder, dataset, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("nan,nan,nan,nan", r":4: expected w >= 0 and h >= 0, got nan,nan,nan,nan"),
        ("1,2,-3,4", r":4: expected w >= 0 and h >= 0, got 1,2,-3,4"),
        ("1,2,inf,4", r":4: expected finite numbers or nan, got an infinite one"),
        ("1,2,3", r":4: expected 4 numbers, got '1,2,3'"),
        ("1,2,3,4,5", r":4: expected 4 numbers, got '1,2,3,4,5'"),
        ("1,2,x,4", r":4: expected numbers, got '1,2,x,4'"),
        ("", r":4: expected 4 numbers, got ''"),
    ],
    ids=["nan", "negative", "infinite", "short", "long", "text", "blank"],
)
def test_bad_rows_of_boxes(tmp_path, row, expected):
    folder = write(tmp_path / "x", rows={3: row})
    assert f"{NAMES[1]}.txt{expected}" in message(folder, Cups(None))


@pytest.mark.parametrize("protocol", ["lasot", "pysot", "got10k", "got10k-success", "trackingnet"])
def test_other_programs_take_nan_and_negative_sizes_but_nothing_takes_infinity(tmp_path, protocol):
    folder = write(tmp_path / "x", rows={3: "nan,nan,nan,nan", 4: "1,2,-3,4"})
    scores = evaluate(folder, Cups(None), protocol=protocol)
    assert all(np.isfinite(list(scores.overall.values())))
    (folder / f"{NAMES[0]}.txt").write_text("1,2,3,inf\n" * LENGTH)
    assert "got an infinite one" in message(folder, Cups(None), protocol=protocol)


def test_mixed_delimiters_are_read(tmp_path):
    plain = evaluate(write(tmp_path / "x"), Cups(None))
    mixed = write(tmp_path / "y")
    path = mixed / f"{NAMES[1]}.txt"
    lines = path.read_text().splitlines()
    lines[2], lines[3] = lines[2].replace(",", "\t"), lines[3].replace(",", " ", 2)
    path.write_text("\r\n".join(lines))
    assert evaluate(mixed, Cups(None)).overall == plain.overall


@pytest.mark.parametrize(("count", "expected"), [(LENGTH - 1, f"{LENGTH - 1} of {LENGTH} rows"), (1, "1 of")])
def test_a_tracker_that_stopped_half_way(tmp_path, count, expected):
    folder = write(tmp_path / "x", count=count)
    text = message(folder, Cups(None))
    assert expected in text
    assert all(name in text for name in NAMES)


def test_results_of_other_sequences(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mug-1.txt").write_text("1,2,3,4\n")
    assert "expected results of cups test, found none; give a run's folder" in message(tmp_path / "x", Cups(None))


@pytest.mark.parametrize("truth", ["absent", "nan"])
def test_truth_that_shows_nothing(tmp_path, truth):
    folder = write(tmp_path / "x")

    class Empty(Cups):
        def load(self, name):
            sequence = super().load(name)
            rows = np.full((LENGTH, 4), np.nan) if truth == "nan" else sequence.truth.boxes
            absent = np.full(LENGTH, truth == "absent")
            return dataclasses.replace(sequence, load_truth=lambda: BoxTruth(rows, absent))

    expected = f"{NAMES[0]}: expected a frame that shows the object, got none in {LENGTH} annotated frames"
    assert expected in message(folder, Empty(None))


# ---- regions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def supervised(tmp_path):
    write_files(tmp_path, json.loads((FOLDER / "supervised.json").read_text())["files"])
    return tmp_path


def region_message(root: Path, **options) -> str:
    random = dataclasses.replace(DATASETS[DATASET_OF["supervised"]], eao_interval=INTERVALS["supervised"])
    return message(root / "results" / "A", random(root), **options)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("3", r"_001.txt:3: expected a code 0 (unknown), 1 (initialized) or 2 (failed), got 3"),
        ("1,2,inf,4", r"_001.txt:3: expected finite numbers, got 1,2,inf,4"),
        ("1,2,3,4,5", r"_001.txt:3: expected a region, got 5 numbers (1,2,3,4,5)"),
        ("m1,2,3,4", r"_001.txt:3: expected a region, got 4 numbers (m1,2,3,4)"),
        ("m1,2,3,-4,5", r"_001.txt:3: expected a mask with sides of 0 to 65535, got 3 x -4"),
        ("m0,0,2,2,9", r"_001.txt:3: expected runs of at most 4 pixels (2 x 2), got 9"),
        ("m0,0,2,2,-1,5", r"_001.txt:3: expected a mask of whole numbers, runs not negative, got m0,0,2,2,-1,5"),
        ("1,2;3,4", r"_001.txt:3: expected numbers separated by commas, got '1,2;3,4'"),
    ],
)
def test_bad_rows_of_regions(supervised, row, expected):
    path = sorted((supervised / "results").rglob("*_001.txt"))[0]
    lines = path.read_text().splitlines()
    lines[2] = row
    path.write_text("\n".join(lines))
    assert expected in region_message(supervised)


@pytest.mark.parametrize("row", ["5,5,5,5,5,5", "0,0,0,0", "m0,0,0,0,0", "5,5,-3,4"])
def test_empty_and_flat_regions_overlap_nothing(supervised, row):
    cls = DATASETS["vot2019"]
    path = sorted((supervised / "results").rglob("*_001.txt"))[0]
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["1", *([row] * (len(lines) - 1))]))
    scores = evaluate(supervised / "results" / "A", cls(supervised))
    assert 0 <= scores.sequences[path.parent.name]["accuracy"] < 1


def test_regions_of_truth_that_are_all_unknown(supervised):
    path = sorted((supervised / "sequences").rglob("groundtruth.txt"))[0]
    path.write_text("0\n" * len(path.read_text().splitlines()))
    assert f"{path.parent.name}: expected a frame with a region, got none in" in region_message(supervised)


def test_pysot_cuts_both_sides_with_a_warning_and_vot_wants_the_rest(supervised):
    dataset = DATASETS["vot2019"](supervised)
    folders = sorted((supervised / "results" / "A" / "baseline").iterdir())
    counts = {}
    for folder in folders:
        counts[folder.name] = len((folder / f"{folder.name}_001.txt").read_text().splitlines())
        shutil.rmtree(folder)
        folder.mkdir()
        short = 2 if folder is folders[0] else 0
        rows = ["1", *["5,5,20,20"] * (counts[folder.name] - 1 - short)]
        (folder / f"{folder.name}_001.txt").write_text("\n".join(rows))
    name, count = folders[0].name, counts[folders[0].name]
    assert f"{name} ({count - 2} of {count} rows)" in region_message(supervised)
    rest = evaluate(supervised / "results" / "A", dataset, allow_missing=True)
    assert (rest.missing, list(rest.sequences)) == ((name,), [folder.name for folder in folders[1:]])
    cut = evaluate(supervised / "results" / "A", dataset, protocol="pysot")
    assert cut.notes == (f"{name}: {count - 2} rows and {count} annotated frames cut to {count - 2}",)
    assert cut.counts[name]["robustness"] == count - 2


# ---- masks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def davis(unpacked, tmp_path):
    root = unpacked("davis/davis2017_car-shadow")
    shutil.copytree(root / "car-shadow-predictions" / "osvos", tmp_path / "x")
    return load_dataset("davis2017", root=root / "car-shadow"), tmp_path / "x"


def test_masks_of_another_size(davis):
    dataset, folder = davis
    Image.fromarray(np.ones((4, 5), dtype=np.uint8)).save(folder / "car-shadow" / "00003.png")
    assert "car-shadow frame 00003: expected masks of 480x854 (height x width), got 4x5" in message(folder, dataset)


def test_masks_that_are_missing_cut_off_or_say_too_much(davis):
    dataset, folder = davis
    path = folder / "car-shadow" / "00005.png"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    assert "00005.png: the image cannot be read: image file is truncated" in message(folder, dataset)
    Image.fromarray(np.full((480, 854), 7, dtype=np.uint8)).save(path)
    assert "expected labels up to 1, the objects of the first frame, got 7 on frame 00005" in message(folder, dataset)
    path.unlink()
    assert "car-shadow (no mask of frame 00005)" in message(folder, dataset)
