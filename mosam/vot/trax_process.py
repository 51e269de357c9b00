"""`mosam vot track`: the process that the VOT toolkit starts, talking TraX over its standard input and output.

It holds no network: it passes file names and regions on to `mosam.vot.service`, so that starting it is cheap. The
package that speaks TraX is `vot-trax` (BSD).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from mosam.errors import MosamError, one_line
from mosam.regions.files import format_text, parse_text
from mosam.regions.trajectory import MASK, RunMask, Trajectory, box_region, mask_region

if TYPE_CHECKING:
    from mosam.vot.service import Order, Remote
    from mosam.vot.session import Answer

STARTED_BY = "TRAX"  # what the toolkit sets for the trackers it starts


def require_trax() -> None:
    """MosamError where the package that speaks TraX is not installed."""
    try:
        import trax.server  # noqa: F401
    except (ImportError, OSError) as error:
        reason = one_line(error)
        raise MosamError(
            f"the VOT toolkit is talked to with vot-trax, which is not here ({reason}): pip install vot-trax"
        ) from None


def has_trax() -> bool:
    """Whether the package that speaks TraX is installed."""
    try:
        require_trax()
    except MosamError:
        return False
    return True


def track(order: Order, *, keep: float) -> None:
    """Serves the toolkit until it says that it is enough.

    Args:
        order: the tracker.
        keep: see `mosam.vot.service.Service`.
    Raises:
        MosamError: whatever went wrong; the toolkit has been told.
    """
    from mosam.vot.service import connect

    require_trax()
    if STARTED_BY not in os.environ and sys.stdin.isatty():
        raise MosamError("mosam vot track is started by the VOT toolkit; see mosam vot init")
    remote: Remote | None = None
    failure: MosamError | None = None
    try:
        remote = connect(order, keep=keep)  # before the handshake: loading is not the tracker's time
    except MosamError as error:
        failure = error
    from trax import TraxException
    from trax.image import Image
    from trax.region import Region
    from trax.server import Server

    try:
        server = Server(
            [Region.MASK, Region.POLYGON, Region.RECTANGLE],
            [Image.PATH],
            tracker_name=order.tracker,
            tracker_description=f"{order.tracker} with {order.model}",
            tracker_family="mosam",
            multiobject=True,
        )
        try:
            if failure is not None:
                server.wait()
                raise failure
            assert remote is not None
            _serve(server, remote)
            server.quit()
        except MosamError as error:
            server.quit(str(error))
            raise
    except TraxException as error:
        raise MosamError(f"TraX: {one_line(error)}") from None
    finally:
        if remote is not None:
            remote.close()


def _serve(server: Any, remote: Any) -> None:
    from trax import TraxStatus

    while True:
        request = server.wait()
        if request.type not in (TraxStatus.INITIALIZE, TraxStatus.FRAME):
            return
        picture = next(iter(request.image.values())).path()
        regions = [region_text(region) for region, _ in request.objects or ()]
        act = remote.start if request.type == TraxStatus.INITIALIZE else remote.frame
        server.status([trax_object(answer) for answer in act(picture, regions)])


def region_text(region: Any) -> str:
    """A region of vot-trax as a line of VOT's text."""
    if region.type == region.RECTANGLE:
        return _line(box_region(np.array(region.bounds(), dtype=np.float64)))
    if region.type == region.POLYGON:
        return ",".join(f"{value!r}" for corner in region for value in corner)
    if region.type == region.MASK:
        x, y = region.offset()
        run = mask_region(region.array() != 0)
        return _line(RunMask(run.x + x, run.y + y, run.w, run.h, run.runs))
    raise MosamError(f"expected a rectangle, a polygon or a mask, got {region}")


def trax_object(answer: Answer) -> tuple[Any, dict[str, str]]:
    """An answer as vot-trax sends it: a region with its properties."""
    from trax.region import Mask, Rectangle

    trajectory = parse_text(answer.region.encode("ascii"), "answer")
    properties = {"confidence": f"{answer.confidence:.6f}"}
    if trajectory.kinds[0] != MASK:
        return Rectangle.create(*trajectory.boxes()[0].tolist()), properties
    region = trajectory[0]
    assert isinstance(region, RunMask)
    if not region.w:
        return Mask.create(np.zeros((1, 1), dtype=np.uint8)), properties
    ones = np.arange(len(region.runs)) % 2 == 1
    pixels = np.repeat(ones, region.runs).astype(np.uint8)
    crop = np.zeros(region.w * region.h, dtype=np.uint8)
    crop[: len(pixels)] = pixels
    return Mask.create(crop.reshape(region.h, region.w), x=region.x, y=region.y), properties


def _line(region: Any) -> str:
    return format_text(Trajectory.of([region])).strip()
