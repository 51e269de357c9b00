"""`mosam board check`: every score recomputed from raw results, and what differs from what is stored."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.codecs import CODECS, paths_of
from mosam.commands.gather import Places, first_unread, search
from mosam.datasets.base import DATASETS
from mosam.errors import MissingDataError, MosamError, one_line
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.finding import is_run
from mosam.evaluation.realtime import unmarked
from mosam.evaluation.scores import Scores, load_scores
from mosam.results.folder import content_hash
from mosam.results.record import RunRecord, read_record
from mosam.system import options as shared
from mosam.system.files import plain_parts
from mosam.system.options import option

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset

TOLERANCE = 1e-6  # relative, for other versions of NumPy; a printed digit is 1e-3
NAMED = 100  # differences of one run that are printed
OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Where the benchmarks are, and what counts as failed."""

    root: Path | None = shared.ROOT.field(help="Folder of the only benchmark.")
    data: Path | None = option("Folder with DATASET/ folders.", None, usual="$MOSAM_DATA")
    complete: bool = option("Fail also where a score could not be recomputed.", False)
    jobs: int | None = shared.SCORING_JOBS.field()


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that does not follow from the raw results.

    Attributes:
        run: folder of the run below the results.
        sequence: its name, or `overall`.
        metric: name of the number; for raw results that are not the recorded ones `raw results`.
        stored, recomputed: both as text.
    """

    run: str
    sequence: str
    metric: str
    stored: str
    recomputed: str

    def __str__(self) -> str:
        return f"{self.run}: {self.sequence}: {self.metric}: stored {self.stored}, recomputed {self.recomputed}"


@dataclass
class Check:
    """What a check found.

    Attributes:
        recomputed: scores files that were recomputed.
        numbers: compared.
        differences: in the order of the files.
        skipped: why a file could not be recomputed, by its name below the results.
    """

    recomputed: list[str] = field(default_factory=list)
    numbers: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def check_scores(
    folder: Path, options: CheckOptions | None = None, *, progress: Callable[[str], None] | None = None
) -> Check:
    """Recomputes every scores file below a folder from the raw results beside it.

    Args:
        folder: of runs at any depth. Nothing that its files name is imported, and no link is followed.
        options: where the benchmarks are.
        progress: called with the name of each scores file before it is recomputed.
    Raises:
        MissingDataError: no scores there.
    """
    options = options or CheckOptions()
    files, _, links = search(folder)
    if not files and not links:
        raise MissingDataError(f"{folder}: expected scores files of runs at any depth, found none")
    check = Check()
    for link in links:
        check.skipped[str(link.relative_to(folder))] = "a link, which is not followed"
    for file in files:
        name = str(file.relative_to(folder))
        if progress is not None:
            progress(name)
        try:
            _check_file(file, name, Places(options.root, options.data), options.jobs or os.cpu_count() or 1, check)
        except MosamError as error:
            check.skipped[name] = one_line(error)
    return check


def _check_file(file: Path, name: str, places: Places, jobs: int, check: Check) -> None:
    stored = load_scores(file)
    if len(stored) != 1:
        raise MosamError(f"scores of {len(stored)} trackers, so that their raw results are not known")
    run, [scores] = str(Path(name).parent), stored
    record = read_record(file.parent) if is_run(file.parent) else None
    unread = first_unread(file.parent)
    if unread is not None:
        raise MosamError(f"a link, pipe or device among the raw results, which is not read ({unread.name})")
    dataset = _dataset(scores, record, places)
    anew = _recompute(file.parent, scores, dataset, jobs)
    check.recomputed.append(name)
    check.numbers += sum(map(len, (scores.overall, *scores.sequences.values())))
    check.differences += [*_changed_files(file.parent, run, record), *compare_scores(run, scores, anew)]


def _dataset(scores: Scores, record: RunRecord | None, places: Places) -> Dataset:
    """The benchmark of some scores."""
    if scores.dataset not in DATASETS:
        raise MosamError(f"{scores.dataset[:40]!r} is no benchmark that mosam knows without a plugin")
    return places.open(scores.dataset, scores.split, record.settings.seed if record else 0)


def _recompute(folder: Path, stored: Scores, dataset: Dataset, jobs: int) -> Scores:
    """The scores of the raw results in a folder, in the way that stored ones were made."""
    protocol, rate = unmarked(stored.protocol)
    if not any(name in CODECS[dataset.info.result_format].listed(folder) for name in stored.sequences):
        raise MosamError("no raw results lie beside it")
    names = [name for name in dataset if name in stored.sequences or name in stored.missing]
    unknown = [name for name in stored.sequences if name not in dataset]
    if unknown:
        raise MosamError(f"this copy of the benchmark lacks {len(unknown)} of its sequences, as {unknown[0][:40]!r}")
    return evaluate(
        folder,
        dataset.select(names) if stored.subset or stored.official else dataset,
        protocol=protocol,
        allow_missing=True,
        jobs=jobs,
        realtime=rate,
    )


def _changed_files(folder: Path, run: str, record: RunRecord | None) -> Iterator[Difference]:
    """Sequences whose raw results are not those that the run recorded."""
    for name, done in (record.sequences if record else {}).items():
        if record is None or done.status != "done" or done.hash is None:
            continue
        paths = paths_of(str(record.settings.output.get("format")), name)
        for path in paths:
            plain_parts(path, str(folder))
        found = content_hash(folder, paths, links=False)
        if found != done.hash:
            yield Difference(run, name, "raw results", f"SHA-256 {done.hash[:12]}", (found or "missing")[:12])


def compare_scores(run: str, stored: Scores, anew: Scores) -> Iterator[Difference]:
    """Numbers that are not the same, overall ones first.

    Args:
        run: its name, for the differences.
        stored, anew: of the same results.
    """
    yield from _compare_values(run, OVERALL, stored.overall, anew.overall)
    for name in dict.fromkeys([*stored.sequences, *anew.sequences]):
        yield from _compare_values(run, name, stored.sequences.get(name, {}), anew.sequences.get(name, {}))
    for name in sorted({*stored.missing} ^ {*anew.missing}):
        words = ("missing", "there") if name in stored.missing else ("there", "missing")
        yield Difference(run, name, "results", *words)


def _compare_values(
    run: str, sequence: str, stored: Mapping[str, float], anew: Mapping[str, float]
) -> Iterator[Difference]:
    for metric in dict.fromkeys([*stored, *anew]):
        mine, other = stored.get(metric), anew.get(metric)
        if not _same(mine, other):
            yield Difference(run, sequence, metric, _text(mine), _text(other))


def _same(stored: float | None, anew: float | None) -> bool:
    if stored is None or anew is None:
        return stored is anew
    return (math.isnan(stored) and math.isnan(anew)) or math.isclose(stored, anew, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _text(value: float | None) -> str:
    return "none" if value is None else "undefined" if math.isnan(value) else f"{value:.9g}"
