"""Scoring of raw results: `evaluate` makes `Scores`, `tables` shows them. Never imports torch."""

from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.finding import find_runs
from mosam.evaluation.scores import Scores, load_scores, save_scores

__all__ = ["Scores", "evaluate", "find_runs", "load_scores", "save_scores"]
