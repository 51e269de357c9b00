"""From the options of `mosam demo` to a tracked video: everything is checked before a network is loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mosam.commands.demo.prompts import describe_prompts, make_prompts
from mosam.commands.demo.source import Source, open_source
from mosam.commands.demo.track import DemoResult, Watcher, track_source
from mosam.commands.demo.write import OVERLAY, prepare_folder, write_record
from mosam.datasets.select import split_list
from mosam.errors import MosamError, printable
from mosam.policies.base import MemoryPolicy, load_policy, parse_tracker
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.presets import default_tracker

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone
    from mosam.types import Image, Prompt

ON_A_GPU, ON_A_CPU = "large", "tiny"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of `mosam demo`, as the user gave them; None = not given."""

    video: str = option(
        "Video, folder of images, number of a camera or rtsp:// address.", metavar="INPUT", positional=True
    )
    boxes: tuple[str, ...] = option("Box of an object on the first frame.", (), name="box", metavar="X,Y,W,H")
    box_files: tuple[Path, ...] = option("File with a line x,y,w,h per object.", (), name="box-file", metavar="FILE")
    points: tuple[str, ...] = option(
        "Point on the object; x,y,0: not on it; N:x,y: on object N.", (), name="point", metavar="X,Y"
    )
    mask: Path | None = option("Label map (PNG) of the first frame.", None)
    pick: bool = option("Draw the objects in a page on this machine.", False)
    port: int = option("Port of that page; 0 = any free one.", 0, least=0, most=65535)
    browser: bool = option("Open that page in the browser.", True)
    out: Path | None = option("Folder to write.", None, usual="results/demo/NAME")
    overwrite: bool = option("Replace an earlier demo's files.", False)
    tracker: str | None = shared.TRACKERS.field(help="Tracker, e.g. `mosam[stride=3]`.", usual="mosam")
    compare: str | None = option("Compare trackers side by side, e.g. sam2,mosam.", None, complete="tracker")
    show_motion: bool = option("Also draw motion and memory.", False)
    model: str | None = shared.MODEL.field(help="Network.", usual="large; on a CPU tiny")
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    start: int = option("First frame; the prompts are on it.", 0, least=0)
    frames: int | None = option("Track only N frames.", None, least=1)
    rate: float | None = option("Frame rate of a folder of images.", None, usual="24", least=0.1, name="fps")
    masks: bool = option("Write masks as PNG.", True)


class DemoView(Protocol):
    """Where progress is shown."""

    def note(self, line: str) -> None:
        """Prints a line."""

    def update(self, frames: int, length: int | None, seconds: float) -> None:
        """One more frame is tracked."""


def run_demo(options: DemoOptions, view: Callable[[], contextlib.AbstractContextManager[DemoView]]) -> DemoResult:
    """Tracks objects in one video, as `mosam demo` does.

    Args:
        options: what is asked for.
        view: makes the view of the progress.
    Raises:
        MosamError: the call, the video or the prompts are wrong; nothing has been written then.
    """
    policies = choose_policies(options)
    with closing(open_source(options.video, rate=options.rate, start=options.start)) as source:
        given = options.boxes or options.box_files or options.points or options.mask
        if options.pick and given:
            raise MosamError("--pick: expected either picking by hand or --box, --box-file, --point, --mask, got both")
        out = options.out or Path("results", "demo", printable(source.name))
        demo = _Demo(options, source, policies, view)
        return demo.picked(out) if options.pick else demo.given(out)


class _Demo:
    """One video and its trackers; the network is loaded once."""

    def __init__(
        self,
        options: DemoOptions,
        source: Source,
        policies: Sequence[MemoryPolicy],
        view: Callable[[], contextlib.AbstractContextManager[DemoView]],
    ):
        self._options, self._source, self._policies, self._view = options, source, policies, view

    def given(self, out: Path) -> DemoResult:
        """Tracks what the options name."""
        options = self._options
        prompts = make_prompts(
            self._source.size,
            boxes=options.boxes,
            box_files=options.box_files,
            points=options.points,
            mask=options.mask,
        )
        self._prepare(out)
        with self._view() as shown:
            model = _load(options)
            shown.note(f"{self._titles} with {model.name} on {self._source.name} -> {out}")
            return self._track(out, prompts, model, shown)

    def picked(self, out: Path) -> DemoResult:
        """Tracks what the user marks on a page; each time again into another folder, until the page is closed."""
        from mosam.commands.demo.pick import PickPage, Scene

        self._prepare(out)
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(_load, self._options)  # while the user looks at the first frame
            preview = _Preview(self._source, loading, self._policies[0])
            scene = Scene(
                self._source.name,
                self._source.first,
                preview,
                self._frames(),
                getattr(self._source, "refresh", None),
                addable=len(self._policies) == 1,
            )
            with PickPage(scene, port=self._options.port, browser=self._options.browser) as page:
                for place in _folders(out):
                    if place != out:
                        self._prepare(place)
                    with self._view() as shown:
                        shown.note(f"mark what to track at {page.url}")
                        prompts = page.prompts(lambda: _raise_of(loading))
                        model = loading.result()
                        shown.note(f"{self._titles} with {model.name} on {self._source.name} -> {place}")
                        with preview.lock:  # the network is used by one at a time
                            result = self._track(place, prompts, model, shown, page)
                    page.finish("\n".join([*result.lines(), str(place)]), place / OVERLAY if result.frames else None)
                    if not page.again():
                        return result
        raise AssertionError("folders do not end")

    @property
    def _titles(self) -> str:
        return ", ".join(policy.label for policy in self._policies)

    def _prepare(self, out: Path) -> None:
        several = [policy.label for policy in self._policies] if len(self._policies) > 1 else []
        prepare_folder(out, several, overwrite=self._options.overwrite)

    def _frames(self) -> int | None:
        """How many will be tracked, or about; None = not known."""
        expected, wanted = self._source.expected, self._options.frames
        return expected if wanted is None else min(wanted, expected or wanted)

    def _track(
        self, out: Path, prompts: list[Prompt], model: Backbone, shown: DemoView, watcher: Watcher | None = None
    ) -> DemoResult:
        def asked() -> dict[str, object]:
            return _record(self._options, prompts, model, self._policies)

        def begin(new: Sequence[Prompt] = ()) -> None:
            """Names what is written, should this process be killed."""
            prompts.extend(new)
            write_record(out, {**asked(), "unfinished": True})

        begin()
        result = track_source(
            self._source,
            prompts,
            model,
            self._policies,
            out=out,
            show_motion=self._options.show_motion,
            masks=self._options.masks,
            frames=self._options.frames,
            progress=shown.update,
            watcher=watcher,
            added=begin,
        )
        write_record(out, {**asked(), **_outcome(self._policies, result)})
        return result


class _Preview:
    """The first frame with the masks that tracking would begin with."""

    def __init__(self, source: Source, loading: Future[Backbone], policy: MemoryPolicy):
        self._source, self._loading, self._policy = source, loading, policy
        self.lock = threading.Lock()

    def __call__(self, prompts: Sequence[Prompt]) -> Image:
        from mosam.commands.demo.draw import draw_objects
        from mosam.engine.engine import Engine

        model, image = self._loading.result(), self._source.first()
        with self.lock:
            engine = Engine(model, self._policy)
            video = engine.open(prompts, size=self._source.size, num_frames=1, non_overlap=True)
            output = engine.step({video: image})[video]
            engine.close(video)
        return draw_objects(image, output)


def _raise_of(loading: Future[Backbone]) -> None:
    """What went wrong in loading, if anything did."""
    if loading.done():
        loading.result()


def _folders(out: Path) -> Iterator[Path]:
    """`out`, then `out-2`, `out-3` ...: what was tracked before stays."""
    yield out
    for number in itertools.count(2):
        place = out.with_name(f"{out.name}-{number}")
        if not place.exists():
            yield place


def choose_policies(options: DemoOptions) -> list[MemoryPolicy]:
    """The trackers of `--tracker` or `--compare`.

    Raises:
        MosamError: both, none, an unknown one, or one twice.
    """
    if options.tracker is not None and options.compare is not None:
        raise MosamError("--compare: expected either --tracker or --compare, got both")
    words = split_list(options.compare or options.tracker) or [default_tracker()]
    if options.compare is not None and len(words) < 2:
        raise MosamError("--compare: expected at least two trackers, as sam2,mosam, got one")
    if options.compare is None and len(words) > 1:
        raise MosamError("--tracker: expected one tracker, got several; --compare puts them side by side")
    policies = []
    for word in words:
        name, values = parse_tracker(word)
        policies.append(load_policy(name, **values))
    labels = [policy.label for policy in policies]
    if len(set(labels)) < len(labels):
        raise MosamError(f"--compare: expected different trackers, got {', '.join(labels)}")
    return policies


def _load(options: DemoOptions) -> Backbone:
    """The network: where none is named, the largest on an accelerator and the smallest of SAM 2.1 on a processor."""
    from mosam.model.checkpoints import load_model
    from mosam.model.devices import choose_device

    model = options.model or (ON_A_CPU if choose_device(options.device).type == "cpu" else ON_A_GPU)
    precision: Any = options.precision or "auto"
    try:
        return load_model(model, device=options.device, precision=precision)
    except MosamError as error:
        if options.model is None:
            raise type(error)(f"{error}; or --model nano, a small network that needs no download") from None
        raise


def _record(
    options: DemoOptions, prompts: Sequence[Prompt], model: Backbone, policies: Sequence[MemoryPolicy]
) -> dict[str, object]:
    """What is known before the first frame."""
    from mosam.results.environment import describe_environment

    return {
        "video": options.video,
        "start": options.start,
        "prompts": describe_prompts(prompts),
        "model": model.name,
        "weights_hash": model.weights_hash,
        "device": str(model.device),
        "precision": str(model.dtype).removeprefix("torch."),
        "masks": options.masks,
        "trackers": [{"tracker": policy.label, "policy": dataclasses.asdict(policy.config)} for policy in policies],
        "environment": describe_environment(),
    }


def _outcome(policies: Sequence[MemoryPolicy], result: DemoResult) -> dict[str, object]:
    return {
        "frames": result.frames,
        "problem": result.problem,
        "interrupted": result.interrupted,
        "trackers": [
            {
                "tracker": policy.label,
                "policy": dataclasses.asdict(policy.config),
                "fps": summary.fps,
                "absent": {str(key): {"frames": n, "where": where} for key, (n, where) in summary.absent.items()},
            }
            for policy, summary in zip(policies, result.trackers, strict=True)
        ],
    }
