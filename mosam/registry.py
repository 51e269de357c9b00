"""Names to classes: a decorator to register, one scan of a package to find everything in it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from mosam.errors import UnknownNameError
from mosam.system.arguments import instance

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes or functions by name, filled by importing every module of one package on first use.

    A file that registers itself is all it takes to add a dataset, policy, protocol or figure.

    >>> shapes = Registry[type]("shape")
    >>> @shapes.register("square")
    ... class Square: ...
    >>> shapes["square"].__name__
    'Square'
    """

    def __init__(self, kind: str, package: str | None = None):
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._scanned = package is None
        self._complete: set[str] = set()  # names of which every variant is imported

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name` (and under `aliases`, which are not listed)."""

        def add(item: T) -> T:
            if name in self._items and self._items[name] is not item:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._items[name] = item
            for alias in aliases:
                self._aliases[alias] = name
            return item

        return add

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
        """Imports the modules that a name is likely to be in, else all: most commands need one of a package's dozen."""
        if self._scanned or name in self._items or name in self._aliases:
            return
        assert self._package is not None
        word, of_several, _ = name.partition(":")  # `pysot:region` is where `pysot` is
        package = importlib.import_module(self._package)
        modules = [module.name for module in pkgutil.iter_modules(package.__path__)]
        named_alike = [module for module in modules if word.replace("-", "_").startswith(module)]
        for module in named_alike or [module for module in modules if self._spells_out(module, word)]:
            importlib.import_module(f"{self._package}.{module}")
        known = self._items.keys() | self._aliases.keys()
        if name not in known and not (of_several and word in known):
            self._scan()

    def _spells_out(self, module: str, word: str) -> bool:
        """Whether a module's source registers a name by that very word."""
        spec = importlib.util.find_spec(f"{self._package}.{module}")
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return True
        text = Path(spec.origin).read_text(encoding="utf-8")
        return re.search(rf'(?:register|protocol)\([^)]*"{re.escape(word)}"', text) is not None

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        assert self._package is not None
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
