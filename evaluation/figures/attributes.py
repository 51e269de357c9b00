"""A benchmark's number by attribute: as a radar, and as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mosam.evaluation.figures.base import (
    add_legend,
    figure,
    heading,
    legend_label,
    main_value,
    new_axes,
    ranked,
    refuse,
)
from mosam.evaluation.figures.style import HEIGHT, WIDTH
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of

TITLE = 0.25  # inches
SPOKES = 3  # a radar of fewer attributes has no area


@figure("attributes", title="By attribute", order=40)
def attribute_radar(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """The benchmark's main number over the sequences with each attribute, one spoke per attribute.

    Drawn on plain axes, so that it can be written as tikz. Values the scores do not define leave a gap.

    Args:
        scores: of one dataset, split and protocol.
        metric: name of the number; None = the protocol's main one.
    Raises:
        MosamError: they do not go together, or have fewer than three attributes.
    """
    names, value = _attributes("attributes", scores, metric)
    if len(names) < SPOKES:
        raise refuse("attributes", f"at least {SPOKES} attributes (attribute-bars shows fewer)", scores)
    column = column_of(value, scores[0].protocol)
    scale = 100 if column.unit == "%" else 1
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(names) + 1) / len(names)  # clockwise from the top, closed
    spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    made, axes = new_axes()
    rim = _round_up(scale * np.nanmax([_values(item, names, value) for item in scores]))
    between = (spokes[0] + spokes[-2]) / 2  # where no spoke and no name is
    for ring in np.linspace(0, rim, 5)[1:]:
        axes.plot(*(spokes * ring).T, color="0.85", linewidth=0.5)
        axes.text(between[0] * ring, between[1] * ring, f"{ring:g}", color="0.4", fontsize=6, ha="center", va="center")
    for name, spoke in zip(names, spokes, strict=False):
        axes.plot([0, spoke[0] * rim], [0, spoke[1] * rim], color="0.85", linewidth=0.5)
        side = "center" if abs(spoke[0]) < 0.2 else "left" if spoke[0] > 0 else "right"
        axes.text(spoke[0] * rim * 1.07, spoke[1] * rim * 1.07, name, fontsize=7, ha=side, va="center")
    for item, look in ranked(scores, value):
        shown = scale * _values(item, [*names, names[0]], value)
        axes.plot(
            *(spokes * shown[:, None]).T,
            color=look.color,
            linestyle=look.dashes,
            linewidth=1.2,
            label=legend_label(item, column, value),
        )
    # sized by hand, so that it is round: radius 1, and room for the names at the sides
    across, along = 1.25 + 0.06 * max(map(len, names)), 1.2
    axes.set(title=heading(scores), xlim=(-across * rim, across * rim), ylim=(-along * rim, along * rim))
    axes.axis("off")
    beside = add_legend(axes, column.title)
    made.set_layout_engine("none")
    width = (HEIGHT - TITLE) * across / along
    made.set_size_inches(width + beside, HEIGHT)
    axes.set_position((0, 0, width / (width + beside), 1 - TITLE / HEIGHT))
    return made


@figure("attribute-bars", title="By attribute, as bars", order=50)
def attribute_bars(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """As `attributes`, but one group of bars per attribute; any number of attributes."""
    names, value = _attributes("attribute-bars", scores, metric)
    column = column_of(value, scores[0].protocol)
    pairs = ranked(scores, value)
    width = max(WIDTH, 0.25 * len(names) * (1 + 0.3 * len(pairs)))
    made, axes = new_axes(width=width)
    thickness = 0.8 / len(pairs)
    for number, (item, look) in enumerate(pairs):
        shown = _values(item, names, value) * (100 if column.unit == "%" else 1)
        at = np.arange(len(names)) + (number - (len(pairs) - 1) / 2) * thickness
        known = ~np.isnan(shown)  # pgfplots cannot draw the others
        axes.bar(at[known], shown[known], thickness, color=look.color, label=legend_label(item, column, value))
    axes.set_xticks(np.arange(len(names)), names, rotation=90 if max(map(len, names)) > 4 else 0)
    axes.grid(axis="x", visible=False)
    axes.set(title=heading(scores), ylabel=column.title)
    add_legend(axes, column.title)
    return made


def _attributes(kind: str, items: Sequence[Scores], metric: str | None) -> tuple[list[str], str]:
    """Attributes of any tracker, and the number to show."""
    names = sorted({name for item in items for name in item.attributes})
    value = main_value(items, kind, metric)
    defined = [name for name in names if not all(math.isnan(v) for v in _any(items, name, value))]
    if not defined:
        raise refuse(kind, "sequences with attributes", items)
    return defined, value


def _any(items: Sequence[Scores], name: str, value: str) -> list[float]:
    return [item.attributes.get(name, {}).get(value, math.nan) for item in items]


def _values(item: Scores, names: Sequence[str], value: str) -> NDArray[np.float64]:
    return np.array([item.attributes.get(name, {}).get(value, math.nan) for name in names])


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((step * power for step in (1, 2, 4, 6, 8) if step * power >= value), 10 * power)
