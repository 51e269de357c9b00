"""Commands made of dataclasses: types, defaults, ranges, help, completion, and what a group loads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mosam.cli import app
from mosam.cli.build import command, every_command
from mosam.errors import MosamError
from mosam.system.options import KEY, REQUIRED, Option, option


@dataclass(frozen=True)
class Given:
    """Of every kind."""

    video: str = option("What is read.", positional=True)
    box: tuple[str, ...] = option("Repeatable.", ())
    frames: int | None = option("At most.", None, least=1)
    rate: float = option("Of frames.", 24.0, most=100, name="fps")
    out: Path | None = option("Where to.", None, usual="here")
    masks: bool = option("Write them.", True)
    log: bool = option("Write it.", False)


@dataclass(frozen=True)
class More:
    """Shares an option with `Given`."""

    word: str = option("Must be given.")
    frames: int | None = option("Shown otherwise.", None)


@pytest.fixture
def call():
    table, seen = {}, []

    @command(Given, More, table=table, name="do")
    def _do(given, more):
        """Do it."""
        seen.append((given, more))

    def run(*words):
        done = CliRunner().invoke(table["do"], list(words))
        return done, seen[-1] if seen else None

    return run


def test_values_have_the_types_of_their_fields(call):
    words = "a.mp4 --box 1 --box 2 --frames 3 --fps 2.5 --out x --no-masks --log --word w"
    _, (given, more) = call(*words.split())
    assert given == Given("a.mp4", ("1", "2"), 3, 2.5, Path("x"), False, True)
    assert more == More("w", 3)  # one option, given to both


def test_defaults_are_those_of_the_dataclass(call):
    _, (given, more) = call("a.mp4", "--word", "w")
    assert given == Given("a.mp4")
    assert more == More("w")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("a --word w --frames 0", "0 is not in the range x>=1"),
        ("a --word w --frames x", "'x' is not a valid integer"),
        ("a --word w --fps 101", "101.0 is not in the range x<=100"),
        ("a", "Missing option '--word'"),
        ("--word w", "Missing argument 'VIDEO'"),
        ("a --word w --lgo", "No such option"),
    ],
)
def test_what_cannot_be(call, words, text):
    done, _ = call(*words.split())
    assert done.exit_code == 2
    assert text in done.output


def test_help_says_what_holds_where_nothing_is_given(call):
    text = " ".join(call("--help")[0].output.split())
    for line in ("VIDEO What is read.", "Where to. [default: here]", "Of frames. [default: 24.0]", "[required]"):
        assert line in text
    assert "Shown otherwise" not in text


def test_a_default_that_can_be_changed_is_refused():
    with pytest.raises(TypeError, match="a default that cannot be changed"):
        Option("x", []).field()


def test_the_list_of_commands_loads_none_of_them():
    code = "import sys; from mosam.cli import run_command; run_command(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert not {"numpy", "mosam.cli.track", "mosam.tracking.plan"} & set(loaded)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mosam ev", "eval"),
        ("mosam eval la", "lasot"),
        ("mosam run toy --tracker sam2,sam", "sam2,samurai"),
        ("mosam run toy --prec", "--precision"),
        ("mosam plot suc", "success"),
        ("mosam model info ti", "tiny"),
        ("mosam score lasot --protocol pyt", "pytracking"),
    ],
)
def test_a_shell_completes(words, found):
    parts = words.split()
    environment = {**os.environ, "_MOSAM_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(parts) - 1)
    code = "import sys; sys.argv = ['mosam']; from mosam.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"plain,{found}" in done.stdout.splitlines()


def test_every_option_of_every_command_is_declared_and_described():
    seen = 0
    for words, made in every_command(app):
        assert made.help, words
        for parameter in made.params:
            if isinstance(parameter, click.Option) and parameter.name != "version":
                seen += 1
                assert parameter.help[0].isupper() or parameter.help.split()[0].strip("`,:.").islower(), words
                assert parameter.help.split("  [")[0].endswith("."), (words, parameter.name)
    assert seen > 100


def test_a_field_says_how_it_is_shown():
    field = Option("x.", metavar="N").field(default=3)
    assert (field.default, field.metadata[KEY].metavar) == (3, "N")
    assert Option("x.").default is REQUIRED


def test_the_end_of_a_file_is_no_interruption():
    table = {}

    @command(table=table, name="do")
    def _do():
        """Do it."""
        raise EOFError("x.mp4: ended early")

    done = CliRunner().invoke(table["do"], [])
    assert isinstance(done.exception, MosamError)
    assert "x.mp4: ended early" in str(done.exception)
