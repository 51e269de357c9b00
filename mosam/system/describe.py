"""What classes say of themselves, for lists and help: a first sentence, and the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_KINDS = {bool: "on or off", int: "whole number", float: "number", str: "text"}
_NAMES = re.compile(r"(\w+(?:, \w+)*): (.*)")


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a dataclass, in words.

    Attributes:
        name: of the field.
        kind: what a value may be.
        range: `0..1`, or nothing.
        default: as it is typed.
        meaning: what its class's docstring says.
    """

    name: str
    kind: str
    range: str
    default: str
    meaning: str


def fields_of(cls: type) -> list[Field]:
    """Every field of a dataclass; ranges are those of its `RANGES`, meanings those of its docstring or its bases'.

    >>> @dataclass
    ... class Config:
    ...     '''Of a tracker.
    ...
    ...     Attributes:
    ...         stride: frames between
    ...             two memories.
    ...     '''
    ...     RANGES = {"stride": (1, 100)}
    ...     stride: int = 5
    >>> fields_of(Config)
    [Field(name='stride', kind='whole number', range='1..100', default='5', meaning='frames between two memories.')]
    """
    hints, meanings = typing.get_type_hints(cls), _meanings(cls)
    ranges: Mapping[str, tuple[float, float]] = getattr(cls, "RANGES", {})
    return [
        Field(
            field.name,
            kind_of(hints[field.name]),
            "{:g}..{:g}".format(*ranges[field.name]) if field.name in ranges else "",
            "" if field.default is dataclasses.MISSING else shown(field.default),
            meanings.get(field.name, ""),
        )
        for field in dataclasses.fields(cls)
    ]


def kind_of(hint: Any) -> str:
    """A type in words.

    >>> kind_of(float | None), kind_of(Literal["a", "b"])
    ('number or none', 'a, b')
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join("none" if one is type(None) else kind_of(one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return ", ".join(map(str, typing.get_args(hint)))
    return str(_KINDS.get(hint) or getattr(hint, "__name__", hint))


def shown(value: object) -> str:
    """A value as it is typed.

    >>> shown(True), shown(None), shown(0.5)
    ('on', 'none', '0.5')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def about(item: Any) -> str:
    """The first sentence of a docstring in one line; nothing where there is none.

    >>> about(about)
    'The first sentence of a docstring in one line; nothing where there is none.'
    """
    paragraph = (inspect.getdoc(item) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _meanings(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= dict(_entries(base.__dict__.get("__doc__") or ""))
    return found


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """`name: meaning` of the section `Attributes:` of a docstring."""
    section = inspect.cleandoc(text).partition("Attributes:\n")[2].partition("\n\n")[0]
    section = re.sub(r"\n {5,}", " ", section)  # lines that go on
    for match in map(_NAMES.fullmatch, (line.strip() for line in section.splitlines())):
        if match:
            yield from ((name, match[2]) for name in match[1].split(", "))
