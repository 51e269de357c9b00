"""`mosam board`: a static site of a folder of runs, and a check that every score in it follows from raw results."""

from mosam.commands.board.build import BoardOptions, build_board
from mosam.commands.board.check import CheckOptions, check_scores

__all__ = ["BoardOptions", "CheckOptions", "build_board", "check_scores"]
