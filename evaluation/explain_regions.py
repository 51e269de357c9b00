"""Why the VOT toolkit and pysot disagree on the same supervised results: EAO and accuracy, one convention at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.eao import (
    Fragment,
    eao_score,
    prefix_means,
    pysot_curve,
    pysot_fragments,
    pysot_score,
    supervised_curve,
)
from mosam.evaluation.metrics.supervised import Run, split_runs
from mosam.evaluation.protocols.base import pooled
from mosam.evaluation.protocols.pysot import PysotVot
from mosam.evaluation.protocols.regions import (
    RegionConventions,
    cut_to_truth,
    region_codec,
    region_truth,
    supervised_mean,
)
from mosam.regions.overlap import region_overlaps
from mosam.system.processes import map_in_processes

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.evaluation.protocols.base import TrackerResults

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SupervisedFrames:
    """One repetition of one sequence.

    Attributes:
        inner: (T,) by kind of pixels, overlaps as EAO takes them.
        overlaps: (T,) by kind of pixels, as accuracy takes them.
        codes: (T,).
        length: annotated frames.
        interval: of lengths, or None.
    """

    inner: Mapping[str, Floats]
    overlaps: Mapping[str, Floats]
    codes: NDArray[np.int64]
    length: int
    interval: tuple[int, int] | None


def frames_of(name: str, *, dataset: Dataset, results: TrackerResults) -> list[SupervisedFrames]:
    """Overlaps of every repetition of a sequence under each kind of pixels; masks have none of pysot's."""
    sequence = dataset[name]
    truth, codec = region_truth(sequence), region_codec(results)
    found = []
    for result in codec.read_passes(results.folder, sequence, truth.object_ids[0]):
        result, _ = cut_to_truth(sequence, result, len(truth))
        plain = {
            "toolkit": region_overlaps(result, truth.single, size=truth.size),
            "unbounded": region_overlaps(result, truth.single),
        }
        inner = dict(plain)
        for pixels, exact in (("pysot", False), ("exact areas", True)):
            try:
                pysot = PysotVot(exact=exact)  # type: ignore[call-arg]  # its decorator makes it a dataclass
                inner[pixels], plain[pixels] = pysot.both_overlaps(result, truth.single, truth.size)
            except ValueError:  # masks: pysot knows none
                continue
        interval = getattr(sequence, "eao_interval", None)
        found.append(SupervisedFrames(inner, plain, result.codes, len(truth), interval))
    return found


def region_values(parts: list[list[SupervisedFrames]], conventions: RegionConventions) -> dict[str, float]:
    """EAO and accuracy of several sequences, each with its repetitions; nothing where the pixels are not known."""
    pixels = conventions.pixels
    everything = [one for part in parts for one in part]
    if not all(pixels in one.inner for one in everything):
        return {}
    values: dict[str, float] = {}
    interval = everything[0].interval
    if interval is not None:
        values["eao"] = _eao(everything, conventions, interval)
    means = []
    for part in parts:
        rows, codes = [one.overlaps[pixels] for one in part], [one.codes for one in part]
        means.append(supervised_mean(rows, codes, part[0].length, conventions))
    return {**values, "accuracy": pooled(means)}


def gather(dataset: Dataset, results: TrackerResults, names: list[str], jobs: int) -> list[list[SupervisedFrames]]:
    """`frames_of` all sequences: four overlaps a frame, so they fit into memory together."""
    return list(map_in_processes(partial(frames_of, dataset=dataset, results=results), names, jobs))


def _eao(parts: list[SupervisedFrames], conventions: RegionConventions, interval: tuple[int, int]) -> float:
    fragments: list[Fragment] = []
    runs: list[Run] = []
    for one in parts:
        overlaps = one.inner[conventions.pixels]
        if conventions.fragments == "as recorded":
            runs += [run for run in split_runs(np.nan_to_num(overlaps, nan=0.0), one.codes) if len(run.overlaps)]
        else:
            known = np.where(one.codes >= 0, np.nan, overlaps)
            fragments += pysot_fragments(known, one.codes, one.length)
    longest = max(one.length for one in parts)
    if conventions.fragments == "as recorded":  # a run's share of its own frames is all of them: weights are equal
        curve = supervised_curve([prefix_means(runs, min(longest, interval[1] + 1))])
    else:
        share = [(part.stop - part.start) / part.weight_of for part in fragments]
        row = np.array([share if conventions.weights == "by share" else np.ones(len(fragments))])
        curve = pysot_curve(fragments, row, longest=longest)[0]
    return pysot_score(curve, interval) if conventions.lengths == "from 1" else eao_score(curve, interval)
