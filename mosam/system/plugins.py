"""Plugins: a user's own Python, which registers datasets, trackers, protocols, figures or motion estimators.

Three ways lead to one: `--plugin` and `MOSAM_PLUGINS` name files or modules, an installed package has an entry point in
the group `mosam.plugins`, and `module:Class` stands where a name is taken (`Registry.load_class`). Code is loaded only
because whoever starts the program names or installed it. No file of results ever makes anything load.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from mosam.errors import MosamError

VARIABLE = "MOSAM_PLUGINS"
GROUP = "mosam.plugins"
_LOADERS = (__file__, importlib.__file__)


class PluginError(MosamError):
    """A plugin is not there, cannot be imported, or registers nothing."""


class NameClashError(MosamError):
    """Two files register the same name."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin.

    Attributes:
        name: of its file, or of its module where it was named so.
        module: its name in `sys.modules`.
        file: what was run.
        sha256: of the file's content.
        version: its `__version__` or that of its distribution; None = it has none.
    """

    name: str
    module: str
    file: Path
    sha256: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Registered:
    """A name that some file registered."""

    kind: str
    name: str
    file: Path


@dataclass
class _State:
    """The plugins of this process.

    Attributes:
        plugins: by module.
        named: files and modules by which another process loads the same.
        registered: names, in the order in which they were registered.
        installed: whether entry points were looked for.
        busy: while a plugin is being loaded, which may itself look for names.
    """

    plugins: dict[str, Plugin] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    registered: list[Registered] = field(default_factory=list)
    installed: bool = False
    busy: bool = False


_here = _State()


def loaded() -> tuple[Plugin, ...]:
    """Every plugin of this process, in the order in which they were loaded."""
    return tuple(_here.plugins.values())


def named() -> tuple[str, ...]:
    """What `load` takes in another process to have the plugins of this one: absolute files, and modules."""
    return tuple(_here.named)


def note(kind: str, name: str, file: Path) -> None:
    """A file has registered a name; registries call this."""
    _here.registered.append(Registered(kind, name, file))


def load(words: Iterable[str], *, where: str = "--plugin") -> None:
    """Loads plugins, each once; processes started later inherit them (`MOSAM_PLUGINS`).

    Args:
        words: files (with `.py` or a slash) or modules.
        where: named in errors.
    Raises:
        PluginError: one is not there, cannot be imported, or registers nothing.
        NameClashError: one registers a name that is taken.
    """
    for word in words:
        is_file = word.endswith(".py") or os.sep in word
        plugin = (_load_file if is_file else _load_module)(word, f"{where} {word}")
        _require_names(plugin, f"{where} {word}")
        own = str(plugin.file) if is_file else word
        if own not in _here.named:
            _here.named.append(own)
            os.environ[VARIABLE] = os.pathsep.join(_here.named)


def load_from_environment() -> None:
    """What `MOSAM_PLUGINS` names; errors as `load`."""
    load([word for word in os.environ.get(VARIABLE, "").split(os.pathsep) if word], where=VARIABLE)


def load_installed() -> None:
    """What installed packages offer as entry points, looked for once; errors as `load`."""
    if _here.installed:
        return
    from importlib.metadata import entry_points  # takes as long as a small command

    for entry in entry_points(group=GROUP):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an installed package"
        where = f"entry point {entry.name} = {entry.value} of {package}"
        version = entry.dist.version if entry.dist else None
        _require_names(_load_module(entry.module, where, version=version), where)
    _here.installed = True


def load_configured() -> None:
    """What the environment names and what is installed; nothing while a plugin is being loaded."""
    if not _here.busy:
        load_from_environment()
        load_installed()


def load_attribute(text: str, where: str) -> tuple[Any, Plugin]:
    """What `package.module:Name` names, and the plugin that the module becomes.

    Raises:
        PluginError: no such module or name in it, or its import fails.
    """
    module, _, name = text.partition(":")
    plugin = _load_module(module, where)
    if not hasattr(sys.modules[plugin.module], name):
        raise PluginError(f"{where}: expected {name} in {plugin.file}, found none")
    return getattr(sys.modules[plugin.module], name), plugin


def load_file_attribute(path: Path, name: str, where: str) -> tuple[Any, Plugin]:
    """What `file.py:Name` names, and the plugin that the file becomes; errors as `load_attribute`."""
    plugin = _load_file(str(path), where)
    if not hasattr(sys.modules[plugin.module], name):
        raise PluginError(f"{where}: expected {name} in {plugin.file}, found none")
    return getattr(sys.modules[plugin.module], name), plugin


def origins(*objects: object) -> dict[str, dict[str, str | None]]:
    """Version and SHA-256 of the plugins that define some objects' classes, by the plugin's name; of ours nothing."""
    found: dict[str, dict[str, str | None]] = {}
    for item in objects:
        for cls in (item if isinstance(item, type) else type(item)).__mro__:
            plugin = _plugin_of(cls.__module__)
            if plugin is not None:
                found[plugin.name] = {"version": plugin.version, "sha256": plugin.sha256}
    return dict(sorted(found.items()))


def _plugin_of(module: str) -> Plugin | None:
    """The plugin that a module is, or belongs to; a module of a plugin's package counts by itself."""
    if module in _here.plugins:
        return _here.plugins[module]
    owner = next((plugin for plugin in _here.plugins.values() if module.startswith(f"{plugin.module}.")), None)
    file = getattr(sys.modules.get(module), "__file__", None)
    if owner is None or file is None:
        return None
    return Plugin(module, module, Path(file), _sha256(Path(file).read_bytes()), owner.version)


# ---- loading ---------------------------------------------------------------------------------------------------------


def _load_file(word: str, where: str) -> Plugin:
    """A file, run as a module whose name other processes give it too."""
    try:
        path = Path(word).resolve(strict=True)
        data = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{where}: expected a Python file, got: {error.strerror or error}") from None
    name = f"mosam_plugin_{path.stem}_{_sha256(str(path).encode())[:8]}"
    if name in _here.plugins:
        return _here.plugins[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    with _own_errors(where, name):
        exec(compile(data, str(path), "exec", dont_inherit=True), module.__dict__)  # the very bytes that are hashed
    return _enter(Plugin(path.name, name, path, _sha256(data), _version(module)))


def _load_module(word: str, where: str, *, version: str | None = None) -> Plugin:
    """An importable module or package."""
    if word in _here.plugins:
        return _here.plugins[word]
    with _own_errors(where, word):
        importlib.import_module(word)
    module = sys.modules[word]
    file = getattr(module, "__file__", None)  # none of one that was made in memory
    digest = _sha256(Path(file).read_bytes()) if file else ""
    return _enter(Plugin(word, word, Path(file or word), digest, version or _version(module)))


@contextlib.contextmanager
def _own_errors(where: str, module: str) -> Iterator[None]:
    """Turns what a plugin's code raises into one line that names the plugin's line."""
    was, _here.busy = _here.busy, True
    try:
        yield
    except (Exception, SystemExit) as error:
        sys.modules.pop(module, None)
        if isinstance(error, (NameClashError, PluginError)):
            raise
        raise PluginError(f"{where}: {_what_failed(error, module)}") from error
    finally:
        _here.busy = was


def _what_failed(error: BaseException, module: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"expected a file (.py) or a module on Python's path, found no module {error.name}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    text = " ".join(str(error).split())
    return f"{_place(error)}{type(error).__name__}: {text}"


def _place(error: BaseException) -> str:
    """`file:line: ` of the plugin's last own line that an error passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in _LOADERS]
    frames = [frame for frame in frames if not frame.filename.startswith("<")]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _enter(plugin: Plugin) -> Plugin:
    _here.plugins[plugin.module] = plugin
    return plugin


def _require_names(plugin: Plugin, where: str) -> None:
    """PluginError where neither the plugin nor a module of its package registered anything."""
    if not any(True for _ in names_of(plugin)):
        hint = 'expected it to register something, as @POLICIES.register("name") does, got nothing'
        raise PluginError(f"{where}: {hint}")


def names_of(plugin: Plugin) -> Iterator[Registered]:
    """What a plugin registered."""
    package = plugin.file.parent if plugin.file.name == "__init__.py" else None
    for one in _here.registered:
        if one.file == plugin.file or (package is not None and package in one.file.parents):
            yield one


def _version(module: ModuleType) -> str | None:
    version = getattr(module, "__version__", None)
    return None if version is None else str(version)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
