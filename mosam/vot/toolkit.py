"""Runs the VOT toolkit in an environment of its own, and says in one line what went wrong.

The toolkit is under the GPL and is never imported: it is a process beside ours. Its exit code is 0 also where a tracker
failed, so what it says is read too.
"""

from __future__ import annotations

import configparser
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mosam.errors import MissingDataError, MosamError

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
    process = subprocess.Popen(
        [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    said = b""
    while chunk := process.stdout.read1(_CHUNK):  # type: ignore[attr-defined]
        sys.stderr.buffer.write(chunk)
        sys.stderr.buffer.flush()
        said += chunk
    code = process.wait()
    lines = [line.strip() for line in re.split(r"[\r\n]+", _COLORS.sub("", said.decode(errors="replace")))]
    complaints = [line for line in lines if any(word in line for word in _BAD)]
    if code or complaints:
        last = (complaints or [line for line in lines if line] or [f"exit code {code}"])[0 if complaints else -1]
        raise MosamError(f"vot {arguments[0]}: {last[:_SHOWN]}")


def evaluate(
    workspace: str | os.PathLike[str],
    environment: str | os.PathLike[str],
    trackers: Sequence[str],
    *,
    experiments: str | None = None,
    run: bool = True,
) -> str:
    """Has the toolkit run trackers and analyse their results.

    Args:
        workspace: its folder.
        environment: that holds the toolkit.
        trackers: names in `trackers.ini`; none = all of them.
        experiments: of the stack, comma-separated; None = all.
        run: run the trackers; else only analyse.
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
    return describe_analysis(json.loads(found.read_text(encoding="utf-8")))


def _registered(root: Path) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "trackers.ini", encoding="utf-8")
    if not parser.sections():
        raise MissingDataError(f"{root / 'trackers.ini'}: expected a tracker, found none; see mosam vot init")
    return sorted(parser.sections())


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


def read_analysis(analysis: Mapping[str, Any]) -> list[tuple[str, str, dict[str, float]]]:
    """Overall numbers of an analysis file of the toolkit.

    Args:
        analysis: the content of `analysis/<name>.json`.
    Returns:
        experiment, tracker and its numbers, by the toolkit's name of an analysis where it has one (`Quality`); those
        without an overall number are left out.
    """
    trackers = list(analysis["trackers"])
    found: dict[tuple[str, str], dict[str, float]] = {}
    for experiment, content in analysis["results"].items():
        pairs = zip(content["parameters"]["analyses"], content["results"] or (), strict=False)
        for parameters, results in pairs:
            kind = ".".join(parameters["type"].split(".")[-2:])
            names = _MEASURES.get(kind, ())
            if len(names) == 1 and parameters.get("name") and kind.startswith("accuracy"):
                names = (parameters["name"].lower(),)
            for tracker, values in zip(trackers, results or (), strict=False):
                numbers = [math.nan if value is None else value for value in values or ()]
                named = {n: float(v) for n, v in zip(names, numbers, strict=False) if isinstance(v, int | float)}
                found.setdefault((experiment, tracker), {}).update(named)
    return [(experiment, tracker, values) for (experiment, tracker), values in found.items() if values]


def describe_analysis(analysis: Mapping[str, Any]) -> str:
    """Overall numbers of an analysis file as lines of text."""
    rows = [
        (experiment, tracker, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
        for experiment, tracker, values in read_analysis(analysis)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows)
