"""Reading plain options without pydantic, which newer versions of typer load for every command.

Loading it takes longer than a small score. What needs no checking (nothing given, text, a path, a default) is passed
on here; anything else is left to typer. Where typer is made differently, nothing changes.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

_CHECKS = ("exists", "resolve_path", "parser", "click_type")  # of an option that typer itself has to look at
_UNREAD = object()


def read_options_plainly() -> None:
    """Makes typer build its own reader of an option only where the value needs one."""
    with contextlib.suppress(ImportError, AttributeError):
        from typer import core

        parameter: Any = core._TyperParameter  # type: ignore[attr-defined,unused-ignore]
        build = parameter.get_runtime_param

        class Reader:
            """What typer asks to read one option."""

            def __init__(self, option: Any):
                self._option = option

            def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
                plain = _read(value, param)
                return build(self._option).coerce(value, param=param, ctx=ctx) if plain is _UNREAD else plain

        parameter.get_runtime_param = lambda option: Reader(option)


def _read(value: Any, param: Any) -> Any:
    """The value of an option; `_UNREAD` where typer has to look at it."""
    annotation, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if param.multiple or param.nargs != 1 or any(getattr(info, check, None) for check in _CHECKS):
        return _UNREAD
    if value is None or type(value) is annotation:  # text, or a default
        return value
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if annotation is int and isinstance(value, str) and value.isascii() and value.isdigit():
        low, high = info.min, info.max
        number = int(value)
        return number if (low is None or number >= low) and (high is None or number <= high) else _UNREAD
    return _UNREAD
