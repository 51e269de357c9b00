"""Figures: `FIGURES[kind](scores)` and `SEQUENCE_FIGURES[kind]` give a matplotlib Figure, `save` writes it.

Needs no screen.
"""

from mosam.evaluation.figures.base import FIGURES, SEQUENCE_FIGURES
from mosam.evaluation.figures.curves import norm_precision_plot, precision_plot, success_plot
from mosam.evaluation.figures.save import FORMATS, save
from mosam.evaluation.figures.strips import frame_strip, read_panels
from mosam.evaluation.figures.timeline import jf_time_plot

__all__ = [
    "FIGURES",
    "FORMATS",
    "SEQUENCE_FIGURES",
    "frame_strip",
    "jf_time_plot",
    "norm_precision_plot",
    "precision_plot",
    "read_panels",
    "save",
    "success_plot",
]
