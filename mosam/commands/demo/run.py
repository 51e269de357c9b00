"""From the options of `mosam demo` to a tracked video: everything is checked before a network is loaded."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mosam.commands.demo.prompts import describe_prompts, make_prompts
from mosam.commands.demo.source import open_source
from mosam.commands.demo.track import DemoResult, track_source
from mosam.commands.demo.write import prepare_folder, write_record
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

    video: str = option("Video file, folder of images or number of a camera.", metavar="INPUT", positional=True)
    boxes: tuple[str, ...] = option(
        "Box on the first frame; again for another object.", (), name="box", metavar="X,Y,W,H"
    )
    box_files: tuple[Path, ...] = option("Lines x,y,w,h, an object each.", (), name="box-file", metavar="FILE")
    points: tuple[str, ...] = option("On the object; x,y,0 off it; N:x,y of object N.", (), name="point", metavar="X,Y")
    mask: Path | None = option("PNG of the first frame's objects.", None)
    pick: bool = option("Draw the objects in a page on this machine.", False)
    port: int = option("Of that page; 0 = any free one.", 0, least=0, most=65535)
    browser: bool = option("Open the page.", True)
    out: Path | None = option("Folder to write.", None, usual="results/demo/NAME")
    overwrite: bool = option("Replace what a demo left there.", False)
    tracker: str | None = shared.TRACKERS.field(help="One, as `mosam[stride=3]`.", usual="mosam")
    compare: str | None = option("Several side by side, as sam2,mosam.", None, complete="tracker")
    show_motion: bool = option("Also draw motion and memory.", False)
    model: str | None = shared.MODEL.field(help="Network.", usual="large; on a CPU tiny")
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    start: int = option("First frame; the prompts are on it.", 0, least=0)
    frames: int | None = option("Only N frames from there.", None, least=1)
    rate: float | None = option("Of a folder of images.", None, usual="24", least=0.1, name="fps")
    masks: bool = option("Write masks as PNG.", True)


class DemoView(Protocol):
    """Where progress is shown."""

    def note(self, line: str) -> None:
        """Prints a line."""

    def update(self, frames: int, length: int | None, seconds: float) -> None:
        """One more frame is tracked."""


class Page(Protocol):
    """The page on which objects are picked and the result is watched."""

    url: str

    def prompts(self) -> list[Prompt]:
        """Waits until the user starts."""

    def show(self, index: int, image: Image) -> None:
        """A tracked frame."""

    def finish(self, text: str) -> None:
        """Nothing more comes."""


def run_demo(options: DemoOptions, view: Callable[[], contextlib.AbstractContextManager[DemoView]]) -> DemoResult:
    """Tracks objects in one video, as `mosam demo` does.

    Args:
        options: what is asked for.
        view: makes the view of the progress.
    Raises:
        MosamError: the call, the video or the prompts are wrong; nothing has been written then.
    """
    policies = choose_policies(options)
    source = open_source(options.video, rate=options.rate, start=options.start)
    prompts: list[Prompt] = []
    given = {"boxes": options.boxes, "box_files": options.box_files, "points": options.points, "mask": options.mask}
    if not options.pick:
        prompts = make_prompts(source.size, **given)  # type: ignore[arg-type]
    elif any(given.values()):
        raise MosamError("--pick: expected either picking by hand or --box, --box-file, --point, --mask, got both")
    out = options.out or Path("results", "demo", printable(source.name))
    with _page(options, source.first()) as page:
        prepare_folder(
            out, [policy.label for policy in policies] if len(policies) > 1 else [], overwrite=options.overwrite
        )
        with view() as shown:
            model = _load(options)
            shown.note(f"{', '.join(p.label for p in policies)} with {model.name} on {source.name} -> {out}")
            if page is not None:
                shown.note(f"draw what to track at {page.url}")
                prompts = page.prompts()
            asked = _record(options, prompts, model, policies)
            write_record(out, {**asked, "unfinished": True})  # names what is written, should this process be killed
            result = track_source(
                source,
                prompts,
                model,
                policies,
                out=out,
                show_motion=options.show_motion,
                masks=options.masks,
                frames=options.frames,
                progress=shown.update,
                shown=None if page is None else page.show,
            )
        write_record(out, {**asked, **_outcome(policies, result)})
        if page is not None:
            page.finish("\n".join(line for tracker in result.trackers for line in tracker.lines()))
    return result


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


@contextlib.contextmanager
def _page(options: DemoOptions, first: Image) -> Iterator[Page | None]:
    if not options.pick:
        yield None
        return
    from mosam.commands.demo.pick import PickPage

    with PickPage(first, port=options.port, browser=options.browser) as page:
        yield page


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
