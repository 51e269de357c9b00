"""The plots of the VOT challenges: expected average overlap by length, and accuracy against robustness."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mosam.evaluation.figures.base import add_legend, figure, heading, legend_label, new_axes, ranked, refuse, shade
from mosam.evaluation.metrics.eao import INTERVALS, TOY_INTERVAL
from mosam.evaluation.metrics.supervised import reliability
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of

PER_FRAMES = 100  # pysot's robustness is failures in so many frames


@figure("eao", title="Expected average overlap", order=90)
def eao_plot(scores: Sequence[Scores]) -> Figure:
    """Expected average overlap by length of the sequence; the lengths that the challenge averages are shaded.

    Args:
        scores: of one dataset, split and protocol.
    Raises:
        MosamError: they do not go together, or hold no such curve.
    """
    if not any("eao" in item.curves for item in scores):
        raise refuse("eao", "scores with the curve eao", scores)
    made, axes = new_axes()
    column = column_of("eao", scores[0].protocol)
    interval = _interval(scores[0].dataset)
    if interval is not None:
        shade(axes, *interval, "0.93", along=(0, 1))
    for item, look in ranked(scores, "eao"):
        curve = np.array(item.curves.get("eao", ()))[1:]  # the first frame, the start, means nothing
        lengths = np.arange(1, len(curve) + 1)
        axes.plot(lengths, curve, color=look.color, linestyle=look.dashes, label=legend_label(item, column, "eao"))
    axes.set(title=heading(scores), xlabel="Sequence length [frames]", ylabel="Expected overlap")
    axes.set(ylim=(0, 1), xlim=(1, max(len(item.curves.get("eao", ())) for item in scores)))
    add_legend(axes, column.title, loc="upper right")
    return made


@figure("ar", title="Accuracy and robustness", order=100)
def ar_plot(scores: Sequence[Scores]) -> Figure:
    """Accuracy against robustness: better is further up and to the right (pysot's robustness runs backwards).

    Trackers are ranked by expected average overlap where the scores have it, else by accuracy.

    Args:
        scores: of one dataset, split and protocol.
    Raises:
        MosamError: they do not go together, or hold no accuracy and robustness.
    """
    if not any({"accuracy", "robustness"} <= item.overall.keys() for item in scores):
        raise refuse("ar", "scores with accuracy and robustness", scores)
    value = next((name for name in ("eao", "quality") if any(name in i.overall for i in scores)), "accuracy")
    across, along = (column_of(name, scores[0].protocol) for name in ("robustness", "accuracy"))
    column = column_of(value, scores[0].protocol)
    made, axes = new_axes()
    for item, look in ranked(scores, value):
        axes.plot(
            [item.overall.get("robustness", np.nan)],
            [item.overall.get("accuracy", np.nan)],
            color=look.color,
            linestyle="none",
            marker=look.marker,
            label=legend_label(item, column, value),
        )
    axes.margins(0.3)
    if across.lower:
        axes.invert_xaxis()
    axes.set(title=heading(scores), xlabel=across.title, ylabel=along.title)
    add_legend(axes, column.title)
    return made


@figure("eao-ar", title="EAO against accuracy and robustness", order=120)
def eao_ar_plot(scores: Sequence[Scores]) -> Figure:
    """Expected average overlap against accuracy (filled) and robustness (open), a line joining a tracker's two.

    It shows which of the two the ranking follows. The robustness of `pysot`, failures in 100 frames, is shown as the
    probability of 30 frames without one, as the VOT toolkit has it.

    Args:
        scores: of one dataset, split and protocol.
    Raises:
        MosamError: they do not go together, or hold no EAO, accuracy and robustness.
    """
    if not any({"eao", "accuracy", "robustness"} <= item.overall.keys() for item in scores):
        raise refuse("eao-ar", "scores with eao, accuracy and robustness", scores)
    made, axes = new_axes()
    column, backwards = column_of("eao", scores[0].protocol), column_of("robustness", scores[0].protocol).lower
    for item, look in ranked(scores, "eao"):
        height, accuracy, robustness = (item.overall.get(name, np.nan) for name in ("eao", "accuracy", "robustness"))
        if backwards:
            robustness = reliability(robustness, PER_FRAMES)
        axes.plot([accuracy, robustness], [height, height], color=look.color, linewidth=0.8, linestyle=look.dashes)
        label = legend_label(item, column, "eao")
        axes.plot([accuracy], [height], color=look.color, linestyle="none", marker=look.marker, label=label)
        axes.plot(
            [robustness],
            [height],
            color=look.color,
            linestyle="none",
            marker=look.marker,
            markerfacecolor="white",
        )
    axes.margins(0.12, 0.2)
    axes.set(title=heading(scores), xlabel="Accuracy (filled), robustness (open)", ylabel="Expected average overlap")
    add_legend(axes, column.title)
    return made


def _interval(dataset: str) -> tuple[int, int] | None:
    """The lengths a challenge averages, by the year in the benchmark's name; those of the generated benchmark."""
    if dataset == "toy":
        return TOY_INTERVAL
    year = re.match(r"vot(\d{4})", dataset)
    return INTERVALS.get(int(year[1])) if year else None
