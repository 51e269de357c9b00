"""Runs the VOT toolkit in an environment of its own, and says in one line what went wrong.

The toolkit is under the GPL and is never imported: it is a process beside ours. Its exit code is 0 also where a tracker
failed, so what it says is read too.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosam.errors import MissingDataError, MosamError
from mosam.system.files import read_regular
from mosam.system.typed import from_data, parse_json
from mosam.vot.folder_process import ERRORS_VARIABLE
from mosam.vot.workspace import TRACKERS, read_trackers

_BAD = ("encountered an error", "interrupted by tracker error", "Unable to", "not found", "No trackers resolved")
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_SHOWN = 300
_CHUNK = 65536  # bytes


def toolkit_command(environment: str | os.PathLike[str]) -> list[str]:
    """What starts the toolkit of an environment; MissingDataError where it is not there."""
    python = Path(environment) / "bin" / "python"
    if not python.is_file():
        raise MissingDataError(f"{environment}: expected an environment with the VOT toolkit, found none; see make vot")
    found = subprocess.run([str(python), "-c", "import vot"], capture_output=True, text=True, check=False)
    if found.returncode:
        reason = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MissingDataError(f"{environment}: the VOT toolkit cannot be imported ({reason}); make vot installs it")
    return [str(python), "-m", "vot"]


def run_toolkit(command: Sequence[str], arguments: Sequence[str]) -> None:
    """Runs one command of the toolkit; what it prints is shown on standard error.

    Args:
        command: see `toolkit_command`.
        arguments: of the toolkit.
    Raises:
        MosamError: it failed, or said that a tracker or an analysis did.
    """
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        said, code = _run([*command, *arguments], {**os.environ, ERRORS_VARIABLE: str(errors)})
        reason = read_regular(errors).decode(errors="replace").strip() if errors.is_file() else ""
    lines = [line.strip() for line in re.split(r"[\r\n]+", _COLORS.sub("", said.decode(errors="replace")))]
    complaints = [line for line in lines if any(word in line for word in _BAD)]
    if code or complaints:
        last = (complaints or [line for line in lines if line] or [f"exit code {code}"])[0 if complaints else -1]
        raise MosamError(f"vot {arguments[0]}: {' '.join((last[:_SHOWN], reason)).strip()}")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[bytes, int]:
    """What a process says, which is also shown, and its exit code."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    assert process.stdout is not None
    said = b""
    while chunk := process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        said += chunk
    return said, process.wait()


def evaluate(
    workspace: str | os.PathLike[str],
    environment: str | os.PathLike[str],
    trackers: Sequence[str],
    *,
    experiments: str | None = None,
    run: bool = True,
) -> str:
    """Has the toolkit run trackers and analyze their results.

    Args:
        workspace: its folder.
        environment: that holds the toolkit.
        trackers: names in `trackers.ini`; none = all of them.
        experiments: of the stack, comma-separated; None = all.
        run: run the trackers; else only analyze.
    Returns:
        the toolkit's overall numbers, one a line.
    Raises:
        MosamError: no workspace or toolkit, or what the toolkit complains of.
    """
    root = Path(workspace).resolve()
    if not (root / "config.yaml").is_file():
        raise MissingDataError(f"{workspace}: expected a workspace of the VOT toolkit, found none; see mosam vot init")
    names = list(trackers) or _registered(root)
    command = toolkit_command(environment)
    place = ["--workspace", str(root)]
    if run:
        chosen = [] if experiments is None else ["--experiments", experiments]
        run_toolkit(command, ["evaluate", *place, *chosen, *names])
    name = "latest"
    run_toolkit(command, ["analysis", *place, "--format", "json", "--name", name, *names])
    found = root / "analysis" / f"{name}.json"
    if not found.is_file():
        raise MosamError(f"vot analysis: expected {found}, found nothing")
    return describe_analysis(parse_json(read_regular(found), found, nan=True), found)


def _registered(root: Path) -> list[str]:
    trackers = read_trackers(root / TRACKERS)
    if not trackers:
        raise MissingDataError(f"{root / TRACKERS}: expected a tracker, found none; see mosam vot init")
    return sorted(trackers)


_MEASURES = {  # of the toolkit's analyses, the numbers they begin with
    "multistart.EAOScore": ("eao",),
    "supervised.EAOScore": ("eao",),
    "multistart.AverageAccuracyRobustness": ("accuracy", "robustness"),
    "supervised.AverageAccuracyRobustness": ("accuracy", "failures"),
    "accuracy.AverageAccuracy": ("accuracy",),
    "longterm.PrecisionRecall": ("precision", "recall", "f"),
    "longterm.AccuracyRobustness": ("accuracy", "robustness"),
    "longterm.AverageQualityAuxiliary": ("nre", "dre", "adq"),
}


@dataclass(frozen=True, slots=True)
class _Kind:
    type: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Parameters:
    analyses: tuple[_Kind, ...]


@dataclass(frozen=True, slots=True)
class _Experiment:
    """What an experiment's analyses gave: for each of them a list with an entry for each tracker."""

    parameters: _Parameters
    results: tuple[tuple[Any, ...] | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Analysis:
    """An analysis file of the toolkit."""

    trackers: Mapping[str, Any] | tuple[str, ...]
    results: Mapping[str, _Experiment]


def read_analysis(analysis: object, where: str | Path = "analysis") -> list[tuple[str, str, dict[str, float]]]:
    """Overall numbers of an analysis file of the toolkit.

    Args:
        analysis: the content of `analysis/<name>.json`.
        where: that file, for errors.
    Returns:
        experiment, tracker and its numbers, by the toolkit's name of an analysis where it has one (`Quality`); those
        without an overall number are left out.
    Raises:
        DataError: not an analysis.
    """
    read = from_data(_Analysis, analysis, where, unknown=True, nan=True)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for experiment, content in read.results.items():
        for parameters, results in zip(content.parameters.analyses, content.results or (), strict=False):
            kind = ".".join(parameters.type.split(".")[-2:])
            names = _MEASURES.get(kind, ())
            if len(names) == 1 and parameters.name and kind.startswith("accuracy"):
                names = (parameters.name.lower(),)
            for tracker, values in zip(read.trackers, results or (), strict=False):
                listed = values if isinstance(values, list | tuple) else ()
                numbers = [math.nan if value is None else value for value in listed]
                named = {
                    name: from_data(float, value, where, f"{experiment}.{name}", nan=True)
                    for name, value in zip(names, numbers, strict=False)
                    if isinstance(value, int | float)
                }
                found.setdefault((experiment, tracker), {}).update(named)
    return [(experiment, tracker, values) for (experiment, tracker), values in found.items() if values]


def describe_analysis(analysis: object, where: str | Path = "analysis") -> str:
    """Overall numbers of an analysis file as lines of text; arguments and errors as those of `read_analysis`."""
    rows = [
        (experiment, tracker, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
        for experiment, tracker, values in read_analysis(analysis, where)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows)
