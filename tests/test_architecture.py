"""Who may import whom, and other promises about the source as a whole, read from the source itself."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = {"mosam": "mosam", "datasets": "mosam.datasets", "evaluation": "mosam.evaluation"}

BASE = {"types", "geometry", "registry", "errors", "system"}
FILES = BASE | {"regions", "codecs", "results", "datasets"}  # what lies on disk, and how it is read and written
NETWORK = BASE | {"policies", "motion", "model", "engine"}
# Group of modules -> groups it may import. A group is the longest listed prefix of a module's name without `mosam.`.
MAY_IMPORT: dict[str, set[str]] = {
    # the ground: values, names, errors; files and processes of the system
    "types": {"types", "system"},
    "errors": {"errors"},
    "system": {"errors", "system"},
    "registry": BASE,
    "geometry": BASE,
    # on disk
    "regions": BASE,
    "codecs": BASE | {"regions"},
    "results": BASE | {"codecs"},
    "datasets": BASE | {"codecs", "regions"},
    # the network, and what decides over its memory
    "policies": BASE,
    "motion": BASE,
    "model": BASE | {"policies", "motion"},
    "engine": BASE | {"policies", "motion", "model"},
    # from frames to results
    "tracking.outside": FILES | {"policies"},
    "tracking.schedule": set(),
    "tracking.modes": BASE | {"codecs", "regions"},
    "tracking.presets": NETWORK | {"datasets"},
    "tracking": FILES | NETWORK | {"tracking.schedule", "tracking.modes", "tracking.presets", "tracking.outside"},
    "tracking.launch": FILES | NETWORK | {"tracking", "tracking.schedule", "tracking.outside"},
    # from results to scores, tables and figures: never the network
    "evaluation.metrics": BASE,
    "evaluation.scores": BASE,
    "evaluation.layouts": BASE,
    "evaluation.columns": {"evaluation.layouts", "evaluation.metrics"},
    "evaluation.failures": BASE | {"evaluation.metrics"},
    "evaluation.intervals": BASE | {"evaluation.scores", "evaluation.metrics"},
    "evaluation.significance": BASE | {"evaluation.scores", "evaluation.metrics", "evaluation.intervals"},
    "evaluation.tables": BASE
    | {"evaluation.scores", "evaluation.metrics", "evaluation.intervals", "evaluation.layouts"}
    | {"evaluation", "evaluation.columns"},
    "evaluation": FILES | {"evaluation.metrics", "evaluation.scores", "evaluation.columns"},
    "evaluation.framewise": FILES | {"evaluation", "evaluation.metrics"},
    "evaluation.frame_table": FILES | {"evaluation", "evaluation.framewise", "evaluation.scores"},
    "evaluation.figures": BASE
    | {"evaluation.scores", "evaluation.metrics", "evaluation.intervals", "evaluation.layouts", "evaluation.tables"}
    | {"evaluation.failures", "evaluation.framewise", "evaluation", "evaluation.columns"},
    "evaluation.explain_regions": FILES | {"evaluation", "evaluation.metrics", "evaluation.scores"},
    "evaluation.explain": FILES
    | {"evaluation", "evaluation.metrics", "evaluation.scores", "evaluation.tables", "evaluation.layouts"}
    | {"evaluation.explain_regions", "evaluation.columns"},
}
# The roof: what a command does, and the commands themselves. Scoring, tables and pages get by without the network.
WITHOUT_NETWORK = {
    "commands.score", "commands.submit", "commands.plot", "commands.report", "commands.gather", "commands.page",
    "commands.board",
}  # fmt: skip
TOP = {"commands", "vot", "cli", "__init__", "__main__"}
ONLY_IN = {
    "torch": {"model", "engine", "motion", "commands.doctor"},
    "torchvision": {"model", "motion"},
    "transformers": {"model"},
    "matplotlib": {"evaluation.figures", "commands.report", "commands.page"},
    "click": {"cli"},
    "rich": {"commands.progress"},
    "trax": {"vot"},
}
NUMPY_ONLY = BASE | {"policies"}
NETWORK_SIZES = {1024, 4096}  # image side and tokens of one network: `BackboneSizes` has them; polygons know no network


def modules() -> dict[str, Path]:
    """Every module by its installed name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((PROJECT / folder).rglob("*.py")):
            inside = path.relative_to(PROJECT / folder).with_suffix("").parts
            parts = (
                (package, *inside) if inside[-1] != "__init__" or inside == ("__init__",) else (package, *inside[:-1])
            )
            found[".".join(parts)] = path
    return found


MODULES = modules()


def group(module: str) -> str:
    """The group of MAY_IMPORT, or of the roof, that a module belongs to."""
    name = module.removeprefix("mosam.")
    while name not in MAY_IMPORT and name not in TOP:
        assert "." in name, f"{module}: give it a row in MAY_IMPORT"
        name = name.rpartition(".")[0]
    return name


def within(module: str, place: str) -> bool:
    """Whether a module is a package or below it."""
    return f"{module}.".startswith(f"mosam.{place}.")


def imports(path: Path) -> Iterator[str]:
    """Modules a file imports, anywhere in it, except for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_in_the_allowed_direction(module):
    own = group(module)
    for imported in imports(MODULES[module]):
        top = imported.split(".")[0]
        if top == "mosam":
            other = group(imported) if imported != "mosam" else "__init__"
            allowed = own in TOP or other == own or (other in MAY_IMPORT[own] and other not in TOP)
            assert allowed, f"{module} imports {imported}"
            if any(within(module, roof) for roof in WITHOUT_NETWORK):
                assert other not in ("model", "engine"), f"{module} imports {imported}"
        elif own in NUMPY_ONLY:
            known = top in ("numpy", "tomli") or top in sys.stdlib_module_names  # tomli is tomllib before Python 3.11
            known = known or (own, top) == ("policies", "cv2")  # shapes of masks
            assert known, f"{module} imports {imported}"
        if top in ONLY_IN:
            assert any(within(module, place) for place in ONLY_IN[top]), f"{module} imports {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_public_functions_and_classes_are_described(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    bare = []

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and not _continues_a_property(node):
                bare.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{node.name}.")

    look(tree.body, "")
    assert bare == []


def _continues_a_property(node: ast.stmt) -> bool:
    """Setters and overloads are described where they begin."""
    return any(ast.unparse(d).endswith((".setter", "overload")) for d in getattr(node, "decorator_list", []))


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(("mosam.model", "mosam.regions"))])
def test_sizes_of_a_network_stay_in_the_model(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found = [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and type(n.value) is int and n.value in NETWORK_SIZES
    ]
    assert found == [], f"lines {found}"


# Moving and removing go through `Inside`, files are replaced by `replacing`. Exceptions: a folder in the system's place
# for temporary ones; the new name of a folder just made; a download that the next process goes on with.
MOVES = {"system.files", "commands.demo.server", "datasets.pack"}
HALF_FILES = {"system.files", "model.fetch", "results.store", "commands.fetch.transfer"}


@pytest.mark.parametrize("module", MODULES)
def test_moving_and_removing_is_in_one_place(module):
    own, tree = module.removeprefix("mosam."), ast.parse(MODULES[module].read_text(encoding="utf-8"))
    called = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    moves = {call.attr for call in called if call.attr in ("rmtree", "rename", "renames", "removedirs", "rmdir")}
    moves |= {f"os.{call.attr}" for call in called if call.attr == "replace" and ast.unparse(call.value) == "os"}
    assert own in MOVES or moves == set()
    words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert own in HALF_FILES or [word for word in words if word.endswith((".part", ".new", ".tmp"))] == []


def test_no_module_is_a_drawer():
    assert [name for name in MODULES if name.rpartition(".")[2] in ("utils", "util", "misc", "helpers", "common")] == []


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running some code."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"torch", "transformers", "cv2", "pandas", "lmdb", "av", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    "code",
    [
        "import mosam",
        "import mosam.cli",
        "import mosam; mosam.load_dataset, mosam.load_policy, mosam.Prompt, mosam.run",
        "import mosam.results.store, mosam.codecs, mosam.tracking.run",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    assert loaded_by(code) & HEAVY == set()


def test_a_plain_checkout_is_the_whole_package(tmp_path):
    """Without installing mosam: its dependencies alone, in a clone."""
    clone = tmp_path / "clone"
    done = subprocess.run(["git", "clone", "-q", PROJECT, clone], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    code = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import mosam.tracking.plan, mosam.datasets.toy, mosam.evaluation.evaluate
from mosam.commands.paper.numbers import table_names
print(mosam.__file__, len(table_names()), len(mosam.load_dataset("toy")))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, tables, sequences = done.stdout.split()
    assert where == str(clone / "mosam" / "__init__.py")
    assert int(tables) > 10
    assert int(sequences) > 10
