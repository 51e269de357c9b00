"""Every figure's tikz in a LaTeX document: it compiles, and the page shows what the png shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from figure_cases import AWKWARD, KINDS, SEQUENCE_KINDS, TWO, drifting, make_scores
from latex import documented_preamble, page_pixels, page_text, require_latex, typeset
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES, save
from mosam.evaluation.figures.ablation import OPACITY
from mosam.evaluation.figures.save import tikz_code
from mosam.evaluation.figures.style import STYLE, color
from mosam.evaluation.realtime import RealTime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
DPI = 100
CELLS = 24  # of the coarse picture, on its longer side
PAIR = ("mosam", "samurai")  # whose colors lie far apart
TRACKERS = ("ATOM", "SiamRPN++", AWKWARD, "mosam")


def draw(kind: str, runs: Path) -> Figure:
    if kind in SEQUENCE_KINDS:
        sequence, items = drifting(runs)
        items = [replace(item, tracker=name) for item, name in zip(items, PAIR, strict=True)]
        return SEQUENCE_FIGURES[kind](sequence, items, title="toy")
    scores = [*TWO, make_scores(AWKWARD, 0.1), make_scores("mosam", -0.05)]
    if kind == "realtime":
        scores = [replace(item, protocol=RealTime(rate, 0).mark(item.protocol)) for item in scores for rate in (5, 20)]
    return FIGURES[kind](scores)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, tuple[Figure, Path, int]]:
    """Each kind's figure and the page of one document that shows it; the next is without legend, where it has one."""
    require_latex("pgfplots.sty", "standalone.cls")
    folder = tmp_path_factory.mktemp("tex")
    found, inputs = {}, []
    for kind in (*KINDS, *SEQUENCE_KINDS):
        figure = draw(kind, folder / "runs")
        save(figure, folder / kind, ["tikz"])
        legend = figure.axes[0].get_legend()
        inputs.append(f"\\input{{{kind}.tikz}}")
        found[kind] = (figure, len(inputs))
        if legend is not None:
            legend.remove()
            save(figure, folder / f"{kind}-bare", ["tikz"])
            inputs.append(f"\\input{{{kind}-bare.tikz}}")
    head = "\\documentclass[multi=tikzpicture]{standalone}\n" + documented_preamble()
    pdf = typeset(folder, head + "\\begin{document}\n" + "\n".join(inputs) + "\n\\end{document}\n")
    return {kind: (figure, pdf, page) for kind, (figure, page) in found.items()}


def png_pixels(figure: Figure, folder: Path) -> np.ndarray:
    """The figure's png as uint8 (H, W, 3), as large as a page of it."""
    [path] = save(figure, folder / "drawn", ["png"])
    image = Image.open(path).convert("RGB")
    size = tuple(round(side * DPI / STYLE["savefig.dpi"]) for side in image.size)
    return np.array(image.resize(size, Image.Resampling.BOX))


def where(pixels: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels nearer to a color than to white or gray, by direction from white."""
    missing, wanted = 255.0 - pixels, 255.0 * (1 - rgb)
    size = np.linalg.norm(missing, axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (missing @ wanted) / (size * np.linalg.norm(wanted))
    return (size > 40) & (cosine > 0.985)


def coarse(masks: list[np.ndarray], least: float = 0.01) -> list[np.ndarray]:
    """Masks cut to what any of them shows, as cells of which at least some share is of it."""
    rows, columns = np.nonzero(np.logical_or.reduce(masks))
    cut = [mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] for mask in masks]
    height, width = cut[0].shape
    scale = CELLS / max(height, width)
    shape = (max(2, round(width * scale)), max(2, round(height * scale)))
    return [cv2.resize(mask.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > least for mask in cut]


def covered(a: np.ndarray, b: np.ndarray) -> float:
    """Share of a's cells that b has too, or has beside them."""
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    near = cv2.dilate(b.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    a, near = a[:height, :width], near[:height, :width]
    return float((a & near).sum() / max(1, a.sum()))


@pytest.mark.parametrize("kind", [*KINDS, *SEQUENCE_KINDS])
def test_the_page_says_what_the_figure_says(pages, kind):
    _, pdf, page = pages[kind]
    text = re.sub("[ ˆ˜]", "", page_text(pdf, page))
    figure = draw(kind, pdf.parent / "runs")
    axes = figure.axes[0]
    legend = axes.get_legend()
    wanted = [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(item.get_text() for item in axes.texts)]
    wanted += (
        [] if legend is None else [item.get_text() for item in legend.get_texts()] + [legend.get_title().get_text()]
    )
    for one in wanted:
        for words in one.split("\n"):
            # accents that LaTeX sets as signs of their own come out of a PDF as other characters
            plain = re.sub(r"[~^\\]", "", words).replace(" ", "")
            assert all(part in text for part in re.split(r"[<>_${}]", plain)), words


@pytest.mark.parametrize("kind", [*KINDS, "jf-time"])
def test_the_page_shows_what_the_png_shows(pages, kind):
    figure, pdf, page = pages[kind]
    drawn, typeset_page = png_pixels(figure, pdf.parent), page_pixels(pdf, page + (kind != "ablation"), DPI)
    names = PAIR if kind == "jf-time" else TRACKERS
    colors = [np.array(to_rgb(color(name))) for name in names]
    if kind == "ablation":
        colors = [1 - OPACITY * (1 - rgb) for rgb in colors]
    # where two bars touch, a blend of their colors may look like a third: a line one pixel wide is none of a bar
    least = 0.05 if kind == "attribute-bars" else 0.01
    one = coarse([where(drawn, rgb) for rgb in colors], least)
    other = coarse([where(typeset_page, rgb) for rgb in colors], least)
    for name, a, b in zip(names, one, other, strict=True):
        assert a.any(), name
        assert covered(a, b) > 0.85, name
        assert covered(b, a) > 0.85, name


@pytest.mark.parametrize(("kind", "gray"), [("eao", 0.93), ("jf-time", 0.72)])
def test_shaded_stretches_are_on_the_page(pages, kind, gray):
    figure, pdf, page = pages[kind]
    shares = []
    for pixels in (png_pixels(figure, pdf.parent), page_pixels(pdf, page + 1, DPI)):
        rows = (np.abs(pixels.astype(int) - round(255 * gray)) <= 2).all(axis=2)
        shares.append(rows.sum() / DPI**2)  # square inches
    assert shares[0] > 0.05
    assert shares[1] == pytest.approx(shares[0], rel=0.25)  # in LaTeX the grid is below


def test_the_strip_on_the_page_is_the_strip(pages):
    figure, pdf, page = pages["frames"]
    pictures = [png_pixels(figure, pdf.parent), page_pixels(pdf, page, DPI)]
    small = []
    for pixels in pictures:
        colored = np.ptp(pixels, axis=2) > 30
        rows, columns = np.nonzero(colored)
        cut = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        small.append(cv2.resize(cut, (96, 32), interpolation=cv2.INTER_AREA).astype(float))
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.95
    assert pictures[0].shape[1] == pytest.approx(pictures[1].shape[1], rel=0.03)


def test_a_document_of_its_own_compiles(tmp_path):
    require_latex("pgfplots.sty", "standalone.cls")
    assert typeset(tmp_path, tikz_code(FIGURES["success"](TWO), standalone=True)).stat().st_size > 1000
