"""The process that holds the network, run here in a thread with an engine that follows what is bright."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing.connection import Listener
from pathlib import Path

import pytest
from vot.test_session import BOX, MASK, Engine
from vot_squares import write_squares

from mosam.errors import MosamError
from mosam.vot import service
from mosam.vot.service import Order, Service, connect, load_engine, online_policy

ORDER = Order("sam2", "random:mini")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for sockets with a short path, as pytest's are long."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield folder


@pytest.fixture
def pictures(tmp_path):
    folder = write_squares(tmp_path, "a", 4)
    return [str(path) for path in sorted((folder / "color").iterdir())]


def serve(monkeypatch, engine=Engine, *, keep=0.0, order=ORDER):
    """Starts a service in a thread; `connect(order)` reaches it."""
    monkeypatch.setattr(service, "load_engine", lambda order: engine())
    monkeypatch.setattr(service.Service, "_renew", lambda self: setattr(self, "_engine", engine()))
    folder = service._own_folder()
    listener = Listener(str(folder / f"{order.key()}.sock"), family="AF_UNIX")
    thread = threading.Thread(target=Service(order, keep).run, args=(listener,), daemon=True)
    thread.start()
    return thread


def test_peers_share_one_engine(place, monkeypatch, pictures):
    made = []
    thread = serve(monkeypatch, lambda: made.append(Engine()) or made[-1])
    first, second = connect(ORDER), connect(ORDER)
    assert first.start(pictures[0], [BOX])[0].region == "2.0,6.0,7.0,7.0"
    first.close()
    assert second.start(pictures[1], [MASK, BOX])[0].region == "m3,6,8,8,0,64"
    assert second.frame(pictures[2])[1].region == "4.0,6.0,7.0,7.0"
    second.close()
    thread.join(10)
    assert not thread.is_alive()  # nobody is there any more
    assert len(made) == 1


def test_it_waits_for_the_next_as_long_as_it_is_told(place, monkeypatch, pictures):
    thread = serve(monkeypatch, keep=1.0)
    connect(ORDER).close()
    time.sleep(0.4)
    assert thread.is_alive()
    connect(ORDER).close()
    thread.join(10)
    assert not thread.is_alive()


def test_nobody_waits_at_a_door_that_was_closed(place):
    listener = Listener(f"{place}/a.sock", family="AF_UNIX")
    listener.close()
    thread = threading.Thread(target=Service(ORDER, 0.0)._accept, args=(listener,), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_an_error_is_told_and_does_not_end_it(place, monkeypatch, pictures):
    class Broken(Engine):
        def step(self, images, motion=None):
            if broken:
                raise RuntimeError("CUDA out of memory\nmore")
            return super().step(images, motion)

    broken = [True]
    serve(monkeypatch, Broken)
    remote = connect(ORDER)
    with pytest.raises(MosamError, match=r"absent\.png: cannot be read"):
        remote.start("absent.png", [BOX])
    with pytest.raises(MosamError, match=r"^RuntimeError: CUDA out of memory$"):
        remote.start(pictures[0], [BOX])
    broken.clear()
    assert remote.start(pictures[0], [BOX])
    remote.close()


def test_a_tracker_that_cannot_be_loaded_says_why(place, monkeypatch):
    def fail():
        raise MosamError("nonet: unknown model")

    serve(monkeypatch, fail)
    with pytest.raises(MosamError, match=r"^nonet: unknown model$"):
        connect(ORDER)


def test_the_end_of_the_process_is_told(place, tmp_path, pictures):
    listener = Listener(str(service._own_folder() / f"{ORDER.key()}.sock"), family="AF_UNIX")

    def greet_and_go():
        peer = listener.accept()
        peer.send_bytes(b'{"ready": true}')
        peer.recv_bytes()
        peer.close()

    threading.Thread(target=greet_and_go, daemon=True).start()
    remote = connect(ORDER)
    with pytest.raises(MosamError, match="the tracker's process ended"):
        remote.start(pictures[0], [BOX])


def test_a_process_that_dies_while_loading_leaves_its_last_words(place, monkeypatch):
    monkeypatch.setattr(service.sys, "executable", "/bin/false")
    with pytest.raises(MosamError, match="did not start"):
        connect(ORDER)


def test_a_process_of_its_own(place, pictures):
    remote = connect(ORDER, keep=0)
    (answer,) = remote.start(pictures[0], [MASK])
    assert answer.region.startswith("m")
    assert len(remote.frame(pictures[1], [BOX])) == 2
    remote.close()


def test_a_wrong_order_is_told_by_the_process(place):
    with pytest.raises(MosamError, match="unknown tracker 'samm'"):
        connect(Order("samm", "random:mini"), keep=0)


def test_sockets_lie_where_nobody_else_can_write(place):
    folder = service._own_folder()
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    assert service._own_folder() != folder


def test_orders_that_differ_have_processes_that_differ(monkeypatch):
    assert ORDER.key() == Order("sam2", "random:mini").key()
    assert ORDER.key() != Order("sam2", "random:mini", seed=1).key()
    before = ORDER.key()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert ORDER.key() != before


@pytest.mark.parametrize("tracker", ["sam2", "samurai", "dam4sam", "mosam", "mosam-literal", "sam2long"])
def test_every_tracker_is_online(tracker):
    assert online_policy(tracker).emit == "online"
    assert load_engine(Order(tracker, "random:mini")).policy.emit == "online"


def test_a_tracker_told_to_decide_late_is_refused():
    with pytest.raises(MosamError, match="use emit=online"):
        online_policy("sam2long[emit=final]")


@pytest.mark.parametrize("kind", ["file", "link to a folder", "broken link", "pipe", "open to others"])
def test_what_somebody_left_at_its_place_is_passed_over_untouched(place, monkeypatch, kind, pictures):
    usual, other = Path(place, f"mosam-{os.getuid()}"), Path(place, "other")
    other.mkdir(mode=0o700)
    if kind == "file":
        usual.write_text("mine")
    elif kind == "pipe":
        os.mkfifo(usual)
    elif kind == "open to others":
        usual.mkdir()
        usual.chmod(0o777)
    else:
        usual.symlink_to(other if kind == "link to a folder" else other / "none")
    folder = service._own_folder()
    assert folder == Path(place, f"mosam-{os.getuid()}-1")
    assert folder == service._own_folder()  # whoever comes next finds the same
    assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, os.getuid())
    thread = serve(monkeypatch)
    remote = connect(ORDER)
    assert remote.start(pictures[0], [BOX])[0].region == "2.0,6.0,7.0,7.0"
    remote.close()
    thread.join(10)
    assert list(other.iterdir()) == []
    assert kind != "file" or usual.read_text() == "mine"


def test_folders_of_others_are_not_used(place, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to somebody")
    usual = Path(place, "mosam-0")
    usual.mkdir(mode=0o700)
    os.chown(usual, 65534, 65534)
    assert service._own_folder() == Path(place, "mosam-0-1")
