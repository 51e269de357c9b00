"""Frames of one sequence with what trackers and annotation say on them, at the moments that tell most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mosam.errors import MissingDataError, MosamError
from mosam.evaluation.failures import COUNT, Pick, pick_frames
from mosam.evaluation.figures.base import new_axes, of_sequence, sequence_looks, tracked_name
from mosam.evaluation.figures.style import TRUTH_COLOR, WIDTH, Look
from mosam.types import Image

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence
    from mosam.evaluation.framewise import Shape, TrackedSequence

GAP = 0.04  # between panels, in widths of one
FILL = 0.45  # opacity of a mask
PIXELS = 320  # width of a panel
LINE = 0.13  # inches that a line of text takes
EDGE = 0.45  # pixels a simplified outline may be off


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One frame with everything to draw on it.

    Attributes:
        pick: the frame and why it is shown.
        image: (h, w, 3) uint8, the frame made smaller.
        scale: its size by that of the frame.
        truth: annotation on the frame, by object id, in pixels of the frame.
        said: the same for each tracker.
    """

    pick: Pick
    image: Image
    scale: float
    truth: Mapping[int, Shape]
    said: tuple[Mapping[int, Shape], ...]


def read_panels(
    sequence: Sequence, items: Listed[TrackedSequence], picks: Listed[Pick], *, pixels: int = PIXELS
) -> list[Panel]:
    """The frames of a strip, read and made smaller.

    Args:
        sequence: with frames and annotation.
        items: what trackers did on it.
        picks: the frames.
        pixels: width of a panel; a smaller frame is taken as it is.
    Raises:
        MissingDataError: the frames are not on disk.
        MosamError: a frame that the sequence does not have.
    """
    from mosam.evaluation.framewise import true_shapes

    if not len(sequence.source):
        raise MissingDataError(
            f"{sequence.name}: expected its frames, found the annotation only; give a --root with them"
        )
    panels = []
    for pick in picks:
        if not 0 <= pick.frame < len(sequence.source):
            raise MosamError(
                f"{sequence.name}: expected a frame from 0 to {len(sequence.source) - 1}, got {pick.frame}"
            )
        image = sequence.source.read(pick.frame)
        scale = min(1.0, pixels / image.shape[1])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        said = tuple(item.shapes(pick.frame) for item in items)
        panels.append(Panel(pick, small, scale, true_shapes(sequence, pick.frame), said))
    return panels


@of_sequence("frames")
def frame_strip(
    sequence: Sequence,
    items: Listed[TrackedSequence],
    *,
    title: str = "",
    picks: Listed[Pick] | None = None,
    count: int = COUNT,
    pixels: int = PIXELS,
    captions: Callable[[TrackedSequence, int], str] | None = None,
) -> Figure:
    """Frames of a sequence with ground truth and trackers drawn on them.

    Masks have a row a tracker, boxes of all trackers are drawn in one row; below each panel stand the overlaps there.

    Args:
        sequence: with frames and annotation.
        items: what trackers did on it.
        title: above; empty = the sequence's name.
        picks: frames to show; None = found automatically, see `failures.pick_frames`.
        count: how many are found.
        pixels: width of a panel.
        captions: more to say of a tracker on a frame (from its log), or None; then every tracker has a row.
    Raises:
        MissingDataError: no frames on disk.
        MosamError: no trackers, or an unknown frame.
    """
    found = list(pick_frames(items, count=count) if picks is None else picks)
    panels = read_panels(sequence, items, found, pixels=pixels)
    looks = sequence_looks(items)
    masks = any(shape.ndim == 2 for panel in panels for said in panel.said for shape in said.values())
    groups = [[number] for number in range(len(items))] if masks or captions else [list(range(len(items)))]
    return _Strip(panels, items, looks, groups, captions).draw(title or sequence.name)


class _Strip:
    """The layout of a strip: one pair of axes in pixels of the panels, y downwards."""

    def __init__(
        self,
        panels: Listed[Panel],
        items: Listed[TrackedSequence],
        looks: Listed[Look],
        groups: Listed[Listed[int]],
        captions: Callable[[TrackedSequence, int], str] | None,
    ):
        self.panels, self.items, self.looks, self.groups, self.captions = panels, items, looks, groups, captions
        self.height, self.width = panels[0].image.shape[:2]
        self.gap = max(2, round(GAP * self.width))
        self.across = len(panels) * (self.width + self.gap) - self.gap
        self.inches = 2 * WIDTH
        self.line = LINE / self.inches * self.across  # a line of text in these pixels
        self.below = [self.line * (len(group) + bool(captions)) for group in groups]
        steps = [self.height + self.gap + round(below) for below in self.below]
        self.tops = [0, *np.cumsum(steps).tolist()]  # of the rows, in whole pixels, then of what follows

    def draw(self, title: str) -> Figure:
        """The figure."""
        header = self.line * (max(len(panel.pick.reasons) for panel in self.panels) + 1)
        bottom = self.tops[-1] - self.gap + 1.6 * self.line
        left = 1.6 * self.line if len(self.groups) > 1 else 0.0
        span = (self.across + left + self.gap, bottom + header + 1.2 * self.line)
        made, axes = new_axes(width=self.inches, height=self.inches * span[1] / span[0])
        made.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.axis("off")
        axes.imshow(
            self._mosaic(), extent=(0, self.across, self.tops[-2] + self.height, 0), interpolation="antialiased"
        )
        axes.set(
            xlim=(-left - self.gap / 2, self.across + self.gap / 2),
            ylim=(bottom, -header - 1.2 * self.line),
            aspect="auto",
        )
        axes.text(self.across / 2, -header - 0.6 * self.line, title, fontsize=8, ha="center", va="center")
        for column, panel in enumerate(self.panels):
            self._head(axes, column, panel)
            for row, group in enumerate(self.groups):
                self._overlay(axes, column, row, panel, group)
        if len(self.groups) > 1:
            for top, [number] in zip(self.tops, self.groups, strict=False):
                name, middle = tracked_name(self.items[number]), top + self.height / 2
                look = self.looks[number]
                axes.text(-left / 2, middle, name, color=look.color, fontsize=7, rotation=90, ha="center", va="center")
        self._legend(axes, bottom)
        return made

    def _mosaic(self) -> NDArray[np.float64]:
        """All panels with masks filled, as (H, W, 3) in [0, 1]."""
        canvas = np.ones((self.tops[-2] + self.height, self.across, 3))
        for column, panel in enumerate(self.panels):
            for top, group in zip(self.tops, self.groups, strict=False):
                picture = panel.image / 255.0
                for number in group:
                    for shape in panel.said[number].values():
                        if shape.ndim == 2:
                            inside = self._small(shape.astype(bool))
                            tint = np.array(to_rgb(self.looks[number].color))
                            picture[inside] = (1 - FILL) * picture[inside] + FILL * tint
                x = column * (self.width + self.gap)
                canvas[top : top + self.height, x : x + self.width] = picture
        return canvas

    def _small(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        shown = cv2.resize(mask.astype(np.uint8), (self.width, self.height), interpolation=cv2.INTER_NEAREST)
        return np.asarray(shown, dtype=bool)

    def _head(self, axes: Axes, column: int, panel: Panel) -> None:
        middle = column * (self.width + self.gap) + self.width / 2
        lines = [*panel.pick.reasons, f"frame {panel.pick.frame}"]
        for number, text in enumerate(reversed(lines)):
            axes.text(middle, -(number + 0.5) * self.line, text, fontsize=6, ha="center", va="center")

    def _overlay(self, axes: Axes, column: int, row: int, panel: Panel, group: Listed[int]) -> None:
        x, y = column * (self.width + self.gap), self.tops[row]
        corner = np.array([x, y])
        for number in group:
            look = self.looks[number]
            for object_id, shape in panel.said[number].items():
                for points in outlines(shape, panel.scale):
                    self._line(axes, points + corner, look.color, "white", 1.0)
                if len(panel.truth) > 1 or len(panel.said[number]) > 1:
                    at = _middle(shape) * panel.scale + corner
                    self._tag(axes, at, str(object_id), look)
        for shape in panel.truth.values():
            for points in outlines(shape, panel.scale):
                self._line(axes, points + corner, TRUTH_COLOR, "black", 0.8, dashes=(0, (3, 2)))
        for place, number in enumerate(group):
            below = y + self.height + (place + 0.6) * self.line
            look, text = self.looks[number], self._numbers(number, panel.pick.frame)
            axes.text(x + self.width / 2, below, text, color=look.color, fontsize=6, ha="center", va="center")
        if self.captions is not None:
            below = y + self.height + (len(group) + 0.6) * self.line
            text = self.captions(self.items[group[0]], panel.pick.frame)
            axes.text(x + self.width / 2, below, text, color="0.35", fontsize=5, ha="center", va="center")

    def _line(
        self, axes: Axes, points: NDArray[np.float64], color: str, casing: str, width: float, dashes: Any = "-"
    ) -> None:
        """A closed line on a wider one, so that it shows on any image."""
        low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
        if not (high > low).any():
            return
        axes.plot(*points.T, color=casing, linewidth=2.0 * width, solid_joinstyle="round")
        axes.plot(*points.T, color=color, linewidth=width, linestyle=dashes)

    def _tag(self, axes: Axes, at: NDArray[np.float64], text: str, look: Look) -> None:
        box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        axes.text(at[0], at[1], text, color=look.color, fontsize=5, ha="center", va="center", bbox=box)

    def _numbers(self, number: int, frame: int) -> str:
        """Quality of a tracker on a frame, of each object; what absence means in words."""
        shown = []
        runs: set[int] = set()
        for one in self.items[number].objects:
            row = np.flatnonzero(one.frames == frame)
            if not row.size or one.object_id in runs:
                continue
            runs.add(one.object_id)
            at = int(row[0])
            value = one.quality[at]
            if not one.visible[at]:
                shown.append("false alarm" if one.predicted[at] else "gone")
            else:
                shown.append("-" if np.isnan(value) else f"{100 * value:.0f}")
        return ", ".join(shown) or "-"

    def _legend(self, axes: Axes, bottom: float) -> None:
        """What lines and numbers mean, in a row below."""
        what = "J&F" if any(item.has_boundaries for item in self.items) else "overlap"
        entries: list[tuple[str, str, Any]] = [("ground truth", TRUTH_COLOR, (0, (3, 2)))]
        if len(self.groups) == 1:
            entries += [
                (tracked_name(item), look.color, "-") for item, look in zip(self.items, self.looks, strict=True)
            ]
        x, y = 0.0, bottom - 0.7 * self.line
        for name, color, dashes in entries:
            at = np.array([[x, y], [x + 2.2 * self.line, y]])
            self._line(axes, at, color, "black" if color == TRUTH_COLOR else "white", 1.2, dashes)
            axes.text(x + 2.6 * self.line, y, name, fontsize=6, ha="left", va="center")
            x += (3.6 + 0.5 * len(name)) * self.line
        axes.text(self.across, y, f"numbers: {what} [%]", fontsize=6, ha="right", va="center")


def outlines(shape: Shape, scale: float) -> Iterator[NDArray[np.float64]]:
    """Closed outlines (N, 2) x, y of a mask or box, in pixels of a panel."""
    if shape.ndim == 1:
        x, y, w, h = shape
        yield scale * np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]], dtype=np.float64)
        return
    contours, _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        simple = np.asarray(cv2.approxPolyDP(contour, EDGE / scale, True), dtype=np.float64)[:, 0]
        yield scale * (np.concatenate([simple, simple[:1]]) + 0.5)


def _middle(shape: Shape) -> NDArray[np.float64]:
    if shape.ndim == 1:
        return np.asarray(shape[:2] + shape[2:] / 2, dtype=np.float64)
    rows, columns = np.nonzero(shape)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])
