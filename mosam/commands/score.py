"""What `mosam score` and the second half of `mosam eval` do: scores of folders of results, kept and shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.commands.progress import scoring_view
from mosam.datasets.select import choose_runs, split_list
from mosam.evaluation.cache import cache_folder
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.finding import find_runs, is_run
from mosam.evaluation.realtime import RealTime, parse_realtime
from mosam.evaluation.scores import Scores, save_scores
from mosam.results.folder import SCORES
from mosam.system import options as shared
from mosam.system.options import option

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How to score; None = the usual way."""

    protocol: str | None = shared.PROTOCOL.field()
    allow_missing: bool = shared.ALLOW_MISSING.field()
    jobs: int | None = shared.SCORING_JOBS.field()
    intervals: bool = shared.INTERVALS.field()
    realtime: str | None = option(
        "Simulate these frame rates: a late frame gets the last answer.", None, metavar="FPS[,FPS...][,grace=N]"
    )
    cached: bool = option("Reuse cached scores of identical results.", True, name="cache")

    @property
    def rates(self) -> tuple[RealTime | None, ...]:
        """The frame rates to score at; None = results as they are."""
        return (None,) if self.realtime is None else parse_realtime(self.realtime)


def score_folder(
    folder: Path, dataset: Dataset, options: ScoreOptions, rate: RealTime | None = None, *, tracker: str | None = None
) -> Scores:
    """Scores of one tracker, at a frame rate or as it is, kept beside its results where those are a run of ours.

    Args:
        folder: of its results.
        dataset, options, rate: what is scored, and how.
        tracker: its name; None = the run's, else the folder's.
    """
    with scoring_view(folder.name, len(dataset)) as view:
        scores = evaluate(
            folder,
            dataset,
            protocol=options.protocol,
            allow_missing=options.allow_missing,
            jobs=options.jobs or os.cpu_count() or 1,
            progress=view,
            cache=cache_folder() if options.cached else None,
            resample=options.intervals,
            realtime=rate,
            tracker=tracker,
        )
    if is_run(folder) and os.access(folder, os.W_OK):
        save_scores(folder / (SCORES if rate is None else f"{Path(SCORES).stem}@{rate}.json"), scores)
    return scores


def found(results: Path, dataset: Dataset, tracker: str | None) -> list[tuple[str, Path]]:
    """Trackers with their folders of results below a folder, all or those named."""
    return choose_runs(find_runs(results, dataset), split_list(tracker))


def explained(folders: Iterable[Path], dataset: Dataset, options: ScoreOptions) -> str:
    """Every applicable protocol of each tracker side by side, and what each convention does to the numbers."""
    from mosam.evaluation.explain import explain, show_explanation

    jobs = options.jobs or os.cpu_count() or 1
    parts = []
    for folder in folders:
        with scoring_view(folder.name, len(dataset)):
            found = explain(folder, dataset, protocol=options.protocol, allow_missing=options.allow_missing, jobs=jobs)
        parts.append(show_explanation(found))
    return "\n\n".join(parts)
