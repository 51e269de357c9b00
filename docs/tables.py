"""Writes the tables and trees of the pages that come from the registries: `python docs/tables.py`, as `make docs` does.

They stand between `<!-- generated: NAME -->` and `<!-- end -->`; what is between the two is replaced.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.evaluation.figures.base import FIGURES, SEQUENCE_FIGURES
from mosam.evaluation.protocols.base import PROTOCOLS, Protocol
from mosam.policies.base import POLICIES, TrackInfo, load_policy

DOCS = Path(__file__).parent
PAGES = ("datasets.md", "scoring.md", "figures-and-tables.md", "policies.md")
MARKED = re.compile(r"(<!-- generated: ([^\n]+) -->\n).*?(<!-- end -->)", re.DOTALL)
OPTIONS_OF_ALL = {field.name for field in fields(Protocol)}


def generated(text: str) -> str:
    """A page with everything between its marks made anew."""
    return MARKED.sub(lambda found: found[1] + _content(found[2]) + "\n" + found[3], text)


def _content(name: str) -> str:
    kind, _, rest = name.partition(" ")
    return CONTENTS[kind](*rest.split())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown of a table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |".replace("| --- ", "|---").replace("--- |", "---|") for cells in lines)


def first_line(item: object) -> str:
    """The first paragraph of a docstring, as text of a cell."""
    return (inspect.getdoc(item) or "").split("\n\n")[0].replace("\n", " ").removesuffix(".").replace("|", "\\|")


def datasets() -> str:
    """Benchmarks on disk; those that differ by their name alone share a row."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in DATASETS:
        info = DATASETS[name].info
        if not DATASETS[name].generated and name != "folder":
            found.setdefault(_dataset(info), []).append(f"`{name}`")
    head = ("name", "splits: **default**, sequences", "prompts", "protocol", "results", "archive", "GB", "get")
    return table(head, ((", ".join(names), *cells) for cells, names in found.items()))


def _dataset(info: DatasetInfo) -> tuple[str, ...]:
    shown = [split for split in info.splits if not re.fullmatch(r"train_([1-9]|1[01])", split)]  # twelve are alike
    archive = "-" if info.archive_folder is None else f"`{info.archive_folder}/`" if info.archive_folder else "root"
    splits = ", ".join(_split(info, split) for split in shown)
    get = info.obtain
    size = "" if get is None or get.gigabytes is None else f"{get.gigabytes:.3g}"
    known = (size, "" if get is None else get.how)
    return splits, ", ".join(info.prompts), f"`{info.protocol}`", f"`{info.result_format}`", archive, *known


def _split(info: DatasetInfo, split: str) -> str:
    name = f"**{split}**" if split == info.default_split else split
    count = f" {info.official_counts[split]}" if split in info.official_counts else ""
    return f"{name}{count}{' (hidden)' if split in info.no_truth else ''}"


def tree(name: str) -> str:
    """What a benchmark's loader expects on disk."""
    return f"```\n{DATASETS[name].info.tree.strip(chr(10))}\n```"


def protocols() -> str:
    """Every protocol with the data it takes and its options."""
    order = sorted(PROTOCOLS, key=lambda name: (sorted(PROTOCOLS[name].needs), name))
    rows = ((", ".join(sorted(PROTOCOLS[name].needs)), *_protocol(name)) for name in order)
    return table(("data", "protocol", "options", "what it is"), rows)


def _protocol(name: str) -> tuple[str, str, str]:
    cls = PROTOCOLS[name]
    options = ", ".join(f"`{field.name}`" for field in fields(cls) if field.name not in OPTIONS_OF_ALL)
    return f"`{name.partition(':')[0]}`", options, first_line(cls)


def figures() -> str:
    """Every kind of figure, in the order of the report; those of one sequence last."""
    kinds = [FIGURES[kind] for kind in FIGURES]
    drawn = [(one.kind, one.draw) for one in sorted(kinds, key=lambda one: (one.order, one.kind))]
    drawn += [(kind, SEQUENCE_FIGURES[kind].draw) for kind in SEQUENCE_FIGURES]
    return table(("kind", "shows"), ((f"`{kind}`", first_line(draw)) for kind, draw in drawn))


def policies() -> str:
    """Every tracker: what it reads, takes and keeps."""
    info = TrackInfo(1, 0, None, (1, 1), 7, 16)
    rows = []
    for name in POLICIES:
        about = (text.replace("|", "\\|") for text in dataclasses.astuple(POLICIES[name].about))
        rows.append((f"`{name}`", first_line(POLICIES[name]), *about, str(load_policy(name).live_features(info))))
    return table(("tracker", "idea", "memory read", "mask taken", "parameters", "memories"), rows)


CONTENTS: dict[str, Callable[..., str]] = {
    "datasets": datasets,
    "tree": tree,
    "protocols": protocols,
    "figures": figures,
    "policies": policies,
}


def main() -> None:
    """Writes the pages that change."""
    for name in PAGES:
        text = (DOCS / name).read_text(encoding="utf-8")
        if generated(text) != text:
            (DOCS / name).write_text(generated(text), encoding="utf-8")
            print(f"docs/{name}: written")


if __name__ == "__main__":
    main()
