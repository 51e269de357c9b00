"""Names to things."""

from __future__ import annotations

import sys

import pytest

from mosam.errors import UnknownNameError
from mosam.registry import Registry
from mosam.system.plugins import NameClashError


def test_names_and_aliases():
    registry = Registry[int]("number")
    registry.register("one", "uno", "1")(1)
    registry.register("two")(2)
    assert registry["one"] == registry["uno"] == registry["1"] == 1
    assert list(registry) == ["one", "two"]
    assert "uno" in registry
    assert "three" not in registry
    assert registry.canonical("uno") == "one"


def test_unknown_name_lists_the_known():
    registry = Registry[int]("number")
    registry.register("one")(1)
    with pytest.raises(UnknownNameError, match=r"unknown number 'oen'; did you mean one\? \(known: one\)"):
        registry["oen"]


def test_a_name_is_given_once():
    registry = Registry[int]("number")
    registry.register("one")(1)
    registry.register("one")(1)
    with pytest.raises(NameClashError, match="number 'one' is registered twice, by "):
        registry.register("one")(2)


def test_package_is_scanned_when_first_asked(tmp_path, monkeypatch):
    package = tmp_path / "shapes_for_test"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from mosam.registry import Registry\nSHAPES = Registry('shape', 'shapes_for_test')\n"
    )
    (package / "square.py").write_text("from shapes_for_test import SHAPES\nSHAPES.register('square')(4)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import shapes_for_test

    assert "shapes_for_test.square" not in sys.modules
    assert list(shapes_for_test.SHAPES) == ["square"]
    assert shapes_for_test.SHAPES["square"] == 4
