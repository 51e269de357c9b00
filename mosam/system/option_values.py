"""Options of trackers as text, and back: `on`, `0.5`, `none`."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from mosam.errors import MosamError

_WORDS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def convert(text: str, hint: Any, where: str) -> Any:
    """Text of the command line as a value of type `hint` (bool, int, float, str, Literal, or one of them or None)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in arguments:
            return None
        return convert(text, next(a for a in arguments if a is not type(None)), where)
    if origin is Literal:
        if text not in arguments:
            raise MosamError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {text!r}")
        return text
    try:
        if hint is bool:
            return _WORDS[text.lower()]
        return hint(text)
    except (KeyError, ValueError) as error:
        kind = "on or off" if hint is bool else f"a {hint.__name__}"
        raise MosamError(f"{where}: expected {kind}, got {text!r}") from error


def shown(value: object) -> str:
    """A value as it is typed.

    >>> shown(True), shown(0.50), shown("lk")
    ('on', '0.5', 'lk')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
