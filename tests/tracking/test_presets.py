"""Defaults, and the settings under which numbers were published."""

from __future__ import annotations

import pytest

from mosam.datasets.select import split_list
from mosam.engine.parity import Parity
from mosam.errors import MosamError
from mosam.policies.base import POLICIES
from mosam.tracking.presets import PUBLISHED, Preset, default_model, default_tracker, preset


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, []),
        ("", []),
        (" , ", []),
        ("sam2", ["sam2"]),
        ("sam2,samurai", ["sam2", "samurai"]),
        ("mosam[stride=3,mgp=off],sam2", ["mosam[stride=3,mgp=off]", "sam2"]),
        (" a , b ", ["a", "b"]),
    ],
)
def test_split_list(text, words):
    assert split_list(text) == words


def test_defaults():
    assert default_tracker() == "mosam"
    assert default_model("lasot") == "large"
    assert default_model("toy") in ("nano", "random:nano")


def test_common_settings_are_the_same_for_all():
    assert {preset("common", name, task) for name in POLICIES for task in ("box", "mask")} == {Preset()}
    assert Preset().parity == Parity()


@pytest.mark.parametrize(
    ("tracker", "task", "precision", "post_processing"),
    [
        ("sam2", "mask", "bf16", False),
        ("samurai", "mask", "bf16", False),
        ("samurai", "box", "fp16", True),
        ("sam2long", "mask", "bf16", False),
        ("dam4sam", "mask", "fp16", True),
        ("him2sam", "box", "fp16", True),
        ("him2sam", "mask", "fp16", True),
        ("samosa", "box", "fp16", True),
        ("rcms", "mask", "bf16", False),
    ],
)
def test_published_settings(tracker, task, precision, post_processing):
    found = preset("published", tracker, task)
    assert found.precision == precision
    assert found.parity == Parity.official(post_processing=post_processing, holes=tracker != "dam4sam")


def test_sam3_falls_back_to_the_best_of_three_masks_and_does_nothing_else_afterwards():
    found = preset("published", "sam3", "box")
    assert found.precision == "bf16"
    assert found.parity == Parity(stability=True)


def test_published_settings_name_trackers_that_exist():
    assert {name for name, _ in PUBLISHED} <= set(POLICIES)


def test_nothing_published():
    with pytest.raises(MosamError, match="nothing is published for mosam; known are dam4sam, him2sam, "):
        preset("published", "mosam", "mask")
