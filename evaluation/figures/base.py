"""What every figure shares: the registry, the check of its scores, an empty figure in the style."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from mosam.errors import MosamError, UnknownNameError
from mosam.evaluation.figures.style import HEIGHT, STYLE, WIDTH, Look, looks
from mosam.evaluation.protocols.base import columns_of
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import Column, column_of, main_column, require_comparable, tracker_name
from mosam.registry import Registry

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence as DatasetSequence
    from mosam.evaluation.framewise import TrackedSequence

LAST = 1000


@dataclass(frozen=True, slots=True)
class ScoreFigure:
    """A figure of scores: `FIGURES[kind](scores)`.

    Attributes:
        kind: name on the command line.
        title: above it in a report.
        order: its place in a report, the least first.
        draw: from scores to a Figure.
        has_metric: whether it shows any number that is asked for (`metric`).
    """

    kind: str
    title: str
    order: int
    draw: Callable[..., Figure]
    has_metric: bool = False

    def __call__(
        self,
        scores: Iterable[Scores],
        *,
        title: str | None = None,
        width: float | None = None,
        metric: str | None = None,
    ) -> Figure:
        """Draws it.

        Args:
            scores: see the figure.
            title: above it; None = the benchmark.
            width: inches, with a legend beside it; None = its own.
            metric: name of the number it shows; None = the protocol's main one.
        Raises:
            MosamError: it shows a number of its own, or the scores have none of that name.
        """
        if metric is not None and not self.has_metric:
            raise MosamError(f"figure {self.kind}: expected no --metric, got {metric}; it always shows the same number")
        made = self.draw(scores, **({} if metric is None else {"metric": metric}))
        return adjusted(made, title, width)


@dataclass(frozen=True, slots=True)
class SequenceFigure:
    """A figure of one sequence, from what trackers did on it: `SEQUENCE_FIGURES[kind](sequence, items, title=...)`.

    Attributes:
        kind: name on the command line.
        takes: names of the arguments of `draw`: `items`, and what it needs of `sequence`, `title` and the options.
        draw: from these to a Figure.
    """

    kind: str
    takes: frozenset[str]
    draw: Callable[..., Figure]

    def __call__(self, sequence: DatasetSequence, items: Iterable[TrackedSequence], **options: Any) -> Figure:
        """Draws it; options that it does not take are left out.

        Args:
            sequence: with frames and annotation.
            items: what trackers did on it.
            options: by name.
        """
        given = {"sequence": sequence, "items": items, **options}
        return self.draw(**{name: value for name, value in given.items() if name in self.takes})


FIGURES: Registry[ScoreFigure] = Registry("figure", "mosam.evaluation.figures")
SEQUENCE_FIGURES: Registry[SequenceFigure] = Registry("figure of a sequence", "mosam.evaluation.figures")
Corner = Literal["lower left", "lower right", "upper right"]
MANY = 4  # trackers; the legend of more stands beside the axes
MARGIN = 0.15  # inches around it there


def figure(
    kind: str, *, title: str, order: int = LAST, same: bool = True
) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Decorator of a function from scores to a Figure: checks the scores, sets the style, files it in `FIGURES`.

    A function that also takes `metric`, the name of the number to show, can be asked for another than the main one.

    Args:
        kind, title, order: see `ScoreFigure`.
        same: whether the scores must be of one protocol; False = the figure asks itself.
    """

    def add(draw: Callable[..., Figure]) -> Callable[..., Figure]:
        @functools.wraps(draw)
        def checked(scores: Iterable[Scores], **options: Any) -> Figure:
            items = list(scores)
            if same or not items:
                items = require_comparable(items, where=f"figure {kind}")
            for item in items:
                if not item.sequences:
                    raise MosamError(
                        f"figure {kind}: expected scored sequences, got none of {tracker_name(item)}; score it first"
                    )
            with matplotlib.style.context(["default", dict(STYLE)]):
                return draw(items, **options)

        has_metric = "metric" in inspect.signature(draw).parameters
        FIGURES.register(kind)(ScoreFigure(kind, title, order, checked, has_metric))
        return checked

    return add


F = TypeVar("F", bound=Callable[..., Figure])


def of_sequence(kind: str) -> Callable[[F], F]:
    """Decorator of a function from trackers on one sequence (`items`) to a Figure: sets the style, files it.

    It refuses to draw no tracker. The function's other arguments say what it needs: `sequence`, `title`, and options
    of `mosam plot` by name (`object_id`, `picks`, `captions`).

    Args:
        kind: name on the command line.
    """

    def add(draw: F) -> F:
        signature = inspect.signature(draw)

        @functools.wraps(draw)
        def checked(*positional: Any, **named: Any) -> Figure:
            call = signature.bind(*positional, **named)
            call.arguments["items"] = list(call.arguments["items"])
            if not call.arguments["items"]:
                raise MosamError(f"figure {kind}: expected results of at least one tracker, got none")
            with matplotlib.style.context(["default", dict(STYLE)]):
                return draw(*call.args, **call.kwargs)

        SEQUENCE_FIGURES.register(kind)(SequenceFigure(kind, frozenset(signature.parameters), checked))
        return cast("F", checked)

    return add


def adjusted(made: Figure, title: str | None, width: float | None) -> Figure:
    """A figure with another title and width; one that is laid out by hand keeps its shape.

    Args:
        made: the figure.
        title, width: see `ScoreFigure`; None = as it is.
    """
    if title is not None:
        made.axes[0].title.set_text(title)  # in the size it had
    if width is not None:
        if not isinstance(made.get_layout_engine(), ConstrainedLayoutEngine):
            made.set_figheight(made.get_figheight() * width / made.get_figwidth())
        made.set_figwidth(width)
    return made


def sequence_looks(items: Sequence[TrackedSequence]) -> list[Look]:
    """Looks of trackers on one sequence, in their order; the same as in figures of scores of these trackers."""
    order = sorted(range(len(items)), key=lambda number: tracked_name(items[number]))
    found = dict(zip(order, looks([items[number].tracker for number in order]), strict=True))
    return [found[number] for number in range(len(items))]


def tracked_name(item: TrackedSequence) -> str:
    """The tracker with its model, if it has one."""
    return f"{item.tracker} {item.model}" if item.model else item.tracker


def new_axes(*, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes, of a size in inches."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def ranked(items: Sequence[Scores], value: str) -> list[tuple[Scores, Look]]:
    """Trackers with their looks, the best value first, undefined ones last; looks do not depend on the ranks."""
    column = column_of(value, items[0].protocol)
    by_name = sorted(items, key=tracker_name)
    pairs = zip(by_name, looks([item.tracker for item in by_name]), strict=True)

    def place(pair: tuple[Scores, Look]) -> tuple[bool, float]:
        number = pair[0].overall.get(value, math.nan)
        return math.isnan(number), number if column.lower else -number

    return sorted(pairs, key=place)


def legend_label(item: Scores, column: Column, value: str) -> str:
    """Tracker with its number, and how many sequences it is of where that is not all: `ATOM [51.4]`."""
    mark = f" ({item.coverage})" if item.coverage else ""
    return f"{tracker_name(item)}{mark} [{column.show(item.overall.get(value, math.nan))}]"


def add_legend(axes: Axes, title: str, *, loc: Corner | None = None) -> float:
    """A legend at a place inside of the axes; beside them where no place is given or there are many trackers.

    Returns:
        inches that the figure became wider.
    """
    if loc is not None and len(axes.get_legend_handles_labels()[1]) <= MANY:
        axes.legend(title=title, loc=loc, alignment="left")
        return 0.0
    made = axes.get_figure(root=True)
    assert made is not None
    legend = axes.legend(title=title, loc="center left", bbox_to_anchor=(1.02, 0.5), alignment="left")
    width = legend.get_window_extent().width / made.dpi + MARGIN
    made.set_figwidth(made.get_figwidth() + width)
    return width


def shade(axes: Axes, low: float, high: float, color: str, *, along: tuple[float, float]) -> None:
    """A stretch of x in a color, over the limits `along` y, behind everything; a plain rectangle, as tikz can have."""
    patch = Rectangle((low, along[0]), high - low, along[1] - along[0], facecolor=color, linewidth=0, zorder=0)
    patch.set_label("_nolegend_")  # matplot2tikz leaves out rectangles without a label
    axes.add_patch(patch)


def main_value(items: Sequence[Scores], kind: str, metric: str | None = None) -> str:
    """The name of the number a figure shows.

    Args:
        items: scores of one protocol.
        kind: of the figure, for errors.
        metric: the number asked for; None = the one the benchmark is known by.
    Raises:
        MosamError: the scores have none.
        UnknownNameError: none of that name.
    """
    protocol = items[0].protocol
    if metric is not None:
        known = list(dict.fromkeys(name for item in items for name in item.overall))
        if metric not in known:
            raise UnknownNameError("number", metric, known, where=f"figure {kind}")
        return metric
    found = main_column({name for item in items for name in item.overall}, protocol)
    if found is None:
        main = ", ".join(name for name, column in columns_of(protocol).items() if column.main)
        raise MosamError(f"figure {kind}: expected scores with one of {main}, got none of {_protocol(items)}")
    return found.name


def refuse(kind: str, wanted: str, items: Sequence[Scores]) -> MosamError:
    """The error of scores that lack what a figure shows."""
    return MosamError(f"figure {kind}: expected {wanted}, got none of {_protocol(items)}; choose another figure")


def heading(items: Sequence[Scores]) -> str:
    """Title of a figure: the benchmark, and how many sequences where all trackers have the same ones."""
    count = len(items[0].sequences)
    same = len({frozenset(item.sequences) for item in items}) == 1
    number = f", {count} sequence{'s' * (count != 1)}" if same else ""
    return f"{items[0].dataset} {items[0].split}{number}"


def _protocol(items: Sequence[Scores]) -> str:
    return f"{items[0].dataset} under {items[0].protocol}"
