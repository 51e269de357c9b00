"""How values are shown: the columns that protocols declare, and those that several of them share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mosam.evaluation.layouts import MISSING, Cell, ranks_as_shown
from mosam.evaluation.metrics.bootstrap import Interval

FULL = 12  # digits of a value in full: beyond them, percent of a fraction shows rounding


@dataclass(frozen=True, slots=True)
class Column:
    """How a value is shown.

    Attributes:
        name: of the value, as in `Scores.overall`.
        heading: without the unit.
        unit: `%` (the fraction times 100), or a unit that is only named.
        digits: after the decimal point.
        lower: whether less is better; None where neither is, so that nothing is marked as best.
        main: whether it is a number the benchmark is known by: figures and reports show the first such value.
        profile: whether it belongs in a table of one tracker by attribute.
        tagged: whether values named `NAME_TAG` are shown the same way, under `HEADING TAG`.
    """

    name: str
    heading: str
    unit: str = "%"
    digits: int = 1
    lower: bool | None = False
    main: bool = False
    profile: bool = False
    tagged: bool = False

    @property
    def title(self) -> str:
        """Heading with its unit."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    def show(self, value: float) -> str:
        """The value as text, `-` where it is undefined."""
        if math.isnan(value):
            return MISSING
        return f"{value * (100 if self.unit == '%' else 1):.{self.digits}f}"

    def full(self, value: float) -> str:
        """The value in the same unit with all its digits, for other programs; `-` where it is undefined."""
        if math.isnan(value):
            return MISSING
        return repr(float(f"{value * (100 if self.unit == '%' else 1):.{FULL}g}"))

    def cell(self, value: float, rank: int = 0) -> Cell:
        """The value as a cell of a table."""
        return Cell(self.show(value), rank, full=self.full(value))

    def show_signed(self, value: float) -> str:
        """A difference as text, with its sign."""
        text = self.show(value)
        return text if text.startswith("-") else f"+{text}"

    def range(self, found: Interval | None, *, signed: bool = False) -> str:
        """An interval as text, `LOW to HIGH`; nothing where there is none."""
        show = self.show_signed if signed else self.show
        return f"{show(found.low)} to {show(found.high)}" if found else ""

    def between(self, found: Interval | None, *, signed: bool = False) -> str:
        """An interval in parentheses, as it follows a value."""
        return f"({self.range(found, signed=signed)})" if found else ""

    def cells(self, values: Sequence[float], *, whole: Sequence[bool] = ()) -> list[Cell]:
        """Values of several trackers with their ranks as shown.

        Args:
            values: of each tracker.
            whole: whether a tracker's value is over all sequences, so that it can be best; empty = all are.
        """
        shown = [self.show(value) for value in values]
        return [self.cell(value, rank) for value, rank in zip(values, self._ranks(shown, whole), strict=True)]

    def _ranks(self, shown: Sequence[str], whole: Sequence[bool]) -> list[int]:
        if self.lower is None:
            return [0] * len(shown)
        kept = [text if use else MISSING for text, use in zip(shown, whole or [True] * len(shown), strict=True)]
        return ranks_as_shown(kept, lower=self.lower)


def find_column(name: str, columns: Mapping[str, Column]) -> Column | None:
    """The column of a value: its own, else that of the tagged name it begins with, else None.

    Args:
        name: of the value.
        columns: by name.
    """
    if name in columns:
        return columns[name]
    stem, _, tag = name.partition("_")
    if stem in columns and columns[stem].tagged:
        return replace(columns[stem], name=name, heading=f"{columns[stem].heading} {tag.replace('_', ' ')}")
    return None


SPEED = Column("fps", "Speed", unit="frames/s", profile=True)
IN_TIME = Column("in_time", "In time")
TIMES = Column("ms_median", "Median", unit="ms", lower=True), Column("ms_p95", "95 %", unit="ms", lower=True)
TIMING = frozenset(column.name for column in (SPEED, IN_TIME, *TIMES))  # values that say nothing of quality
# boxes
SUCCESS = Column("success_auc", "AUC", main=True, profile=True)
PRECISION = Column("precision", "P", profile=True)
NORM_PRECISION = Column("norm_precision", "Pnorm", profile=True)
NORM_PRECISION_AUC = Column("norm_precision_auc", "Pnorm AUC")
MEAN_OVERLAP = Column("mean_overlap", "Overlap")
OP50, OP75 = Column("op50", "OP50"), Column("op75", "OP75")
AO = Column("ao", "AO", main=True, profile=True)
# masks
JF = Column("jf_mean", "J&F", main=True, profile=True)
J_COLUMNS = Column("j_mean", "J"), Column("j_recall", "J recall"), Column("j_decay", "J decay", lower=True)
F_COLUMNS = Column("f_mean", "F"), Column("f_recall", "F recall"), Column("f_decay", "F decay", lower=True)
JF_COLUMNS = (JF, *J_COLUMNS, *F_COLUMNS)
SEEN_COLUMNS = (
    Column("j_seen", "J seen"),
    Column("j_unseen", "J unseen"),
    Column("f_seen", "F seen"),
    Column("f_unseen", "F unseen"),
)
JF_OBJECTS = Column("jf_objects", "J&F by object")
# regions
EAO = Column("eao", "EAO", unit="", digits=3, main=True, tagged=True)
ACCURACY = Column("accuracy", "Accuracy", unit="", digits=3, main=True, tagged=True)
ROBUSTNESS = Column("robustness", "Robustness", unit="", digits=3)
FAILURES = Column("failures", "Failures", unit="", digits=2, lower=True, tagged=True)
QUALITY = Column("quality", "Quality", unit="", digits=3, main=True)
# Names that mean the same under most protocols: used where a protocol does not declare them itself.
SHARED = (
    *(SUCCESS, PRECISION, NORM_PRECISION, NORM_PRECISION_AUC, MEAN_OVERLAP, OP50, OP75, AO),
    *(*JF_COLUMNS, *SEEN_COLUMNS, JF_OBJECTS),
    *(EAO, QUALITY, ACCURACY, ROBUSTNESS, FAILURES, IN_TIME, SPEED, *TIMES),
)
