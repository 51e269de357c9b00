"""Options of trackers from the command line's text."""

from dataclasses import dataclass
from typing import Literal

import pytest

from mosam.errors import MosamError
from mosam.system.option_values import convert, shown


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [("3", int, 3), ("0.5", float, 0.5), ("on", bool, True), ("none", "int | None", None), ("4", "int | None", 4)],
)
def test_convert(text, hint, value):
    @dataclass
    class Holder:
        x: int | None

    hint = Holder.__dataclass_fields__["x"].type if isinstance(hint, str) else hint
    assert convert(text, hint, "t") == value


def test_convert_literal():
    assert convert("a", Literal["a", "b"], "t") == "a"
    with pytest.raises(MosamError, match="one of a, b"):
        convert("c", Literal["a", "b"], "t")


@pytest.mark.parametrize(("text", "hint"), [("x", int), ("maybe", bool), ("1.5", int)])
def test_what_is_no_value(text, hint):
    with pytest.raises(MosamError, match=f"t: expected .*, got {text!r}"):
        convert(text, hint, "t")


@pytest.mark.parametrize(("value", "hint"), [(True, bool), (0.25, float), (7, int), ("a", Literal["a", "b"])])
def test_there_and_back(value, hint):
    assert convert(shown(value), hint, "t") == value
