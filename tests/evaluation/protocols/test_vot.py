"""The protocols for regions on whole experiments: stored numbers of the VOT toolkit, real trackers, bad results."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from vot_cases import DATASETS as DATASET_OF
from vot_cases import FOLDER, INTERVALS, KINDS, experiment_files, toolkit_analysis, write_files

from mosam.codecs import CodecOptions
from mosam.codecs.vot import region_of_mask
from mosam.datasets.base import DATASETS, load_dataset
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.protocols.base import parse_protocol
from mosam.evaluation.protocols.regions import as_the_truth
from mosam.regions.trajectory import Rectangle, Special, Trajectory, mask_region

TOLERANCE = 1e-9


def score(root, kind, tracker="A", protocol=None):
    challenge = DATASETS[DATASET_OF[kind]]
    info = dataclasses.replace(challenge.info, no_truth=())
    random = dataclasses.replace(challenge, info=info, eao_interval=INTERVALS.get(kind))
    return evaluate(root / "results" / tracker, random(root), protocol=protocol)


def check(scores, kind, results, tracker=0):
    """Every number and curve the toolkit gives."""
    overall, curves = scores.overall, {name: np.array(curve) for name, curve in scores.curves.items()}
    found = [result[tracker] for result in results]
    if kind == "supervised":
        (accuracy, failures, (robustness, _), _), (eao,), (curve,) = found
        pairs = {"accuracy": accuracy, "failures": failures, "robustness": robustness, "eao": eao}
        curve_pairs = {"eao": curve}
    elif kind == "multistart":
        (accuracy, robustness, *_), (eao,), (curve,) = found
        pairs, curve_pairs = {"accuracy": accuracy, "robustness": robustness, "eao": eao}, {"eao": curve}
    elif kind == "longterm":
        (precision, recall, f), (points, _), (f_curve, _) = found
        pairs = {"precision": precision, "recall": recall, "f": f}
        curve_pairs = {"recall": [p[0] for p in points], "precision": [p[1] for p in points], "f": f_curve}
    else:
        (quality,), (points,), (accuracy, robustness, _), (nre, dre, adq) = found
        pairs = {"quality": quality, "accuracy": accuracy, "robustness": robustness, "nre": nre, "dre": dre, "adq": adq}
        curve_pairs = {"quality": [y for _, y in points]}
    for name, value in pairs.items():
        expected = np.nan if value is None else value
        assert overall[name] == pytest.approx(expected, abs=TOLERANCE, nan_ok=True), name
    for name, values in curve_pairs.items():
        np.testing.assert_allclose(curves[name], np.array(values, dtype=float), atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_stored_numbers_of_the_toolkit(kind, tmp_path):
    stored = json.loads((FOLDER / f"{kind}.json").read_text())
    write_files(tmp_path, stored["files"])
    check(score(tmp_path, kind), kind, stored["results"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [11, 12])
def test_against_the_toolkit_itself(kind, seed, tmp_path, toolkit_python):
    files = experiment_files(kind, seed, sequences=4, trackers="AB")
    write_files(tmp_path, files)
    results = toolkit_analysis(toolkit_python, kind, files, "AB")
    for number, tracker in enumerate("AB"):
        check(score(tmp_path, kind, tracker), kind, results, number)


@pytest.fixture(scope="module")
def vot2019(unpacked, data_root):
    annotations = unpacked("vot2019/vot2019_annotations")
    results = unpacked("vot2019/results_Ocean") / "results"
    golden = json.loads((data_root / "golden.json").read_text())["vot2019"]["trackers"]
    return load_dataset("vot2019", root=annotations), results, golden


@pytest.mark.parametrize("tracker", ["Ocean", "Ocean_ckpt0323"])
def test_golden_pysot(vot2019, tracker):
    dataset, results, golden = vot2019
    scores, expected = evaluate(results / tracker, dataset, protocol="pysot"), golden[tracker]["pysot_toolkit"]
    names = {"EAO": "eao", "accuracy": "accuracy", "lost_number": "failures"}
    for name, own in names.items():
        assert scores.overall[own] == pytest.approx(expected[name], abs=1e-6), name
    # golden.json has it as a fraction of frames times 100, as papers print it
    assert scores.overall["robustness"] == pytest.approx(expected["robustness"], abs=1e-6)
    for tag, value in expected["EAO_by_tag"].items():
        assert scores.overall["eao" if tag == "all" else f"eao_{tag}"] == pytest.approx(value, abs=1e-6), tag
    for name, values in expected["per_sequence"].items():
        own = scores.sequences[name]
        accuracy = np.nan if values["accuracy"] is None else values["accuracy"]
        assert own["accuracy"] == pytest.approx(accuracy, abs=1e-6, nan_ok=True), name
        assert own["failures"] == values["lost"], name
        assert scores.counts[name]["robustness"] == values["frames"], name
    mean = np.nanmean([values["accuracy"] for values in scores.sequences.values()])
    assert mean == pytest.approx(expected["accuracy_mean_of_sequences"], abs=1e-6)
    cut = "fish1: 436 rows and 366 annotated frames cut to 366"
    assert scores.notes == ((cut,) if tracker == "Ocean" else ())


@pytest.mark.parametrize("tracker", ["Ocean", "Ocean_ckpt0323"])
def test_golden_pysot_with_exact_polygons(vot2019, tracker):
    dataset, results, golden = vot2019
    scores = evaluate(results / tracker, dataset, protocol="pysot[exact]")
    expected = golden[tracker]["pysot_code_with_exact_polygon_overlap"]
    names = {"EAO": "eao", "accuracy": "accuracy", "robustness": "robustness", "lost_number": "failures"}
    for name, own in names.items():
        assert scores.overall[own] == pytest.approx(expected[name], abs=1e-6), name


@pytest.mark.parametrize("tracker", ["Ocean", "Ocean_ckpt0323"])
def test_golden_vot_toolkit(vot2019, tracker):
    dataset, results, golden = vot2019
    scores, expected = evaluate(results / tracker, dataset), golden[tracker]["vot_toolkit_0_9_0"]
    assert scores.protocol == "vot"
    names = {
        "EAO": "eao",
        "accuracy_length_weighted": "accuracy",
        "failures_length_weighted_mean": "failures",
        "robustness_exp_sensitivity30": "robustness",
    }
    for name, own in names.items():
        assert scores.overall[own] == pytest.approx(expected[name], abs=1e-6), name
    assert scores.notes == (("fish1: 436 rows cut to 366",) if tracker == "Ocean" else ())
    assert len(scores.curves["eao"]) > 291


def test_processes_give_the_same(vot2019):
    dataset, results, _ = vot2019
    some = dataset.select(limit=4)
    alone, together = (evaluate(results / "Ocean", some, jobs=jobs) for jobs in (1, 2))
    assert alone.overall == together.overall
    assert alone.curves == together.curves


def test_attributes_weigh_alike_on_request(vot2019):
    dataset, results, _ = vot2019
    overall = evaluate(results / "Ocean", dataset, protocol="vot[by_attribute]").overall
    tags = [value for name, value in overall.items() if name.startswith("accuracy_")]
    assert len(tags) == 6
    assert overall["accuracy"] == pytest.approx(np.mean(tags))


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path, request):
    kind = request.param
    write_files(tmp_path, json.loads((FOLDER / f"{kind}.json").read_text())["files"])
    return tmp_path, kind


def result_file(root, pattern):
    return sorted((root / "results" / "A").rglob(pattern))[0]


@pytest.mark.parametrize("workspace", ["supervised", "longterm", "vots", "multistart"], indirect=True)
def test_short_results_are_named(workspace):
    root, kind = workspace
    path = result_file(root, "*_0*.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-3]))
    with pytest.raises(MissingDataError, match=f"{len(lines) - 3} of {len(lines)} rows"):
        score(root, kind)
    shutil.rmtree(path.parent)
    with pytest.raises(MissingDataError, match=path.parent.name):
        score(root, kind)


@pytest.mark.parametrize("workspace", ["supervised", "multistart", "vots"], indirect=True)
def test_long_results_are_cut_and_said_so(workspace):
    root, kind = workspace
    before = score(root, kind)
    path = result_file(root, "*_0*.txt")
    path.write_text(path.read_text() + "0\n0\n")
    after = score(root, kind)
    assert after.overall == before.overall
    assert len(after.notes) == 1
    assert "rows cut to" in after.notes[0]


@pytest.mark.parametrize("workspace", ["supervised"], indirect=True)
def test_damaged_results_name_file_and_line(workspace):
    root, kind = workspace
    path = result_file(root, "*_001.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:7], "1,2,x,4", *lines[8:]]))
    with pytest.raises(DataError, match=r"_001\.txt:8: expected numbers"):
        score(root, kind)
    path.write_text("\n".join(["0,0,5,5", "2", *lines[2:]]))
    with pytest.raises(DataError, match="expected a start"):
        score(root, kind)


@pytest.mark.parametrize("workspace", ["longterm"], indirect=True)
def test_confidences_must_be_there(workspace):
    root, kind = workspace
    path = result_file(root, "*_confidence.value")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], "sure", *lines[5:]]))
    with pytest.raises(DataError, match=r"confidence\.value:5: expected a number"):
        score(root, kind)
    path.write_text("\n".join(lines[:5]))
    with pytest.raises(MissingDataError, match="5 of"):
        score(root, kind)
    path.unlink()
    with pytest.raises(MissingDataError, match="confidence"):
        score(root, kind)


@pytest.mark.parametrize("workspace", ["multistart"], indirect=True)
def test_multistart_needs_anchors(workspace):
    root, kind = workspace
    for path in (root / "sequences").rglob("anchor.value"):
        path.unlink()
    with pytest.raises(DataError, match=r"expected anchor\.value"):
        score(root, kind)


@pytest.mark.parametrize("workspace", ["multistart"], indirect=True)
def test_pysot_knows_no_masks(workspace):
    root, kind = workspace
    for folder in (root / "results" / "A" / "baseline").iterdir():
        shutil.copy(next(folder.glob("*.txt")), folder / f"{folder.name}_001.txt")
    with pytest.raises(MismatchError, match="pysot knows no others"):
        score(root, kind, protocol="pysot")


def test_protocols_of_one_name_go_by_the_task():
    assert type(parse_protocol("pysot", task="region")) is not type(parse_protocol("pysot", task="box"))
    assert parse_protocol("pysot[exact]", task="region").label == "pysot[exact]"


def test_masks_become_boxes_where_the_truth_has_boxes():
    """As the numbers of DiDi were made: one pixel short, zeros for empty masks, and a start on the first frame."""
    image = np.zeros((10, 10), dtype=bool)
    image[2:6, 3:9] = True
    nothing = mask_region(np.zeros((1, 1), dtype=bool))
    result = Trajectory.of([mask_region(image), mask_region(image), nothing, Special(0)])
    truth = Trajectory.of([Rectangle(3, 2, 6, 4)] * 4)
    boxes = [Special(1), Rectangle(3, 2, 5, 3), Rectangle(0, 0, 0, 0), Special(0)]
    assert list(as_the_truth(result, truth)) == boxes
    assert as_the_truth(result, result) is result


def test_a_mask_one_pixel_wide_or_tall_is_no_box():
    """DiDi's authors convert such a mask to 0,0,0,0, since the toolkit takes it for empty."""
    image = np.zeros((20, 20), dtype=bool)
    image[5:9, 10] = True
    result = Trajectory.of([Special(1), mask_region(image), mask_region(image.T)])
    truth = Trajectory.of([Rectangle(5, 5, 10, 10)] * 3)
    assert list(as_the_truth(result, truth))[1:] == [Rectangle(0, 0, 0, 0)] * 2
    assert list(as_the_truth(result, truth, defects=False))[1:] == [Rectangle(10, 5, 0, 3), Rectangle(5, 10, 3, 0)]
    assert region_of_mask(image, "box", CodecOptions()) == Rectangle(0, 0, 0, 0)
    assert region_of_mask(image, "box", CodecOptions(box_from_mask="inclusive")) == Rectangle(10, 5, 1, 4)
