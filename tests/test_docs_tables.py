"""The pages' tables and trees are those of the registries, and what the pages say besides exists."""

import importlib.util
import re
from pathlib import Path

import pytest

from mosam.datasets.base import DATASETS
from mosam.evaluation.protocols.base import PROTOCOLS

DOCS = Path(__file__).parents[1] / "docs"
BENCHMARKS = (DOCS / "datasets.md").read_text(encoding="utf-8")
SPEC = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)


@pytest.mark.parametrize("page", tables.PAGES)
def test_a_page_has_the_tables_that_the_registries_give(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert "<!-- generated: " in text
    assert tables.generated(text) == text, f"docs/{page} is out of date; run: python docs/tables.py"


def test_other_text_is_left_alone():
    assert tables.generated("a\n<!-- generated: tree got10k -->\nold\n<!-- end -->\nb").startswith("a\n<!-- gen")
    assert "\nold\n" not in tables.generated("<!-- generated: tree got10k -->\nold\n<!-- end -->")
    assert tables.generated("no marks\n") == "no marks\n"


@pytest.mark.parametrize("name", re.findall(r"<!-- generated: tree (\S+) -->", BENCHMARKS))
def test_a_benchmark_with_a_section_has_its_source(name):
    assert DATASETS[name].info.source in BENCHMARKS


def test_protocols_that_are_named_exist():
    for name in re.findall(r"--protocol (\S+?)[`\s]", BENCHMARKS):
        assert name.split("[")[0] in PROTOCOLS, name
