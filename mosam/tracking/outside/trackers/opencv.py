"""OpenCV's own trackers, as far as the installed OpenCV has them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mosam.errors import MosamError
from mosam.tracking.outside.classes import TRACKERS
from mosam.types import Box, Image

# What needs no files of weights; all but MIL are in opencv-contrib-python(-headless).
NAMES = ("MIL", "KCF", "CSRT", "MOSSE", "MedianFlow", "TLD", "Boosting")


class OpenCvTracker:
    """A tracker of OpenCV; it is given whole pixels, and answers with a box or says that it has lost the object."""

    kind: ClassVar[str]
    region = "box"

    def __init__(self) -> None:
        self._tracker = _maker(self.kind)()

    @staticmethod
    def version() -> str:
        """What its results depend on besides its name."""
        import cv2

        return f"OpenCV {cv2.__version__}"

    def init(self, image: Image, box: Box) -> None:
        """Starts; OpenCV takes whole numbers."""
        x, y, w, h = (int(value) for value in np.rint(box))
        self._tracker.init(_bgr(image), (x, y, max(w, 1), max(h, 1)))

    def update(self, image: Image) -> Any:
        """The box, or one without an area where it has lost the object."""
        found, box = self._tracker.update(_bgr(image))
        return box if found else (0, 0, 0, 0)


def _bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def _maker(kind: str) -> Any:
    """What makes a tracker of OpenCV; MosamError where this OpenCV has none of that name."""
    import cv2

    places = [cv2, *([cv2.legacy] if hasattr(cv2, "legacy") else [])]
    found = {name: makers[0] for name in NAMES if (makers := [m for p in places if (m := _in(p, name)) is not None])}
    if kind in found:
        return found[kind]
    raise MosamError(
        f"opencv:{kind}: this OpenCV ({cv2.__version__}) has {', '.join(found) or 'no trackers'}; KCF and CSRT are in "
        "opencv-contrib-python-headless, which takes the place of opencv-python-headless"
    )


def _in(place: Any, kind: str) -> Any:
    return getattr(place, f"Tracker{kind}_create", None)


def _register(kind: str) -> None:
    members = {"kind": kind, "name": f"opencv:{kind}", "__doc__": f"OpenCV's {kind}."}
    TRACKERS.register(f"opencv:{kind}")(type(f"OpenCv{kind}", (OpenCvTracker,), members))


for _kind in NAMES:
    _register(_kind)
