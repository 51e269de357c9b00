"""Bars with intervals, one a variant: what each part of a tracker brings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from mosam.evaluation.figures.base import figure, heading, main_value, new_axes
from mosam.evaluation.figures.style import color
from mosam.evaluation.intervals import interval
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, tracker_name

OPACITY = 0.6  # of a bar, so that its interval shows on it


@figure("ablation", title="Main number with intervals", order=110)
def ablation_plot(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """The benchmark's main number of each tracker, in the order given, with its 95 % interval over sequences.

    The dashed line is the first one's number. A number without an interval (see `intervals.interval`) has none here.

    Args:
        scores: of one dataset, split and protocol.
        metric: name of the number; None = the protocol's main one.
    Raises:
        MosamError: they do not go together.
    """
    value = main_value(scores, "ablation", metric)
    column = column_of(value, scores[0].protocol)
    scale = 100 if column.unit == "%" else 1
    made, axes = new_axes(height=0.8 + 0.28 * len(scores))
    names = [tracker_name(item) + (f" ({item.coverage})" if item.coverage else "") for item in scores]
    for row, item in enumerate(scores):
        number = item.overall.get(value, math.nan)
        if math.isnan(number):
            continue
        axes.barh(row, number * scale, height=0.65, color=color(item.tracker), alpha=OPACITY)
        found = interval(item, value)
        if found is not None:
            axes.plot([found.low * scale, found.high * scale], [row, row], color="0.15", linewidth=1.2)
        end = max(number, found.high if found else number)
        axes.text(end * scale, row, f"  {column.show(number)}", ha="left", va="center", fontsize=7)
    base = scores[0].overall.get(value, math.nan)
    if not math.isnan(base):
        axes.axvline(base * scale, color="0.3", linewidth=0.7, linestyle="--")
    axes.set_yticks(range(len(scores)), names)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.3)  # for the numbers at the ends
    axes.set_xlim(left=0)
    axes.set(title=heading(scores), xlabel=column.title)
    return made
