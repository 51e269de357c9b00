"""Files that say how trackers are started: `trackers.ini` and `trackers.yaml` of the VOT toolkit, and TOML."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosam.errors import DataError, MosamError, UnknownNameError
from mosam.system.files import read_regular
from mosam.tracking.outside.folder import CONVERSIONS
from mosam.tracking.outside.programs import PROTOCOLS, Program

SUFFIXES = (".ini", ".toml", ".yaml", ".yml")
_IMPORTED = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")  # a command that is a module, not a program of Python
_NOT_SPOKEN = "write protocol = trax and a command that starts the interpreter"


def is_form(text: str) -> bool:
    """Whether text is `FILE` or `FILE:NAME` with a file of trackers.

    >>> is_form("lab/trackers.ini:NCC"), is_form("lab.toml"), is_form("lab.trackers:NCC")
    (True, True, False)
    """
    return split_form(text)[0].lower().endswith(SUFFIXES)


def split_form(text: str) -> tuple[str, str | None]:
    """File and name; None where no name is given."""
    file, sign, name = text.rpartition(":")
    return (file, name) if sign else (text, None)


def load_program(text: str | os.PathLike[str]) -> Program:
    """The tracker that `FILE:NAME` means; the name can be left out where the file has one tracker.

    Raises:
        MissingDataError: no such file.
        DataError: it is no such file, or says something that cannot be.
        UnknownNameError: it has no tracker of that name.
    """
    file, name = split_form(os.fspath(text))
    path = Path(file)
    sections = read_sections(path)
    if name is None and len(sections) == 1:
        name = next(iter(sections))
    if name is None or name not in sections:
        raise UnknownNameError("tracker", name or "", sections, where=str(path))
    return program_of(name, sections[name], path)


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """What a file says of each tracker, by name; errors as `load_program`."""
    data = read_regular(path)
    try:
        text = data.decode("utf-8")
        if path.suffix.lower() == ".ini":
            parser = configparser.ConfigParser()
            parser.read_string(text)
            found: Any = {name: dict(parser[name]) for name in parser.sections()}
        elif path.suffix.lower() == ".toml":
            found = _toml(text)
        else:
            import yaml

            found = yaml.load(text, Loader=yaml.BaseLoader)
    except (configparser.Error, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise DataError(path, f"expected a file of trackers, got {' '.join(str(error).split())[:120]}") from None
    except Exception as error:  # yaml.YAMLError, which is not imported for the others
        raise DataError(path, f"expected YAML, got {' '.join(str(error).split())[:120]}") from None
    if not isinstance(found, Mapping) or not all(isinstance(one, Mapping) for one in found.values()):
        raise DataError(path, "expected a section for each tracker")
    return {str(name): {str(key): value for key, value in one.items()} for name, one in found.items()}


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def program_of(name: str, section: Mapping[str, Any], path: Path) -> Program:
    """The program of a section; DataError where it lacks or has what it must not."""
    where = f"{path}: [{name}]"
    own = dict(section)
    protocol = _text(own.pop("protocol", None), f"{where} protocol")
    command = own.pop("command", None)
    environment = {key: os.path.expandvars(value) for key, value in _environment(own, where).items()}
    words = words_of(command, where)
    language = protocol.removeprefix("trax").removeprefix("folder")
    base = protocol.removesuffix(language) if language else protocol
    if base not in PROTOCOLS or language not in ("", "python"):
        hint = f"; {_NOT_SPOKEN}" if language in ("matlab", "octave") else ""
        known = "trax, traxpython, folder or folderpython"
        raise DataError(path, f"[{name}] protocol: expected {known}, got {protocol!r}{hint}")
    if _is_on(own.pop("socket", "")):
        raise DataError(path, f"[{name}] socket: only the standard streams are spoken here; leave it out")
    paths = _paths(own.pop("paths", ""), path)
    if language == "python":
        words = _python(_text(command, f"{where} command"), own.pop("python", None), paths)
        environment |= {"PYTHONPATH": os.pathsep.join(reversed(paths)), "PYTHONUNBUFFERED": "1"}
    else:
        words = [_beside(word, path) for word in words]
    linked = _paths(own.pop("linkpaths", ""), path)
    if linked:
        before = environment.get("LD_LIBRARY_PATH") or os.environ.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = os.pathsep.join([*([before] if before else []), *linked])
    if any("\0" in text for text in (*words, *environment, *environment.values())):
        raise DataError(path, f"[{name}] expected text without NUL, got one")
    convert = own.pop("convert", None)
    if convert is not None and convert not in CONVERSIONS:
        raise DataError(path, f"[{name}] convert: expected {' or '.join(CONVERSIONS)}, got {convert!r}")
    version = own.get("version")
    return Program(
        name, base, tuple(words), environment, seconds_of(own.pop("timeout", None), where), convert,
        None if version is None else str(version),
    )  # fmt: skip


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise MosamError(f"{where}: expected text, got {'nothing' if value is None else repr(value)[:40]}")
    return value.strip()


def words_of(command: Any, where: str) -> list[str]:
    """The words of a command: a list of them (TOML, YAML), or text as a shell splits it."""
    if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        return list(command)
    text = _text(command, f"{where} command")
    try:
        return shlex.split(text)
    except ValueError as error:
        raise MosamError(f"{where} command: expected words as for a shell, got {text[:60]!r} ({error})") from None


def _environment(own: dict[str, Any], where: str) -> dict[str, str]:
    """Variables: `env_NAME = value`, or a table `env`; they are taken out of the section."""
    found = {}
    table = own.pop("env", {})
    if isinstance(table, Mapping):
        found = {str(key): _text(value, f"{where} env.{key}") for key, value in table.items()}
    for key in [key for key in own if key.startswith("env_") and len(key) > 4]:
        found[key[4:].upper()] = _text(own.pop(key), f"{where} {key}")
    return found


def _paths(value: Any, path: Path) -> list[str]:
    """Folders, relative ones to the file's."""
    words = value if isinstance(value, list) else str(value).split(os.pathsep)
    return [os.path.normpath(path.absolute().parent / str(word).strip()) for word in words if str(word).strip()]


def _python(command: str, interpreter: Any, paths: list[str]) -> list[str]:
    """What the toolkit's Python adapters run: a module, or a program in one line."""
    python = sys.executable if interpreter is None else str(interpreter)
    if _IMPORTED.fullmatch(command):
        return [python, "-m", command]
    first = "".join(f"sys.path.insert(0, {path!r}); " for path in reversed(paths))
    return [python, "-c", f"import sys; {first}{command}"]


def _beside(word: str, path: Path) -> str:
    """A word of a command; absolute where it names a file beside the file that it is in, for programs run elsewhere."""
    file = path.absolute().parent / word
    there = not word.startswith("-") and os.sep not in word[:1] and is_file(file)
    return str(file) if there else word


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for what no file can be called."""
    return os.path.isfile(path)  # noqa: PTH113  # Path raises for a name no file can have


def seconds_of(value: Any, where: str) -> float | None:
    """A time limit; MosamError where it is no number."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = float("nan")
    if not seconds < float("inf"):
        raise MosamError(f"{where} timeout: expected seconds, got {str(value)[:40]!r}")
    return seconds


def _is_on(value: Any) -> bool:
    return str(value).strip().lower() in ("1", "true", "yes", "on")
