"""Tables of numbers in text files: read with the line of every fault, written so that they read back the same."""

from __future__ import annotations

import math
import warnings
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError
from mosam.system.text import plain_lines

_COMMA, _LINE_FEED = b",\n"
_JSON_NUMBER = b"0123456789+-.eE, \t\r"


class Readable(Protocol):
    """A path that can be read: `pathlib.Path`, or one inside an archive."""

    def read_bytes(self) -> bytes:
        """The whole file."""

    def __fspath__(self) -> str:
        """Its name, for errors."""


def read_table(path: Readable, columns: int | None = None) -> NDArray[np.float64]:
    """Numbers of a text file, one row a line, separated by commas, tabs or spaces.

    Args:
        path: the file.
        columns: how many numbers each line must have; None = as many as the first.
    Returns:
        (rows, columns) float64; (0, columns or 0) for an empty file. `nan` and `inf` are read as such.
    Raises:
        MissingDataError: no such file.
        DataError: with the line: text, an empty line between rows, or another number of columns.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected a file of numbers, found nothing") from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from None
    data = plain_lines(data, path).rstrip()
    if not data:
        return np.zeros((0, columns or 0))
    table = _read_commas(data, columns)
    if table is not None:
        return table
    comma = b"," in data
    try:
        table = np.loadtxt(data.decode("ascii").split("\n"), delimiter="," if comma else None, comments=None, ndmin=2)
    except ValueError:  # mixed separators, or a bad line: the slow reader accepts the one and names the other
        return _read_line_by_line(path, data, columns)
    if len(table) != data.count(b"\n") + 1 or (columns is not None and table.shape[1] != columns):
        return _read_line_by_line(path, data, columns)
    return table


def _read_commas(data: bytes, columns: int | None) -> NDArray[np.float64] | None:
    """The rows of what is most common, numbers between commas, faster; None where anything is otherwise."""
    letters = np.frombuffer(data + b"\n", dtype=np.uint8)
    separators = letters[(letters == _COMMA) | (letters == _LINE_FEED)]
    width = int(np.argmax(separators == _LINE_FEED)) + 1 if columns is None else columns
    if separators.size % width:
        return None
    ends = separators.reshape(-1, width) == _LINE_FEED
    if not ends[:, -1].all() or ends[:, :-1].any():
        return None
    listed = data.replace(b"\n", b",")
    numbers = _parse_as_json(listed)
    if numbers is None:
        numbers = _parse_plainly(listed)
    return numbers.reshape(-1, width) if numbers is not None and numbers.size == separators.size else None


def _parse_as_json(listed: bytes) -> NDArray[np.float64] | None:
    """Numbers between commas that are also JSON, at a fifth of numpy's time; None where they are not (`nan`, `.5`)."""
    if listed.translate(None, _JSON_NUMBER):  # words of JSON that are no numbers
        return None
    try:
        import orjson

        return np.array(orjson.loads(b"[" + listed + b"]"), dtype=np.float64)
    except (ImportError, ValueError, OverflowError):  # without orjson all is read the slower way
        return None


def _parse_plainly(listed: bytes) -> NDArray[np.float64] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy says that it stopped before the end
        try:
            return np.fromstring(listed.decode("ascii"), dtype=np.float64, sep=",")
        except (DeprecationWarning, ValueError):
            return None


def _read_line_by_line(path: Readable, data: bytes, columns: int | None) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in enumerate(data.decode("ascii", "replace").split("\n"), start=1):
        words = line.replace(",", " ").split()
        expected = columns if columns is not None else len(rows[0]) if rows else max(len(words), 1)
        if len(words) != expected:
            plural = "" if expected == 1 else "s"
            raise DataError(path, f"expected {expected} number{plural}, got {line.strip()[:40]!r}", line=number)
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise DataError(path, f"expected numbers, got {line.strip()[:40]!r}", line=number) from None
    return np.array(rows, dtype=np.float64)


def format_number(value: float) -> str:
    """Shortest text that reads back as the same float, without a needless `.0`.

    >>> format_number(12.0), format_number(0.1), format_number(float("nan"))
    ('12', '0.1', 'nan')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))


def _format_row(row: NDArray[np.float64]) -> str:
    return ",".join(format_number(float(value)) for value in row)
