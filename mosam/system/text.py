"""Small text files, read in one way: UTF-8 with or without a byte order mark, lines that end in LF, CRLF or CR."""

from __future__ import annotations

import codecs
import os

from mosam.errors import DataError

_OTHERS = {  # the longer marks first: that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_HEAD = 64  # bytes in which the zeros of UTF-16 without a mark would be seen


def plain_lines(data: bytes, path: str | os.PathLike[str]) -> bytes:
    r"""A text file's content without byte order mark, every line end as a line feed.

    Args:
        data: the content.
        path: named in errors.
    Raises:
        DataError: it is UTF-16 or UTF-32, as some editors and spreadsheets save "Unicode".

    >>> plain_lines(b"\xef\xbb\xbf1,2\r\n3,4\r5,6", "x")
    b'1,2\n3,4\n5,6'
    """
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    else:
        found = next((name for mark, name in _OTHERS.items() if data.startswith(mark)), None)
        head = data[:_HEAD]
        if found is None and len(head) > 1 and max(head[0::2].count(0), head[1::2].count(0)) > len(head) // 4:
            found = "UTF-16"
        if found is not None:
            raise DataError(
                path, f"expected UTF-8 text, got {found}; save it as UTF-8, as with iconv -f {found} -t UTF-8 OLD > NEW"
            )
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def decode_text(data: bytes, path: str | os.PathLike[str]) -> str:
    """The text of a file's content, as `plain_lines` gives it.

    Raises:
        DataError: with the line: bytes that are no UTF-8.
    """
    plain = plain_lines(data, path)
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError as error:
        line = plain.count(b"\n", 0, error.start) + 1
        raise DataError(path, f"expected UTF-8 text, got the byte {plain[error.start]:#04x}", line=line) from None
