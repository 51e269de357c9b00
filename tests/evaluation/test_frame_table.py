from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from cups import LENGTH, Cups, boxes

from mosam.cli import run_command
from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.base import load_dataset
from mosam.errors import DataError, MosamError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.frame_table import write_frame_table
from mosam.results.frame_log import log_path
from mosam.types import FrameOutput, ObjectOutput

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "figures-and-tables.md"


def write_toy(folder, dataset, shift: int) -> None:
    """True masks shifted further and further, and logs of a network that says so."""
    (folder / "log").mkdir(parents=True)
    for name in dataset:
        sequence, lines = dataset[name], []
        writer = CODECS["toy"].writer(folder, sequence, CodecOptions(box_from_mask="inclusive"))
        for frame_index in range(len(sequence)):
            masks = {k: np.roll(m, shift * frame_index // 9, 1) for k, m in sequence.truth.read(frame_index).items()}
            objects = {i: ObjectOutput(mask, 1.0, 1.0) for i, mask in masks.items()}
            writer.add(FrameOutput(frame_index, objects), 0.5)
            for object_id in masks:
                line = {"frame": frame_index, "object": object_id, "iou": 1 - frame_index / 100, "slots": [[0, 6]]}
                lines.append(json.dumps(line | {"source": "free", "admitted": frame_index % 2 == 0, "conf": None}))
        writer.finish()
        (folder / log_path(name)).write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two trackers on three short sequences, their table, and their scores."""
    root = tmp_path_factory.mktemp("frames")
    dataset = load_dataset("toy").select(["blur-1", "late-1", "full_occlusion-1"])
    for tracker, shift in (("near", 1), ("far", 7)):
        write_toy(root / "results" / tracker, dataset, shift)
    runs = [(root / "results" / name, evaluate(root / "results" / name, dataset)) for name in ("near", "far")]
    rows = write_frame_table(root / "frames.parquet", dataset, runs)
    return root, dataset, rows, {scores.tracker: scores for _, scores in runs}


def test_a_row_for_each_frame_object_and_tracker(made):
    root, dataset, rows, _ = made
    frame = pd.read_parquet(root / "frames.parquet")
    starts = {name: {p.object_id: p.frame_index for p in dataset[name].prompts} for name in dataset}
    expected = {(n, o): len(dataset[n]) - t for n, objects in starts.items() for o, t in objects.items()}
    assert rows == len(frame) == 2 * sum(expected.values())
    counts = frame.groupby(["tracker", "sequence", "object"], observed=True).size()
    assert counts["near"].to_dict() == counts["far"].to_dict() == expected
    assert set(frame.columns) >= {"dataset", "split", "model", "run", "frame_name", "visible", "predicted", "log_iou"}
    assert frame.log_admitted.map(type).eq(bool).all()
    assert frame.log_slots.map(json.loads).map(lambda slots: slots == [[0, 6]]).all()
    late = frame[(frame.sequence == "late-1") & (frame.object == 2)]
    assert (late.start == late.frame.min()).all()
    assert "late_object" in late.attributes.iloc[0]
    first = pyarrow.parquet.read_schema(root / "frames.parquet")
    assert first.metadata[b"mosam_schema"] == b"1"


def test_processes_do_not_change_the_file(made):
    root, dataset, _, scores = made
    runs = [(root / "results" / name, item) for name, item in scores.items()]
    write_frame_table(root / "again.parquet", dataset, runs, jobs=2)
    pd.testing.assert_frame_equal(pd.read_parquet(root / "again.parquet"), pd.read_parquet(root / "frames.parquet"))


def documented(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_documented_queries_run(made, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    root, _, _, scores = made
    monkeypatch.chdir(root)
    benchmark, returns = documented("sql")
    with duckdb.connect() as connection:
        found = {row[0]: row[1:] for row in connection.sql(benchmark).fetchall()}
        comes_back = connection.sql(returns).fetchall()
    assert found == {name: (round(100 * item.overall["jf_mean"], 1), 3) for name, item in scores.items()}
    assert {row[0] for row in comes_back} == {"near", "far"}
    overlap = {row[0]: row[3] for row in comes_back}
    assert overlap["near"] > overlap["far"]


def test_the_documented_pandas_runs(made, monkeypatch, capsys):
    root, *_ = made
    monkeypatch.chdir(root)
    [code] = documented("python")
    values: dict = {}
    exec(code, values)
    assert set(values["knows"].index.get_level_values(0)) == {"near", "far"}
    assert values["knows"]["far"].max() > 0.5  # the farther, the less it expects
    assert "motion_blur" in capsys.readouterr().out


def test_every_column_is_documented(made):
    root, *_ = made
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in pyarrow.parquet.read_schema(root / "frames.parquet").names:
        assert f"`{name}`" in text or name.startswith("log_")


def test_boxes_without_log(tmp_path):
    dataset = Cups(None)
    folder = tmp_path / "SiamX"
    folder.mkdir()
    for name in list(dataset)[:2]:
        np.savetxt(folder / f"{name}.txt", boxes(name), delimiter=",")
    scores = evaluate(folder, dataset, allow_missing=True)
    assert write_frame_table(tmp_path / "new" / "f.parquet", dataset, [(folder, scores)]) == 2 * LENGTH
    frame = pd.read_parquet(tmp_path / "new" / "f.parquet")
    assert frame.iou.eq(1).all()
    assert frame[["j", "f", "model"]].isna().all(axis=None)
    assert not any(name.startswith("log_") for name in frame.columns)
    assert set(frame.sequence) == {"cup-1", "cup-2"}


def test_nothing_is_left_of_a_table_that_failed(tmp_path):
    dataset = Cups(None)
    folder = tmp_path / "x"
    folder.mkdir()
    for name in dataset:
        np.savetxt(folder / f"{name}.txt", boxes(name), delimiter=",")
    scores = evaluate(folder, dataset)
    (folder / "cup-3.txt").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"cup-3.txt:1"):
        write_frame_table(tmp_path / "f.parquet", dataset, [(folder, scores)], jobs=2)
    assert {path.name for path in tmp_path.iterdir()} == {"x"}
    with pytest.raises(MosamError, match="expected scored sequences to write, got none"):
        write_frame_table(tmp_path / "f.parquet", dataset, [])


def test_command(made, tmp_path, capsys):
    root, *_ = made
    sequences = "blur-1,late-1"
    words = ["score", "toy", "--results", str(root / "results"), "--sequences", sequences, "--jobs", "1"]
    assert run_command([*words, "--tracker", "far", "--parquet", str(tmp_path / "f.parquet")]) == 0
    shown = capsys.readouterr()
    assert "far" in shown.out
    frame = pd.read_parquet(tmp_path / "f.parquet")
    assert f"{tmp_path / 'f.parquet'}: {len(frame)} rows" in shown.err
    assert set(frame.sequence) == {"blur-1", "late-1"}
