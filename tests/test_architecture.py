"""Who may import whom, and other promises about the source as a whole, read from the source itself."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = {"mosam": "mosam", "datasets": "mosam.datasets", "evaluation": "mosam.evaluation"}

BASE = {"types", "geometry", "registry", "errors", "system.files", "system.text", "system.typed", "system.arguments"}
# Group of modules -> groups it may import. A group is the longest listed prefix of a module's name without `mosam.`.
MAY_IMPORT: dict[str, set[str]] = {
    "types": {"types", "system.arguments"},
    "system.arguments": {"system.arguments"},
    "errors": {"errors"},
    "system.text": {"errors"},
    "system.files": {"errors"},
    "system.typed": {"errors", "system.files"},
    "registry": BASE,
    "geometry": BASE,
    "codecs": BASE | {"regions"},
    "regions": BASE,
    "policies": BASE,
    "motion": BASE,
    "results.environment": set(),
    "system.processes": set(),
    "results.frame_log": BASE,
    "results.store": BASE | {"codecs", "results.frame_log"},
    "results.handover": BASE | {"results.store", "results.frame_log"},
    "datasets": BASE | {"codecs", "regions"},
    "model": BASE | {"policies", "motion"},
    "engine": BASE | {"policies", "motion", "model"},
    "evaluation.metrics": BASE,
    "evaluation.scores": BASE,
    "evaluation.intervals": BASE | {"evaluation.scores", "evaluation.metrics"},
    "evaluation.layouts": BASE,
    "evaluation.tables": BASE
    | {"evaluation.scores", "evaluation.metrics", "evaluation.intervals", "evaluation.layouts"},
    "evaluation.failures": BASE | {"evaluation.metrics"},
    "evaluation.figures": BASE
    | {"evaluation.scores", "evaluation.metrics", "evaluation.intervals", "evaluation.layouts", "evaluation.tables"}
    | {"evaluation.failures", "evaluation.framewise"},
    "evaluation.frame_table": BASE
    | {"datasets", "codecs", "evaluation", "evaluation.framewise", "evaluation.scores", "results.frame_log", "results.store"},
    "evaluation.framewise": BASE | {"datasets", "codecs", "regions", "evaluation", "evaluation.metrics"},
    "evaluation.explain": BASE
    | {"datasets", "codecs", "regions", "evaluation", "evaluation.metrics", "evaluation.scores", "evaluation.tables"}
    | {"evaluation.explain_regions", "evaluation.layouts"},
    "evaluation.explain_regions": BASE
    | {"datasets", "codecs", "regions", "evaluation", "evaluation.metrics", "evaluation.scores"},
    "evaluation": BASE
    | {"datasets", "results.store", "codecs", "regions", "evaluation.metrics", "evaluation.scores", "system.processes"},
    "tracking.modes": BASE | {"codecs", "regions"},
    "tracking.schedule": set(),
    "tracking.run": BASE
    | {"datasets", "model", "engine", "motion", "policies", "results.store", "codecs", "results.environment", "results.frame_log"}
    | {"tracking.schedule", "tracking.modes", "results.handover"},
    "tracking.launch": BASE
    | {"tracking.schedule", "tracking.run", "results.store", "results.environment", "datasets", "codecs", "policies", "engine", "model", "tracking.plan"}
    | {"results.handover", "system.processes"},
    "commands.progress": BASE | {"tracking.run"},
    "datasets.select": BASE | {"datasets"},
    "quick_options": set(),
    "commands.score": BASE
    | {"datasets.select", "datasets", "evaluation", "evaluation.explain", "evaluation.scores", "commands.progress", "results.store", "codecs"},
    "tracking.presets": BASE | {"datasets.select", "policies", "engine", "model"},
    "commands.submit": BASE | {"datasets", "codecs", "regions", "evaluation", "__init__"},
    "commands.bench": BASE | {"datasets", "codecs", "engine", "model", "policies", "tracking.run", "tracking.presets"},
    "commands.demo": BASE
    | {"datasets", "codecs", "engine", "model", "policies", "motion", "tracking.presets", "results.environment", "system.processes"},
    "vot": BASE
    | {"codecs", "regions", "datasets", "policies", "model", "engine", "tracking.presets", "tracking.plan", "evaluation", "__init__"},
    "commands.plot": BASE
    | {"tracking.plan", "datasets", "results.frame_log", "results.store", "evaluation"}
    | {f"evaluation.{name}" for name in ("scores", "tables", "figures", "framewise", "failures")},
    "commands.report": BASE
    | {"tracking.plan", "datasets", "codecs", "results.store", "evaluation", "system.processes"}
    | {f"evaluation.{name}" for name in ("scores", "tables", "layouts", "intervals")}
    | {f"evaluation.{name}" for name in ("figures", "framewise", "failures")},
    "tracking.plan": BASE | {"datasets.select", "tracking.presets", "tracking.run", "datasets", "policies", "codecs", "results.store", "engine"},
}
TOP = {"cli", "commands.doctor", "commands.experiment.study", "commands.experiment.tables", "commands.experiment.workers", "commands.paper", "__init__", "__main__"}
ONLY_IN = {
    "torch": {"model", "engine", "motion", "commands.doctor"},
    "torchvision": {"model", "motion"},
    "transformers": {"model"},
    "matplotlib": {"evaluation.figures", "commands.report"},
    "typer": {"cli", "quick_options"},
    "rich": {"cli", "commands.progress"},
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
    """The group of MAY_IMPORT a module belongs to."""
    name = module.removeprefix("mosam.")
    while name not in MAY_IMPORT and name not in TOP:
        assert "." in name, f"{module}: give it a row in MAY_IMPORT"
        name = name.rpartition(".")[0]
    return name


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
            assert own in TOP or other == own or other in MAY_IMPORT[own], f"{module} imports {imported}"
        elif own in NUMPY_ONLY:
            known = top in ("numpy", "tomli") or top in sys.stdlib_module_names  # tomli is tomllib before Python 3.11
            assert known, f"{module} imports {imported}"
        if top in ONLY_IN:
            assert own in ONLY_IN[top], f"{module} imports {imported}"


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
MOVES = {"system.files", "commands.demo.pick", "datasets.pack"}
HALF_FILES = {"system.files", "model.fetch", "results.store"}


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


def test_every_package_is_listed_for_installation():
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    folders = {path.parent for path in MODULES.values()}
    for folder in folders:
        inside = folder.relative_to(PROJECT).parts
        assert f'"{".".join((PACKAGES[inside[0]], *inside[1:]))}"' in text
