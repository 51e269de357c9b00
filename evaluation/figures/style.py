"""One look for all figures: sizes, fonts, and the same color for the same tracker everywhere."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 3.5, 2.7  # inches: one column of a two-column page
WIDTHS = {"column": WIDTH, "page": 7.16}  # as IEEE and CVPR have them

# On top of matplotlib's own defaults, whatever the user's settings are.
STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "0.8",
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a name may hold any character
    "svg.fonttype": "none",  # text stays text: smaller, searchable, read aloud
    "svg.hashsalt": "mosam",  # the same figure gives the same bytes
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}

# Okabe and Ito's colors without yellow and sky blue, which vanish on paper, and four of Tol's.
_OWN = {"mosam": "#D55E00", "sam2": "#000000", "samurai": "#0072B2", "sam2long": "#009E73", "dam4sam": "#CC79A7"}
_OTHERS = ("#882255", "#E69F00", "#44AA99", "#6699CC", "#999933")
TRUTH_COLOR = "#F0E442"  # their yellow: on images only, as no tracker has it
_COLORS = (*_OWN.values(), *_OTHERS)
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (7, 2)))
_MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, slots=True)
class Look:
    """How a tracker is drawn: color, dashes of its lines, marker of its points."""

    color: str
    dashes: Any
    marker: str


def color(tracker: str) -> str:
    """The color of a tracker, by its name without options, in upper or lower case; nothing else decides.

    >>> color("MoSAM") == color("mosam[stride=3]") == "#D55E00"
    True
    """
    name = tracker.partition("[")[0].strip().lower()
    return _OWN.get(name) or _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)]


def looks(trackers: Iterable[str]) -> list[Look]:
    """Looks of a figure's trackers, in order; those of one color get other dashes and markers.

    >>> [look.marker for look in looks(["mosam", "sam2", "mosam[stride=2]"])]
    ['o', 's', 's']
    """
    used: dict[str, int] = {}
    found = []
    for tracker in trackers:
        own = color(tracker)
        turn = used[own] = used.get(own, _COLORS.index(own) - 1) + 1  # so that they differ without color too
        found.append(Look(own, _DASHES[turn % len(_DASHES)], _MARKERS[turn % len(_MARKERS)]))
    return found
