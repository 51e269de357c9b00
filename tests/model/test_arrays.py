"""Small files of numbers that policies need: read, checked and fetched by name."""

import hashlib
import json

import numpy as np
import pytest
import torch
from policy_cases import motion_weights

from mosam.errors import DataError, MissingDataError
from mosam.model import fetch
from mosam.model.arrays import load_arrays, read_arrays
from mosam.model.checkpoints import fetch_model


def write(path, content):
    torch.save(content, path)
    return path


def test_arrays_by_name(tmp_path):
    arrays = motion_weights(1, (3.0, 4.0))
    path = write(tmp_path / "mp.pth", {name: torch.from_numpy(array) for name, array in arrays.items()})
    found = read_arrays(path)
    assert found.keys() == arrays.keys()
    assert all((found[name] == arrays[name]).all() and found[name].dtype == np.float32 for name in arrays)


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "expected a torch file of arrays by name, got a list"), ({"a": 3}, "a: expected an array of numbers")],
)
def test_another_file(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_arrays(write(tmp_path / "mp.pth", content))


def test_a_damaged_file(tmp_path):
    path = tmp_path / "mp.pth"
    path.write_bytes(b"PK\x03\x04 no torch file")
    with pytest.raises(DataError, match=r"mp\.pth.*expected a torch file of arrays"):
        read_arrays(path)


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """The list names a file that lies in the cache."""
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path))
    monkeypatch.setenv("MOSAM_OFFLINE", "1")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    path = write(folder / "samosa_mp.pth", {"a": torch.ones(2)})
    entry = json.loads(fetch.LIST.read_text())["files"]["samosa-motion"]
    entry |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    own = tmp_path / "published.json"
    own.write_text(json.dumps({"address": "http://127.0.0.1:9/", "files": {"samosa-motion": entry}}))
    monkeypatch.setattr(fetch, "LIST", own)
    return path


def test_by_name_from_the_cache(listed):
    assert load_arrays("samosa-motion")["a"].tolist() == [1, 1]
    assert fetch_model("samosa-motion") == listed


def test_a_damaged_copy_is_not_used(listed):
    listed.write_bytes(b"something else")
    message = r"samosa_mp\.pth: not in .* forbids the network.*, or use samosa\[motion=kalman\]"
    with pytest.raises(MissingDataError, match=message):
        load_arrays("samosa-motion")


def test_where_the_published_file_is():
    entry = fetch.published_file("samosa-motion")
    assert entry.url.startswith(
        "https://raw.githubusercontent.com/DurYi/SAMOSA/1ca2c2c4b5852d4e4e28a9bb889a47378eea9f9a/"
    )
    assert (entry.bytes, len(bytes.fromhex(entry.sha256))) == (480127, 32)
    assert fetch.other_files() == ["samosa-motion"]


def test_a_mirror_has_it_too(monkeypatch):
    monkeypatch.setenv("MOSAM_CHECKPOINT_URL", "http://mirror/weights/")
    assert fetch.published_file("samosa-motion").url == "http://mirror/weights/samosa_mp.pth"
