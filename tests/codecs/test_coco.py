import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mosam.codecs.coco import decode_rle, encode_rle
from mosam.errors import DataError


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)))
def test_a_mask_read_back_is_the_mask(mask):
    np.testing.assert_array_equal(decode_rle(encode_rle(mask), "x"), mask)


@given(st.integers(0, 2**26), st.integers(1, 9))
def test_long_runs_are_read_back(run, height):
    from mosam.codecs.coco import _pack, _unpack

    counts = [run, height, 3, 0, run, 2**26, 1]
    assert _unpack(_pack(counts), "x") == counts


def test_runs_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[1, 0, 0], [0, 0, 1]], dtype=bool)
    assert encode_rle(mask) == {"size": [2, 3], "counts": "0140"}
    np.testing.assert_array_equal(decode_rle({"size": [2, 3], "counts": [0, 1, 4, 1]}, "x"), mask)


def test_packed_numbers_are_those_of_pycocotools():
    """`counts` that `pycocotools.mask.encode` 2.0.11 gives for these masks."""
    block = np.zeros((20, 30), dtype=bool)
    block[4:9, 7:12] = True
    assert encode_rle(block)["counts"] == "`45?0000000T;"
    checks = np.indices((4, 6)).sum(axis=0) % 2 == 1
    assert encode_rle(checks)["counts"] == "11110O10O10O10O10O0"
    assert encode_rle(np.ones((300, 400), dtype=bool))["counts"] == "0PVe3"


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        (None, "expected run lengths .*, got NoneType"),
        ({"counts": "0"}, r"expected the size of a mask \[height, width\], got nothing"),
        ({"size": [1, True], "counts": "0"}, "expected the size of a mask"),
        ({"size": [2, -1], "counts": "0"}, "expected the size of a mask"),
        ({"size": [100_000, 100_000], "counts": "0"}, ".*at most 134217728 pixels, got 100000x100000; refused"),
        ({"size": [1, 2], "counts": "1"}, "expected run lengths of 1x2 pixels, got 1 in sum"),
        ({"size": [1, 2], "counts": [-1, 3]}, "expected run lengths of 0 or more"),
        ({"size": [1, 2], "counts": [1.0, 1.0]}, "expected run lengths of 0 or more"),
        ({"size": [1, 2], "counts": {}}, "expected run lengths of 0 or more"),
        ({"size": [1, 2], "counts": "é"}, "expected packed run lengths, got 'é' after 0 of them"),
        ({"size": [1, 2], "counts": "oooooooooooo"}, "expected packed run lengths, got 'o' after 0"),
        ({"size": [1, 2], "counts": "o"}, ".*ends within a number"),
    ],
)
def test_damaged_run_lengths_are_one_line(rle, message):
    with pytest.raises(DataError, match=f"^file: {message}"):
        decode_rle(rle, "file")
