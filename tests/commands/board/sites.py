"""Boards in memory: the files of a site by name."""

from mosam.commands.board import BoardOptions, build_board


def site_of(folder, **options):
    """The files of a board of a folder, and what was left out."""
    files = {}
    notes = build_board(folder, BoardOptions(jobs=1, **options), write=files.__setitem__)
    return files, notes
