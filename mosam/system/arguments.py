"""Arguments of the public interface: taken where they are meant, else refused by name in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def described(value: object) -> str:
    """A value as an error names it: its type, and what tells more.

    >>> described(np.zeros((2, 3))), described("sam2"), described([1, 2])
    ('a float64 array of shape (2, 3)', "the text 'sam2'", 'list [1, 2]')
    """
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if value is None or isinstance(value, bool | int | float | np.generic):
        return f"{value!r}"
    if isinstance(value, list | tuple | dict | set):
        text = repr(value)
        return f"{type(value).__name__} {text[:40]}{'...' if len(text) > 40 else ''}"
    module = type(value).__module__.partition(".")[0]
    return f"{type(value).__name__}{'' if module in ('builtins', 'mosam') else f' of {module}'}"


def whole(value: Any, where: str, least: int) -> int:
    """A whole number of at least `least`, NumPy's too.

    Raises:
        ValueError: anything else, `True` and `1.0` included.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{where}: expected a whole number >= {least}, got {described(value)}")
    return int(value)


def index_of(value: Any, count: int, where: str) -> int:
    """The number of one of `count` frames.

    Raises:
        ValueError: no whole number.
        IndexError: there is none of that number; none is counted from the end.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise ValueError(f"{where}: expected the number of a frame, got {described(value)}")
    if not 0 <= value < count:
        raise IndexError(f"{where}: expected a frame of 0 to {count - 1}, got {value}")
    return int(value)


def numbers(value: Any, where: str, expected: str) -> NDArray[np.float64]:
    """An array, list or tuple of numbers as float64.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, list | tuple | np.ndarray):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of unequal lengths
            array = np.array(None)
        if array.dtype.kind in "iuf":
            return array.astype(np.float64, copy=False)
        if array.size == 0:
            return np.zeros(array.shape)
    raise ValueError(f"{where}: expected {expected}, got {described(value)}")


def one_of(value: Any, where: str, known: Iterable[Any]) -> None:
    """ValueError where a value is none of some words."""
    known = tuple(known)
    if not any(type(value) is type(word) and value == word for word in known):
        raise ValueError(f"{where}: expected one of {', '.join(map(str, known))}, got {described(value)}")


def switch(value: Any, where: str) -> None:
    """ValueError where a value is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{where}: expected True or False, got {described(value)}")


def instance(value: Any, kinds: type | tuple[type, ...], where: str, expected: str) -> None:
    """ValueError where a value is of none of some types."""
    if not isinstance(value, kinds):
        raise ValueError(f"{where}: expected {expected}, got {described(value)}")


def has(value: Any, names: Sequence[str], where: str, expected: str) -> None:
    """ValueError where a value lacks what an interface has."""
    if isinstance(value, type) or not all(hasattr(value, name) for name in names):
        raise ValueError(f"{where}: expected {expected}, got {described(value)}")


def path_like(value: Any, where: str) -> None:
    """ValueError where a value names no file or folder."""
    if not (isinstance(value, str | Path) or hasattr(value, "__fspath__")) or value == "":
        raise ValueError(f"{where}: expected a path, got {described(value)}")


def callback(value: Callable[..., object] | None, where: str) -> None:
    """ValueError where a value is neither None nor can be called."""
    if value is not None and not callable(value):
        raise ValueError(f"{where}: expected a function or None, got {described(value)}")
