"""Files and modules from outside: what is loaded, what is recorded of them, and what goes wrong in one line."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
from plugin_cases import TRACKER, no_plugins, write_plugin

from mosam.errors import UnknownNameError
from mosam.policies.base import POLICIES
from mosam.system import plugins
from mosam.system.plugins import NameClashError, PluginError

__all__ = ["no_plugins"]
pytestmark = pytest.mark.usefixtures("no_plugins")


def test_a_file_registers_and_is_known_with_version_and_hash(tmp_path):
    path = write_plugin(tmp_path / "own.py")
    plugins.load([str(path)])
    [plugin] = plugins.loaded()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (plugin.name, plugin.file, plugin.version, plugin.sha256) == ("own.py", path, "1.2", digest)
    assert POLICIES.file_of("mine") == path
    assert plugins.origins(POLICIES["mine"]) == {"own.py": {"version": "1.2", "sha256": digest}}
    assert plugins.origins(POLICIES["sam2"], object()) == {}
    assert pickle.loads(pickle.dumps(POLICIES["mine"])) is POLICIES["mine"]


def test_each_is_loaded_once_by_whatever_name(tmp_path, monkeypatch):
    write_plugin(tmp_path / "own.py", TRACKER + "\nprint('loaded')\n")
    monkeypatch.chdir(tmp_path)
    plugins.load(["own.py", "./own.py"])
    plugins.load([str(tmp_path / "own.py")])
    plugins.load_from_environment()
    assert plugins.named() == (str(tmp_path / "own.py"),)
    assert os.environ[plugins.VARIABLE] == str(tmp_path / "own.py")


def test_a_package_that_registers_in_a_module_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "lab_for_test").mkdir()
    write_plugin(tmp_path / "lab_for_test" / "__init__.py", "from lab_for_test import inner\n")
    inner = write_plugin(tmp_path / "lab_for_test" / "inner.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load(["lab_for_test"])
    digest = hashlib.sha256(inner.read_bytes()).hexdigest()
    assert plugins.origins(POLICIES["mine"]) == {"lab_for_test.inner": {"version": None, "sha256": digest}}


def test_the_environment_names_several(tmp_path, monkeypatch):
    first = write_plugin(tmp_path / "first.py")
    second = write_plugin(tmp_path / "second.py", TRACKER.replace('"mine"', '"other"'))
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(map(str, (first, second))))
    assert {"mine", "other"} <= set(POLICIES)  # looked for by whoever lists the names


def test_an_unknown_name_is_looked_for_in_installed_packages(tmp_path, monkeypatch):
    write_plugin(tmp_path / "installed_for_test.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    dist = SimpleNamespace(name="lab", version="3.0")
    entry = SimpleNamespace(name="x", value="installed_for_test", module="installed_for_test", dist=dist)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    assert POLICIES["sam2"].name == "sam2"
    assert plugins.loaded() == ()  # a built-in name needs none
    assert POLICIES["mine"].name == "mine"
    assert plugins.loaded()[0].version == "3.0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\n\n1 / 0\n", r"--plugin .*bad\.py: .*bad\.py:3: ZeroDivisionError: division by zero"),
        ("def x(:\n", r"--plugin .*bad\.py: .*bad\.py:1: SyntaxError: invalid syntax"),
        ("import nowhere_at_all\n", r"bad\.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import json\njson.loads('x')\n", r"bad\.py:2: JSONDecodeError: "),
        ("raise SystemExit('no')\n", r"bad\.py:1: SystemExit: no"),
        ("x = 1\n", r"--plugin .*bad\.py: expected it to register something"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, text, message):
    path = write_plugin(tmp_path / "bad.py", text)
    with pytest.raises(PluginError, match=message) as caught:
        plugins.load([str(path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nope.py", r"--plugin nope\.py: expected a Python file, got: No such file"),
        ("nope", r"--plugin nope: expected a file \(\.py\) or a module on Python's path, found no module nope"),
        ("json", r"--plugin json: expected it to register something"),
    ],
)
def test_what_is_not_there(word, message):
    with pytest.raises(PluginError, match=message):
        plugins.load([word])


@pytest.mark.parametrize("name", ["samurai", "mine"])
def test_a_name_that_exists_twice_names_both_files(tmp_path, name):
    plugins.load([str(write_plugin(tmp_path / "own.py"))])
    other = write_plugin(tmp_path / "other.py", TRACKER.replace('"mine"', f'"{name}"'))
    owner = r"policies/samurai\.py" if name == "samurai" else r"own\.py"
    with pytest.raises(NameClashError, match=rf"tracker '{name}' is registered twice, by .*{owner} and .*other\.py"):
        plugins.load([str(other)])


def test_a_built_in_name_is_taken_before_its_module_is_loaded(tmp_path):
    path = write_plugin(tmp_path / "own.py", TRACKER.replace('"mine"', '"dam4sam"'))
    code = f"from mosam.system import plugins; plugins.load([{str(path)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "tracker 'dam4sam' is registered twice, by " in done.stderr


def test_a_class_by_module_is_filed_under_its_own_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    write_plugin(tmp_path / "own_for_test.py")
    write_plugin(tmp_path / "plain_for_test.py", TRACKER.replace("@POLICIES", "# @POLICIES").replace("mine", "plain"))
    assert POLICIES.load_class("sam2") == "sam2"
    assert POLICIES.load_class("own_for_test:Mine") == "mine"
    assert POLICIES.load_class("plain_for_test:Mine") == "plain"
    assert POLICIES["plain_for_test:Mine"] is POLICIES["plain"]
    assert plugins.origins(POLICIES["plain"]).keys() == {"plain_for_test"}
    with pytest.raises(PluginError, match=r"tracker own_for_test:Yours: expected Yours in .*own_for_test"):
        POLICIES.load_class("own_for_test:Yours")


def test_a_name_in_passing_imports_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    write_plugin(tmp_path / "own_for_test.py")
    assert "own_for_test:Mine" not in POLICIES
    with pytest.raises(UnknownNameError):
        POLICIES["own_for_test:Mine"]
    assert "own_for_test" not in sys.modules
