"""Speed against the benchmark's number: what a better number costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from mosam.evaluation.columns import SPEED
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
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, tracker_name

TICKS = [step * 10.0**power for power in range(-3, 5) for step in (1, 2, 5)]


@figure("speed", title="Speed against accuracy", order=80)
def speed_plot(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """The benchmark's main number by frames per second, on a logarithmic axis; trackers without times are named below.

    Args:
        scores: of one dataset, split and protocol.
        metric: name of the number; None = the protocol's main one.
    Raises:
        MosamError: they do not go together, or none was timed.
    """
    timed = [item for item in scores if item.overall.get("fps", 0) > 0]
    if not timed:
        raise refuse("speed", "results with times", scores)
    value = main_value(timed, "speed", metric)
    column = column_of(value, timed[0].protocol)
    scale = 100 if column.unit == "%" else 1
    made, axes = new_axes()
    for item, look in ranked(timed, value):
        axes.plot(
            [item.overall["fps"]],
            [item.overall.get(value, math.nan) * scale],
            color=look.color,
            linestyle="none",
            marker=look.marker,
            label=legend_label(item, column, value),
        )
    axes.set_xscale("log")
    speeds = [item.overall["fps"] for item in timed]
    axes.set_xlim(min(speeds) / 2, max(speeds) * 2)
    ticks = [tick for tick in TICKS if min(speeds) / 2 <= tick <= max(speeds) * 2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(y=0.2)
    untimed = [tracker_name(item) for item in scores if item not in timed]
    below = f"\nwithout times: {', '.join(untimed)}" if untimed else ""
    axes.set(title=heading(timed), xlabel=SPEED.title + below, ylabel=column.title)
    add_legend(axes, column.title)
    return made
