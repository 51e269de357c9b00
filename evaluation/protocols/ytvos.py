"""YouTube-VOS on local ground truth: the mean of seen and unseen categories."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from typing import Protocol as Interface
from typing import runtime_checkable

from mosam.datasets.base import Sequence
from mosam.evaluation import columns as cols
from mosam.evaluation.protocols.base import Protocol, SequenceScore, TrackerResults, pooled, protocol, speed, timing
from mosam.evaluation.protocols.masks import (
    _arrays,
    frame_jf,
    jf_values,
    listed_frames,
    mask_notes,
    mask_truth,
    means_of_groups,
    means_over_objects,
    read_pair,
)

GROUPS = ("seen", "unseen")


@runtime_checkable
class GroupedTruth(Interface):
    """Mask annotation that says of which group each object is."""

    @property
    def groups(self) -> Mapping[int, str]:
        """`seen` or `unseen` by object id; empty where nobody knows."""


@protocol("ytvos", needs="masks")
class YouTubeVos(Protocol):
    """J and F of seen and unseen categories, and the mean of these four.

    An object counts on the frames that the benchmark's list gives for it (all annotated ones where there is no list)
    after the one that first shows it, which is the prompt. It is of a seen category if the training set has that
    category. The plain mean over objects is `jf_objects`; where no category is known, the headline is that too. The
    server's own program is not public: what it reports is known, which frames it counts is our reading.
    """

    columns = (*cols.JF_COLUMNS, *cols.SEEN_COLUMNS, cols.JF_OBJECTS)

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth, result = mask_truth(sequence), results.masks(sequence)
        listed = {object_id: frozenset(frames) for object_id, frames in listed_frames(truth).items()}
        pairs: dict[int, list[tuple[float, float]]] = {object_id: [] for object_id in listed}
        started: set[int] = set()
        for frame_index in sorted(frozenset().union(*listed.values())):
            here = [object_id for object_id, frames in listed.items() if frame_index in frames]
            true = truth.read(frame_index)
            if counting := [object_id for object_id in here if object_id in started]:
                _, found = read_pair(truth, result, frame_index, sequence)
                for object_id in counting:
                    pairs[object_id].append(frame_jf(found.get(object_id), true.get(object_id)))
            started.update(object_id for object_id in here if object_id in true and true[object_id].any())
        values = jf_values(_arrays(pairs))
        groups = truth.groups if isinstance(truth, GroupedTruth) else {}
        means = means_over_objects(values)
        means["jf_objects"] = means["jf_mean"]
        for group in GROUPS:
            members = {key: value for key, value in values.items() if groups.get(key) == group}
            grouped = means_over_objects(members)
            means |= {f"{short}_{group}": grouped[f"{short}_mean"] for short in ("j", "f") if members}
        notes = mask_notes(sequence, truth, result, values)
        return SequenceScore({**means, **speed(sequence, results)}, objects=values, notes=notes)

    def overall(self, scores: Listed[SequenceScore]) -> dict[str, float]:
        """Per group, the mean over its objects; then the mean of the two groups, or of the only one there is."""
        values = means_of_groups(
            GROUPS,
            lambda short, group: pooled(
                score.means[name] for score in scores if (name := f"{short}_{group}") in score.means
            ),
        )
        if not any(f"j_{group}" in score.means for group in GROUPS for score in scores):
            values |= {name: pooled(score.means[name] for score in scores) for name in ("jf_mean", "j_mean", "f_mean")}
        values["jf_objects"] = pooled(score.means["jf_objects"] for score in scores)
        values |= timing(scores)
        return values
