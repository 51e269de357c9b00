"""Earlier names of trackers' options and log keys: records, logs, experiment files and commands can still be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

V = TypeVar("V")

_MOSAM = {
    "beside": "distractors",
    "w_beside": "distractor_weight",
    "refuse": "distractor_reject",
    "doubt": "guide_below_iou",
    "n_points": "num_points",
}
RENAMED: dict[str, dict[str, str]] = {"mosam": _MOSAM, "mosam-literal": _MOSAM}  # earlier -> present name, by tracker
_GONE: dict[str, Any] = {  # options that were deleted -> the value that stayed
    "fill": False,
    "conf": "iou",
    "bin": 0.05,
    "tpos": "rank",
    "pix_beta": 1.0,
    "motion_source": "measured",
    "revive": False,
    "rest": 0,
}
LOG_KEYS = {"beside": "distractors", "refused": "rejected"}  # of the per-frame log: earlier -> present
DELETED: dict[str, dict[str, Any]] = {"mosam": _GONE, "mosam-literal": _GONE}

_LABEL = re.compile(r"([^\[\]]+)\[(.*)\]")


def present_options(tracker: str, options: Mapping[str, V]) -> dict[str, V]:
    """Options by their present names; a deleted one only where it had another value than the one that stayed.

    >>> present_options("mosam", {"beside": False, "rest": 0, "stride": 5})
    {'distractors': False, 'stride': 5}
    """
    names, deleted = RENAMED.get(tracker, {}), DELETED.get(tracker, {})
    return {
        names.get(name, name): value
        for name, value in options.items()
        if name not in deleted or not _same(value, deleted[name])
    }


def _same(value: object, stayed: object) -> bool:
    """Whether an option, as a value or as text, has the value that stayed."""
    if isinstance(stayed, bool):
        return value is stayed or str(value).lower() in ({"on", "true"} if stayed else {"off", "false"})
    try:
        return value == stayed or float(str(value)) == stayed
    except ValueError:
        return False


def present_label(label: str) -> str:
    """The label of a tracker with its options by their present names.

    >>> present_label("mosam[mgp=off,beside=off]"), present_label("sam2")
    ('mosam[mgp=off,distractors=off]', 'sam2')
    """
    return _relabeled(label, lambda tracker: RENAMED.get(tracker, {}))


def earlier_label(label: str) -> str:
    """The label that a tracker had while its options had their earlier names.

    >>> earlier_label("mosam[mgp=off,distractors=off]")
    'mosam[mgp=off,beside=off]'
    """
    return _relabeled(label, lambda tracker: {now: then for then, now in RENAMED.get(tracker, {}).items()})


def _relabeled(label: str, names_of: Any) -> str:
    match = _LABEL.fullmatch(label)
    if match is None:
        return label
    tracker, inside = match.groups()
    names = names_of(tracker)
    parts = [part.partition("=") for part in inside.split(",")]
    return f"{tracker}[{','.join(names.get(name, name) + sign + value for name, sign, value in parts)}]"
