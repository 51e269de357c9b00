"""Names to classes: a decorator to register, one scan of a package to find everything in it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from mosam.errors import MosamError, UnknownNameError
from mosam.system import plugins
from mosam.system.arguments import instance

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes or functions by name, filled by importing every module of one package on first use.

    A file that registers itself is all it takes to add a dataset, policy, protocol or figure; plugins do the same from
    outside (`mosam.system.plugins`).

    >>> shapes = Registry[type]("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"].__name__
    'Square'
    """

    def __init__(self, kind: str, package: str | None = None, *, accepts: Callable[[object], bool] | None = None):
        self.kind = kind
        self._accepts = accepts  # what `module:Class` may be; None = anything with a name
        self._package = package
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._files: dict[str, Path] = {}  # that registered a name
        self._scanned = package is None
        self._complete: set[str] = set()  # names of which every variant is imported

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name` (and under `aliases`, which are not listed).

        Raises:
            NameClashError: the name is that of another, built in or of a plugin.
        """

        def add(item: T) -> T:
            self._add(item, (name, *aliases), _registering_file())
            return item

        return add

    def _add(self, item: T, names: tuple[str, ...], file: Path) -> None:
        for word in names:
            self._check_free(word, item, file)
        name, *aliases = names
        self._items[name] = item
        self._files[name] = file
        self._aliases.update(dict.fromkeys(aliases, name))
        plugins.note(self.kind, name, file)

    def file_of(self, name: str) -> Path:
        """The file that registered a name."""
        return self._files[self.canonical(name)]

    def load_class(self, text: str) -> str:
        """The listed name of what `package.module:Class` names, which is imported and filed now; other text as it is.

        Call it only with what a person typed: it runs the module's code.

        Raises:
            PluginError: no such module or class, or its import fails.
            NameClashError: another has its name.
        """
        name = self.find_class(text)
        if name is None:
            raise MosamError(f"{self.kind} {text}: expected what is registered, or a class with a `name`")
        return name

    def find_class(self, text: str) -> str | None:
        """As `load_class`, but None for what has no name."""
        if ":" not in text or text in self:
            return text
        item, plugin = plugins.load_attribute(text, f"{self.kind} {text}")
        if self._accepts is not None and not self._accepts(item):
            return None
        names = [name for name, filed in self._items.items() if filed is item or getattr(filed, "draw", None) is item]
        name = names[0] if names else getattr(item, "name", None)
        if name is None and self._accepts is not None:
            name = getattr(item, "__name__", None)
        if not isinstance(name, str):
            return None
        if not names:
            self._add(item, (name,), plugin.file)
        self._aliases[text] = name
        return name

    def file_under(self, text: str, item: T) -> str:
        """Files a class by its own name, which is returned, and by what was typed for it; errors as `register`."""
        name = str(getattr(item, "name", None) or getattr(item, "__name__", text))
        if self._items.get(name) is not item:
            self._add(item, (name,), Path(sys.modules[item.__module__].__file__ or ""))
        self._aliases[text] = name
        return name

    def _check_free(self, word: str, item: T, file: Path) -> None:
        """NameClashError where a name or alias is taken by another."""
        if word not in self._items and self._package is not None and not self._is_built_in(file):
            self._import_likely(word)
        holder = self._aliases.get(word, word)
        if holder in self._items and self._items[holder] is not item:
            files = f"{self._files.get(holder, 'this program')} and {file}"
            raise plugins.NameClashError(f"{self.kind} {word!r} is registered twice, by {files}; rename one")

    def _is_built_in(self, file: Path) -> bool:
        package = sys.modules.get(self._package or "")
        return package is not None and any(file.parent == Path(folder) for folder in package.__path__)

    def canonical(self, name: str) -> str:
        """The listed name behind a name or alias; UnknownNameError with the closest one, ValueError for no text."""
        instance(name, str, self.kind, "a name")
        self._look_for(name)
        resolved = self._aliases.get(name, name)
        if resolved not in self._items:
            raise UnknownNameError(self.kind, name, self._items)
        return resolved

    def __getitem__(self, name: str) -> T:
        return self._items[self.canonical(name)]

    def __contains__(self, name: str) -> bool:
        self._look_for(name)
        return self._aliases.get(name, name) in self._items

    def __iter__(self) -> Iterator[str]:
        self._scan()
        return iter(sorted(self._items))

    def variants(self, name: str) -> list[T]:
        """What is filed as `name` or `name:something`; none for an unknown name. Imports what spells out the name."""
        if not self._scanned and name not in self._complete:
            assert self._package is not None
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                if self._spells_out(module.name, name):
                    importlib.import_module(f"{self._package}.{module.name}")
            self._complete.add(name)
        return [self._items[filed] for filed in sorted(self._items) if filed.partition(":")[0] == name]

    def _look_for(self, name: str) -> None:
        """Imports the modules that a name is likely to be in, else all, then plugins: most commands need one module."""
        if name in self._items or name in self._aliases or self._package is None:
            return
        if not self._scanned:
            self._import_likely(name)
        word, of_several, _ = name.partition(":")  # `pysot:region` is where `pysot` is
        known = self._items.keys() | self._aliases.keys()
        if name not in known and not (of_several and word in known):
            self._scan()

    def _import_likely(self, name: str) -> None:
        word = name.partition(":")[0]
        package = importlib.import_module(self._package or "")
        modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
        named_alike = [module for module in modules if word.replace("-", "_").startswith(module)]
        for module in named_alike or [module for module in modules if self._spells_out(module, word)]:
            importlib.import_module(f"{self._package}.{module}")

    def _spells_out(self, module: str, word: str) -> bool:
        """Whether a module's source registers a name by that very word."""
        spec = importlib.util.find_spec(f"{self._package}.{module}")
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return True
        text = Path(spec.origin).read_text(encoding="utf-8")
        return re.search(rf'(?:register|protocol|figure|of_sequence)\([^)]*"{re.escape(word)}"', text) is not None

    def _scan(self) -> None:
        """Imports everything: the package's modules once, and the plugins that the user set up."""
        if self._package is None:
            return
        if not self._scanned:
            self._scanned = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        plugins.load_configured()


def _registering_file() -> Path:
    """The file of the module that is being run, to which a decorator in it belongs."""
    frame = sys._getframe(2)
    while frame.f_code.co_name != "<module>" and frame.f_back is not None:
        frame = frame.f_back
    return Path(frame.f_code.co_filename)
