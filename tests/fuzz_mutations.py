"""Accidents that happen to files, and attacks: of bytes, and of JSON, TOML, zips, PNGs and LMDBs by their structure."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Mutation = Callable[[bytes, np.random.Generator], bytes]

TOKENS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"4294967296", b"99999999999999999999999", b"1_000", b"0x10",
    b"1.5",
    b"\n", b"\r\n", b"\t", b" ", b",,", b"..", b"/", b"\\", b"#", b'"', b"{", b"[[", b"null", b"true", b"m",
    b"m0,0,65535,65535,", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\x93", b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff", b"\x1b[2J", b"[" * 3000, b"%s", b"!!python/none", b"&a [*a]",
)  # fmt: skip

_DEEP, _DIGITS = "\u2205deep", "\u2205digits"  # stand for what neither json nor tomllib writes
VALUES: tuple[Any, ...] = (
    None, True, False, "", "x" * 3000, "/etc/passwd", "../../x", "a\0b", "a\nb", "\x1b[2J", "\u00e9", 0, -1, 1, 2**31,
    2**63, 10**40, -(10**400), 1.5, 1e308, math.nan, math.inf, -math.inf, [], {}, [[]], [None], [1, "a"], {"a": {}},
    {"": 0}, _DEEP, _DIGITS,
)  # fmt: skip
NAMES = (
    "../x",
    "/etc/x",
    "a\0b.jpg",
    "\0",
    "a//b",
    "a\\b",
    "C:/x",
    "a/../b",
    ".",
    "",
    "a" * 300,
    "a/b/c/d",
    "a\nb",
    "\x1b[2Jx",
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """The file after one to four accidents."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(0, len(out) + 1))
        end = min(len(out), place + int(rng.integers(1, 12)))
        kind = int(rng.integers(0, 8))
        if kind == 0 and out:
            out[place % len(out)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and out:
            out[place % len(out)] = int(rng.integers(0, 256))
        elif kind == 2:
            del out[place:end]
        elif kind == 3:
            out[place:place] = out[place:end] * int(rng.integers(1, 5))
        elif kind == 4:
            out[place:place] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        elif kind == 5:
            out[place:end] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        elif kind == 6:
            del out[place:]
        else:
            out[place:end] = bytes(rng.integers(0, 256, end - place, dtype=np.uint8))
    return bytes(out)


# ---- values ----------------------------------------------------------------------------------------------------------


def mutate_json(data: bytes, rng: np.random.Generator) -> bytes:
    """JSON in which one to three values are of another type, missing, unknown, too many, too few or too deep."""
    return _json(_mutate_value(json.loads(data), rng))


def mutate_json_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """The same for one of the lines of a file of JSON lines."""
    lines = data.splitlines()
    at = int(rng.integers(0, len(lines)))
    lines[at] = mutate_json(lines[at], rng)
    return b"\n".join(lines) + b"\n"


def mutate_toml(data: bytes, rng: np.random.Generator) -> bytes:
    """The same for TOML."""
    value = _mutate_value(tomllib.loads(data.decode()), rng)
    if not isinstance(value, dict):
        value = {"title": value}
    text = "".join(f"{json.dumps(str(key))} = {_toml(item)}\n" for key, item in value.items())
    return _fill(text).encode("utf-8", "surrogatepass")


def _mutate_value(value: Any, rng: np.random.Generator) -> Any:
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(value))
        holder, key = places[int(rng.integers(0, len(places)))]
        other = copy.deepcopy(VALUES[int(rng.integers(0, len(VALUES)))])
        if holder is None:
            value = other if rng.random() < 0.2 else value
            continue
        kind = int(rng.integers(0, 8))
        old = holder[key]
        if kind <= 2:
            holder[key] = other
        elif kind == 3:
            del holder[key]
        elif kind == 4 and isinstance(holder, dict):
            holder[str(other)[:50]] = holder.pop(key)
        elif kind == 4:
            holder[key:key] = [copy.deepcopy(old)] * int(rng.integers(1, 4))
        elif kind == 5:
            holder[key] = str(old) if not isinstance(old, str) else list(old)
        elif kind == 6:
            holder[key] = [old] if not isinstance(old, list) else (old[0] if old else None)
        elif isinstance(old, int | float):
            holder[key] = -old
        else:
            holder[key] = {"0": old}
    return value


def _places(value: Any, holder: Any = None, key: Any = None) -> Any:
    yield holder, key
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, value, name)


def _json(value: Any) -> bytes:
    return _fill(json.dumps(value, ensure_ascii=False)).encode("utf-8", "surrogatepass")


def _fill(text: str) -> str:
    return text.replace(f'"{_DEEP}"', "[" * 4000 + "]" * 4000).replace(f'"{_DIGITS}"', "9" * 5000)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if value is None:
        return "1979-05-27T07:32:00Z"  # a type of TOML's own
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return json.dumps(value, ensure_ascii=True)


# ---- containers ------------------------------------------------------------------------------------------------------


def mutate_member(data: bytes, rng: np.random.Generator) -> bytes:
    """A zip with one member changed or renamed, whole as a zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    at = int(rng.integers(0, len(members)))
    name, content, how = members[at]
    kind = int(rng.integers(0, 4))
    if kind == 0:
        members[at] = (NAMES[int(rng.integers(0, len(NAMES)))], content, how)
    elif kind == 1:
        members.append(
            (members[int(rng.integers(0, len(members)))][0] + ["", "/", "/x"][int(rng.integers(0, 3))], content, how)
        )
    else:
        members[at] = (name, mutate(content, rng), how)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, content, how) in enumerate(members):
            info = zipfile.ZipInfo(f"{number:_>{len(name)}}"[: len(name)] or "x")
            info.filename = info.orig_filename = name  # ZipInfo would cut it at a NUL
            archive.writestr(info, content, how)
    return buffer.getvalue()


def mutate_png(data: bytes, rng: np.random.Generator) -> bytes:
    """A PNG with one of its chunks changed and its checksum right."""
    chunks = []
    place = 8
    while place + 12 <= len(data):
        size = struct.unpack_from(">I", data, place)[0]
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + size]))
        place += 12 + size
    at = int(rng.integers(0, len(chunks)))
    kind, content = chunks[at]
    if kind == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(mutate(zlib.decompress(content), rng))
    else:
        content = mutate(content, rng)
    chunks[at] = (kind, content)
    if rng.random() < 0.1:
        chunks.append(chunks.pop(int(rng.integers(0, len(chunks)))))
    packed = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return data[:8] + b"".join(packed)


def mutate_pages(data: bytes, rng: np.random.Generator) -> bytes:
    """An LMDB file with numbers changed where pages and nodes describe themselves."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        page = 4096 * int(rng.integers(0, len(out) // 4096))
        place = page + int(rng.integers(0, 160) if rng.random() < 0.6 else rng.integers(3500, 4088))
        form, most = (("<B", 256), ("<H", 65536), ("<I", 2**32), ("<Q", 2**63))[int(rng.integers(0, 4))]
        small = int(rng.integers(0, 20))
        struct.pack_into(form, out, place, small if rng.random() < 0.4 else int(rng.integers(0, most)))
    if rng.random() < 0.1:
        del out[int(rng.integers(0, len(out))) :]
    return bytes(out)


def mutate_safetensors(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file whose header says something else of the same bytes."""
    size = struct.unpack_from("<Q", data)[0]
    header = mutate_json(data[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + data[8 + size :]
