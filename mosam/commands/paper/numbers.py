"""The numbers of published tables, as printed: `published.csv`, data of the package `mosam.commands.published`."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mosam.errors import DataError, MissingDataError
from mosam.system.files import read_regular
from mosam.system.typed import from_data

# in an installed wheel, and in a checkout
FOLDER = Path(__file__).parents[1] / "published"
NUMBERS = "published.csv"
FRACTIONS = frozenset({"EAO", "Q", "Quality", "Accuracy", "Robustness"})  # published in 0..1; others in percent

_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Published:
    """One number of a published table.

    Attributes:
        method, size, dataset, split, metric: as printed, with the names of `published.csv`.
        value: as printed, digits and all; percent, or a fraction for `FRACTIONS`, or frames per second.
        slip: the table contradicts itself or its source here; `note` says how.
        implied: what the other numbers imply instead, or None.
        doubtful: what it is a number of, or whether it was read right, is open; `note` says why. Never judged.
        source: of the number.
        access: `primary` = read where its authors keep it, `primary-picture` = off a picture of theirs,
            `transcription` = in a transcription of the paper, `secondary` = re-reported by others.
        note: what else is known of it.
    """

    method: str
    size: str
    dataset: str
    split: str
    metric: str
    value: str
    slip: bool
    implied: float | None
    doubtful: bool
    source: str
    access: str
    note: str

    @property
    def place(self) -> str:
        """Dataset and split."""
        return f"{self.dataset} {self.split}"

    @property
    def rounding(self) -> float:
        """Half a step of the last printed digit: `0.680` says more than `0.68`."""
        return 0.5 * 10.0 ** -len(self.value.partition(".")[2])

    @property
    def unit(self) -> str:
        """`%`, `frames/s`, or nothing for a fraction."""
        return "frames/s" if self.metric == "FPS" else "" if self.metric in FRACTIONS else "%"


def published_folder() -> Path:
    """Where the tables and numbers lie.

    Raises:
        MissingDataError: nowhere; the installation is not whole.
    """
    if (FOLDER / NUMBERS).is_file():
        return FOLDER
    raise MissingDataError(f"{FOLDER}: expected the published numbers, found none; install mosam again")


def table_names() -> list[str]:
    """Names of the published tables."""
    return sorted(path.stem for path in published_folder().glob("*.toml"))


@functools.lru_cache
def load_numbers(path: Path | None = None) -> tuple[Published, ...]:
    """Every published number, in the order of the file.

    Args:
        path: None = the shipped file.
    Raises:
        DataError: another table.
    """
    path = path or published_folder() / NUMBERS
    try:
        reader = csv.DictReader(io.StringIO(read_regular(path).decode("utf-8"), newline=""), strict=True)
        return tuple(_published(row, f"{path}:{line}") for line, row in enumerate(reader, start=2))
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected text, got byte {error.object[error.start]:#04x}") from None
    except csv.Error as error:
        raise DataError(path, f"expected a table with commas, got {error}") from None


def _published(row: Mapping[str, object], where: str) -> Published:
    """One row of a table of published numbers."""
    if None in row:
        raise DataError(where, "expected as many fields as in the first line, got more")
    values = dict(row)
    for name in ("value", "implied"):
        text = values.get(name)
        if isinstance(text, str) and (text or name == "value") and not _NUMBER.fullmatch(text):
            raise DataError(where, f"{name}: expected a number, got {text[:40]!a}")
    values["implied"] = float(str(values["implied"])) if values.get("implied") else None
    for name in ("slip", "doubtful"):
        values[name] = values.get(name) == "yes"
    return from_data(Published, values, where)
