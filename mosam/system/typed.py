"""The one reader of JSON and TOML that comes from outside: values of exactly the types that a dataclass declares.

`read_json(path, RunRecord)` gives a `RunRecord` or a `DataError` that names file and field in one line; nothing of
another shape gets past it. Annotations may be `str`, `int`, `float`, `bool`, `None`, `Any`, `Literal`, unions,
`tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `Sequence[X]`, `Mapping[str, X]`, `Mapping[int, X]` (keys are decimal numbers
in the file) and dataclasses of those. `true` is no number; an integer is a float where one is wanted.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import os
import sys
import types
import typing
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, cast

from mosam.errors import DataError
from mosam.system.files import read_regular

T = TypeVar("T")

MOST_DEPTH = 64  # lists and objects inside each other; none of our files has more than 8
_SHOWN = 40  # characters of a wrong value
_NUMBERS = frozenset({int, float, bool, type(None)})
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable)
_KINDS = {str: "text", int: "an integer", float: "a number", bool: "true or false", type(None): "nothing"}


def read_json(path: str | os.PathLike[str], cls: type[T], *, unknown: bool = False, nan: bool = False) -> T:
    """A JSON file as a value of a type.

    Args:
        path: the file.
        cls: any annotation this module knows.
        unknown: whether objects may have fields that their dataclass lacks; they are left out.
        nan: whether NaN and infinities are numbers.
    Raises:
        MissingDataError: no such file.
        DataError: it is not JSON, or not of that type; one line with file and field.
    """
    data = parse_json(read_regular(path), path, nan=nan)
    return cast("T", _Reader(path, unknown, nan).read(cls, data, ""))


def parse_json(text: str | bytes, where: str | os.PathLike[str], *, nan: bool = False) -> object:
    """What a JSON text says, of bounded depth and with Unicode text only.

    Raises:
        DataError: it is not JSON, or NaN where `nan` does not allow it.
    """

    def constant(name: str) -> float:
        if nan:
            return float(name)
        raise ValueError(f"expected numbers, got {name}")

    try:
        words = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        data: object = json.loads(words, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise DataError(where, f"expected JSON in UTF-8, got byte {error.object[error.start]:#04x}") from None
    except ValueError as error:
        if not words.strip():
            raise DataError(where, "expected JSON, got an empty file") from None
        raise DataError(where, f"expected JSON, got something else ({' '.join(str(error).split())[:120]})") from None
    except RecursionError:
        raise DataError(where, f"expected at most {MOST_DEPTH} levels of nesting, got more") from None
    _survey(data, where)
    return data


def read_toml(path: str | os.PathLike[str], cls: type[T], *, unknown: bool = False) -> T:
    """A TOML file as a value of a type; arguments and errors as those of `read_json`."""
    data = read_regular(path)
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        values = tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected TOML in UTF-8, got byte {data[error.start]:#04x}") from None
    except ValueError as error:  # of its syntax, and of numbers with thousands of digits
        raise DataError(path, f"expected TOML, got something else ({' '.join(str(error).split())[:120]})") from None
    except RecursionError:
        raise DataError(path, f"expected at most {MOST_DEPTH} levels of nesting, got more") from None
    return from_data(cls, values, path, unknown=unknown)


def from_data(
    cls: type[T], data: object, where: str | os.PathLike[str], field: str = "", *, unknown: bool = False,
    nan: bool = False,
) -> T:  # fmt: skip
    """Parsed JSON or TOML as a value of a type; see `read_json`.

    Args:
        cls, unknown, nan: as for `read_json`.
        data: dicts, lists, text, numbers, booleans, None.
        where: file, for errors.
        field: name of the value in it, for errors; empty = all of it.
    Raises:
        DataError: it is not of that type.
    """
    _survey(data, where)
    return cast("T", _Reader(where, unknown, nan).read(cls, data, field))


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    where: str | os.PathLike[str]
    unknown: bool
    nan: bool

    def read(self, kind: Any, data: object, field: str) -> object:
        if kind is Any or kind is object:
            return data
        if kind in _KINDS or kind is None:
            return self._scalar(type(None) if kind is None else kind, data, field)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, data, field)
        origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
        if origin in (Union, types.UnionType):
            return self._union(kind, inner, data, field)
        if origin is Literal:
            if not any(type(data) is type(value) and data == value for value in inner):
                raise self.error(kind, data, field)
            return data
        if origin in (dict, collections.abc.Mapping):
            return self._mapping(kind, inner or (str, Any), data, field)
        if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
            return self._fixed(kind, inner, data, field)
        if origin is tuple or origin in _LISTS:
            items = self._items(kind, data)
            if items is None:
                raise self.error(kind, data, field)
            one = inner[0] if inner else Any
            if self._plain(one, items):
                return tuple(items) if origin is tuple else list(items)
            read = [self.read(one, item, f"{field}[{at}]") for at, item in enumerate(items)]
            return tuple(read) if origin is tuple else read
        raise TypeError(f"{kind}: not an annotation that can be read from a file")

    def error(self, kind: Any, data: object, field: str) -> DataError:
        message = f"expected {describe_type(kind)}, got {describe_value(data)}"
        return DataError(self.where, f"{_printable(field)}: {message}" if field else message)

    def _plain(self, kind: Any, values: Collection[object]) -> bool:
        """Whether values are of a kind of scalar as they are; what is not has to be looked at one by one."""
        found, allowed = set(map(type, values)), _exact_types(kind)
        finite = self.nan or float not in found or all(math.isfinite(v) for v in values if type(v) is float)
        return found <= allowed and finite

    def _scalar(self, kind: type, data: object, field: str) -> object:
        if kind is float and type(data) is int:
            try:
                return float(data)
            except OverflowError:
                raise self.error(kind, data, field) from None
        if type(data) is not kind or (kind is float and not self.nan and not math.isfinite(cast("float", data))):
            raise self.error(kind, data, field)
        return data

    def _union(self, kind: Any, inner: tuple[Any, ...], data: object, field: str) -> object:
        problem: DataError | None = None
        for one in sorted(inner, key=lambda one: one is float):  # an integer stays one where both are allowed
            try:
                return self.read(one, data, field)
            except DataError as error:
                if _is_container(one) and isinstance(data, dict | list):  # its complaint tells more than ours
                    problem = problem or error
        raise problem or self.error(kind, data, field)

    def _dataclass(self, kind: Any, data: object, field: str) -> object:
        if not isinstance(data, Mapping):
            raise self.error(kind, data, field)
        hints, prefix, values = _hints(kind), f"{field}." if field else "", {}
        fields = {one.name: one for one in dataclasses.fields(kind) if one.init}
        for name, one in fields.items():
            if name in data:
                values[name] = self.read(hints[name], data[name], f"{prefix}{name}")
            elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                expected = describe_type(hints[name])
                raise DataError(
                    self.where, f"{_printable(f'{prefix}{name}')}: expected {expected}, found no such field"
                )
        for name in () if self.unknown else [key for key in data if key not in fields]:
            known = ", ".join(fields)
            raise DataError(self.where, f"{_printable(f'{prefix}{name}')}: expected a known field ({known})")
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:  # of a __post_init__
            line = " ".join(str(error).split())
            raise DataError(self.where, f"{_printable(field)}: {line}" if field else line) from None

    def _mapping(self, kind: Any, inner: tuple[Any, ...], data: object, field: str) -> dict[object, object]:
        if not isinstance(data, Mapping):
            raise self.error(kind, data, field)
        if inner[0] is str and set(map(type, data)) <= {str} and self._plain(inner[1], data.values()):
            return dict(data)
        found: dict[object, object] = {}
        for key, value in data.items():
            name = f"{field}.{key}" if field else str(key)
            if inner[0] is int:
                if not (isinstance(key, str) and key.isascii() and key.removeprefix("-").isdigit() and len(key) < 20):
                    raise DataError(self.where, f"{_printable(name)}: expected a number as name, got {key!r:.40}")
                found[int(key)] = self.read(inner[1], value, name)
            else:
                found[self.read(inner[0], key, name)] = self.read(inner[1], value, name)
        return found

    def _fixed(self, kind: Any, inner: tuple[Any, ...], data: object, field: str) -> tuple[object, ...]:
        items = self._items(kind, data)
        if items is None or len(items) != len(inner):
            raise self.error(kind, data, field)
        return tuple(
            self.read(one, item, f"{field}[{at}]") for at, (one, item) in enumerate(zip(inner, items, strict=True))
        )

    def _items(self, kind: Any, data: object) -> list[object] | tuple[object, ...] | None:
        return data if isinstance(data, list | tuple) else None


def describe_type(kind: Any) -> str:
    """A type in the words of an error.

    >>> describe_type(tuple[str, ...]), describe_type(float | None), describe_type(Literal["done", "failed"])
    ('a list of text', 'a number or nothing', "'done' or 'failed'")
    """
    if kind in _KINDS or kind is None:
        return _KINDS[type(None) if kind is None else kind]
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe_type, inner))
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)} ({', '.join(map(describe_type, inner))})"
    if origin is tuple or origin in _LISTS:
        return f"a list of {describe_type(inner[0]).removeprefix('a ')}" if inner and inner[0] is not Any else "a list"
    if dataclasses.is_dataclass(kind) or origin in (dict, collections.abc.Mapping):
        return "an object with fields"
    return "a value"


def describe_value(data: object) -> str:
    """A parsed value in the words of an error, cut short.

    >>> describe_value("a" * 99), describe_value([1, 2]), describe_value(True)
    ("text 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...", 'a list of 2', 'true')
    """
    if data is None:
        return "nothing"
    if isinstance(data, bool):
        return str(data).lower()
    if isinstance(data, str):
        return (
            f"text {_cut(ascii(data[:_SHOWN]) if not data[:_SHOWN].isprintable() else repr(data[:_SHOWN]), len(data))}"
        )
    if isinstance(data, int):
        return f"the number {data}" if abs(data) < 10**30 else "a number with many digits"
    if isinstance(data, float):
        return f"the number {data}"
    if isinstance(data, Mapping):
        return f"an object with {len(data)} fields"
    return f"a list of {len(data)}" if isinstance(data, list | tuple) else type(data).__name__


def _cut(text: str, length: int) -> str:
    return text if len(text) <= _SHOWN and length <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _printable(field: str) -> str:
    """A field's name fit for a terminal."""
    text = field if field.isprintable() else ascii(field)[1:-1]
    return text if len(text) <= 3 * _SHOWN else f"{text[: 3 * _SHOWN]}..."


def _is_container(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return dataclasses.is_dataclass(kind) or origin in (tuple, dict, collections.abc.Mapping, *_LISTS)


@lru_cache(maxsize=256)
def _exact_types(kind: Any) -> frozenset[type]:
    """Types whose values are of a kind of scalar without a change; none for a kind of anything else."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)
    exact = frozenset(type(None) if one is None else one for one in kinds)
    return exact if exact <= _KINDS.keys() else frozenset()


@lru_cache(maxsize=256)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _survey(data: object, where: str | os.PathLike[str]) -> None:
    """DataError where data is nested too deeply or holds text that no file can hold; without recursion."""
    level: list[object] = [data]
    for _ in range(MOST_DEPTH + 1):
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
                    raise DataError(where, f"expected Unicode text, got {item[:_SHOWN]!a}")
            elif isinstance(item, Mapping):
                below += item.keys()
                below += [one for one in item.values() if type(one) not in _NUMBERS]
            elif isinstance(item, list | tuple):
                below += [one for one in item if type(one) not in _NUMBERS]
        if not below:
            return
        level = below
    raise DataError(where, f"expected at most {MOST_DEPTH} levels of nesting, got more")
