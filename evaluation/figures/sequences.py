"""Every sequence's number, sorted: where trackers differ, and how they fail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

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

NAMED = 60  # sequences whose names can be read below the axis


@figure("jf", title="J&F of each sequence", order=60)
def jf_plot(scores: Sequence[Scores]) -> Figure:
    """J&F of each sequence, in the order of the mean over trackers.

    See `sequence_plot`.

    Raises:
        MosamError: the scores do not go together, or hold no J&F.
    """
    if not any("jf_mean" in item.overall for item in scores):
        raise refuse("jf", "scores with J&F", scores)
    return _plot(scores, "jf_mean")


@figure("sequences", title="Each sequence, sorted", order=70)
def sequence_plot(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """The benchmark's main number for each sequence, the best sequence (in the mean over trackers) first.

    A gray line spans the trackers' numbers of a sequence; a cross at the bottom says that a tracker has none.

    Args:
        scores: of one dataset, split and protocol.
        metric: name of the number; None = the protocol's main one.
    Raises:
        MosamError: they do not go together.
    """
    return _plot(scores, main_value(scores, "sequences", metric))


def _plot(items: Sequence[Scores], value: str) -> Figure:
    column = column_of(value, items[0].protocol)
    scale = 100 if column.unit == "%" else 1
    names = list(dict.fromkeys(name for item in items for name in (*item.sequences, *item.missing)))
    numbers = np.array([[item.sequences.get(n, {}).get(value, math.nan) for n in names] for item in items]) * scale
    known = ~np.isnan(numbers)
    means = np.where(known, numbers, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    order = np.argsort(-means, kind="stable")
    named = len(names) <= NAMED
    made, axes = new_axes(width=2 * WIDTH, height=HEIGHT * (1.25 if named else 1))
    at = np.arange(len(names))
    spans = np.stack([np.fmin.reduce(numbers), np.fmax.reduce(numbers), np.full(len(names), np.nan)], axis=1)
    axes.plot(np.repeat(at, 3), spans[order].ravel(), color="0.8", linewidth=0.6)
    rows = {id(item): row[order] for item, row in zip(items, numbers, strict=True)}
    for item, look in ranked(items, value):
        row = rows[id(item)]
        axes.plot(
            at,
            row,
            color=look.color,
            linestyle="none",
            marker=look.marker,
            markersize=4 if named else 2,
            label=legend_label(item, column, value),
        )
        absent = np.flatnonzero(np.isnan(row))
        if absent.size:
            axes.plot(absent, np.zeros(len(absent)), color=look.color, linestyle="none", marker="x", markersize=4)
    axes.set(title=heading(items), ylabel=column.title, xlim=(-1, len(names)))
    if named:
        axes.set_xticks(at, [names[number] for number in order], rotation=90)
        axes.grid(axis="x", visible=False)
    else:
        axes.set_xlabel("Sequences, sorted by the mean over trackers")
    add_legend(axes, column.title)
    return made
