"""One reader of text: what line ends and byte order marks do in every reader of small files."""

import numpy as np
import pytest

from mosam.codecs import read_table
from mosam.commands.demo.prompts import read_box_file
from mosam.datasets.annotations import read_flags, read_json, read_names, read_rows, read_text
from mosam.errors import DataError
from mosam.regions.files import read_trajectory
from mosam.system.text import decode_text, plain_lines

BOXES = "1,2,3,4\n5,6,7,8.5\n9,10,11,12\n"
READERS = {
    "rows": (lambda path: read_rows(path).tolist(), BOXES),
    "whole rows": (lambda path: read_rows(path).tolist(), BOXES.replace(".5", "")),
    "rows with blanks": (lambda path: read_rows(path).tolist(), BOXES.replace(",", " ")),
    "table": (lambda path: read_table(path).tolist(), BOXES),
    "regions": (lambda path: [str(region) for region in read_trajectory(path)], "1\n1.5,2,3,4\nm4,5,2,2,1,3\n"),
    "flags": (lambda path: read_flags(path, 3).tolist(), "0\n1\n1\n"),
    "names": (read_names, "car\nb\u00e4r\n"),
    "json": (read_json, '{"a":\n"b\u00e4r"}\n'),
    "boxes of the demo": (lambda path: [box.tolist() for box in read_box_file(path)], BOXES),
    "text": (read_text, "a\nb\u00e4r\n"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_line_ends_and_marks_do_not_matter(tmp_path, name, mark, end):
    read, text = READERS[name]
    (tmp_path / "plain.txt").write_text(text, encoding="utf-8")
    (tmp_path / "other.txt").write_bytes(mark + text.replace("\n", end).encode())
    assert read(tmp_path / "other.txt") == read(tmp_path / "plain.txt")


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused_with_the_remedy(tmp_path, name, encoding):
    read, text = READERS[name]
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"a\.txt: expected UTF-8 text, got UTF-(16|32); save it as UTF-8"):
        read(tmp_path / "a.txt")


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    with pytest.raises(DataError, match=r"x:2: expected UTF-8 text, got the byte 0xe4"):
        decode_text(b"a\rb\xe4r", "x")


def test_plain_content_is_handed_on():
    data = b"1,2\n3"
    assert plain_lines(data, "x") is data
    assert plain_lines(b"", "x") == b""
    np.testing.assert_equal(decode_text("b\u00e4r\r".encode(), "x"), "b\u00e4r\n")
