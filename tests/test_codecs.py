from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from mosam.codecs import (
    CODECS,
    CodecOptions,
    format_number,
    images,
    labels_of_masks,
    masks_of_labels,
    read_labels,
    read_table,
    voc_palette,
    write_labels,
)
from mosam.datasets.base import Sequence
from mosam.errors import DataError, MismatchError, MissingDataError, UnknownNameError
from mosam.types import FrameOutput, ObjectOutput

SIZE = (12, 16)


class Frames:
    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    def size(self) -> tuple[int, int]:
        return SIZE

    def read(self, index: int) -> np.ndarray:
        return np.zeros((*SIZE, 3), np.uint8)


def make_sequence(frames: int = 3, object_ids: tuple[int, ...] = (1,), name: str = "clip-1") -> Sequence:
    return Sequence(name, Frames(frames), tuple(f"{i:05d}" for i in range(frames)), object_ids, load_prompts=tuple)


def rectangle(x: int, y: int, w: int, h: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def output(frame_index: int, **masks: np.ndarray) -> FrameOutput:
    """`output(0, o1=mask, o7=mask)`: masks of objects 1 and 7 on frame 0."""
    return FrameOutput(frame_index, {int(key[1:]): ObjectOutput(mask, 1.0, 1.0) for key, mask in masks.items()})


def write(name: str, folder: Path, sequence: Sequence, outputs: list[FrameOutput], **options: str):
    codec = CODECS[name]
    writer = codec.writer(folder, sequence, CodecOptions(**options))
    for item in outputs:
        writer.add(item, 0.25)
    writer.finish()
    return codec


EMPTY = np.zeros(SIZE, bool)
BOX = rectangle(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        pytest.param({}, [[0, 0, 0, 0], [2, 3, 3, 4], [0, 0, 0, 0]], id="as SAMURAI writes it"),
        pytest.param({"box_from_mask": "inclusive"}, [[0, 0, 0, 0], [2, 3, 4, 5], [0, 0, 0, 0]], id="true size"),
        pytest.param({"absent_as": "last"}, [[0, 0, 0, 0], [2, 3, 3, 4], [2, 3, 3, 4]], id="last"),
        pytest.param({"absent_as": "minus_one"}, [[-1] * 4, [2, 3, 3, 4], [-1] * 4], id="minus one"),
        pytest.param({"absent_as": "nan"}, [[np.nan] * 4, [2, 3, 3, 4], [np.nan] * 4], id="nan"),
    ],
)
def test_box_rows(tmp_path, options, rows):
    sequence = make_sequence(3, (4,))
    codec = write("lasot", tmp_path, sequence, [output(0), output(1, o4=BOX), output(2, o4=EMPTY)], **options)
    boxes = codec.read_boxes(tmp_path, sequence)
    assert list(boxes) == [4]
    np.testing.assert_array_equal(boxes[4], np.array(rows, float))
    np.testing.assert_array_equal(codec.read_times(tmp_path, sequence), [0.25] * 3)


def test_box_file_is_what_the_toolkits_read(tmp_path):
    write("lasot", tmp_path, make_sequence(1), [output(0, o1=BOX)])
    assert (tmp_path / "clip-1.txt").read_bytes() == b"2,3,3,4\n"
    assert (tmp_path / "clip-1_time.txt").read_bytes() == b"0.25000000\n"


@pytest.mark.parametrize("name", ["lasot", "davis", "toy"])
def test_paths_are_all_a_finished_sequence_consists_of(tmp_path, name):
    sequence = make_sequence(2)
    codec = write(name, tmp_path, sequence, [output(0, o1=BOX), output(1)])
    beside = {"times"} if name == "davis" else set()  # which no hash covers
    assert {path.name for path in tmp_path.iterdir()} - beside == set(codec.paths(sequence))


@pytest.mark.parametrize("name", ["lasot", "davis", "toy"])
def test_same_bytes_twice(tmp_path, name):
    sequence = make_sequence(2)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(name, tmp_path / folder, sequence, [output(0, o1=BOX), output(1)])
    first, second = (
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()} for f in "ab"
    )
    assert first == second
    assert first


@pytest.mark.parametrize("name", ["lasot", "davis", "toy"])
def test_frames_come_in_order_and_all(tmp_path, name):
    writer = CODECS[name].writer(tmp_path, make_sequence(2), CodecOptions())
    with pytest.raises(ValueError, match="expected frame 0, got frame 1"):
        writer.add(output(1), 0.1)
    writer.add(output(0), 0.1)
    with pytest.raises(ValueError, match="expected 2 frames, got 1"):
        writer.finish()


@pytest.mark.parametrize("name", ["davis", "toy"])
def test_masks_round_trip(tmp_path, name):
    sequence = make_sequence(3, (2, 7))
    far = rectangle(9, 1, 3, 3)
    codec = write(name, tmp_path, sequence, [output(0), output(1, o2=BOX), output(2, o2=BOX, o7=far)])
    result = codec.read_masks(tmp_path, sequence)
    assert result.read(0) == {}
    assert result.labels(0).shape == SIZE  # an empty image where nothing has started
    assert list(result.read(1)) == [2]
    frame = result.read(2)
    np.testing.assert_array_equal(frame[2], BOX)
    np.testing.assert_array_equal(frame[7], far)


def test_png_is_a_palette_image_with_the_official_colors(tmp_path):
    write("davis", tmp_path, make_sequence(1, (1, 3)), [output(0, o1=BOX, o3=rectangle(10, 0, 2, 2))])
    with Image.open(tmp_path / "clip-1" / "00000.png") as image:
        assert (image.mode, image.size) == ("P", (16, 12))
        palette = image.getpalette()
        assert [palette[3 * i : 3 * i + 3] for i in (0, 1, 2, 3)] == [
            [0, 0, 0],
            [128, 0, 0],
            [0, 128, 0],
            [128, 128, 0],
        ]
    assert len(voc_palette()) == 768
    assert tuple(voc_palette()[-3:]) == (224, 224, 192)


def test_palette_is_that_of_the_published_masks(unpacked):
    root = unpacked("davis/osvos_vs_rvos_6seq")
    with Image.open(next((root / "pairs" / "Annotations").rglob("*.png"))) as image:
        published = bytes(image.getpalette())
    assert published[: 3 * 21] == voc_palette()[: 3 * 21]


def test_lowest_id_wins_where_masks_overlap():
    labels = labels_of_masks({1: rectangle(0, 0, 4, 4), 2: rectangle(2, 2, 4, 4)}, SIZE)
    assert labels[3, 3] == 1
    assert labels[5, 5] == 2


def test_an_id_that_does_not_fit_is_refused():
    with pytest.raises(MismatchError, match="object 255: expected an id of 1 to 254"):
        labels_of_masks({255: BOX}, SIZE)


def test_toy_writes_boxes_of_each_object(tmp_path):
    sequence = make_sequence(2, (1, 5))
    codec = write("toy", tmp_path, sequence, [output(0, o1=BOX), output(1, o5=BOX)], box_from_mask="inclusive")
    boxes = codec.read_boxes(tmp_path, sequence)
    np.testing.assert_array_equal(boxes[1], [[2, 3, 4, 5], [0, 0, 0, 0]])
    np.testing.assert_array_equal(boxes[5], [[0, 0, 0, 0], [2, 3, 4, 5]])


def test_several_objects_do_not_fit_into_a_box_file(tmp_path):
    with pytest.raises(ValueError, match="expected one object in a box file, got 2"):
        CODECS["lasot"].writer(tmp_path, make_sequence(1, (1, 2)), CodecOptions())


@pytest.mark.parametrize(
    "text", ["1,2,3,4\n5,6,7,8\n", "1\t2\t3\t4\n5\t6\t7\t8", "1 2 3 4\r\n5 6 7 8\r\n", "1,2\t3, 4\n5 6,7 8\n"]
)
def test_separators(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(read_table(path, 4), [[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1,2,3,4\n1,2,3\n", 2, "expected 4 numbers, got '1,2,3'"),
        ("1,2,3,4,5\n", 1, "expected 4 numbers"),
        ("1,2,3,4\n\n1,2,3,4\n", 2, "expected 4 numbers, got ''"),
        ("1,2,3,4\n1,2,x,4\n", 2, "expected numbers, got '1,2,x,4'"),
        ("lost\n", 1, "expected 4 numbers, got 'lost'"),
        ("1,2,3,4\n1,2,\xff,4\n", 2, "expected numbers"),
    ],
)
def test_bad_text_is_named_by_line(tmp_path, text, line, message):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_table(path, 4)
    assert caught.value.line == line
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")


WRITTEN = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.integers(-(10**30), 10**30).map(str),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.3f}"),
    st.sampled_from(["nan", "NaN", "inf", "-inf", ".5", "5.", "+1", "-0", "007", "1e3", "1E-3", "1e400", " 4"]),
)


@settings(max_examples=200)
@given(st.lists(st.lists(WRITTEN, min_size=4, max_size=4), min_size=1, max_size=6), st.booleans())
def test_every_way_of_writing_a_number_reads_as_python_reads_it(tmp_path_factory, rows, without):
    path = tmp_path_factory.mktemp("numbers") / "a.txt"
    path.write_text("\n".join(",".join(row) for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        if without:
            patch.setitem(sys.modules, "orjson", None)  # not installed
        found = read_table(path, 4)
    np.testing.assert_array_equal(found, [[float(word) for word in row] for row in rows])


@pytest.mark.parametrize("word", ["true", "null", '"3"', "[3]", "0x10", "3;", "{}"])
def test_words_of_other_languages_are_no_numbers(tmp_path, word):
    path = tmp_path / "a.txt"
    path.write_text(f"1,2,3,4\n1,2,{word},4\n")
    with pytest.raises(DataError, match="expected numbers"):
        read_table(path, 4)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(MissingDataError):
        read_table(tmp_path / "none.txt", 4)
    (tmp_path / "empty.txt").touch()
    assert read_table(tmp_path / "empty.txt", 4).shape == (0, 4)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_read_back_exactly(value):
    back = float(format_number(value))
    assert back == value or (np.isnan(back) and np.isnan(value))


@settings(max_examples=25)
@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 255)))
def test_labels_round_trip(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "a.png"
    write_labels(path, labels)
    np.testing.assert_array_equal(read_labels(path), labels)
    masks = masks_of_labels(labels)
    assert list(masks) == sorted(set(labels.ravel().tolist()) - {0})
    for label, mask in masks.items():
        np.testing.assert_array_equal(mask, labels == label)


def png(labels: np.ndarray, mode: str = "P", **options: object) -> bytes:
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(voc_palette())
    out = io.BytesIO()
    image.save(out, format="PNG", **options)
    return out.getvalue()


def by_pillow(data: bytes) -> np.ndarray | None:
    """What Pillow alone reads, None where it refuses."""
    try:
        return np.asarray(Image.open(io.BytesIO(data)))
    except Exception:
        return None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_label_maps_read_without_pillow_read_as_pillow_reads_them(tmp_path_factory, data):
    """Whole or damaged: what the short way reads Pillow reads too, to the same pixels."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    labels = rng.integers(0, data.draw(st.sampled_from([2, 5, 16, 256])), size, dtype=np.uint8)
    ways = [{}, {"bits": 4}, {"compress_level": 0}, {"compress_level": 9}, {"optimize": True}]
    options = data.draw(st.sampled_from(ways))
    content = bytearray(png(labels, data.draw(st.sampled_from(["P", "L"])), **options))
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    content = content[: data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))]
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setitem(sys.modules, "zlib_ng", None)  # not installed
        short = images._plain_png(bytes(content))
    if short is not None:
        np.testing.assert_array_equal(short, by_pillow(bytes(content)))


def test_label_maps_are_read_without_pillow():
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(images._plain_png(png(labels)), labels)
    assert images._plain_png(png(labels, "L")) is None  # Pillow filters the rows of gray pictures


def test_a_picture_that_inflates_beyond_what_it_declares_is_not_read_that_way():
    content = png(np.zeros((20, 20), np.uint8))
    header = struct.pack(">IIBBBBB", 20, 19, 8, 3, 0, 0, 0)
    smaller = content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]
    assert images._plain_png(content) is not None
    assert images._plain_png(smaller) is None


def test_other_image_kinds(tmp_path):
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "gray.png"), labels)
    Image.fromarray(np.dstack([labels] * 3)).save(tmp_path / "rgb-gray.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "rgb-gray.png"), labels)
    color = np.zeros((1, 2, 3), np.uint8)
    color[0, 1] = (7, 1, 2)
    Image.fromarray(color).save(tmp_path / "long.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "long.png"), [[0, 7 + 256 + 2 * 65536]])
    Image.fromarray(np.zeros((2, 2, 4), np.uint8)).save(tmp_path / "rgba.png")
    with pytest.raises(DataError, match="got mode RGBA"):
        read_labels(tmp_path / "rgba.png")


def test_damaged_images(tmp_path):
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match="not an image"):
        read_labels(tmp_path / "text.png")
    rng = np.random.default_rng(0)
    write_labels(tmp_path / "a.png", rng.integers(0, 255, (64, 64), dtype=np.uint8))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "cut.png")
    with pytest.raises(MissingDataError):
        read_labels(tmp_path / "none.png")


def test_options_are_checked():
    with pytest.raises(ValueError, match="absent_as: expected one of zeros"):
        CodecOptions(absent_as="never")
    with pytest.raises(ValueError, match="box_from_mask"):
        CodecOptions(box_from_mask="both")
    with pytest.raises(UnknownNameError, match="did you mean lasot"):
        CODECS["laso"]


def test_wrong_kind_of_result(tmp_path):
    with pytest.raises(MismatchError, match="got box files"):
        CODECS["lasot"].read_masks(tmp_path, make_sequence())
    with pytest.raises(MismatchError, match="got masks"):
        CODECS["davis"].read_boxes(tmp_path, make_sequence())
