from __future__ import annotations

import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.errors import DataError, MissingDataError
from mosam.regions.files import (
    LONGEST_RUN,
    format_binary,
    format_text,
    parse_binary,
    parse_text,
    read_trajectory,
    write_trajectory,
)
from mosam.regions.trajectory import Point, Polygon, Rectangle, RunMask, Special, Trajectory, mask_region

singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def masks(draw):
    w, h = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    pixels = draw(st.lists(st.booleans(), min_size=w * h, max_size=w * h))
    x, y = draw(st.integers(-300, 300)), draw(st.integers(-300, 300))
    runs = [0]
    last = False
    for pixel in pixels:
        if pixel != last:
            runs.append(0)
        runs[-1] += 1
        last = pixel
    return RunMask(x, y, w, h, tuple(runs))


def regions(numbers):
    corner = st.tuples(numbers, numbers)
    return st.one_of(
        st.builds(Special, st.integers(0, 2)),
        st.builds(Point, numbers, numbers),
        st.builds(Rectangle, numbers, numbers, numbers, numbers),
        st.builds(Polygon, st.lists(corner, min_size=3, max_size=7).map(tuple)),
        masks(),
    )


@given(st.lists(regions(doubles), min_size=1, max_size=8))
def test_text_is_read_back_the_same(given_regions):
    trajectory = Trajectory.of(given_regions)
    back = parse_text(format_text(trajectory).encode())
    assert back == trajectory
    assert list(back) == given_regions
    assert back.cropped


@given(st.lists(regions(singles), min_size=1, max_size=8))
def test_binary_is_read_back_the_same(given_regions):
    trajectory = Trajectory.of(given_regions)
    back = parse_binary(format_binary(trajectory))
    assert back == trajectory
    assert list(back) == given_regions
    assert not back.cropped


def test_text_as_the_toolkit_writes_it():
    trajectory = parse_text(b"1\n2.0\n0\n10,20\n1.5,2,3,4\n0,0,5,0,5,5\nm3,4,2,2,1,3\nnan,nan,nan,nan\n1,2,nan,4,5,6\n")
    assert list(trajectory) == [
        Special(1),
        Special(2),
        Special(0),
        Point(10, 20),
        Rectangle(1.5, 2, 3, 4),
        Polygon(((0, 0), (5, 0), (5, 5))),
        RunMask(3, 4, 2, 2, (1, 3)),
        Special(0),
        Special(0),
    ]
    assert trajectory.codes.tolist() == [1, 2, 0, -1, -1, -1, -1, 0, 0]


def test_binary_as_the_toolkit_writes_it():
    data = struct.pack("<hI", 1, 5)
    data += struct.pack("<BI", 0, 1)
    data += struct.pack("<Bffff", 1, 1.5, 2.5, 3.0, 4.0)
    data += struct.pack("<BH6f", 2, 3, 0, 0, 5, 0, 5, 5)
    data += struct.pack("<BhhHHH2H", 3, -3, 4, 2, 2, 2, 1, 3)
    data += struct.pack("<Bff", 4, 7.0, 8.0)
    assert list(parse_binary(data)) == [
        Special(1),
        Rectangle(1.5, 2.5, 3, 4),
        Polygon(((0, 0), (5, 0), (5, 5))),
        RunMask(-3, 4, 2, 2, (1, 3)),
        Point(7, 8),
    ]
    assert format_binary(parse_binary(data)) == data


@pytest.mark.parametrize("runs", [(0, 200_000), (70_000, 100_000, 30_000), (LONGEST_RUN, 1, 199_999 - LONGEST_RUN)])
def test_long_runs_are_split_and_joined(runs):
    trajectory = Trajectory.of([Special(1), RunMask(0, 0, 500, 400, runs)])
    data = format_binary(trajectory)
    stored = np.frombuffer(data[-2 * (len(data) - 6 - 5 - 1 - 10) // 2 :], "<u2")
    assert stored.max() <= LONGEST_RUN
    assert parse_binary(data) == trajectory


def test_files_by_suffix(tmp_path):
    trajectory = Trajectory.of([Special(1), Rectangle(1, 2, 3, 4.5)])
    for name in ("a.txt", "a.bin"):
        write_trajectory(tmp_path / name, trajectory)
        assert read_trajectory(tmp_path / name) == trajectory
    assert (tmp_path / "a.txt").read_text() == "1\n1.0,2.0,3.0,4.5\n"
    with pytest.raises(MissingDataError, match="found nothing"):
        read_trajectory(tmp_path / "b.txt")


@pytest.mark.parametrize("text", [b"1,2,3,4", b"1 2 3 4", b"1\t2\t3\t4", b"1, 2,3 ,4\r\n", b"\t1,2 3\t4  "])
def test_separators(text):
    assert list(parse_text(text)) == [Rectangle(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"", None, "got an empty file"),
        (b"1\n\n1", 2, "got an empty line"),
        (b"1\n1,2,3", 2, "expected a region, got 3 numbers"),
        (b"1\n1,2,3,4,5", 2, "got 5 numbers"),
        (b"1\n1,2,3,x", 2, "expected numbers separated by commas, got '1,2,3,x'"),
        (b"1\n1,2,,4", 2, "got '1,2,,4'"),
        (b"1\n1,2,inf,4", 2, "expected finite numbers"),
        (b"1\n3", 2, "expected a code 0"),
        (b"-1", 1, "expected a code 0"),
        (b"0.5", 1, "expected a code 0"),
        (b"1\nm1,2,3,4", 2, "got 4 numbers"),
        (b"1\nm0,0,2,2,5", 2, "at most 4 pixels"),
        (b"1\nm0,0,2,2,-1,2", 2, "not negative"),
        (b"1\nm0,0.5,2,2,4", 2, "whole numbers"),
        (b"1\nm0,0,100000,100000,4", 2, "sides of 0 to 65535"),
        (b"1\nm0,0,-2,2,4", 2, "sides of 0 to 65535"),
        (b"1\nm99999999999,0,2,2,4", 2, "whole numbers"),
        (b"1\n1,m2,3,4", 2, "expected numbers"),
        (b"1\nmm0,0,1,1,1", 2, "expected numbers"),
        ("1\n1,2,3,4\u00b5".encode(), 2, "expected text"),
    ],
)
def test_bad_text_names_the_line(text, line, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_text(text, "some/file.txt")
    assert caught.value.line == line
    assert str(caught.value).startswith("some/file.txt:")


HEADER = struct.pack("<hI", 1, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a header"),
        (struct.pack("<hI", 2, 0), "expected version 1"),
        (struct.pack("<hI", 1, 0), "got none"),
        (struct.pack("<hI", 1, 2**32 - 1) + bytes(50), "expected 4294967295 regions"),
        (HEADER + bytes([9]) + bytes(16), "expected a region type 0 to 4, got 9"),
        (HEADER + struct.pack("<BI", 0, 7), "expected a code"),
        (HEADER + struct.pack("<BI", 0, 1) + b"x", "got 1 bytes more"),
        (HEADER + struct.pack("<Bfff", 1, 1, 2, 3), "ends in number 1"),
        (HEADER + struct.pack("<BhhHHH", 3, 0, 0, 9, 9, 500), "ends in number 1"),
        (HEADER + struct.pack("<BhhHHHH", 3, 0, 0, 2, 2, 1, 5), "at most 4 pixels"),
        (HEADER + struct.pack("<BH4x", 2, 60000), "ends in number 1"),
        (HEADER + struct.pack("<Bffff", 1, 1, 2, float("inf"), 3), "finite"),
    ],
)
def test_bad_binary(data, message):
    with pytest.raises(DataError, match=message):
        parse_binary(data, "file.bin")


@pytest.mark.parametrize(
    "region", [RunMask(40_000, 0, 1, 1, (0, 1)), RunMask(0, 0, 300, 300, (1,) * 70_000), Rectangle(1e300, 0, 1, 1)]
)
def test_what_binary_cannot_hold(region):
    with pytest.raises(ValueError, match="write text instead"):
        format_binary(Trajectory.of([region]))


def test_writing_nonsense_is_refused():
    with pytest.raises(ValueError, match="region 1: expected a code"):
        Trajectory.of([Special(1), Special(9)])


@settings(deadline=None)
@given(st.data())
def test_damaged_files_give_one_error_or_regions(data):
    trajectory = Trajectory.of([Special(1), Rectangle(1, 2, 3, 4), mask_region(np.eye(5, dtype=bool)), Point(1, 2)])
    text = data.draw(st.booleans())
    content = bytearray(format_text(trajectory).encode() if text else format_binary(trajectory))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from(b"0123456789,.mne-\n \t\xff\x00\x03"))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        parsed = (parse_text if text else parse_binary)(bytes(content), "f")
    except DataError as error:
        fault = str(error)
    else:
        fault = f"f:{parsed.find_fault() or ''}"
    assert fault.startswith("f:")


def test_many_damaged_files_in_bounded_time():
    rng = np.random.default_rng(0)
    trajectory = Trajectory.of(
        [Special(1), *(Rectangle(1, 2, 3, i) for i in range(3)), mask_region(np.eye(9, dtype=bool))]
    )
    originals = (format_text(trajectory).encode(), format_binary(trajectory))
    letters = np.frombuffer(b"0123456789,.mne-\n\xff\x00\x03", np.uint8)
    started = time.perf_counter()
    refused = 0
    for number in range(4000):
        content = np.frombuffer(originals[number % 2], np.uint8).copy()
        at = rng.integers(0, len(content), 3)
        content[at] = letters[rng.integers(0, len(letters), 3)]
        try:
            (parse_text, parse_binary)[number % 2](content.tobytes()[: rng.integers(1, len(content) + 1)], "f")
        except DataError:
            refused += 1
    assert 1000 < refused < 4000
    assert time.perf_counter() - started < 60


def test_commas_at_the_end_of_a_line_are_passed_over():
    assert list(parse_text(b"1,\n1,2,3,4,\nm4,5,2,2,1,3,\n")) == list(parse_text(b"1\n1,2,3,4\nm4,5,2,2,1,3\n"))
    with pytest.raises(DataError, match="regions:2: expected a region, got an empty line"):
        parse_text(b"1\n,\n1,2,3,4\n")
