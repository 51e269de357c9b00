"""Figures of scores: `FIGURES[kind](scores)` gives a matplotlib Figure, `save` writes it. Needs no screen."""

from mosam.evaluation.figures.base import FIGURES
from mosam.evaluation.figures.curves import norm_precision_plot, precision_plot, success_plot
from mosam.evaluation.figures.save import FORMATS, save

__all__ = ["FIGURES", "FORMATS", "norm_precision_plot", "precision_plot", "save", "success_plot"]
