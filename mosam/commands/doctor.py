"""What this installation can do: versions, devices, decoders, optional parts, checkpoints and data, with advice.

Every line is a fact about this machine; a line that asks for something says what to type.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mosam.errors import MosamError
from mosam.results.environment import describe_code, package_version

State = Literal["ok", "none", "bad"]

NEEDED = ("torch", "torchvision", "transformers", "numpy", "opencv-python-headless", "av")
# Extra of the package -> (what it is for, modules it brings).
OPTIONAL = {
    "video": ("mosam demo --pick", ("starlette", "uvicorn")),
    "jpeg": ("faster JPEG frames", ("simplejpeg",)),
    "jpeg4py": ("faster JPEG frames", ("jpeg4py",)),
    "ray": ("runs on several machines", ("ray",)),
    "slurm": ("runs under Slurm", ("submitit",)),
    "docs": ("make docs", ("mkdocs", "mkdocstrings")),
    "dev": ("make test, make lint", ("pytest", "hypothesis", "ruff", "mypy")),
}
LITTLE_MEMORY = 8  # GB of a GPU, below which `large` needs fewer lanes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        part: section it belongs to.
        name: what was looked at.
        state: `ok`, `none` (not there, not needed) or `bad` (something will not work).
        text: what was found.
        advice: what to do, or empty.
    """

    part: str
    name: str
    state: State
    text: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Everything worth knowing, in the order to read it."""
    yield from _versions()
    yield from _devices()
    yield from _decoders()
    yield from _optional()
    yield from _models()
    yield from _data()


def report(findings: list[Finding]) -> str:
    """Findings as text, advice at the end."""
    marks = {"ok": "+", "none": "-", "bad": "!"}
    width = max(len(finding.name) for finding in findings)
    lines, part = [], None
    for finding in findings:
        if finding.part != part:
            lines += ([] if part is None else [""]) + [finding.part]
            part = finding.part
        lines.append(f"  {marks[finding.state]} {finding.name.ljust(width)}  {finding.text}".rstrip())
    advice = [finding for finding in findings if finding.advice]
    if advice:
        lines += ["", "advice"]
        lines += [f"  {finding.name}: {finding.advice}" for finding in advice]
    return "\n".join(lines)


def _versions() -> Iterator[Finding]:
    part = "versions"
    code = describe_code()
    commit = code["commit"]
    at = f" at {str(commit)[:10]}{'' if code['clean'] else ' with changes'}" if commit else ""
    yield Finding(part, "mosam", "ok", f"{code['version']}{at}, {Path(__file__).parent}")
    supported = sys.version_info[:2] >= (3, 10)
    yield Finding(
        part,
        "python",
        "ok" if supported else "bad",
        f"{platform.python_version()}, {platform.platform(terse=True)}",
        "" if supported else "use Python 3.10 or later",
    )
    for name in NEEDED:
        version = package_version(name)
        advice = "" if version else f"pip install '{name}'"
        yield Finding(part, name, "ok" if version else "bad", version or "not installed", advice)


def _devices() -> Iterator[Finding]:
    part = "devices"
    yield Finding(part, "cpu", "ok", f"{os.cpu_count()} cores{_bf16_units()}")
    try:
        import torch
    except ImportError as error:
        yield Finding(part, "torch", "bad", f"cannot be imported: {error}", "reinstall torch, see https://pytorch.org")
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        about = torch.cuda.get_device_properties(index)
        memory = about.total_memory / 1e9
        advice = "use --lanes 1, or --model base-plus where memory runs out" if memory < LITTLE_MEMORY else ""
        yield Finding(part, f"cuda:{index}", "ok", f"{about.name}, {memory:.0f} GB", advice)
    if not count and shutil.which("nvidia-smi"):
        yield Finding(
            part,
            "cuda",
            "bad",
            f"this machine has nvidia-smi, but torch {torch.__version__} finds no GPU",
            "install the torch build for your driver (https://pytorch.org); does CUDA_VISIBLE_DEVICES hide it?",
        )
    elif not count and not torch.backends.mps.is_available():
        yield Finding(part, "gpu", "none", "none; nano runs everywhere, SAM 2.1 takes seconds a frame on a CPU")
    if torch.backends.mps.is_available():
        yield Finding(part, "mps", "ok", "Apple GPU")


def _bf16_units() -> str:
    from mosam.model.devices import bf16_units

    units = bf16_units()
    return f", {units} for bf16" if units else ""


def _decoders() -> Iterator[Finding]:
    part = "decoders"
    from mosam.datasets.decoders import decoder_in_use

    chosen = decoder_in_use()
    advice = "" if chosen != "pillow" else "pip install 'mosam[jpeg]' reads JPEG frames faster"
    yield Finding(part, "jpeg", "ok", f"{chosen} in use", advice)
    try:
        import av

        from mosam.commands.demo.write import ENCODERS

        encoder = next((name for name in ENCODERS if name in av.codecs_available), None)
        yield Finding(
            part,
            "video",
            "ok" if encoder else "bad",
            f"PyAV {av.__version__}, writes with {encoder}" if encoder else "this PyAV writes no MPEG video",
            "" if encoder else "pip install --force-reinstall av",
        )
    except ImportError as error:
        yield Finding(part, "video", "bad", f"PyAV cannot be imported: {error}", "pip install --force-reinstall av")


def _optional() -> Iterator[Finding]:
    part = "optional parts"
    for extra, (purpose, modules) in OPTIONAL.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        text = f"{purpose}; {'missing ' + ', '.join(missing) if missing else 'installed'}"
        yield Finding(part, f"[{extra}]", "none" if missing else "ok", text)
    latex = shutil.which("latexmk") or shutil.which("pdflatex")
    yield Finding(part, "latex", "ok" if latex else "none", f"compiles tables and tikz; {latex or 'not found'}")


def _models() -> Iterator[Finding]:
    part = "checkpoints"
    from mosam.model.checkpoints import SHIPPED, list_models
    from mosam.model.fetch import cache_folder, is_offline

    found = 0
    for info in list_models():
        found += info.here is not None and info.name != SHIPPED
        state: State = "ok" if info.here else "none"
        where = "shipped" if info.here and info.name == SHIPPED else info.here or "not here"
        yield Finding(part, info.name, state, where)
    if not found:
        yield Finding(part, "sam 2.1", "none", "no size is on this machine", "mosam model fetch large (898 MB)")
    yield Finding(part, "cache", "ok", f"{cache_folder()}{'; offline' if is_offline() else ''}")


def _data() -> Iterator[Finding]:
    part = "data"
    from mosam.datasets.archives import folder_or_zip
    from mosam.datasets.base import DATA_VARIABLE, DATASETS, load_dataset

    base = os.environ.get(DATA_VARIABLE)
    if not base:
        advice = f"export {DATA_VARIABLE}=/where/benchmarks/are"
        yield Finding(part, DATA_VARIABLE, "none", "not set; every command needs --root", advice)
        return
    if not Path(base).is_dir():
        advice = f"set {DATA_VARIABLE} to the folder of benchmarks"
        yield Finding(part, DATA_VARIABLE, "bad", f"{base} is not a folder", advice)
        return
    yield Finding(part, DATA_VARIABLE, "ok", base)
    for name in DATASETS:
        if not folder_or_zip(Path(base) / name).exists():
            continue
        try:
            dataset: Any = load_dataset(name)
            absent = dataset.missing(frames=True)
        except (MosamError, OSError, ValueError) as error:
            yield Finding(part, name, "bad", str(error).splitlines()[0][:100], f"mosam data check {name}")
            continue
        state: State = "bad" if len(absent) == len(dataset) else "ok"
        missing = f", {len(absent)} without frames" if absent else ""
        advice = f"mosam data check {name}" if absent else ""
        yield Finding(part, name, state, f"{dataset.split}: {len(dataset)} sequences{missing}", advice)
