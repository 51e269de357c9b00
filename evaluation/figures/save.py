"""A figure as files: png, pdf, svg and tikz, the same bytes each time."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, ScalarFormatter

from mosam.errors import UnknownNameError
from mosam.evaluation.figures.style import STYLE
from mosam.evaluation.layouts import escape_latex
from mosam.system.files import write_bytes

# Dates and versions would make every file differ from the last.
_METADATA: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}

HALF_TEXT = 5.0  # matplot2tikz halves sizes of text; so a text of n points has n points in a document of 10
WIDTH_SHARE = 0.4  # of a line's width that matplot2tikz writes
# The style's sizes of text, in a document of 10 points.
_LOOK = (
    r"title style={font=\footnotesize}",
    r"label style={font=\footnotesize}",
    r"tick label style={font=\scriptsize}",
    r"legend style={font=\scriptsize}",
)


def save(
    figure: Figure, stem: str | os.PathLike[str], formats: Sequence[str] = ("png", "pdf", "svg", "tikz")
) -> list[Path]:
    r"""Write a figure, one file a format.

    Args:
        figure: of `FIGURES`.
        stem: path without ending; a dot in its name stays, a missing folder is made.
        formats: some of `FORMATS`. `tikz` is a `tikzpicture` to `\input` in LaTeX with pgfplots; pictures in it become
            files `<stem>-000.png` beside it.
    Returns:
        the files, in order.
    Raises:
        UnknownNameError: another format; nothing is written then.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownNameError("figure format", name, FORMATS)
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        with matplotlib.style.context(["default", dict(STYLE)]):
            write_bytes(path, FORMATS[name](figure, path))
        paths.append(path)
    return paths


def tikz_code(figure: Figure, *, standalone: bool = False, path: Path | None = None) -> str:
    """A figure with one pair of axes as a `tikzpicture` of pgfplots, its axes of the same size.

    Args:
        figure: of `FIGURES`.
        standalone: a whole document around it.
        path: of the file it is for; pictures in the figure are written beside it. None = the figure has none.
    """
    import matplot2tikz

    figure.draw_without_rendering()  # settles limits and ticks
    extent = figure.axes[0].get_window_extent()
    with _placeholders(figure) as texts, _exact_widths(figure):
        code = matplot2tikz.get_tikz_code(
            figure=figure,
            filepath=path,
            override_externals=True,
            axis_width=f"{extent.width / figure.dpi:.3f}in",
            axis_height=f"{extent.height / figure.dpi:.3f}in",
            textsize=HALF_TEXT,
            extra_axis_parameters=["scale only axis", *_LOOK, *_spines(figure.axes[0])],
            include_disclaimer=False,
            standalone=standalone,
        )
    if all(axes.get_legend() is None for axes in figure.axes):  # bars get entries all the same
        code = re.sub(r"^\\addlegend(image|entry).*\n", "", code, flags=re.MULTILINE)
    titles = [legend.get_title().get_text() for axes in figure.axes if (legend := axes.get_legend()) is not None]
    if any(titles):  # which matplot2tikz leaves out; pgfplots takes one as an entry without a line
        entry = f"\\addlegendimage{{empty legend}}\n\\addlegendentry{{{escape_latex(titles[0])}}}\n"
        code = re.sub(r"^\\add(plot|legendimage)", lambda found: entry + found[0], code, count=1, flags=re.MULTILINE)
    for token, text in texts.items():
        code = code.replace(token, f"{{{escape_latex(text)}}}")
    return code


def _spines(axes: Axes) -> list[str]:
    """Keys that leave out the axes' lines at the top and the right where the figure has none."""
    return ["axis x line*=bottom", "axis y line*=left"] if axes.axison and not axes.spines["top"].get_visible() else []


@contextmanager
def _exact_widths(figure: Figure) -> Iterator[None]:
    """Lines so much wider that matplot2tikz, which takes 0.4 of a width, writes the figure's own."""
    lines = [(artist, artist.get_linewidth()) for artist in figure.findobj(Line2D) if isinstance(artist, Line2D)]
    try:
        for line, width in lines:
            line.set_linewidth(width / WIDTH_SHARE)
        yield
    finally:
        for line, width in lines:
            line.set_linewidth(width)


@contextmanager
def _placeholders(figure: Figure) -> Iterator[dict[str, str]]:
    """Texts of a figure replaced by words of letters, since matplot2tikz escapes only some of them."""
    tokens: dict[str, str] = {}
    undo: list[Callable[[], object]] = []

    def token(text: str) -> str:
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(len(tokens)))
        tokens[name := f"Mosam{letters}X"] = text
        return name

    ticks = {
        id(label)
        for axes in figure.axes
        for label in (*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both"))
    }
    for artist in figure.findobj(Text):
        if isinstance(artist, Text) and artist.get_text() and id(artist) not in ticks:
            undo.append(_setter(artist.set_text, artist.get_text()))
            artist.set_text(token(artist.get_text()))
    for axes in figure.axes:
        for container in axes.containers:  # whose own label, not the legend's, is what bars go by
            if not (label := str(container.get_label())).startswith("_"):  # those with it are in no legend
                undo.append(_setter(container.set_label, label))
                container.set_label(token(label))
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if not isinstance(formatter, ScalarFormatter):  # names, not numbers
                labels = [token(label.get_text()) for label in axis.get_majorticklabels()]
                undo.append(_setter(axis.set_major_formatter, formatter))
                axis.set_major_formatter(FixedFormatter(labels))
    try:
        yield tokens
    finally:
        for restore in undo:
            restore()


def _setter(set_: Callable[[Any], object], value: Any) -> Callable[[], object]:
    return lambda: set_(value)


def _drawn(name: str) -> Callable[[Figure, Path], bytes]:
    def draw(figure: Figure, path: Path) -> bytes:
        out = io.BytesIO()
        figure.savefig(out, format=name, metadata=dict(_METADATA[name]))
        return out.getvalue()

    return draw


FORMATS: Mapping[str, Callable[[Figure, Path], bytes]] = {
    **{name: _drawn(name) for name in _METADATA},
    "tikz": lambda figure, path: (tikz_code(figure, path=path) + "\n").encode(),
}
