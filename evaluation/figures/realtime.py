"""Quality against the frame rate that is demanded: which tracker is best for whom must keep a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from mosam.evaluation.figures.base import add_legend, figure, heading, main_value, new_axes, refuse
from mosam.evaluation.figures.speed import TICKS
from mosam.evaluation.figures.style import looks
from mosam.evaluation.realtime import rate_of, without_rate
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, require_comparable, tracker_name


@figure("realtime", title="Quality against frame rate", order=85, same=False)
def realtime_plot(scores: Sequence[Scores], metric: str | None = None) -> Figure:
    """The benchmark's main number by the frame rate demanded, on a logarithmic axis; a line for each tracker.

    Args:
        scores: of one dataset and split, scored by one protocol with `--realtime` at several rates.
        metric: name of the number; None = the protocol's main one.
    Raises:
        MosamError: they do not go together, or are of less than two rates.
    """
    require_comparable(map(_unrated, scores), where="figure realtime")
    rated = [(rate, _unrated(item)) for item in scores if (rate := rate_of(item.protocol)) is not None]
    rates = sorted({rate for rate, _ in rated})
    if len(rates) < 2:
        raise refuse("realtime", "scores at several rates, as of --realtime 5,10,20", scores)
    items = [item for _, item in rated]
    value = main_value(items, "realtime", metric)
    column = column_of(value, items[0].protocol)
    scale = 100 if column.unit == "%" else 1
    trackers = {tracker_name(item): item.tracker for item in sorted(items, key=tracker_name)}
    made, axes = new_axes()
    for name, look in zip(trackers, looks(list(trackers.values())), strict=True):
        points = sorted((rate, item.overall[value] * scale) for rate, item in rated if tracker_name(item) == name)
        along, up = zip(*points, strict=True)
        axes.plot(along, up, color=look.color, linestyle=look.dashes, marker=look.marker, label=name)
    axes.set_xscale("log")
    axes.set_xlim(rates[0] / 1.5, rates[-1] * 1.5)
    ticks = [tick for tick in TICKS if rates[0] / 1.5 <= tick <= rates[-1] * 1.5]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(y=0.2)
    axes.set(title=heading(items), xlabel="Frame rate demanded [frames/s]", ylabel=column.title)
    add_legend(axes, "")
    return made


def _unrated(item: Scores) -> Scores:
    return replace(item, protocol=without_rate(item.protocol))
