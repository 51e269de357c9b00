"""The VOT toolkit in its own environment, made by the project's Makefile where it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """A target of the project's Makefile, with the environment that the tests run in."""
    settings = ["INSTALLED=", f"BIN={Path(sys.executable).parent}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["make", *words, *settings], cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )


def toolkit_environment(version: str) -> Path:
    """Its folder; the test is skipped, with the reason, where it cannot be installed."""
    done = make("vot-environment", f"TOOLKIT={version}")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["make failed"])[-1]
        pytest.skip(f"vot-toolkit {version} cannot be installed here: {last}")
    return PROJECT / (".venv-vot" if version.startswith("0.7") else ".venv-vots")
