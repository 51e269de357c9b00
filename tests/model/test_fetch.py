"""Checkpoints over a network that breaks, lies or is not there, served on the loopback."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mosam.errors import MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.model import fetch
from mosam.model.checkpoints import fetch_model
from mosam.model.fetch import check_hub_folder, download, fetch_file, find_file, is_offline, published_file

CONTENT = bytes(range(256)) * 4000  # about a megabyte
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `server.behavior` says how badly."""

    def do_GET(self):
        server, data = self.server, CONTENT
        server.requests.append(self.headers.get("Range"))
        if server.behavior == "missing":
            self.send_error(404)
            return
        if server.behavior == "broken":
            self.send_error(503)
            return
        start = 0
        if self.headers.get("Range") and server.behavior != "no ranges":
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        if server.behavior == "changed":
            data = data[:-1] + b"!"
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if server.behavior == "drops":  # a third of the file, then the line is cut
            self.wfile.write(data[start : start + len(data) // 3])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data[start:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.behavior, listening.requests = "good", []
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    for name in (*fetch.OFFLINE_VARIABLES, "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    listed = tmp_path / "published.json"
    files = {"tiny": {"file": "sam2.1_hiera_tiny.pt", "bytes": len(CONTENT), "sha256": HASH}}
    listed.write_text(json.dumps({"address": "http://127.0.0.1:9/", "files": files}))
    monkeypatch.setattr(fetch, "LIST", listed)
    monkeypatch.setenv("MOSAM_CHECKPOINT_URL", f"http://127.0.0.1:{listening.server_port}/weights")
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path / "cache"))
    yield listening
    listening.shutdown()
    listening.server_close()


def test_a_file_is_fetched_once_and_checked(server, tmp_path):
    seen = []
    path = fetch_model("tiny", "meta", lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "cache" / "checkpoints" / "sam2.1_hiera_tiny.pt"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch_file("tiny") == path == find_file("tiny")
    assert len(server.requests) == 1
    assert not list(path.parent.glob("*.part"))


def test_a_line_that_is_cut_is_taken_up_where_it_broke(server):
    server.behavior = "drops"
    assert fetch_file("tiny").read_bytes() == CONTENT
    third = len(CONTENT) // 3
    assert server.requests == [None, f"bytes={third}-", f"bytes={2 * third}-", f"bytes={3 * third}-"]


@pytest.mark.parametrize("behavior", ["good", "no ranges"])
def test_what_an_earlier_try_left_is_used_where_the_server_can(server, tmp_path, behavior):
    server.behavior = behavior
    part = tmp_path / "cache" / "checkpoints" / "sam2.1_hiera_tiny.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    assert fetch_file("tiny").read_bytes() == CONTENT
    assert server.requests == ["bytes=1000-"]


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    part = tmp_path / "cache" / "checkpoints" / "sam2.1_hiera_tiny.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"x")
    assert fetch_file("tiny").read_bytes() == CONTENT
    assert server.requests == [None]


def test_another_content_is_refused_and_deleted(server, tmp_path):
    server.behavior = "changed"
    with pytest.raises(MismatchError, match=f"expected SHA-256 {HASH}, got [0-9a-f]{{64}}; the download is deleted"):
        fetch_file("tiny")
    assert find_file("tiny") is None
    assert not list((tmp_path / "cache" / "checkpoints").glob("*.part"))


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    path = fetch_file("tiny")
    path.write_bytes(b"rotten")
    assert fetch_file("tiny").read_bytes() == CONTENT
    assert len(server.requests) == 2


@pytest.mark.parametrize(("behavior", "requests"), [("missing", 1), ("broken", 5)])
def test_a_server_that_has_it_not_is_named(server, behavior, requests):
    server.behavior = behavior
    with pytest.raises(MissingDataError, match=r"weights/sam2\.1_hiera_tiny\.pt: could not be downloaded \(the server"):
        fetch_file("tiny")
    assert len(server.requests) == requests


def test_no_network_is_one_line_and_keeps_the_part(server, tmp_path, monkeypatch):
    monkeypatch.setenv("MOSAM_CHECKPOINT_URL", "http://127.0.0.1:9")
    part = tmp_path / "cache" / "checkpoints" / "sam2.1_hiera_tiny.pt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:500_000])
    with pytest.raises(MissingDataError, match=r"no network: .*refused.* 0 MB|1 MB of it are kept, .*https_proxy"):
        fetch_file("tiny")
    assert part.stat().st_size == 500_000


@pytest.mark.parametrize("name", fetch.OFFLINE_VARIABLES)
def test_offline_asks_nobody(server, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert is_offline()
    with pytest.raises(MissingDataError, match=f"{name} forbids the network; unset it, or copy the file there"):
        fetch_file("tiny")
    monkeypatch.delenv(name)
    path = fetch_file("tiny")
    monkeypatch.setenv(name, "1")
    assert fetch_file("tiny") == path
    assert len(server.requests) == 1


def test_two_at_once_download_once(server):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch_file("tiny"), range(2)))
    assert paths[0] == paths[1]
    assert len(server.requests) == 1


def test_a_cache_that_cannot_be_written_to(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(MosamError, match=r"expected a folder to keep checkpoints in, got .*; set MOSAM_CACHE"):
        fetch_file("tiny")


def test_a_full_disk_is_told_before(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(MosamError, match=r"expected 900 MB free for x\.pt, got 0 MB"):
        download("http://127.0.0.1:9/x.pt", tmp_path / "x.pt", 900_000_000, HASH)


@pytest.mark.parametrize(("name", "origin"), [("nano", "hub"), ("tinyy", "hub"), ("a/b", "meta"), ("tiny", "mirror")])
def test_what_cannot_be_fetched(name, origin):
    with pytest.raises(UnknownNameError, match="model fetch"):
        fetch_model(name, origin)


def test_the_shipped_list_is_complete():
    lengths = {size: published_file(size).bytes for size in ("tiny", "small", "base-plus", "large")}
    assert sorted(lengths.values()) == list(lengths.values())
    for size in lengths:
        wanted = published_file(size)
        assert len(bytes.fromhex(wanted.sha256)) == 32
        assert wanted.url == f"https://dl.fbaipublicfiles.com/segment_anything_2/092824/{wanted.file}"


def test_metas_file_in_the_cache_is_the_model_of_that_name(server, monkeypatch, tmp_path):
    """`--model tiny` finds what `model fetch tiny --from meta` left."""
    from mosam.model import checkpoints

    fetch_file("tiny")
    monkeypatch.setattr(checkpoints, "cached_folder", lambda repository: None)
    seen = []

    def load(path, wanted):
        assert wanted == "tiny"
        seen.append(path)
        return checkpoints._Loaded("x", None, None, f"file {path}", "unknown")

    monkeypatch.setattr(checkpoints, "_load_file", load)
    loaded = checkpoints._load("tiny", seed=0, local_only=False)
    assert (loaded.name, loaded.license) == ("tiny", "Apache-2.0")
    assert seen == [find_file("tiny")]


HUB = """
import os, sys
from pathlib import Path
from mosam.model.checkpoints import fetch_model

def ask():
    try:
        print(fetch_model("tiny"))
    except Exception as error:
        print(type(error).__name__, error)

os.environ["MOSAM_OFFLINE"] = "1"
ask()  # nothing there yet
del os.environ["MOSAM_OFFLINE"]
ask()  # downloads
os.environ["MOSAM_OFFLINE"] = "1"
ask()  # found in the cache
blob = next(Path(os.environ["HF_HOME"]).rglob("blobs/" + sys.argv[1]))
blob.write_bytes(blob.read_bytes()[:-1] + b"!")
ask()  # damaged
"""


class HubHandler(http.server.BaseHTTPRequestHandler):
    """As much of the hub's interface as a download of two files needs."""

    def answer(self, body):
        path = self.path.partition("?")[0]
        if "/tree/" in path:
            lfs = {"oid": HASH, "size": len(CONTENT), "pointerSize": 134}
            tree = [
                {"type": "file", "path": "config.json", "size": 2, "oid": "conf"},
                {"type": "file", "path": "model.safetensors", "size": len(CONTENT), "oid": "w", "lfs": lfs},
            ]
            data, extra = json.dumps(tree).encode(), {}
        elif path.startswith("/api/models/facebook/sam2.1-hiera-tiny"):
            files = [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}]
            data, extra = json.dumps({"sha": "a" * 40, "id": "facebook/sam2.1-hiera-tiny", "siblings": files}), {}
            data = data.encode()
        elif path.endswith("/config.json"):
            data, extra = b"{}", {"ETag": '"conf"'}
        elif path.endswith("/model.safetensors"):
            data = CONTENT
            extra = {"ETag": f'"{HASH}"', "X-Linked-Etag": f'"{HASH}"', "X-Linked-Size": str(len(CONTENT))}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {**extra, "X-Repo-Commit": "a" * 40, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def do_GET(self):
        self.answer(True)

    def do_HEAD(self):
        self.answer(False)

    def log_message(self, *arguments):
        pass


def test_the_hub_is_asked_checked_and_its_cache_used_again(tmp_path):
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    skip = ("http_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE", "MOSAM_OFFLINE")
    environment = {key: value for key, value in os.environ.items() if key not in skip}
    environment |= {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1",
    }

    command = [sys.executable, "-c", HUB, HASH]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    finally:
        hub.shutdown()
        hub.server_close()
    assert done.returncode == 0, done.stderr
    offline, folder, again, damaged = done.stdout.splitlines()
    assert "tiny: not in the local cache and could not be downloaded (offline)" in offline
    assert folder.endswith(f"models--facebook--sam2.1-hiera-tiny/snapshots/{'a' * 40}")
    assert again == folder
    assert f"expected SHA-256 {HASH}, got" in damaged


def test_a_cache_without_links_has_no_hash_to_compare(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    check_hub_folder(tmp_path)
