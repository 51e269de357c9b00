"""What scoring and its relatives are asked for: words, sequences of a dataset, trackers. Loads no policy or engine."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.datasets.base import load_dataset
from mosam.errors import MosamError, UnknownNameError

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset


def split_list(text: str | None) -> list[str]:
    """Comma-separated words; commas inside brackets do not separate.

    >>> split_list("mosam[stride=3,mgp=off], sam2")
    ['mosam[stride=3,mgp=off]', 'sam2']
    """
    words, depth = [""], 0
    for character in text or "":
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return [word for word in (word.strip() for word in words) if word]


def split_names(text: str, known: Container[str]) -> list[str]:
    """Comma-separated names, some of which may hold commas themselves: the longest that is known is taken.

    >>> split_names("a,b, c", {"a,b", "a", "c"})
    ['a,b', 'c']
    """
    words, names = text.split(","), []
    while words:
        joined = (",".join(words[:count]).strip() for count in range(len(words), 0, -1))
        name = next((name for name in joined if name in known), words[0].strip())
        del words[: name.count(",") + 1]
        names += [name] if name else []
    return names


def choose_sequences(
    dataset: str,
    root: Path | None = None,
    split: str | None = None,
    *,
    prompt: str | None = None,
    seed: int = 0,
    sequences: str | None = None,
    limit: int | None = None,
) -> Dataset:
    """A dataset, with `--sequences` and `--limit` applied; arguments as the command line has them."""
    found = load_dataset(dataset, root=root, split=split, prompt=prompt, seed=seed)
    names = None
    if sequences is not None:
        names = split_names(sequences, found)
        if not names:
            raise MosamError("--sequences: expected at least one name, got none")
    return found if names is None and limit is None else found.select(names, limit=limit)


def choose_runs(runs: list[tuple[str, Path]], wanted: list[str]) -> list[tuple[str, Path]]:
    """The trackers that were asked for, with their folders.

    Args:
        runs: (tracker, folder), as `mosam.evaluation.finding.find_runs` gives them.
        wanted: names of trackers or of folders; empty = all.
    Raises:
        UnknownNameError: a name that is not among them.
    """
    known = {word for tracker, folder in runs for word in (tracker, folder.name)}
    for name in wanted:
        if name not in known:
            raise UnknownNameError("tracker", name, known, where="--tracker")
    return [(name, folder) for name, folder in runs if not wanted or name in wanted or folder.name in wanted]
