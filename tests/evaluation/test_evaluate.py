from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from cups import LENGTH, NAMES, Cups, boxes

from mosam.datasets.base import Dataset
from mosam.errors import DataError, MismatchError, MissingDataError, UnknownNameError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.finding import describe_found, find_runs
from mosam.evaluation.scores import Scores
from mosam.results.record import RECORD, RunRecord, RunSettings, SequenceRecord


@pytest.fixture
def cups() -> Cups:
    return Cups(None)


def write(folder: Path, names: Iterable[str] = NAMES, shift: float = 0.0, rows: int = LENGTH) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        table = np.resize(boxes(name), (rows, 4)) + np.array([shift, 0, 0, 0])
        np.savetxt(folder / f"{name}.txt", table, fmt="%g", delimiter=",")
    return folder


def write_record(folder: Path, *, selection: tuple[str, ...] | None = None, **changes) -> None:
    blank = {field.name: {} if "Mapping" in str(field.type) else "" for field in fields(RunSettings)}
    known = {"dataset": "cups", "split": "test", "seed": 0, "tracker": "mosam[stride=3]", "model": "nano"}
    settings = RunSettings(**(blank | known | changes))
    done = {name: SequenceRecord("done", LENGTH, seconds=2.0) for name in NAMES[:3]}
    failed = {NAMES[4]: SequenceRecord("failed", reason="truncated JPEG")}
    record = RunRecord(settings, selection, sequences=done | failed)
    (folder / RECORD).write_text(json.dumps(record.to_json()))


def test_perfect_results_of_anybody(tmp_path, cups):
    scores = evaluate(write(tmp_path / "SiamX"), cups)
    assert (scores.tracker, scores.model, scores.dataset, scores.split) == ("SiamX", None, "cups", "test")
    assert scores.protocol == "pytracking"
    assert scores.overall["success_auc"] == pytest.approx(20 / 21)
    assert scores.overall["precision"] == 1
    assert list(scores.sequences) == list(NAMES)
    assert (scores.coverage, scores.missing, scores.notes) == (None, (), ())
    assert len(scores.curves["success"]) == 21


def test_attributes_are_means_over_their_sequences(tmp_path, cups):
    scores = evaluate(write(tmp_path / "x", shift=5), cups)
    slow = np.mean([scores.sequences[name]["success_auc"] for name in NAMES[:2]])
    assert scores.attributes["slow"]["success_auc"] == pytest.approx(slow)
    assert set(scores.attributes) == {"slow", "fast"}


def test_processes_do_not_change_anything(tmp_path, cups):
    folder = write(tmp_path / "x", shift=3)
    seen: list[str] = []
    assert evaluate(folder, cups, jobs=2, progress=seen.append) == evaluate(folder, cups)
    assert seen == list(NAMES)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_process_arrives_whole(tmp_path, cups, jobs):
    folder = write(tmp_path / "x")
    (folder / "cup-2.txt").write_text("1,2,3,4\n1,2,3\n")
    with pytest.raises(DataError, match=r"cup-2.txt:2: expected 4 numbers") as caught:
        evaluate(folder, cups, jobs=jobs)
    assert caught.value.line == 2
    assert caught.value.path == str(folder / "cup-2.txt")


def test_all_that_is_missing_or_short_is_named_at_once(tmp_path, cups):
    folder = write(tmp_path / "x", NAMES[:3])
    write(folder, ["cup-2"], rows=9)
    with pytest.raises(MissingDataError) as caught:
        evaluate(folder, cups)
    assert str(caught.value) == (
        f"{folder}: expected results of 5 sequences, 3 are missing or short: cup-2 (9 of 10 rows), cup-4, cup-5; "
        "make them with --sequences cup-2,cup-4,cup-5, or score the others with --allow-missing"
    )


def test_the_rest_can_be_scored_and_is_marked(tmp_path, cups):
    folder = write(tmp_path / "x", NAMES[:3])
    write(folder, ["cup-2"], rows=9)
    scores = evaluate(folder, cups, allow_missing=True)
    assert list(scores.sequences) == ["cup-1", "cup-3"]
    assert scores.missing == ("cup-2", "cup-4", "cup-5")
    assert (scores.subset, scores.official) == ("2 of 5 sequences", "2 of 5 official sequences")


def test_nothing_to_score_is_an_error_all_the_same(tmp_path, cups):
    with pytest.raises(MissingDataError, match="1 are missing or short"):
        evaluate(write(tmp_path / "x", NAMES[:1], rows=4), cups.select(NAMES[:1]), allow_missing=True)


def test_long_results_are_cut_and_noted(tmp_path, cups):
    scores = evaluate(write(tmp_path / "x", rows=12), cups)
    assert scores.overall["precision"] == 1
    assert scores.notes == tuple(f"{name}: 12 rows cut to 10" for name in NAMES)


def test_a_subset_of_the_dataset(tmp_path, cups):
    scores = evaluate(write(tmp_path / "x"), cups.select(limit=2))
    assert list(scores.sequences) == ["cup-1", "cup-2"]
    assert scores.official == "2 of 5 official sequences"


def test_a_run_is_scored_on_what_it_was_asked_for(tmp_path, cups):
    folder = write(tmp_path / "mosam-nano", NAMES[:3])
    write_record(folder, selection=NAMES[:3])
    scores = evaluate(folder, cups)
    assert (scores.tracker, scores.model) == ("mosam[stride=3]", "nano")
    assert list(scores.sequences) == list(NAMES[:3])
    assert scores.coverage == "3 of 5 official sequences"
    assert scores.overall["fps"] == LENGTH / 2.0  # from the record, where the layout holds no times
    with pytest.raises(MismatchError, match="the run was asked for others"):
        evaluate(folder, cups.select(NAMES[3:]))


def test_a_failed_sequence_is_missing_with_its_reason(tmp_path, cups):
    folder = write(tmp_path / "x", NAMES[:4])
    write_record(folder)
    with pytest.raises(MissingDataError, match=r"cup-5 \(failed: truncated JPEG\)"):
        evaluate(folder, cups)


def test_times_beside_the_boxes_come_first(tmp_path, cups):
    folder = write(tmp_path / "x")
    (folder / "cup-1_time.txt").write_text("0.5\n" * LENGTH)
    (folder / "times").mkdir()
    (folder / "times" / "cup-2_time.txt").write_text("0\n" + "0.25\n" * 4)
    scores = evaluate(folder, cups)
    assert scores.sequences["cup-1"]["fps"] == 2
    assert scores.sequences["cup-2"]["fps"] == 4
    assert scores.overall["fps"] == pytest.approx(14 / 6)  # all frames by all seconds


# ------------------------------------------------------------------------------------------------- finding


def found(path: Path, dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, str(folder.relative_to(path.parent))) for name, folder in find_runs(path, dataset)]


def test_every_way_to_name_results(tmp_path, cups):
    results = tmp_path / "R"
    ours = write(results / "cups" / "mosam-nano")
    write_record(ours)
    write(results / "cups" / "SiamX")
    (results / "cups" / ".hidden").mkdir()
    (results / "lasot" / "other").mkdir(parents=True)
    runs = ["SiamX", "mosam-nano"]
    assert [folder.name for _, folder in find_runs(results, cups)] == runs
    assert [folder.name for _, folder in find_runs(results / "cups", cups)] == runs
    assert [name for name, _ in find_runs(results, cups)] == ["SiamX", "mosam[stride=3]"]
    assert find_runs(ours, cups) == [("mosam[stride=3]", ours)]
    assert find_runs(results / "cups" / "SiamX", cups) == [("SiamX", results / "cups" / "SiamX")]
    assert find_runs(str(results), cups) == find_runs(results, cups)


def test_one_sequence_is_enough_to_be_recognized(tmp_path, cups):
    write(tmp_path / "T" / "a", NAMES[4:])
    (tmp_path / "T" / "b").mkdir()
    (tmp_path / "T" / "b" / "readme.txt").write_text("no results")
    assert find_runs(tmp_path / "T", cups) == [("a", tmp_path / "T" / "a")]


def test_runs_of_others_are_passed_over_or_refused(tmp_path, cups):
    for name, changes in {"split": {"split": "train"}, "set": {"dataset": "saucers"}, "seed": {"seed": 7}}.items():
        write_record(write(tmp_path / name), **changes)
    write(tmp_path / "mine")
    assert [name for name, _ in find_runs(tmp_path, cups)] == ["mine"]
    with pytest.raises(MismatchError, match="expected a run on cups test, got one on cups train"):
        evaluate(tmp_path / "split", cups)
    with pytest.raises(MismatchError, match="got one on saucers test"):
        evaluate(tmp_path / "set", cups)
    with pytest.raises(MismatchError, match=r"got seed 7, .* repeat with --seed 7"):
        evaluate(tmp_path / "seed", cups)


def test_several_trackers_cannot_be_one_score(tmp_path, cups):
    write(tmp_path / "a"), write(tmp_path / "b")
    with pytest.raises(MismatchError, match=r"expected results of one tracker, got 2 \(a, b\)"):
        evaluate(tmp_path, cups)


def test_nothing_there(tmp_path, cups):
    with pytest.raises(MissingDataError, match="expected a folder of results, found nothing"):
        evaluate(tmp_path / "none", cups)
    with pytest.raises(MissingDataError, match=r"expected results of cups test, found none; .*\(cup-1 ...\)"):
        evaluate(tmp_path, cups)


def test_what_cannot_be_scored(tmp_path, cups):
    folder = write(tmp_path / "x")
    with pytest.raises(MissingDataError, match="cups hidden: the ground truth is not published"):
        evaluate(folder, Cups(None, split="hidden"))
    with pytest.raises(MismatchError, match="protocol davis2017: expected results with masks"):
        evaluate(folder, cups, protocol="davis2017")
    with pytest.raises(UnknownNameError, match="unknown protocol 'davis'"):
        evaluate(folder, cups, protocol="davis")


# ------------------------------------------------------------------------------------------------- promises


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import mosam.evaluation.evaluate",
        "from mosam.evaluation import tables; from mosam.evaluation.protocols.base import PROTOCOLS; list(PROTOCOLS)",
    ],
)
def test_scoring_is_light(statement):
    heavy = {"torch", "pandas", "matplotlib", "transformers", "cv2", "scipy"}
    assert imported_by(statement) & heavy == set()


def test_public_names():
    import mosam.evaluation as package

    assert package.evaluate is evaluate
    assert package.Scores is Scores


def test_results_one_folder_deeper_are_found(tmp_path, cups):
    write(tmp_path / "all" / "atom" / "otb")
    write(tmp_path / "all" / "dimp" / "otb")
    assert [(name, folder.name) for name, folder in find_runs(tmp_path / "all", cups)] == [
        ("atom", "otb"),
        ("dimp", "otb"),
    ]
    assert evaluate(tmp_path / "all" / "atom", cups).overall["precision"] == 1


def test_results_in_any_folders_below_are_found_and_named_by_the_way(tmp_path, cups):
    write(tmp_path / "all" / "atom" / "default_000")
    write(tmp_path / "all" / "atom" / "default_001")
    write(tmp_path / "all" / "dimp" / "tracking_results" / "dimp50" / "x_000")
    write(tmp_path / "all" / "flat")
    ours = write(tmp_path / "all" / "mine" / "2026" / "mosam-nano")
    write_record(ours)
    other = write(tmp_path / "all" / "mine" / "2026" / "sam2-nano")
    write_record(other, dataset="plates")
    write(other / "inside")  # of a run of another benchmark: nobody's
    write(tmp_path.joinpath("all", *"abcdefghi"))  # too deep
    runs = find_runs(tmp_path / "all", cups)
    assert [(name, folder.relative_to(tmp_path / "all").as_posix()) for name, folder in runs] == [
        ("atom/default_000", "atom/default_000"),
        ("atom/default_001", "atom/default_001"),
        ("dimp", "dimp/tracking_results/dimp50/x_000"),
        ("flat", "flat"),
        ("mosam[stride=3]", "mine/2026/mosam-nano"),
    ]


@pytest.mark.parametrize("inside", ["", "atom/", "atom/otb/"])
def test_results_in_a_zip_are_scored_as_those_in_a_folder(tmp_path, cups, inside):
    plain = evaluate(write(tmp_path / "x" / "plain"), cups)
    (tmp_path / "all").mkdir()
    with zipfile.ZipFile(tmp_path / "all" / "atom.zip", "w") as archive:
        for path in (tmp_path / "x" / "plain").iterdir():
            archive.write(path, f"{inside}{path.name}")
    for place in (tmp_path / "all" / "atom.zip", tmp_path / "all"):
        found = evaluate(place, cups, cache=tmp_path / "cache", jobs=2)
        assert (found.overall, found.sequences) == (plain.overall, plain.sequences)
    assert [name for name, _ in find_runs(tmp_path / "all", cups)] == ["atom"]


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (["dimp/dimp50_000", "dimp/dimp18_000", "atom/default_000"],
         ["atom", "dimp/dimp18_000", "dimp/dimp50_000"]),
        (["tracking_results/dimp/dimp50_000"], ["dimp"]),
        (["results/CUPS/SiamFC", "results/CUPS/ATOM"], ["ATOM", "SiamFC"]),
        (["a/b/c/cups/one", "a/b/c/cups/two/test"], ["one", "two"]),
        (["x/param_000", "y/param_000"], ["x", "y"]),
        (["x", "x-more"], ["x", "x-more"]),
        (["cups"], ["cups"]),
    ],
    ids=["pytracking", "one", "got10k-toolkit", "deep", "same-parameters", "flat", "named-as-the-benchmark"],
)  # fmt: skip
def test_any_layout_of_folders(tmp_path, cups, places, names):
    for place in places:
        write(tmp_path / place)
    found = find_runs(tmp_path, cups)
    assert [name for name, _ in found] == names
    assert {folder for _, folder in found} == {tmp_path / place for place in places}
    for (name, folder), line in zip(found, describe_found(tmp_path, found, cups), strict=True):
        where = folder.relative_to(tmp_path)
        assert line == f"{name} <- {where}: lasot results, {len(NAMES)} of {len(NAMES)} sequences"


def test_names_of_folders_stay_on_their_line(tmp_path, cups):
    write(tmp_path / "new\nline")
    [line] = describe_found(tmp_path, find_runs(tmp_path, cups), cups)
    assert "\n" not in line


def test_a_zip_of_several_trackers(tmp_path, cups):
    write(tmp_path / "x" / "plain")
    (tmp_path / "all").mkdir()
    with zipfile.ZipFile(tmp_path / "all" / "raw.zip", "w") as archive:
        for tracker in ("atom", "dimp"):
            for path in (tmp_path / "x" / "plain").iterdir():
                archive.write(path, f"results/{tracker}/{path.name}")
    for place in (tmp_path / "all", tmp_path / "all" / "raw.zip"):
        found = find_runs(place, cups)
        assert [name for name, _ in found] == ["atom", "dimp"]
        assert "all/raw.zip" in str(found[0][1])
        assert describe_found(place, found, cups)[0].startswith("atom <- ")
        assert evaluate(found[0][1], cups).overall["precision"] == 1


def test_nothing_is_looked_for_inside_of_results_and_links_can_be_left_alone(tmp_path, cups):
    write(write(tmp_path / "all" / "a") / "old")
    write(tmp_path / "elsewhere" / "b")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    (tmp_path / "all" / "loop").symlink_to(tmp_path / "all")
    assert [name for name, _ in find_runs(tmp_path / "all", cups, links=False)] == ["a"]
    assert [name for name, _ in find_runs(tmp_path / "all", cups)] == ["a", "b"]


def test_many_missing_sequences_are_counted(tmp_path, cups):
    from mosam.evaluation.evaluate import _describe_lacking

    lacking = {f"sequence-{number:03d}": "missing" for number in range(280)}
    line = _describe_lacking(tmp_path, lacking, 280, None)
    assert "sequence-009, and 270 more; make them, or score the others with --allow-missing" in line
    assert len(line) < 400 + len(str(tmp_path))
