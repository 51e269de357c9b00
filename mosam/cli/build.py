"""Commands made of dataclasses whose fields are options, and groups that load a command only when it is called."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import click

from mosam.errors import MosamError, one_line
from mosam.system.options import KEY, PLUGINS, REQUIRED, Option

if TYPE_CHECKING:
    from mosam.registry import Registry

WIDTH = 80  # columns of the help, whatever the terminal's
_HELP = {"help_option_names": ["--help"], "max_content_width": WIDTH, "terminal_width": WIDTH}


class Entry(NamedTuple):
    """A command of a group: where it is, its line in the list of commands, and the table it is in."""

    module: str
    about: str
    table: str = "COMMANDS"


class Commands(click.Group):
    """A group whose commands are imported when they are called; the list of commands imports none.

    Args:
        name: of the group.
        entries: commands by name, in the order of the help; each module has a `command` of that name in its table.
        about: the group's own help.
        usual: the command that is meant where the first word is the name of none.
    """

    def __init__(self, name: str, entries: Mapping[str, Entry], about: str, *, usual: str | None = None, **more: Any):
        super().__init__(name, help=about, short_help=about, no_args_is_help=True, context_settings=_HELP, **more)
        self.entries = dict(entries)
        self.usual = usual

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; the usual command need not be named."""
        if self.usual is not None and args and args[0] not in self.entries and args != ["--help"]:
            args = [self.usual, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded now; None for an unknown name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        made: click.Command = getattr(importlib.import_module(entry.module), entry.table)[cmd_name]
        made.short_help = entry.about
        return made

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.about) for name, entry in self.entries.items()])


def command(
    *classes: type, table: dict[str, click.Command], name: str | None = None, **replaced: Option
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Makes a command of a function that takes one filled dataclass for each class.

    Args:
        classes: dataclasses with options; a field that two of them share is one option, whose value both get.
        table: where the command is entered, by name.
        name: of the command; None = the function's.
        replaced: options shown otherwise in this command, by field.
    Returns:
        a decorator that leaves the function as it is; the function's result is the exit code, None = 0.
    """

    def enter(function: Callable[..., int | None]) -> Callable[..., int | None]:
        own = name or function.__name__.strip("_")
        fields = [(cls, *_options(cls, replaced)) for cls in classes]

        def call(**values: Any) -> int:
            _load_plugins(values.pop("plugins"))
            values |= {key: _joined(values[key]) for key, option in described.items() if option.joined}
            _load_classes(values, described)
            made = [cls(**{key: values[key] for key in options}) for cls, options, _ in fields]
            try:
                return function(*made) or 0
            except EOFError as error:  # which click would take for Ctrl-C
                raise MosamError(one_line(error)) from error

        parameters: dict[str, click.Parameter] = {}
        described = {key: option for _, options, _ in fields for key, option in options.items()}
        for _, options, hints in fields:
            for key, option in options.items():
                parameters.setdefault(key, _parameter(key, option, hints[key]))
        parameters["plugins"] = _parameter("plugins", PLUGINS, tuple[str, ...])
        table[own] = _Command(
            own, callback=call, params=list(parameters.values()), help=function.__doc__, context_settings=_HELP
        )
        return function

    return enter


def _joined(words: Any) -> str | None:
    """What was given once or more, as one list; None where it was not."""
    return ",".join(words) if isinstance(words, tuple) and words else None if isinstance(words, tuple) else words


def _load_plugins(words: tuple[str, ...]) -> None:
    """What the command line and the environment name."""
    from mosam.system import plugins

    plugins.load_from_environment()
    plugins.load(words)


def _load_classes(values: Mapping[str, Any], options: Mapping[str, Option]) -> None:
    """Imports each `module:Class` that was typed where a name is taken."""
    for key, option in options.items():
        names = [name for name in _typed_names(values[key]) if ":" in name]
        if names and option.complete == "tracker":
            continue  # `load_tracker` knows more forms
        found = registries(option.complete or "") if names else ()
        for name in names if found else ():
            if not any(registry.find_class(name) for registry in found):  # a figure is in one of two
                found[0].load_class(name)
        if names and option.complete == "model":
            from mosam.model.family import load_named

            load_named(names[0])


def _typed_names(value: Any) -> Iterator[str]:
    """Names in the text of an option, without what is in brackets behind them."""
    texts = value if isinstance(value, tuple) else (value,)
    for text in texts:
        if isinstance(text, str):
            yield from (word.strip() for word in re.sub(r"\[.*?\]", "", text).split(","))


def _options(cls: type, replaced: Mapping[str, Option]) -> tuple[dict[str, Option], dict[str, Any]]:
    """Options of a dataclass by field, and the types of its fields."""
    options = {
        field.name: replaced.get(field.name, field.metadata[KEY])
        for field in dataclasses.fields(cls)
        if KEY in field.metadata
    }
    return options, get_type_hints(cls)


def _parameter(key: str, option: Option, annotation: Any) -> click.Parameter:
    """A click parameter of an option."""
    kind, many = _plain(annotation)
    required = option.default is REQUIRED
    named: dict[str, Any] = {"metavar": option.metavar, "type": _type(kind, option)}
    if many:
        named["multiple" if not option.positional else "nargs"] = True if not option.positional else -1
    if not required and not many:
        named["default"] = option.default
    if option.positional:
        return _Argument(key, option, **named)
    if option.joined:
        named |= {"multiple": True, "default": None}
    if kind is bool:
        named = {"default": option.default, "is_flag": True}
    flag = f"--{option.name or key.replace('_', '-')}"
    if kind is bool and option.default is not False:
        flag = f"{flag}/--no-{flag[2:]}"
    return click.Option([key, flag], required=required, help=_help(option), show_default=False, **named)


class _Command(click.Command):
    """A command whose help describes its arguments as it does its options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Arguments, then options."""
        arguments = [param for param in self.get_params(ctx) if isinstance(param, _Argument)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl([(param.make_metavar(ctx), param.about) for param in arguments])
        super().format_options(ctx, formatter)


class _Argument(click.Argument):
    """An argument that says what it is."""

    def __init__(self, key: str, option: Option, **named: Any):
        many = named.get("nargs") == -1
        word = option.metavar or key.upper() + ("..." if many else "")
        required = option.default is REQUIRED
        if not required and option.metavar is None:
            word = f"[{word}]"
        super().__init__([key], required=required, **{**named, "metavar": word})
        self.about = _help(option)


def _plain(annotation: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return _plain(str if str in kinds else kinds[0])
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    return annotation, False


def _type(kind: Any, option: Option) -> Any:
    if kind is int and (option.least is not None or option.most is not None):
        least, most = (None if end is None else int(end) for end in (option.least, option.most))
        return click.IntRange(least, most)
    if kind is float and (option.least is not None or option.most is not None):
        return click.FloatRange(option.least, option.most)
    if kind in (int, float):
        return kind
    if kind is Path:
        return click.Path(path_type=Path)
    return _Words(option.complete) if option.complete is not None else str


def _help(option: Option) -> str:
    """The sentence, and what holds where nothing is given."""
    usual = option.usual
    default = option.default
    if (
        usual is None
        and default is not REQUIRED
        and default is not None
        and default != ()
        and type(default) is not bool
    ):
        usual = str(default)
    return option.help if usual is None else f"{option.help}  [default: {usual}]"


class _Words(click.ParamType):
    """Text for which a shell can offer words."""

    name = "text"

    def __init__(self, what: str):
        self._what = what

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Words that begin so."""
        from click.shell_completion import CompletionItem

        before, _, last = incomplete.rpartition(",")
        before += "," if before else ""
        with contextlib.suppress(MosamError):  # a shell has no place for what is wrong with a plugin
            _load_plugins(ctx.params.get("plugins") or ())
            return [CompletionItem(before + word) for word in known_words(self._what) if word.startswith(last)]
        return []


def every_command(group: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield words, group
    if isinstance(group, Commands):
        for name in group.entries:
            inner = group.get_command(click.Context(group), name)
            assert inner is not None
            yield from every_command(inner, (*words, name))


def registries(what: str) -> tuple[Registry[Any], ...]:
    """Where the names are that an option takes; none where it takes no registered name."""
    if what == "dataset":
        from mosam.datasets.base import DATASETS

        return (DATASETS,)
    if what == "tracker":
        from mosam.policies.base import POLICIES
        from mosam.tracking.outside.classes import TRACKERS

        return (POLICIES, TRACKERS)
    if what == "protocol":
        from mosam.evaluation.protocols.base import PROTOCOLS

        return (PROTOCOLS,)
    if what == "figure":
        from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES

        return (FIGURES, SEQUENCE_FIGURES)
    return ()


def known_words(what: str) -> Iterable[str]:
    """What an option may be, for a shell to offer: names of a registry, or the words themselves."""
    if found := registries(what):
        return [*(["all"] if what == "figure" else ()), *(name for registry in found for name in registry)]
    if what == "model":
        from mosam.model.networks import NETWORKS

        return list(NETWORKS)
    return what.split(",")
