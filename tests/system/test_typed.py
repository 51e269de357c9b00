"""The one reader of what comes from outside: right values of the right types, or one line that names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.errors import DataError, MissingDataError
from mosam.system.typed import MOST_DEPTH, from_data, parse_json, read_json


@dataclass(frozen=True, slots=True)
class Part:
    """A nested one."""

    status: Literal["done", "failed"]
    seconds: float = 0.0
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """One of everything."""

    name: str
    count: int = 0
    flag: bool = False
    paths: tuple[str, ...] = ()
    size: tuple[int, float] = (1, 1.0)
    parts: Mapping[str, Part] = field(default_factory=dict)
    objects: Mapping[int, list[float | None]] = field(default_factory=dict)
    number: int | float = 0
    selection: Optional[tuple[str, ...]] = None  # noqa: UP045
    anything: Any = None


def test_a_whole_value_is_read(tmp_path):
    data = {
        "name": "car", "count": 3, "flag": True, "paths": ["a", "b"], "size": [2, 3], "number": 4,
        "parts": {"x": {"status": "done", "seconds": 2}}, "objects": {"1": [1, None, 0.5]}, "selection": ["car"],
        "anything": {"deep": [1, {}]},
    }  # fmt: skip
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(data).encode())
    assert read_json(tmp_path / "x.json", Whole) == Whole(
        "car", 3, True, ("a", "b"), (2, 3.0), {"x": Part("done", 2.0)}, {1: [1.0, None, 0.5]}, 4, ("car",),
        {"deep": [1, {}]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": "/etc/passwd"}, "outcome.json: paths: expected a list of text, got text '/etc/passwd'"),
        ({"paths": ["a", 1]}, "outcome.json: paths[1]: expected text, got the number 1"),
        ({"paths": {"a": 1}}, "outcome.json: paths: expected a list of text, got an object with 1 fields"),
        ({"name": None}, "outcome.json: name: expected text, got nothing"),
        ({"count": True}, "outcome.json: count: expected an integer, got true"),
        ({"count": 1.0}, "outcome.json: count: expected an integer, got the number 1.0"),
        ({"flag": 1}, "outcome.json: flag: expected true or false, got the number 1"),
        ({"size": [1]}, "outcome.json: size: expected a list of 2 (an integer, a number), got a list of 1"),
        ({"size": [1, True]}, "outcome.json: size[1]: expected a number, got true"),
        ({"parts": {"x": {"status": "over"}}}, "x.status: expected 'done' or 'failed', got text 'over'"),
        ({"parts": {"x": {"status": ["done"]}}}, "x.status: expected 'done' or 'failed', got a list of 1"),
        ({"parts": {"x": {}}}, "outcome.json: parts.x.status: expected 'done' or 'failed', found no such field"),
        ({"parts": {"x": 3}}, "outcome.json: parts.x: expected an object with fields, got the number 3"),
        ({"parts": {"x": {"status": "done", "hash": 1}}}, "parts.x.hash: expected text or nothing, got the number 1"),
        ({"objects": {"one": []}}, "outcome.json: objects.one: expected a number as name, got 'one'"),
        ({"objects": {"1": [1e400]}}, "outcome.json: objects.1[0]: expected a number or nothing, got the number inf"),
        ({"selection": "car"}, "outcome.json: selection: expected a list of text or nothing, got text 'car'"),
        ({"selection": [1]}, "outcome.json: selection[0]: expected text, got the number 1"),
        ({"what": 1}, "outcome.json: what: expected a known field (name, count, "),
        ({"a\n\x1b[31m": 1}, r"outcome.json: a\n\x1b[31m: expected a known field"),
        ({"name": "\ud800"}, r"outcome.json: expected Unicode text, got '\ud800'"),
        ({"anything": {"\udc80": 1}}, r"outcome.json: expected Unicode text, got '\udc80'"),
    ],
)
def test_another_shape_is_one_line(change, message):
    with pytest.raises(DataError) as caught:
        from_data(Whole, {"name": "car", **change}, "outcome.json")
    assert message in str(caught.value)
    assert str(caught.value).startswith("outcome.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "expected JSON, got an empty file"),
        (b" \n", "expected JSON, got an empty file"),
        (b'{"half', "expected JSON, got something else (Unterminated string"),
        (b"\xff\xfe", "expected JSON in UTF-8, got byte 0xff"),
        (b"[" * 100_000, f"expected at most {MOST_DEPTH} levels of nesting, got more"),
        (b"[" * 200 + b"]" * 200, f"expected at most {MOST_DEPTH} levels of nesting, got more"),
        (b'{"a":' * 50_000, f"expected at most {MOST_DEPTH} levels of nesting, got more"),
        (b"9" * 10_000, "expected JSON, got something else"),
        (b"NaN", "expected JSON, got something else (expected numbers, got NaN)"),
        (b"[]", "expected an object with fields, got a list of 0"),
    ],
)
def test_what_is_no_json_is_one_line(tmp_path, text, message):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(DataError) as caught:
        read_json(tmp_path / "x.json", Whole)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'x.json'}: ")
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(MissingDataError, match=r"x\.json: expected a file, found none"):
        read_json(tmp_path / "x.json", Whole)


def test_what_is_allowed_where_it_is_asked_for():
    assert from_data(Part, {"status": "done", "new": 1}, "x", unknown=True) == Part("done")
    assert from_data(float, parse_json("Infinity", "x", nan=True), "x", nan=True) == float("inf")
    assert from_data(dict[str, float], {"a": 1}, "x") == {"a": 1.0}
    assert from_data(list[int], [1], "x") == [1]


def test_a_number_too_large_for_a_float():
    with pytest.raises(DataError, match="x: expected a number, got a number with many digits"):
        from_data(float, 10**400, "x")


def test_errors_of_a_class_that_checks_itself_name_the_file():
    @dataclass(frozen=True)
    class Even:
        n: int

        def __post_init__(self):
            if self.n % 2:
                raise ValueError("n: expected an even number")

    globals()["Even"] = Even
    with pytest.raises(DataError, match="x: n: expected an even number"):
        from_data(Even, {"n": 1}, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = ("name", "count", "flag", "paths", "size", "parts", "objects", "number", "selection", "anything")


def value_or_problem(call):
    """What a call gives, or what it says is wrong."""
    try:
        return call(), None
    except DataError as error:
        return None, str(error)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), JSON) | JSON)
def test_any_data_is_a_value_or_one_line(data):
    value, problem = value_or_problem(lambda: from_data(Whole, data, "x.json"))
    if problem is None:
        assert isinstance(value, Whole)
        assert all(type(path) is str for path in value.paths)
        assert type(value.count) is int
        assert isinstance(value.parts, dict)
    else:
        assert problem.startswith("x.json: ")
        assert problem.isprintable()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_json_or_one_line(data):
    _, problem = value_or_problem(lambda: parse_json(data, "x.json"))
    if problem is not None:
        assert problem.startswith("x.json: ")
        assert problem.isprintable()
