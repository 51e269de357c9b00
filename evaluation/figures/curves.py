"""Success, precision and normalized precision: mean curves of one-pass evaluation, ranked in the legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mosam.evaluation.figures.base import Corner, add_legend, figure, heading, legend_label, new_axes, ranked, refuse
from mosam.evaluation.metrics.precision import NORM_PRECISION_THRESHOLDS, PRECISION_THRESHOLDS
from mosam.evaluation.metrics.success import SUCCESS_THRESHOLDS
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of


@figure("success", title="Success by overlap threshold", order=10)
def success_plot(scores: Sequence[Scores]) -> Figure:
    """Share of frames by overlap threshold, ranked by the area under the curve (AO under GOT-10k).

    Args:
        scores: of one dataset, split and protocol.
    Raises:
        MosamError: they do not go together, or hold no such curve.
    """
    names = ("success_auc", "ao")
    return _plot("success", scores, names, SUCCESS_THRESHOLDS, "Overlap threshold", "Success [%]", "lower left")


@figure("precision", title="Precision by center error", order=20)
def precision_plot(scores: Sequence[Scores]) -> Figure:
    """Share of frames by center error in pixels, ranked by the value at 20 pixels.

    See `success_plot`.
    """
    label = "Center error threshold [pixels]"
    return _plot("precision", scores, ("precision",), PRECISION_THRESHOLDS, label, "Precision [%]", "lower right")


@figure("norm-precision", title="Normalized precision by center error", order=30)
def norm_precision_plot(scores: Sequence[Scores]) -> Figure:
    """Share of frames by center error in sizes of the object, ranked by the value at 0.2.

    See `success_plot`.
    """
    label, along = "Center error threshold [object sizes]", "Normalized precision [%]"
    thresholds = NORM_PRECISION_THRESHOLDS
    return _plot("norm_precision", scores, ("norm_precision",), thresholds, label, along, "lower right")


def _plot(
    curve: str,
    items: Sequence[Scores],
    values: Sequence[str],
    thresholds: np.ndarray,
    across: str,
    along: str,
    loc: Corner,
) -> Figure:
    # the curve of this name in VOT's long-term challenge runs over confidences
    if not any(curve in item.curves and "recall" not in item.curves for item in items):
        raise refuse(curve.replace("_", "-"), f"scores with the curve {curve}", items)
    value = next((name for name in values if any(name in item.overall for item in items)), values[0])
    column = column_of(value, items[0].protocol)
    made, axes = new_axes()
    for item, look in ranked(items, value):
        shown = 100 * np.array(item.curves.get(curve, np.full(len(thresholds), np.nan)))
        # other numbers of thresholds (TrackingNet's 21) are spread over the same range
        at = np.linspace(thresholds[0], thresholds[-1], len(shown))
        axes.plot(at, shown, color=look.color, linestyle=look.dashes, label=legend_label(item, column, value))
    axes.set(xlabel=across, ylabel=along, title=heading(items), ylim=(0, 100), xlim=(thresholds[0], thresholds[-1]))
    add_legend(axes, column.title, loc=loc)
    return made
