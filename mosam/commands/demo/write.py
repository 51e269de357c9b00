"""What the demo leaves: an H.264 video, boxes as text, masks as PNG, all written frame by frame."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import CodecOptions, format_number, labels_of_masks, write_labels
from mosam.errors import DataError, MismatchError, MissingDataError, MosamError
from mosam.geometry import mask_to_box
from mosam.system.files import Inside, write_text
from mosam.system.typed import read_json
from mosam.types import FrameOutput, Image, Size

OVERLAY, RECORD, BOXES, MASKS = "overlay.mp4", "demo.json", "boxes", "masks"
ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "mpeg4")  # the first that this build of FFmpeg has
QUALITY = {"crf": "20", "preset": "veryfast"}
MOST_RANGES = 6  # of absences that are named
CLOCK = Fraction(1, 90_000)  # of videos whose frames carry times


def prepare_folder(folder: Path, trackers: list[str], *, overwrite: bool) -> None:
    """Makes a folder to write to; what another demo says it wrote there goes only where that is asked for.

    Raises:
        MismatchError: results are there, or with `overwrite` something that no demo wrote; nothing is removed then.
        MosamError: it cannot be written to.
    """
    inside = Inside(folder)
    try:
        record = _read_record(inside)
        of_trackers = [*map(folder_name, trackers), *(record.folders if record else ())]
        found = [name for name in dict.fromkeys([OVERLAY, BOXES, MASKS, *of_trackers]) if inside.kind(name)]
        if inside.kind(RECORD) and (found or record is None or not record.unfinished):
            found.append(RECORD)
        if found and not overwrite:
            raise MismatchError(
                f"{folder}: expected a new or empty folder, found {found[0]}; give --overwrite or another --out"
            )
        for name in found:
            foreign = _foreign(inside, name, record)
            if foreign is not None:
                raise MismatchError(
                    f"{folder}: --overwrite removes what a demo wrote, but {RECORD} does not name {foreign}; "
                    "move it away or give another --out (nothing was removed)"
                )
        for name in found:
            inside.remove(name)
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise MosamError(
            f"{folder}: expected a folder to write to, got {error.strerror or error}; choose --out"
        ) from None


@dataclass(frozen=True, slots=True)
class _Named:
    tracker: str


@dataclass(frozen=True, slots=True)
class _Prompted:
    object: int


@dataclass(frozen=True, slots=True)
class _Written:
    """What a record says of the files beside it.

    Attributes:
        frames: that every tracker has masks of; None = not known.
        unfinished: the demo that wrote it did not come to its end.
    """

    trackers: tuple[_Named, ...]
    prompts: tuple[_Prompted, ...]
    frames: int | None = None
    masks: bool = True
    unfinished: bool = False

    @property
    def folders(self) -> list[str]:
        """Of several trackers."""
        return [folder_name(one.tracker) for one in self.trackers] if len(self.trackers) > 1 else []

    def names(self, path: str) -> bool:
        """Whether a file or folder is one of those the demo made."""
        first, _, rest = path.partition("/")
        inside = rest if first in self.folders else path if not self.folders else None
        if path in (OVERLAY, RECORD, *self.folders):
            return True
        masks = (MASKS,) if self.masks else ()
        if inside in (BOXES, *masks, *(f"{BOXES}/{one.object}.txt" for one in self.prompts)):
            return True
        number = re.fullmatch(rf"{MASKS}/(\d{{5,9}})\.png", inside or "")
        return number is not None and self.masks and (self.frames is None or int(number[1]) < self.frames)


def _read_record(inside: Inside) -> _Written | None:
    """What a demo that was here wrote; None where there was none, or its record cannot be read."""
    try:
        return read_json(inside.path(RECORD), _Written, unknown=True, nan=True)
    except (DataError, MissingDataError):
        return None


def _foreign(inside: Inside, path: str, record: _Written | None) -> str | None:
    """The first thing at a path that no demo wrote."""
    if record is None or not record.names(path):
        return path
    if inside.kind(path) != "folder":
        return None
    found = (_foreign(inside, f"{path}/{name}", record) for name in inside.names(path))
    return next((one for one in found if one is not None), None)


def folder_name(tracker: str) -> str:
    """A tracker's label as the name of a folder: `mosam[stride=3]` -> `mosam-stride=3`.

    >>> folder_name("mosam[stride=3,mgp=off]")
    'mosam-stride=3-mgp=off'
    """
    return tracker.replace("[", "-").replace("]", "").replace(",", "-").replace("/", "_").replace(":", "_")


class VideoWriter:
    """Frames into one video file.

    Args:
        path: the file; MP4.
        size: (height, width) of the frames; an odd side is filled up, which H.264 demands.
        rate: frames a second.
        timed: frames come with times, which need not be even.
    """

    def __init__(self, path: Path, size: Size, rate: Fraction, *, timed: bool):
        import av

        self._path, self._size, self._timed = path, size, timed
        self._last, self._count = -1, 0
        height, width = size
        try:
            self._container = av.open(f"file:{path}", "w", options={"movflags": "+faststart"})
            self.encoder = next(name for name in ENCODERS if name in av.codecs_available)
            options = QUALITY if self.encoder == "libx264" else {}
            stream: Any = self._container.add_stream(self.encoder, rate=rate, options=options)
        except (OSError, ValueError) as error:
            raise MosamError(
                f"{path}: expected a video file to write, got {' '.join(str(error).split())[:80]}"
            ) from None
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        self._clock = CLOCK if timed else 1 / rate
        if timed:
            stream.codec_context.time_base = CLOCK
        self._stream = stream

    def add(self, image: Image, time: Fraction | None) -> None:
        """The next frame (H, W, 3), shown `time` seconds after the first."""
        import av

        height, width = self._size
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        wanted = self._count if not self._timed or time is None else round(time / self._clock)
        frame.pts = self._last = max(wanted, self._last + 1)
        frame.time_base = self._clock
        self._count += 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """No more frames; the file can be played then."""
        if self._count:
            for packet in self._stream.encode():
                self._container.mux(packet)
        self._container.close()
        if not self._count:
            self._path.unlink(missing_ok=True)


class ResultWriter:
    """Boxes (`boxes/<object>.txt`, a line a frame) and masks (`masks/00000.png`) of one tracker.

    Args:
        folder: where they go.
        object_ids: a file each.
        size: (height, width) of the masks.
        masks: also write them.
        options: what a mask's box is, and the row of an absent object.
        first: number of the first frame in the video; masks are called by it, boxes begin with its line.
    """

    def __init__(
        self,
        folder: Path,
        object_ids: list[int],
        size: Size,
        *,
        masks: bool,
        options: CodecOptions,
        first: int = 0,
    ):
        self._folder, self._size, self._masks, self._options = folder, size, masks, options
        (folder / BOXES).mkdir(parents=True, exist_ok=True)
        if masks:
            (folder / MASKS).mkdir(exist_ok=True)
        self._first = self._frames = first
        self._files: dict[int, TextIO] = {}
        self._starts: dict[int, int] = {}
        self.absent: dict[int, Absence] = {}
        for object_id in object_ids:
            self.add_object(object_id)

    def add_object(self, object_id: int, start: int = 0) -> None:
        """One more object, which begins `start` frames after the first; the lines before are those of an absent one."""
        self._files[object_id] = file = (self._folder / BOXES / f"{object_id}.txt").open("w", encoding="ascii")
        self._starts[object_id] = self._first + start
        self.absent[object_id] = Absence()
        file.write(_row(np.zeros(4)) * (self._frames - self._first))

    def add(self, output: FrameOutput) -> None:
        """The next frame, final."""
        for object_id, file in self._files.items():
            item = output.objects.get(object_id)
            box = np.zeros(4) if item is None else mask_to_box(item.mask, convention=self._options.box_from_mask)
            gone = item is None or bool(np.isnan(box).any())
            if self._frames >= self._starts[object_id]:
                self.absent[object_id].see(self._frames, gone)
            file.write(_row(np.zeros(4) if gone else box))
        if self._masks:
            labels = labels_of_masks({key: item.mask for key, item in output.objects.items()}, self._size)
            write_labels(self._folder / MASKS / f"{self._frames:05d}.png", labels)
        self._frames += 1

    def close(self) -> None:
        """No more frames."""
        for file in self._files.values():
            file.close()


def _row(box: NDArray[np.float64]) -> str:
    return ",".join(format_number(float(value)) for value in box) + "\n"


class Absence:
    """Frames on which an object was not there, as ranges; of many, the first few, so that hours need no more memory.

    Attributes:
        count: frames.
        ranges: first and last frame of each range, at most `MOST_RANGES`.
        more: ranges beyond these.
    """

    def __init__(self) -> None:
        self.count = self.more = 0
        self.ranges: list[list[int]] = []
        self._last = -2

    def see(self, frame: int, absent: bool) -> None:
        """The next frame."""
        if not absent:
            return
        self.count += 1
        goes_on, self._last = self._last == frame - 1, frame
        if goes_on:
            if not self.more:
                self.ranges[-1][1] = frame
        elif len(self.ranges) < MOST_RANGES:
            self.ranges.append([frame, frame])
        else:
            self.more += 1

    def __str__(self) -> str:
        """As `12-20, 33`; of many ranges the first few."""
        words = [str(a) if a == b else f"{a}-{b}" for a, b in self.ranges]
        again = f" and {self.more} more time{'s' * (self.more != 1)}" if self.more else ""
        return ", ".join(words) + again


def write_record(folder: Path, record: dict[str, object]) -> None:
    """What was done, as JSON beside the results."""
    write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
