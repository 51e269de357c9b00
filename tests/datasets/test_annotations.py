import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import SIZE, label_map, write_labels, write_text

from mosam.datasets.annotations import (
    SPLITS,
    LabelMapTruth,
    list_label_maps,
    official_attributes,
    official_list,
    read_flags,
    read_names,
    read_rows,
)
from mosam.errors import DataError, MosamError

# ---- rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        pytest.param("1,2,3,4\n5,6,7,8\n", [[1, 2, 3, 4], [5, 6, 7, 8]], id="commas"),
        pytest.param("1,2,3,4", [[1, 2, 3, 4]], id="no final newline"),
        pytest.param("1\t2\t3\t4\n", [[1, 2, 3, 4]], id="tabs"),
        pytest.param("1 2.5 3 4\n", [[1, 2.5, 3, 4]], id="blanks"),
        pytest.param("1, 2, 3, 4\r\n5,6,7,8\r\n\r\n", [[1, 2, 3, 4], [5, 6, 7, 8]], id="Windows"),
        pytest.param("1,1,-1,-1\n0,0,0,0\n", [[1, 1, -1, -1], [0, 0, 0, 0]], id="negative and zero"),
        pytest.param("nan,nan,nan,nan\n1e2,2,3,4\n", [[np.nan] * 4, [100, 2, 3, 4]], id="nan"),
        pytest.param("9007199254740993,0,1,1\n", [[9007199254740992.0, 0, 1, 1]], id="beyond whole doubles"),
        pytest.param("99999999999999999999,0,1,1\n", [[1e20, 0, 1, 1]], id="beyond 64 bits"),
        pytest.param("007,0,1,1\n", [[7, 0, 1, 1]], id="leading zeros"),
    ],
)
def test_read_rows(tmp_path, text, rows):
    got = read_rows(write_text(tmp_path / "groundtruth.txt", text))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, rows)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1,2,3,4\n1,2,3\n", 2),
        ("1,2,3,4\n1,2,3,4,5\n", 2),
        ("1,2,3,4\n\n1,2,3,4\n", 2),
        ("1,2,,4\n", 1),
        (",1,2,3\n", 1),
        ("1,2,3,\n4,5,6,7", 1),
        ("1,2,3,4\nx,2,3,4\n", 2),
        ("1,2,3,inf\n", 1),
        ("1,2,3,1e999\n", 1),
        ("1,2\n3,4,5,6,7,8\n", 1),
    ],
)
def test_bad_row_names_file_and_line(tmp_path, text, line):
    path = write_text(tmp_path / "groundtruth.txt", text)
    with pytest.raises(DataError, match=rf"groundtruth\.txt:{line}: expected .*, got ") as caught:
        read_rows(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe1\x00"])
def test_rows_of_no_text(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError):
        read_rows(tmp_path / "a.txt")


def test_rows_of_no_file(tmp_path):
    with pytest.raises(DataError, match="expected a text file, got No such file"):
        read_rows(tmp_path / "a.txt")
    with pytest.raises(DataError, match="expected a text file, got Is a directory"):
        read_rows(tmp_path)


_numbers = st.one_of(st.integers(0, 2**70), st.floats(allow_infinity=False, width=64)).map(float)


@given(rows=st.lists(st.lists(_numbers, min_size=4, max_size=4), min_size=1, max_size=8), tab=st.booleans())
@settings(max_examples=200, deadline=None)
def test_rows_written_are_rows_read(rows, tab):
    text = "\n".join(("\t" if tab else ",").join(map(repr, row)) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(read_rows(write_text(Path(folder) / "a.txt", text)), rows)


@given(rows=st.lists(st.lists(st.integers(0, 10**19), min_size=4, max_size=4), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_whole_numbers_read_as_float_does(rows):
    text = "\n".join(",".join(map(str, row)) for row in rows) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        np.testing.assert_array_equal(
            read_rows(write_text(Path(folder) / "a.txt", text)), [[float(v) for v in row] for row in rows]
        )


_likely = st.text(alphabet="0123456789,.-+eE_naif \t\r\n\x0b\x1c١", max_size=60).map(str.encode)


@given(data=st.one_of(_likely, st.binary(max_size=60)))
@example(data=b"1,2,3,4\x00")
@example(data=b"1_0,2,3,4")
@example(data=b",,,")
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_data_or_a_one_line_error(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.txt"
        path.write_bytes(data)
        for read in (read_rows, lambda p: read_flags(p, 4), read_names):
            try:
                read(path)
            except MosamError as error:
                assert len(str(error).splitlines()) == 1  # noqa: PT017


# ---- flags and names


@pytest.mark.parametrize("text", ["0,1,0,1", "0,1,0,1\n", "0\n1\n0\n1", "0\n1\n0\n1\n", "0,1,0,1,\r\n", "0, 1, 0, 1"])
def test_read_flags(tmp_path, text):
    assert read_flags(write_text(tmp_path / "absent.txt", text), 4).tolist() == [False, True, False, True]


def test_flags_of_another_count_or_kind(tmp_path):
    with pytest.raises(DataError, match=r"absent\.txt: expected 3 flags, one for each annotated frame, got 4"):
        read_flags(write_text(tmp_path / "absent.txt", "0\n1\n0\n1\n"), 3)
    with pytest.raises(DataError, match=r"absent\.txt:2: expected flags 0 or 1, got '2'"):
        read_flags(write_text(tmp_path / "absent.txt", "0\n2\n0\n"), 3)


def test_read_names_without_a_final_newline(tmp_path):
    path = write_text(tmp_path / "list.txt", "# source: here\nairplane-1\r\n\n volleyball-19")
    assert read_names(path) == ("airplane-1", "volleyball-19")


@pytest.mark.parametrize("text", ["", "# only a comment", "a\na\n", "../a", "a/b", "..", "a\\b", "/etc"])
def test_names_that_are_refused(tmp_path, text):
    with pytest.raises(DataError):
        read_names(write_text(tmp_path / "list.txt", text))


@pytest.mark.parametrize("path", sorted(SPLITS.glob("*.txt")), ids=lambda path: path.stem)
def test_shipped_lists_state_their_source(path):
    assert path.read_text().startswith("# source: ")


def test_shipped_lists_have_the_official_counts():
    counts = {
        "davis2016_train": 30,
        "davis2016_val": 20,
        "davis2017_train": 60,
        "davis2017_val": 30,
        "davis2017_test-dev": 30,
        "davis2017_test-challenge": 30,
        "lasot_test": 280,
        "lasot_train": 1120,
    }
    assert {name: len(official_list(name)) for name in counts} == counts
    assert not set(official_list("lasot_test")) & set(official_list("lasot_train"))
    splits = ("train", "val", "test-dev", "test-challenge")
    assert len({name for split in splits for name in official_list(f"davis2017_{split}")}) == 150
    for split in ("train", "val"):
        assert set(official_list(f"davis2016_{split}")) < set(official_list(f"davis2017_{split}"))


def test_shipped_test_list_is_the_toolkits(data_root):
    assert official_list("lasot_test") == read_names(data_root / "lasot" / "testing_set.txt")


def test_shipped_attributes_are_the_toolkits(data_root):
    header, *rows = (data_root / "lasot" / "attributes.csv").read_text().splitlines()
    words = header.split(",")[1:]
    expected = {}
    for row in rows:
        name, *flags = row.split(",")
        expected[name] = {word for word, flag in zip(words, flags, strict=True) if flag == "1"}
    assert dict(official_attributes("lasot_attributes")) == expected


# ---- label maps


def _truth(folder: Path, maps, *, mode: str = "P", **options) -> LabelMapTruth:
    for index, labels in enumerate(maps):
        write_labels(folder / f"{index:05d}.png", labels, mode=mode)
    return LabelMapTruth(dict(enumerate(list_label_maps(folder).values())), **options)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_masks_of_each_id_with_a_gap(tmp_path, mode):
    truth = _truth(tmp_path, [label_map({1: (0, 0, 2, 2), 4: (5, 5, 3, 2)})], mode=mode)
    assert truth.first_ids == (1, 4)
    assert truth.object_ids == (1, 2, 3, 4)
    assert truth.size == SIZE
    masks = truth.read(0)
    assert set(masks) == {1, 4}
    assert all(mask.dtype == np.bool_ for mask in masks.values())
    assert (masks[1].sum(), masks[4].sum()) == (4, 6)


def test_ids_that_leave_and_ids_that_come_late(tmp_path):
    first, later = label_map({3: (0, 0, 2, 2)}), label_map({1: (0, 0, 1, 1), 9: (5, 5, 2, 2)})
    truth = _truth(tmp_path, [first, later])
    masks = truth.read(1)
    assert {object_id: int(mask.sum()) for object_id, mask in masks.items()} == {1: 1, 3: 0}
    assert (truth.stray_ids(0), truth.stray_ids(1)) == ((), (9,))


def test_void_is_neither_object_nor_background(tmp_path):
    truth = _truth(
        tmp_path, [label_map({1: (0, 0, 2, 2), 255: (5, 5, 3, 2)}), label_map({1: (0, 0, 2, 2)})], void_label=255
    )
    assert truth.object_ids == (1,)
    void = truth.void(0)
    assert void is not None
    assert void.sum() == 6
    assert truth.void(1) is None


def test_binary_masks_of_255_1_and_several_objects_agree(tmp_path):
    masks = []
    for name, objects in {
        "a": {255: (2, 2, 4, 4)},
        "b": {1: (2, 2, 4, 4)},
        "c": {1: (2, 2, 2, 4), 2: (4, 2, 2, 4)},
    }.items():
        truth = _truth(tmp_path / name, [label_map(objects)], binary=True, void_label=255)
        assert truth.object_ids == (1,)
        masks.append(truth.read(0)[1])
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_empty_first_mask(tmp_path):
    with pytest.raises(DataError, match=r"00000\.png: expected a mask of each object, got no object; the first mask"):
        _truth(tmp_path / "a", [label_map({}), label_map({1: (0, 0, 2, 2)})])
    with pytest.raises(DataError, match=r"got no object \(value 255 is void here\)"):
        _truth(tmp_path / "b", [label_map({255: (0, 0, 2, 2)})], void_label=255)


def test_palette_colors_saved_as_rgb_are_explained(tmp_path):
    pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
    pixels[:2, :2] = (128, 0, 0)
    pixels[5:, 5:] = (0, 128, 0)
    Image.fromarray(pixels).save(tmp_path / "00000.png")
    with pytest.raises(DataError, match="expected object ids up to 255, got 32768; save it as a palette PNG"):
        LabelMapTruth({0: tmp_path / "00000.png"})


def test_masks_of_another_size(tmp_path):
    truth = _truth(tmp_path, [label_map({1: (0, 0, 2, 2)}), label_map({1: (0, 0, 2, 2)}, size=(12, 14))])
    with pytest.raises(DataError, match=r"00001\.png: expected 10x14 \(height x width\) as the first mask, got 12x14"):
        truth.read(1)


def test_truncated_mask(tmp_path):
    truth = _truth(tmp_path, [label_map({1: (0, 0, 2, 2)})] * 2)
    data = (tmp_path / "00001.png").read_bytes()
    (tmp_path / "00001.png").write_bytes(data[:60])
    with pytest.raises(MosamError, match=r"00001\.png"):
        truth.read(1)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(label_map({1: (0, 0, 4, 4), 2: (5, 5, 4, 4)})).save(buffer, format="PNG")
    return buffer.getvalue()


@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), cut=st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_damaged_pictures_are_data_or_a_one_line_error(edits, cut):
    data = bytearray(_png())
    for position, value in edits:
        data[position % len(data)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.png"
        path.write_bytes(bytes(data[: max(cut, 1)]))
        try:
            LabelMapTruth({0: path}).read(0)
        except MosamError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017
