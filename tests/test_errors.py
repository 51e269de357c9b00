"""Errors are one line that says where and what to do."""

from __future__ import annotations

import pytest

from mosam.errors import DataError, MismatchError, MissingDataError, MosamError, UnknownNameError


@pytest.mark.parametrize(("line", "text"), [(None, "a.txt: bad"), (3, "a.txt:3: bad")])
def test_data_error_says_where(line, text):
    error = DataError("a.txt", "bad", line=line)
    assert str(error) == text
    assert (error.path, error.line) == ("a.txt", line)
    assert isinstance(error, MosamError)


def test_unknown_name_suggests_the_nearest():
    text = str(UnknownNameError("tracker", "samuria", ["sam2", "samurai", "dam4sam"], where="run"))
    assert text == "run: unknown tracker 'samuria'; did you mean samurai? (known: dam4sam, sam2, samurai)"


def test_unknown_name_far_from_all_suggests_none():
    assert "did you mean" not in str(UnknownNameError("tracker", "xyz", ["sam2"]))
    assert str(UnknownNameError("tracker", "xyz", [])).endswith("(known: none)")


@pytest.mark.parametrize(
    "error",
    [
        MosamError("x\x1b[2J\x00"),
        DataError("a\x1b.txt", "expected b, got c\n\rd\x7f\x9b"),
        MissingDataError("a\x1b"),
        MismatchError("\x08"),
        UnknownNameError("x", "\x1b[31m", ["a\x1b"]),
    ],
)
def test_no_message_steers_a_terminal(error):
    assert str(error).isprintable()


def test_an_expected_tree_keeps_its_lines():
    assert str(MissingDataError("x: expected tree:\na/\n  b")) == "x: expected tree:\na/\n  b"
