"""docs/datasets.md: what its table, trees and sources say of a benchmark is what the loader says."""

import re
from pathlib import Path

import pytest

from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.evaluation.protocols.base import PROTOCOLS

PAGE = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()
ON_DISK = [name for name in DATASETS if not DATASETS[name].generated and name != "folder"]
SHOWN = [name for name in ON_DISK if f"`{name}`" in PAGE]  # a new benchmark may come with its page later


def row(names: list[str], info: DatasetInfo) -> str:
    """One line of the table; years that differ by their name alone share it."""
    splits = ", ".join(
        f"{'**' * (split == info.default_split)}{split}{'**' * (split == info.default_split)}"
        + (f" {info.official_counts[split]}" if split in info.official_counts else "")
        + (" (hidden)" if split in info.no_truth else "")
        for split in info.splits
        if not re.fullmatch(r"train_([1-9]|1[01])", split)  # TrackingNet has twelve alike
    )
    archive = "-" if info.archive_folder is None else f"`{info.archive_folder}/`" if info.archive_folder else "root"
    called = ", ".join(f"`{name}`" for name in names)
    cells = (called, splits, ", ".join(info.prompts), f"`{info.protocol}`", f"`{info.result_format}`", archive)
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """What the page must hold between its two marks."""
    lines: dict[str, list[str]] = {}
    for name in SHOWN:
        lines.setdefault(row(["?"], DATASETS[name].info), []).append(name)
    head = "| name | splits: **default**, sequences | prompts | protocol | results | archive |"
    rows = [row(names, DATASETS[names[0]].info) for names in lines.values()]
    return "\n".join([head, "|---|---|---|---|---|---|", *rows, ""])


def test_the_table_is_what_the_loaders_say():
    found = re.search(r"<!-- table -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == table()


@pytest.mark.parametrize("name", [name for name in SHOWN if not name.startswith("vot")])
def test_every_tree_is_shown_as_the_loader_expects_it(name):
    assert DATASETS[name].info.tree in PAGE


def test_every_source_is_named():
    for name in SHOWN:
        assert DATASETS[name].info.source in PAGE, name


def test_protocols_that_are_named_exist():
    for name in re.findall(r"--protocol (\S+?)[`\s]", PAGE):
        assert name.split("[")[0] in PROTOCOLS, name


if __name__ == "__main__":
    print(table())
