"""Plugins to load, and a process that has loaded none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mosam.system import plugins

TRACKER = '''
"""Plugin of a test."""

from mosam.policies.base import POLICIES
from mosam.policies.sam2 import Sam2

__version__ = "1.2"


@POLICIES.register("mine")
class Mine(Sam2):
    """Ours."""

    name = "mine"
'''


def write_plugin(path: Path, text: str = TRACKER) -> Path:
    """A plugin's file."""
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch):
    """A process without plugins; what a test loads goes when it ends (modules are to be called `..._for_test`)."""
    from mosam.datasets.base import DATASETS
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES
    from mosam.evaluation.protocols.base import PROTOCOLS
    from mosam.model.family import MODELS
    from mosam.policies.base import POLICIES
    from mosam.tracking.outside.classes import TRACKERS

    monkeypatch.setenv(plugins.VARIABLE, "")
    for registry in (DATASETS, POLICIES, PROTOCOLS, FIGURES, SEQUENCE_FIGURES, MODELS, TRACKERS):
        list(registry)
        for table in ("_items", "_aliases", "_files"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    monkeypatch.setattr(plugins, "_here", plugins._State())
    yield
    for name in list(sys.modules):
        if "_for_test" in name or name.startswith("mosam_plugin_"):
            del sys.modules[name]
