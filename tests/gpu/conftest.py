"""Every test here that takes `device` runs twice: on the processor, which shows that it is sound, and on a GPU.

The second is marked `gpu` (`make gpu`), and skipped where there is none.
"""

from __future__ import annotations

import pytest
import torch


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        # a compiler of the processor takes minutes
        slow = [pytest.mark.slow] if "compiled" in metafunc.function.__name__ else []
        places = [pytest.param("cpu", marks=slow), pytest.param("cuda", marks=pytest.mark.gpu)]
        metafunc.parametrize("device", places, indirect=True)


@pytest.fixture
def device(request, monkeypatch):
    """Where the test runs, with graphs on a GPU."""
    monkeypatch.setenv("MOSAM_GRAPHS", "1")
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU here")
    yield torch.device(request.param)
    if request.param == "cuda":
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def pytest_sessionfinish(session, exitstatus):
    """`-m gpu` on a machine with a GPU is a failure where nothing ran."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    asked = session.config.option.markexpr == "gpu" and exitstatus == 0 and reporter is not None
    if asked and torch.cuda.is_available() and not reporter.stats.get("passed"):
        session.exitstatus = 1
        reporter.write_line("no test marked gpu has run on this machine's GPU", red=True)
