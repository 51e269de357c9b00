"""`mosam data check`: everything wrong with a copy of a benchmark, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mosam.datasets.annotations import LabelMapTruth
from mosam.datasets.base import BoxTruth, Dataset, FrameSource, MaskTruth, Sequence, shorten
from mosam.datasets.pack import check_packed
from mosam.datasets.video import VideoFrames
from mosam.datasets.video_length import missing_bytes
from mosam.errors import MosamError, one_line
from mosam.types import Size

Progress = Callable[[str, int, int], None]


class Note(str):
    """A line of `find_problems` that says something to know, not something wrong."""

    __slots__ = ()


def check(dataset: Dataset, *, official: bool = False, progress: Progress | None = None) -> list[str]:
    """Everything wrong with a copy on disk; see `find_problems`.

    Args:
        dataset: its chosen sequences are checked.
        official: also demand every sequence of the official split.
        progress: called as (sequence, done, all) before each sequence.
    Returns:
        One line for each problem, and a `Note` for what is worth knowing; empty = sound.
    """
    return list(find_problems(dataset, official=official, progress=progress))


def find_problems(dataset: Dataset, *, official: bool = False, progress: Progress | None = None) -> Iterator[str]:
    """The problems of `check`, each as soon as it is found.

    Looks for absent sequences, numbers of frames and annotations that differ, frames and masks of another size,
    pictures that cannot be decoded (all are), bad text, prompts that cannot start a track, and ids above the first
    mask's; of a packed copy also for files that are not as its manifest says. Frames that say they are to be turned are
    a `Note`, as is what the dataset says of the copy. A copy without any frames is taken for one that is meant for
    scoring. Whatever goes wrong with one sequence, the others are looked at all the same.
    """
    yield from (Note(f"note: {dataset.name}: {note}") for note in dataset.notes())
    if official:
        yield from _check_official(dataset)
    if dataset.root is not None:
        yield from _going_on(check_packed(dataset.root), str(dataset.root))
    has_frames = any(_has_frames(dataset, name) for name in dataset)
    for done, name in enumerate(dataset):
        if progress is not None:
            progress(name, done, len(dataset))
        for problem in _going_on(_check_present(dataset, name, frames=has_frames), name):
            yield problem if problem.startswith(f"{name}:") else type(problem)(f"{name}: {problem}")


def _going_on(problems: Iterator[str], name: str) -> Iterator[str]:
    """The problems; a fault that nobody foresaw is one more, and ends them."""
    try:
        yield from problems
    except Exception as error:
        yield f"{name}: expected files that can be checked, got {one_line(error)}"


def _has_frames(dataset: Dataset, name: str) -> bool:
    try:
        return dataset.is_present(name, frames=True)
    except Exception:  # told when the sequence's turn comes
        return False


def _check_present(dataset: Dataset, name: str, *, frames: bool) -> Iterator[str]:
    if not dataset.is_present(name):
        yield f"{name}: expected its annotation under {dataset.root}, found none"
        return
    if frames and not dataset.is_present(name, frames=True):
        yield f"{name}: expected its frames under {dataset.root}, found none"
    yield from _check_sequence(dataset, name)


def _check_official(dataset: Dataset) -> Iterator[str]:
    official = dataset.official_names()
    absent = [name for name in official or () if name not in dataset]
    if official and absent:
        yield (
            f"{dataset.name} {dataset.split}: expected all {len(official)} official sequences, "
            f"{len(absent)} are not listed: {shorten(absent)}"
        )


def _check_sequence(dataset: Dataset, name: str) -> Iterator[str]:
    source: FrameSource | None = None
    sequence: Sequence | None = None
    try:
        sequence = dataset[name]
        source = sequence.source
        len(source)  # some loaders look for the frames only now
    except MosamError as error:
        yield str(error)
        try:
            source = dataset.open_frames(name)  # the frames may still be sound
        except MosamError as second:
            if str(second) != str(error):
                yield str(second)
    size: Size | None = None
    if source is not None and len(source):
        try:
            size = source.size()
        except MosamError as error:
            yield str(error)
        else:
            yield from _check_frames(source)
    if sequence is not None:
        yield from _check_annotation(dataset, sequence, size)


def _check_frames(source: FrameSource) -> Iterator[str]:
    for index in range(len(source)):
        try:
            source.read(index)
        except MosamError as error:
            yield str(error)
        except Exception as error:
            yield f"frame {index}: expected a frame that can be read, got {one_line(error)}"
    yield from _describe_source(source)


def _describe_source(source: FrameSource) -> Iterator[str]:
    """What is to be known of frames that were all read."""
    source = getattr(source, "found", source)  # frames that are looked for late
    turned = sorted(getattr(source, "turned", ()))
    if turned:
        what = (
            "they are turned upright, boxes and masks are those of the upright pictures"
            if getattr(source, "upright", False)
            else "they are read as stored, as official programs do"
        )
        stems = getattr(source, "stems", ()) or [str(index) for index in range(len(source))]
        which = shorten(stems[index] for index in turned)
        count = f"{len(turned)} of {len(source)} frames"
        yield Note(f"note: {count} carry an orientation and say that they are to be turned ({which}); {what}")
    if isinstance(source, VideoFrames):
        if source.faults:
            yield f"{source.folder}: expected packets that decode, {source.faults} do not; frames count without them"
        missing = missing_bytes(source.folder)
        if missing:
            yield f"{source.folder}: expected {missing} bytes more as its header says, it is cut off; get it again"


def _check_annotation(dataset: Dataset, sequence: Sequence, size: Size | None) -> Iterator[str]:
    try:
        prompts = sequence.prompts
        if {prompt.object_id for prompt in prompts} != set(sequence.object_ids):
            yield f"expected a prompt for each of the objects {sequence.object_ids}"
        truth = sequence.truth if dataset.has_truth else None
    except MosamError as error:
        yield str(error)
        return
    if isinstance(truth, BoxTruth):
        if len(truth) != len(sequence) or len(truth.absent) != len(truth):
            yield f"expected {len(sequence)} annotated frames, got {len(truth)}"
    elif truth is not None:
        for frame_index in truth.frame_indices:
            yield from _check_masks(truth, frame_index, size)


def _check_masks(truth: MaskTruth, frame_index: int, size: Size | None) -> Iterator[str]:
    try:
        masks = truth.read(frame_index)
        stray = truth.stray_ids(frame_index) if isinstance(truth, LabelMapTruth) else ()
    except MosamError as error:
        yield str(error)
        return
    where = truth.path(frame_index) if isinstance(truth, LabelMapTruth) else f"frame {frame_index}"
    for mask in masks.values():
        if size is not None and mask.shape != size:
            yield f"{where}: expected masks of {size[0]}x{size[1]} (height x width) as the frames, got {mask.shape}"
            break
    if stray:
        ids = ", ".join(map(str, stray))
        yield f"{where}: expected no object id above {truth.object_ids[-1]}, the highest of the first mask, got {ids}"
