import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.base import Sequence
from mosam.errors import DataError, MissingDataError
from mosam.types import FrameOutput, ObjectOutput, Prompt

SIZE = (12, 16)


class Frames:
    def __len__(self):
        return 3

    def size(self):
        return SIZE

    def read(self, index):
        return np.zeros((*SIZE, 3), np.uint8)


def sequence(box=None):
    prompts = () if box is None else (Prompt(1, box=np.array(box, dtype=np.float64)),)
    return Sequence("GOT-10k_Val_000001", Frames(), ("1", "2", "3"), (1,), load_prompts=lambda: prompts)


def write(folder, item, masks, **options):
    codec = CODECS["got10k"]
    writer = codec.writer(folder, item, CodecOptions(**options))
    for t, mask in enumerate(masks):
        writer.add(FrameOutput(t, {} if mask is None else {1: ObjectOutput(mask, 1.0, 1.0)}), 0.125 * t)
    writer.finish()
    return codec


def block(x, y, w, h):
    mask = np.zeros(SIZE, bool)
    mask[y : y + h, x : x + w] = True
    return mask


def test_files_are_as_the_toolkit_writes_them(tmp_path):
    item = sequence([1.23456, 2, 3.5, 4])
    codec = write(tmp_path, item, [block(0, 0, 9, 9), block(2, 3, 4, 5), None], box_from_mask="inclusive")
    folder = tmp_path / item.name
    assert sorted(path.name for path in folder.iterdir()) == [f"{item.name}_001.txt", f"{item.name}_time.txt"]
    rows = "1.235,2.000,3.500,4.000\n2.000,3.000,4.000,5.000\n0.000,0.000,0.000,0.000\n"
    assert (folder / f"{item.name}_001.txt").read_text() == rows
    assert (folder / f"{item.name}_time.txt").read_text() == "0.00000000\n0.12500000\n0.25000000\n"
    assert codec.files(item) == tuple(f"{item.name}/{item.name}_{what}.txt" for what in ("001", "time"))
    assert codec.read_times(tmp_path, item).tolist() == [0, 0.125, 0.25]
    assert codec.listed(tmp_path) == {item.name}


def test_without_a_box_the_first_row_is_the_mask_of_the_first_frame(tmp_path):
    codec = write(tmp_path, sequence(), [block(2, 3, 4, 5)] * 3, absent_as="nan")
    np.testing.assert_array_equal(codec.read_boxes(tmp_path, sequence())[1][0], [2, 3, 3, 4])


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_three_decimals_are_read_back_exactly(tmp_path_factory, values):
    values = [abs(values[0]), abs(values[1]), abs(values[2]) + 1, abs(values[3]) + 1]
    folder = tmp_path_factory.mktemp("got10k")
    codec = write(folder, sequence(values), [None] * 3)
    rows = codec.read_boxes(folder, sequence())[1]
    assert rows[0].tolist() == [float(f"{value:.3f}") for value in values]


def test_other_peoples_files(tmp_path):
    item = sequence()
    folder = tmp_path / item.name
    folder.mkdir()
    (folder / f"{item.name}_001.txt").write_text("1\t2\t3\t4\n5\t6\t7\t8\n")
    (folder / f"{item.name}_time.txt").write_text("0.5,0.6,0.7\n0.1,0.2,0.3\n")
    codec = CODECS["got10k"]
    assert codec.read_boxes(tmp_path, item)[1].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert codec.read_times(tmp_path, item).tolist() == [0.5, 0.1]
    (folder / f"{item.name}_time.txt").write_text("")
    assert codec.read_times(tmp_path, item).tolist() == []
    (folder / f"{item.name}_time.txt").unlink()
    assert codec.read_times(tmp_path, item) is None
    (folder / f"{item.name}_001.txt").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"_001\.txt:1: expected 4 numbers, got '1,2,3'"):
        codec.read_boxes(tmp_path, item)
    (folder / f"{item.name}_001.txt").unlink()
    with pytest.raises(MissingDataError, match=r"_001\.txt: expected a file of numbers, found nothing"):
        codec.read_boxes(tmp_path, item)
