"""One engine, every tracker: a benchmark harness for visual object tracking and video object segmentation.

The names below are the public interface; each is imported when it is first used, so that `import mosam` is cheap and
torch is loaded only by those that need a network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import load_dataset
    from mosam.datasets.frames import open_frames
    from mosam.engine.engine import Engine
    from mosam.engine.parity import Parity
    from mosam.errors import MosamError
    from mosam.evaluation.evaluate import evaluate
    from mosam.model.checkpoints import load_model
    from mosam.policies.base import MemoryPolicy, load_policy
    from mosam.tracking.outside.load import load_tracker
    from mosam.tracking.run import RunResult, run
    from mosam.types import FrameOutput, ObjectOutput, Prompt

_PUBLIC = {
    "CodecOptions": "mosam.codecs",
    "Engine": "mosam.engine.engine",
    "FrameOutput": "mosam.types",
    "MemoryPolicy": "mosam.policies.base",
    "MosamError": "mosam.errors",
    "ObjectOutput": "mosam.types",
    "Parity": "mosam.engine.parity",
    "Prompt": "mosam.types",
    "RunResult": "mosam.tracking.run",
    "evaluate": "mosam.evaluation.evaluate",
    "load_dataset": "mosam.datasets.base",
    "load_model": "mosam.model.checkpoints",
    "load_policy": "mosam.policies.base",
    "load_tracker": "mosam.tracking.outside.load",
    "open_frames": "mosam.datasets.frames",
    "run": "mosam.tracking.run",
}

__all__ = [
    "CodecOptions",
    "Engine",
    "FrameOutput",
    "MemoryPolicy",
    "MosamError",
    "ObjectOutput",
    "Parity",
    "Prompt",
    "RunResult",
    "__version__",
    "evaluate",
    "load_dataset",
    "load_model",
    "load_policy",
    "load_tracker",
    "open_frames",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mosam")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mosam' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
