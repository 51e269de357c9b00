"""The reader of LMDB pages against LMDB itself, and damaged files."""

import os
import struct

import numpy as np
import pytest

from mosam.datasets.lmdb_pages import PageReader
from mosam.errors import DataError

lmdb = pytest.importorskip("lmdb")


def write(folder, items, **options):
    """An environment as `mosam data pack` makes it, in a few transactions; the path of its file."""
    with lmdb.open(str(folder), map_size=1 << 28, lock=False, sync=False) as environment:
        options = {"key": environment.open_db(options.pop("database"), **options)} if options else {}
        items = list(items.items())
        for start in range(0, len(items), 700):
            with environment.begin(write=True, db=options.get("key")) as transaction:
                for key, value in items[start : start + 700]:
                    transaction.put(key, value)
    return folder / "data.mdb"


def read_all(path):
    reader = PageReader(path)
    return {key: reader.get(key) for key in list(reader.keys())}


def some_items(count, rng):
    """Values from empty to many pages long, keys of many lengths."""
    sizes = [0, 1, 100, 2000, 2030, 4080, 5000, 40_000]
    names = [f"{'x' * int(rng.integers(0, 300))}/{number:06d}.jpg".encode() for number in rng.permutation(count)]
    return {name: rng.bytes(sizes[int(rng.integers(0, len(sizes) if count < 500 else 3))]) for name in names}


@pytest.mark.parametrize("count", [0, 1, 2, 40, 400, 20_000])
def test_reads_what_lmdb_wrote(tmp_path, count):
    rng = np.random.default_rng(count)
    items = some_items(count, rng)
    reader = PageReader(write(tmp_path, items))
    assert reader.entries == count
    assert list(reader.keys()) == sorted(items)
    for key in list(items)[:1000]:
        assert reader.get(key) == items[key]
        assert reader.get(key + b"0") is None
    for start in [b"", b"a", b"x", b"y", *rng.choice(sorted(items), 30).tolist()] if count else [b""]:
        assert next(reader.keys(start), None) == next((key for key in sorted(items) if key >= start), None)
        assert next(reader.keys(start + b"\0"), None) == next((k for k in sorted(items) if k >= start + b"\0"), None)


def test_reads_the_last_commit_after_keys_were_removed(tmp_path):
    items = some_items(300, np.random.default_rng(5))
    path = write(tmp_path, items)
    gone = sorted(items)[::2]
    with (
        lmdb.open(str(tmp_path), map_size=1 << 28, lock=False) as environment,
        environment.begin(write=True) as changes,
    ):
        for key in gone:
            changes.delete(key)
    reader = PageReader(path)
    assert list(reader.keys()) == sorted(set(items) - set(gone))
    assert all(reader.get(key) == (None if key in gone else items[key]) for key in items)


def test_a_file_cut_off_while_it_is_open_is_one_line(tmp_path):
    items = {f"{number:03d}".encode(): bytes(9000) for number in range(200)}
    path = write(tmp_path, items)
    reader = PageReader(path)
    os.truncate(path, 20_000)
    with pytest.raises(DataError, match=r"data\.mdb: expected .* bytes at page \d+, got 0: the file is damaged"):
        [reader.get(key) for key in items]


@pytest.mark.parametrize(
    "change", ["order", "child", "circle", "large", "value", "pointer", "key", "depth", "root", "flags"]
)
def test_each_damaged_number_is_one_line(tmp_path, change):
    path = write(tmp_path, {f"{number:03d}".encode(): bytes(40 if number % 9 else 9000) for number in range(400)})
    data = bytearray(path.read_bytes())
    meta = max((0, 4096), key=lambda place: struct.unpack_from("<Q", data, place + 144))
    depth_at, root_at = meta + 94, meta + 128
    root = 4096 * struct.unpack_from("<Q", data, root_at)[0]
    assert struct.unpack_from("<H", data, depth_at)[0] == 2
    first = root + struct.unpack_from("<H", data, root + 16)[0]
    second = root + struct.unpack_from("<H", data, root + 18)[0]
    leaf = 4096 * struct.unpack_from("<H", data, first)[0]
    node = leaf + struct.unpack_from("<H", data, leaf + 16)[0]  # "000", a large value
    small = leaf + struct.unpack_from("<H", data, leaf + 18)[0]
    place, form, value = {
        "order": (second + 8, "<B", (ord("3"),)),
        "child": (first, "<HHH", (60_000, 9, 0)),
        "circle": (second, "<H", struct.unpack_from("<H", data, first)),
        "large": (node + 8 + 3, "<Q", (1 << 60,)),
        "value": (small, "<HH", (0xFFFF, 0x7FFF)),
        "pointer": (leaf + 18, "<H", (65_000,)),
        "key": (small + 6, "<H", (65_000,)),
        "depth": (depth_at, "<H", (5,)),
        "root": (root_at, "<Q", (1 << 40,)),
        "flags": (meta + 92, "<H", (4,)),
    }[change]
    struct.pack_into(form, data, place, *value)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"data\.mdb: expected .* damaged; copy or pack it again"):
        read_all(path)


def test_no_changed_byte_does_more_than_raise(tmp_path):
    rng = np.random.default_rng(7)
    path = write(tmp_path, some_items(60, rng))
    sound = path.read_bytes()
    used = [4096 * page + place for page in range(len(sound) // 4096) for place in range(160)]
    lines = []
    for number in range(3000):
        data = bytearray(sound)
        for place in rng.choice(used, 1 + number % 3):
            data[place] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            read_all(path)
        except DataError as error:
            lines.append(str(error))
    assert len(lines) > 100
    assert all(line.startswith(str(path)) for line in lines)


def test_other_databases_are_refused(tmp_path):
    (tmp_path / "data.mdb").write_bytes(b"\0" * 8192)
    with pytest.raises(DataError, match="expected a file of LMDB's version 1, got another"):
        PageReader(tmp_path / "data.mdb")
    with pytest.raises(DataError, match="expected a packed LMDB, got No such file"):
        PageReader(tmp_path / "none.mdb")
    folder = tmp_path / "named"
    folder.mkdir()
    with lmdb.open(str(folder), max_dbs=2, lock=False) as environment:
        environment.open_db(b"inside")
    with pytest.raises(DataError, match="nodes inside"):
        list(PageReader(folder / "data.mdb").keys())
