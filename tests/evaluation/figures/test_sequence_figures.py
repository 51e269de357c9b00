from __future__ import annotations

import re
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figure_cases import AWKWARD, SEQUENCE, SEQUENCE_KINDS, drifting, write_toy
from PIL import Image

from mosam.cli import run_command
from mosam.datasets.base import load_dataset
from mosam.errors import MissingDataError, MosamError, UnknownNameError
from mosam.evaluation.failures import Pick
from mosam.evaluation.figures import SEQUENCE_FIGURES, frame_strip, jf_time_plot, read_panels, save
from mosam.evaluation.figures.style import color
from mosam.evaluation.framewise import ObjectFrames, TrackedSequence, read_tracked


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("toy").select([SEQUENCE])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def items(root) -> list[TrackedSequence]:
    return drifting(root)[1]


@pytest.fixture(scope="module")
def folders(root, items) -> list[Path]:
    return [root / "perfect", root / "drift"]


def lines(figure) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines() if line.get_label()[0] != "_"}


def make_boxes(name: str, values) -> TrackedSequence:
    iou = np.array(values, dtype=np.float64)
    shown, nothing = ~np.isnan(iou), np.full(len(iou), np.nan)
    item = ObjectFrames(1, "", 0, np.arange(len(iou)), shown, shown, iou, nothing, nothing, np.zeros(len(iou), bool))
    return TrackedSequence(name, None, Path(name), (item,), lambda frame: {1: np.array([10.0, 20, 30, 40])})


def test_a_figure_gets_what_it_takes(items, dataset):
    assert SEQUENCE_FIGURES["jf-time"].takes == {"title", "items", "object_id"}
    assert {"sequence", "title", "picks", "captions"} < SEQUENCE_FIGURES["frames"].takes
    figure = SEQUENCE_FIGURES["jf-time"](dataset[SEQUENCE], items, title="above", picks=[Pick(0)])
    assert figure.axes[0].get_title() == "above"


def test_time_shows_each_frame_and_shades_absence(items):
    figure = jf_time_plot("toy", items)
    shown = lines(figure)
    [truth] = items[0].objects
    assert list(shown) == ["perfect [100.0]", next(label for label in shown if label.startswith("drift"))]
    for item, label in zip(items, shown, strict=True):
        assert shown[label][:, 0].tolist() == truth.frames.tolist()
        assert shown[label][:, 1] == pytest.approx(100 * item.objects[0].quality)
    gone = truth.frames[~truth.visible]
    shaded = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in figure.axes[0].patches]
    assert gone.size
    assert {t for low, high in shaded for t in range(len(truth.frames)) if low < t < high} == set(gone.tolist())
    [cross] = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert cross.get_color() == color("drift")


def test_time_of_boxes_has_gaps():
    figure = jf_time_plot("lasot", [make_boxes("ATOM", [1, 0.5, np.nan, 0.25])])
    [(label, line)] = lines(figure).items()
    assert label == "ATOM [58.3]"
    assert np.isnan(line[2, 1])
    assert figure.axes[0].get_ylabel() == "Overlap [%]"


def test_time_of_one_object(dataset, tmp_path):
    late = load_dataset("toy").select(["late-1"])
    write_toy(tmp_path / "x", late)
    item = read_tracked(tmp_path / "x", late, "late-1")
    second = next(one for one in item.objects if one.object_id == 2)
    [line] = lines(jf_time_plot("toy", [item], object_id=2)).values()
    assert line[0, 0] == second.start > 0
    [both] = lines(jf_time_plot("toy", [item])).values()
    assert both[0, 0] == 0
    with pytest.raises(UnknownNameError, match="unknown object '7'"):
        jf_time_plot("toy", [item], object_id=7)


def test_strip_shows_the_frames_it_found(items, dataset):
    figure = frame_strip(dataset[SEQUENCE], items)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"perfect", "drift", "ground truth", "largest disagreement", "start", SEQUENCE} <= set(texts)
    assert any(text.startswith("first loss: drift") for text in texts)
    assert sum(text.startswith("frame ") for text in texts) == 6
    assert len(figure.axes[0].images) == 1


def test_panels_hold_frame_annotation_and_results(items, dataset):
    sequence = dataset[SEQUENCE]
    [panel] = read_panels(sequence, items, [Pick(6)], pixels=80)
    height, width = sequence.size
    assert panel.image.shape == (round(height * 80 / width), 80, 3)
    assert (panel.truth[1] == sequence.truth.read(6)[1]).all()
    assert (panel.said[0][1] == panel.truth[1]).all()
    assert not (panel.said[1][1] == panel.truth[1]).all()


def test_masks_are_tinted_where_they_are(items, dataset):
    sequence = dataset[SEQUENCE]
    width = sequence.size[1]
    strip = frame_strip(sequence, items[:1], picks=[Pick(0)], pixels=width)
    shown, frame = strip.axes[0].images[0].get_array(), sequence.source.read(0) / 255
    changed = np.abs(shown - frame).max(axis=2) > 1e-6
    mask = sequence.truth.read(0)[1]
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.99


def test_boxes_of_all_trackers_share_a_row(dataset):
    boxes = [make_boxes("ATOM", [1.0, 0.5]), make_boxes("SiamRPN++", [1.0, 0.4])]
    figure = frame_strip(dataset[SEQUENCE], boxes, picks=[Pick(0), Pick(1)])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"ATOM", "SiamRPN++", "numbers: overlap [%]", "50", "40"} <= set(texts)
    colors = {line.get_color() for line in figure.axes[0].get_lines()}
    assert {color("ATOM"), color("SiamRPN++")} <= colors


@pytest.mark.parametrize("kind", SEQUENCE_KINDS)
def test_four_formats(kind, items, dataset, tmp_path):
    named = [replace(items[0], tracker=AWKWARD), items[1]]
    paths = save(SEQUENCE_FIGURES[kind](dataset[SEQUENCE], named, title="toy"), tmp_path / "v1.2-x")
    assert [path.suffix for path in paths] == [".png", ".pdf", ".svg", ".tikz"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert AWKWARD in "".join(xml.etree.ElementTree.fromstring(paths[2].read_bytes()).itertext())
    code = paths[3].read_text()
    assert r"a\_b \& 50\% \$x" in code
    pictures = re.findall(r"\{(v1\.2-x-\d+\.png)\}", code)
    assert len(pictures) == ("picks" in SEQUENCE_FIGURES[kind].takes)
    for name in pictures:
        assert Image.open(tmp_path / name).size[0] > 1000
    again = SEQUENCE_FIGURES[kind](dataset[SEQUENCE], named, title="toy")
    assert save(again, tmp_path / "v1.2-x")[3].read_text() == code


def test_what_cannot_be_drawn(items, dataset):
    with pytest.raises(MosamError, match="figure frames: expected results of at least one tracker, got none"):
        frame_strip(dataset[SEQUENCE], [])
    with pytest.raises(MosamError, match=f"{SEQUENCE}: expected a frame from 0 to "):
        frame_strip(dataset[SEQUENCE], items, picks=[Pick(5000)])
    with pytest.raises(MissingDataError, match="expected its frames, found the annotation only"):
        frame_strip(replace(dataset[SEQUENCE], source=()), items)


def test_command(folders, tmp_path, capsys):
    words = ["--dataset", "toy", "--sequence", SEQUENCE, "--out", str(tmp_path / "f"), "--format", "png"]
    assert run_command(["plot", "frames", *map(str, folders), *words, "--frames", "0,9"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "f.png")]
    assert run_command(["plot", "jf-time", str(folders[0].parent), *words, "--rows", "drift"]) == 0
    capsys.readouterr()
    for changed, message in [
        (["plot", "frames", str(folders[0]), *words[2:]], "expected --dataset, since"),
        (
            ["plot", "frames", str(folders[0]), *words[:2], *words[4:]],
            "figure frames: expected --sequence, got none; one of",
        ),
        (["plot", "frames", str(folders[0]), *words, "--frames", "a"], "--frames: expected numbers from 0 on"),
        (["plot", "frames", str(folders[0]), *words, "--rows", "x"], "unknown row 'x'"),
        (["plot", "frames", str(folders[0]), *words, "--log"], "expected the per-frame log, found none"),
        (["plot", "frames", str(tmp_path / "gone"), *words], "expected folders of raw results"),
    ]:
        assert run_command(changed) == 2
        assert message in capsys.readouterr().err


def test_all_draws_what_the_scores_allow(tmp_path, capsys, dataset):
    drifting(tmp_path / "runs")
    assert run_command(["score", "toy", "--results", str(tmp_path / "runs"), "--sequences", SEQUENCE, "--jobs", "1",
                        "--json", str(tmp_path / "all.json")]) == 0  # fmt: skip
    capsys.readouterr()
    words = ["plot", "all", str(tmp_path / "all.json"), "--out", str(tmp_path / "x"), "--format", "svg"]
    assert run_command(words) == 0
    shown = capsys.readouterr()
    drawn = {Path(line).stem.removeprefix("x-") for line in shown.out.splitlines()}
    assert drawn >= {
        "ablation", "attribute-bars", "attributes", "jf", "norm-precision", "precision", "sequences", "speed",
        "success",
    }  # fmt: skip
    assert not drawn & {"eao", "ar", "eao-ar"}
    assert "left out: figure eao: expected scores with the curve eao, got none of toy under toy" in shown.err
