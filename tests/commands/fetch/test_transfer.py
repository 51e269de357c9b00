"""One file over a network that breaks, lies or is not there."""

import errno
import hashlib

import pytest
from served import serving

from mosam.commands.fetch import transfer as module
from mosam.commands.fetch.transfer import RemoteFile, file_digest, read_remote, remote_length, transfer
from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.model.fetch import OFFLINE_VARIABLES

CONTENT = bytes(range(256)) * 4000  # about a megabyte
LENGTH = len(CONTENT)
SUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
PATH = "/data/x.zip"


@pytest.fixture
def served(monkeypatch):
    import huggingface_hub.file_download as hub

    for name in (*OFFLINE_VARIABLES, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub.time, "sleep", lambda seconds: None)  # between its tries
    monkeypatch.setattr(hub.constants, "DOWNLOAD_CHUNK_SIZE", 100_000)  # lost when a line breaks; 10 MB
    with serving({PATH: CONTENT}) as server:
        yield server


@pytest.fixture
def place(tmp_path):
    return tmp_path / "x.zip"


def remote(served, bytes=LENGTH, checksum=SUM, path=PATH):
    return RemoteFile(served.url + path, bytes, checksum)


def test_a_file_is_there_when_it_is_whole_and_checked(served, place):
    seen = []
    transfer(remote(served), place, lambda done, total: seen.append((done, total)))
    assert place.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in place.parent.iterdir()] == ["x.zip"]


def test_what_nobody_states_is_not_checked(served, place):
    seen = []
    transfer(remote(served, None, None), place, lambda done, total: seen.append((done, total)))
    assert place.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), 0)


@pytest.mark.parametrize("known", [True, False])
def test_a_line_that_breaks_is_taken_up_where_it_broke(served, place, known):
    served.breaks, served.times = 300_000, 2
    transfer(remote(served) if known else remote(served, None, None), place)
    assert place.read_bytes() == CONTENT
    assert served.gets(PATH) == [None, "bytes=300000-", "bytes=600000-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_an_earlier_process_left_is_used_where_the_server_can(served, place, ranges):
    served.ranges = ranges
    place.with_name("x.zip.part").write_bytes(CONTENT[:1000])
    transfer(remote(served), place)
    assert place.read_bytes() == CONTENT
    assert served.gets(PATH) == ["bytes=1000-"]


def test_a_part_that_is_whole_is_only_checked(served, place):
    place.with_name("x.zip.part").write_bytes(CONTENT)
    transfer(remote(served), place)
    assert place.read_bytes() == CONTENT
    assert served.requests == []


def test_a_part_with_nothing_behind_it_is_fetched_anew_where_its_length_is_not_known(served, place):
    place.with_name("x.zip.part").write_bytes(CONTENT)
    transfer(remote(served, None, None), place)
    assert place.read_bytes() == CONTENT
    assert served.gets(PATH) == [f"bytes={len(CONTENT)}-", None]


def test_a_part_that_is_too_long_is_thrown_away(served, place):
    place.with_name("x.zip.part").write_bytes(CONTENT + b"x")
    transfer(remote(served), place)
    assert served.gets(PATH) == [None]


@pytest.mark.parametrize(
    ("bytes", "checksum", "said"),
    [
        (len(CONTENT), f"sha256:{'0' * 64}", r"expected SHA256 0{64}, got [0-9a-f]{64}; the download is deleted"),
        (len(CONTENT), f"md5:{'0' * 32}", r"expected MD5 0{32}, got [0-9a-f]{32}"),
        (len(CONTENT) + 1, None, rf"expected {len(CONTENT) + 1} bytes, got {len(CONTENT)}"),
        (len(CONTENT) - 1, None, rf"expected {len(CONTENT) - 1} bytes, got more"),
    ],
)
def test_another_content_is_refused_and_deleted(served, place, bytes, checksum, said):
    with pytest.raises(MismatchError, match=said):
        transfer(remote(served, bytes, checksum), place)
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_has_it_not_is_named(served, place, status):
    served.status[PATH] = status
    with pytest.raises(MissingDataError, match=rf"/x\.zip: could not be downloaded \(the server answered {status}\)"):
        transfer(remote(served), place)
    assert len(served.requests) == 1
    assert not place.exists()


def test_a_redirect_is_followed(served, place):
    served.moved["/old"] = served.url + PATH
    transfer(remote(served, path="/old"), place)
    assert place.read_bytes() == CONTENT


def test_no_network_is_one_line_and_keeps_the_part(place, served):
    place.with_name("x.zip.part").write_bytes(CONTENT[:500_000])
    with pytest.raises(MissingDataError, match=r"could not be downloaded \(.*\); 0 MB of it are kept"):
        transfer(RemoteFile("http://127.0.0.1:9/x.zip", len(CONTENT)), place)
    assert place.with_name("x.zip.part").stat().st_size == 500_000


def test_a_server_that_breaks_again_and_again_ends_it(served, place):
    served.breaks, served.times = 0, 1000
    with pytest.raises(MissingDataError, match="could not be downloaded"):
        transfer(remote(served), place)
    assert len(served.requests) < 20


@pytest.mark.parametrize("name", OFFLINE_VARIABLES)
def test_offline_asks_nobody(served, place, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(MissingDataError, match=f"{name} forbids the network; unset it"):
        transfer(remote(served), place)
    assert remote_length(served.url + PATH) is None
    assert served.requests == []


def test_a_full_disk_is_told_before(served, place, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(MosamError, match=r"expected 1\.0 MB free, got 0\.00 MB; make room or change --root"):
        transfer(remote(served), place)
    assert served.requests == []


def test_a_disk_that_fills_meanwhile_keeps_what_came(served, place, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            if self.file.tell() + len(data) > 400_000:
                self.file.write(data[: 400_000 - self.file.tell()])
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    opened = module.open_part
    with monkeypatch.context() as full:
        full.setattr(module, "open_part", lambda path, append: Full(opened(path, append=append)))
        with pytest.raises(MosamError, match=r"cannot be written to: No space left on device"):
            transfer(remote(served), place)
    assert place.with_name("x.zip.part").stat().st_size == 400_000
    transfer(remote(served), place)
    assert place.read_bytes() == CONTENT
    assert served.gets(PATH) == [None, "bytes=400000-"]


def test_a_link_in_the_place_of_a_part_is_not_followed(served, place, tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    place.with_name("x.zip.part").symlink_to(tmp_path / "other")
    with pytest.raises(MosamError, match="cannot be written to"):
        transfer(remote(served), place)
    assert (tmp_path / "other").read_bytes() == b"other"


def test_small_files_and_lengths(served):
    served.files["/list.json"] = b"{}"
    assert read_remote(served.url + "/list.json", most=2) == b"{}"
    with pytest.raises(MismatchError, match="expected 1 bytes, got more"):
        read_remote(served.url + "/list.json", most=1)
    assert remote_length(served.url + PATH) == len(CONTENT)
    assert remote_length(served.url + "/none") is None
    assert remote_length("http://127.0.0.1:9/x") is None


def test_digests(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x", "md5") == "900150983cd24fb0d6963f7d28e17f72"
