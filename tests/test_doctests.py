"""The examples in docstrings, by installed name (running pytest on the folders would import them a second time)."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from test_architecture import MODULES

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
EXAMPLES = [name for name, path in MODULES.items() if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples(module):
    # scalars print as numbers under every numpy; numpy 2 on its own would write np.float64(0.5)
    with np.printoptions(legacy="1.25"):
        result = doctest.testmod(importlib.import_module(module), optionflags=FLAGS)
    assert result.attempted > 0
    assert result.failed == 0
