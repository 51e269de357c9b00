"""Reading an LMDB file page by page, with every number in it checked before it is used.

LMDB itself maps the file and trusts it: a damaged page number, or a file that is cut off while it is open, ends the
process with SIGBUS. Here pages are read, not mapped, so damage can only raise. What is read is the unnamed database of
an environment of version 1 (LMDB 0.9) without duplicate values, as `mosam data pack` has LMDB write it.

Source: layout of `MDB_meta`, `MDB_db`, `MDB_page` and `MDB_node` in `mdb.c` of LMDB 0.9, 64 bits, little-endian.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosam.errors import DataError

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEADER = struct.Struct("<QHHHH")  # page number, padding, flags, where the free room begins and ends
# magic, version; of the database of free pages its page size; of the unnamed one flags, layers, keys, root; last page,
# transaction
_META = struct.Struct("<16xII16xI44x4xHH24xQQQQ")
_NODE = struct.Struct("<HHHH")  # length of the value, low and high half; flags; length of the key
_LARGE = struct.Struct("<Q")  # first of the pages that hold a large value
_BRANCH, _LEAF, _OVERFLOW = 0x01, 0x02, 0x04  # kinds of page
_BIG = 0x01  # a node whose value has pages of its own
_NO_PAGE = (1 << 64) - 1
_PAGE_SIZES = tuple(1 << power for power in range(8, 17))
_DEEPEST = 32  # layers of a tree; LMDB's own limit
_KEPT = 256  # pages kept in memory


@dataclass(frozen=True, slots=True)
class _Large:
    """A value on pages of its own."""

    page: int
    size: int


@dataclass(frozen=True, slots=True)
class _Page:
    """Nodes of one page of the tree: keys, ascending, and for each a child's page number or a value."""

    keys: tuple[bytes, ...]
    children: tuple[int, ...]
    values: tuple[bytes | _Large, ...]


class PageReader:
    """Keys and values of an LMDB file. Safe to use from several threads, and after a fork.

    Args:
        path: `data.mdb`.
    Raises:
        DataError: not an LMDB file, cut off or damaged; the methods raise it too, where damage shows only there.

    Attributes:
        entries: how many keys there are, as the file says.
    """

    def __init__(self, path: Path):
        self.path = path
        self._kept: dict[int, _Page] = {}
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(path, f"expected a packed LMDB, got {error.strerror or error}; pack it again") from None
        self._page_size, self._depth, self.entries, self._root, self._pages = self._newest_meta()
        size, needed = os.fstat(self._file).st_size, self._pages * self._page_size
        if size < needed:
            raise DataError(path, f"expected {needed} bytes, got {size}: the file is cut off; copy or pack it again")
        empty = self.entries == 0
        if (self._root == _NO_PAGE) != empty or (self._depth == 0) != empty or self._depth > _DEEPEST:
            raise self._damaged("a tree with a root", f"{self.entries} keys in {self._depth} layers")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None where there is no such key."""
        if self._depth == 0:
            return None
        page = self._page(self._root, 1)
        for layer in range(2, self._depth + 1):
            page = self._page(page.children[bisect_right(page.keys, key, 1) - 1], layer)
        at = bisect_left(page.keys, key)
        if at == len(page.keys) or page.keys[at] != key:
            return None
        value = page.values[at]
        return self._read_large(value) if isinstance(value, _Large) else value

    def keys(self, start: bytes = b"") -> Iterator[bytes]:
        """Keys from `start` on, ascending."""
        last = None
        for key in self._keys(self._root, 1, start, b"", None) if self._depth else ():
            if last is not None and key <= last:  # also what ends a tree whose branches go in a circle
                raise self._damaged("ascending keys", repr(key[:40]))
            last = key
            yield key

    def _keys(self, number: int, layer: int, start: bytes, low: bytes, high: bytes | None) -> Iterator[bytes]:
        """Keys below a page, from `start` on; all must be at least `low` and less than `high`, or `get` misses them."""
        page = self._page(number, layer)
        inside = page.keys[layer < self._depth :]  # the first key of a branch says nothing
        if inside and (inside[0] < low or (high is not None and inside[-1] >= high)):
            raise self._damaged("keys where the branches say", f"others, page {number}")
        if layer == self._depth:
            yield from page.keys[bisect_left(page.keys, start) :]
            return
        ends = [low, *page.keys[1:], high]
        for at in range(bisect_right(page.keys, start, 1) - 1, len(page.children)):
            yield from self._keys(page.children[at], layer + 1, start, ends[at] or b"", ends[at + 1])

    def _newest_meta(self) -> tuple[int, int, int, int, int]:
        """Size of a page in bytes, layers of the tree, its keys, its root, and pages there are: of the last commit."""
        found = []
        place = 0
        for _ in range(2):
            data = os.pread(self._file, _META.size, place)
            if len(data) < _META.size:
                raise self._damaged("two pages of description", f"{os.fstat(self._file).st_size} bytes")
            magic, version, page_size, flags, depth, entries, root, last, transaction = _META.unpack(data)
            if magic != _MAGIC or version != _VERSION or page_size not in _PAGE_SIZES:
                raise self._damaged(f"a file of LMDB's version {_VERSION}", "another")
            found.append((transaction, page_size, depth, entries, root, last + 1, flags))
            place = page_size
        _, page_size, depth, entries, root, pages, flags = max(found)
        if flags:
            raise self._damaged("one value for each key", f"a database with flags {flags:#x}")
        return page_size, depth, entries, root, pages

    def _page(self, number: int, layer: int) -> _Page:
        """A page of the tree, in the layer that it must be in; 1 = the root, the last = the leaves."""
        page = self._kept.get(number)
        if page is None:
            page = self._parse(number)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[number] = page
        if bool(page.children) != (layer < self._depth):
            raise self._damaged(f"a tree of {self._depth} layers", f"page {number} in layer {layer}")
        return page

    def _parse(self, number: int) -> _Page:
        data = self._read(number, 0, self._page_size)
        own, _, flags, begin, _ = _HEADER.unpack_from(data)
        kind = flags & (_BRANCH | _LEAF)
        count = (begin - _HEADER.size) // 2
        if own != number or flags not in (_BRANCH, _LEAF) or not 0 < count <= self._page_size // _NODE.size:
            raise self._damaged("a page of the tree", f"another kind, page {number}")
        nodes = [self._node(data, place, kind) for place in struct.unpack_from(f"<{count}H", data, _HEADER.size)]
        keys = tuple(key for key, _ in nodes)
        if any(a >= b for a, b in zip(keys[kind == _BRANCH :], keys[1 + (kind == _BRANCH) :], strict=False)):
            raise self._damaged("ascending keys", f"others, page {number}")
        values = tuple(value for _, value in nodes)
        return _Page(keys, values, ()) if kind == _BRANCH else _Page(keys, (), values)  # type: ignore[arg-type]

    def _node(self, data: bytes, place: int, kind: int) -> tuple[bytes, int | bytes | _Large]:
        if place < _HEADER.size or place + _NODE.size > len(data):
            raise self._damaged("nodes inside of their page", f"one at {place}")
        low, high, flags, length = _NODE.unpack_from(data, place)
        start = place + _NODE.size + length
        key, size = data[place + _NODE.size : start], low | high << 16
        if kind == _BRANCH:
            end, value = start, size | flags << 32
        elif flags == _BIG:
            end = start + _LARGE.size
            value = _Large(_LARGE.unpack_from(data, start)[0], size) if end <= len(data) else b""
        else:
            end, value = start + size, data[start : start + size]
        if end > len(data) or (kind == _LEAF and flags not in (0, _BIG)):
            raise self._damaged("nodes inside of their page", f"one that ends at {end}")
        return key, value

    def _read_large(self, value: _Large) -> bytes:
        own, _, flags, *_ = _HEADER.unpack(self._read(value.page, 0, _HEADER.size))
        if own != value.page or flags != _OVERFLOW:
            raise self._damaged("a page of a value", f"another kind, page {value.page}")
        return self._read(value.page, _HEADER.size, value.size)

    def _read(self, number: int, place: int, size: int) -> bytes:
        """Bytes from a place in a page on, perhaps over several pages."""
        if not 2 <= number < self._pages or place + size > (self._pages - number) * self._page_size:
            raise self._damaged(f"pages 2 to {self._pages - 1}", f"{size} bytes of page {number}")
        try:
            data = os.pread(self._file, size, number * self._page_size + place)
        except OSError as error:
            raise DataError(self.path, f"expected page {number}, got {error.strerror or error}") from None
        if len(data) < size:
            raise self._damaged(f"{size} bytes at page {number}", f"{len(data)}")
        return data

    def _damaged(self, expected: str, got: str) -> DataError:
        return DataError(self.path, f"expected {expected}, got {got}: the file is damaged; copy or pack it again")
