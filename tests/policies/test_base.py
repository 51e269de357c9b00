import pytest

from mosam.errors import MosamError, UnknownNameError
from mosam.policies.base import POLICIES, TrackInfo, load_policy, parse_tracker


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sam2", ("sam2", {})),
        ("mosam[stride=3, mgp=off]", ("mosam", {"stride": "3", "mgp": "off"})),
        ("sam2[]", ("sam2", {})),
    ],
)
def test_parse_tracker(text, expected):
    assert parse_tracker(text) == expected


@pytest.mark.parametrize("text", ["", "sam2[stride]", "sam2[stride=1", "a b"])
def test_parse_tracker_refuses(text):
    with pytest.raises(MosamError, match="expected"):
        parse_tracker(text)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean samurai"):
        load_policy("samuri")
    with pytest.raises(UnknownNameError, match=r"did you mean stride.*known: memory, stride"):
        load_policy("sam2", strid=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": "x"}, "a int"),
        ({"stride": 0}, "1..100"),
        ({"stride": 2.5}, "a int"),
        ({"stride": None}, "a int"),
        ({"memory": "maybe"}, "on or off"),
        ({"memory": 3}, "on or off"),
    ],
)
def test_values_are_checked(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("sam2", **options)


def test_label_names_what_differs():
    assert load_policy("sam2").label == "sam2"
    assert load_policy("sam2", stride="3", memory="off").label == "sam2[stride=3,memory=off]"


def test_every_policy_describes_itself():
    for name in POLICIES:
        policy = load_policy(name)
        assert policy.name == name
        assert policy.label == name


@pytest.mark.parametrize(
    ("num_frames", "own", "norm", "t", "span"),
    [
        (100, "length", "policy", 3, 16),
        (5, "length", "policy", 3, 5),
        (None, "length", "policy", 3, 16),
        (100, "seen", "policy", 13, 4),
        (5, "length", "fixed16", 3, 16),
        (5, "length", "seen", 14, 5),
    ],
)
def test_pointer_span(num_frames, own, norm, t, span):
    start = 10 if own == "seen" or norm == "seen" else 0
    info = TrackInfo(1, start, num_frames, (1, 1), 7, 16, pointer_norm=norm)
    assert info.pointer_span(t, own) == span
