"""What a run's record says, flat and as text, for tables of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mosam.evaluation.layouts import MISSING
from mosam.results.record import RunRecord

ENVIRONMENT = ("code", "python", "packages", "platform", "cpus")


def flat_settings(record: RunRecord) -> dict[str, str]:
    """Every setting by its dotted name, then versions and machine."""
    found: dict[str, str] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), item)
        else:
            found[prefix] = MISSING if value is None else str(value)

    add("", dataclasses.asdict(record.settings))
    add("", {key: record.environment[key] for key in ENVIRONMENT if key in record.environment})
    return found
