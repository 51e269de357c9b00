"""`make gpu`: nothing to do without a GPU, a failure where tests marked `gpu` do not run although there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("there", "tests", "code", "says"), [(False, 0, 0, "no GPU"), (True, 5, 2, ""), (True, 0, 0, "tested")]
)
def test_the_target(tmp_path, there, tests, code, says):
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    fake = tmp_path / ".venv" / "bin" / "python"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!/bin/sh\ncase "$1" in -c) exit {int(not there)};; esac\necho tested\nexit {tests}\n')
    fake.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    done = subprocess.run(["make", "gpu"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stdout


@pytest.mark.parametrize("there", [False, True])
def test_skipped_tests_are_no_success_beside_a_gpu(tmp_path, there):
    """As on a machine whose GPU every test finds a reason to skip."""
    shutil.copy(PROJECT / "tests" / "gpu" / "conftest.py", tmp_path)
    (tmp_path / "test_one.py").write_text(
        "import pytest, torch\n"
        f"torch.cuda.is_available = lambda: {there}\n"
        "@pytest.mark.gpu\ndef test_one():\n    pytest.skip('why not')\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run([*words, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == int(there), done.stdout
    assert ("has run on this machine's GPU" in done.stdout) == there
    assert torch.cuda.is_available() in (True, False)
