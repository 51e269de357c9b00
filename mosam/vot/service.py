"""The process that holds the network, while the toolkit starts and stops a tracker process for every sequence.

    python -m mosam.vot.service SOCKET KEEP ORDER

Tracker processes (`mosam.vot.trax_process`) find it by its socket, start it where it is missing, and talk to it in
JSON. It serves any number of them in turn with one engine, and ends when nobody has been there for `KEEP` seconds.
Socket, lock and log lie in a folder of the user's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import queue
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import MosamError, one_line
from mosam.system import options as shared
from mosam.system.options import Option
from mosam.vot.session import Answer, Session

if TYPE_CHECKING:
    from mosam.engine.engine import Engine
    from mosam.policies.base import MemoryPolicy

KEEP = 60.0  # seconds without a tracker process after which the network is given up
KEEP_FOR = Option("Seconds for which the network waits for the next tracker process.", KEEP, least=0)
PROMPT = Option("auto: a mask where one is given, else a box; box; mask.", "auto", complete="auto,box,mask")
BOX_FROM_MASK = Option("Right edge of a mask's box: exclusive, inclusive.", "exclusive", complete="exclusive,inclusive")
FIRST_KEEP = 30.0  # at least so long for the first one to come
_LISTENS_WITHIN = 60.0
_TRIES = 3
_PLACES = 8  # names tried in a folder that anybody can write to
_ADDRESS_BYTES = 100  # of a socket's path; Linux allows 107, macOS 103


@dataclass(frozen=True, slots=True)
class Order:
    """Which tracker is wanted; two equal orders share a process.

    Attributes:
        tracker: a policy with its options, `mosam[stride=3]`.
        model, device, precision, settings, seed: as the options of `mosam run`.
        prompt: see `mosam.vot.session.Session`.
        box_from_mask: see `mosam.geometry.mask_to_box`.
    """

    tracker: str = shared.TRACKERS.field(default=shared.REQUIRED, help="Tracker, e.g. `mosam[stride=3]`.", usual=None)
    model: str = shared.MODEL.field(default="large", usual=None)
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    settings: str = shared.SETTINGS.field()
    seed: int = shared.SEED.field()
    prompt: str = PROMPT.field()
    box_from_mask: str = BOX_FROM_MASK.field()

    def key(self) -> str:
        """Names the process: of the order, and of the code as it is now, so that no old process serves new code."""
        package = Path(__file__).parents[1]
        newest = max(path.stat().st_mtime_ns for path in package.rglob("*.py"))
        given = [
            sys.executable,
            str(package),
            newest,
            os.environ.get("CUDA_VISIBLE_DEVICES"),
            *dataclasses.astuple(self),
        ]
        return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16]


def load_engine(order: Order) -> Engine:
    """The engine of an order; MosamError where a name is unknown or the tracker is not online."""
    policy = online_policy(order.tracker)  # a wrong name is told before torch is loaded
    from mosam.engine.engine import Engine
    from mosam.model.checkpoints import load_model
    from mosam.tracking.presets import preset

    chosen = preset(order.settings, policy.name, "region")
    model = load_model(
        order.model,
        device=order.device,
        precision=order.precision or chosen.precision or "auto",  # type: ignore[arg-type]
        seed=order.seed,
        resize=chosen.resize,
    )
    return Engine(model, policy, parity=chosen.parity)


def online_policy(tracker: str) -> MemoryPolicy:
    """A tracker whose masks are final at once: the toolkit wants each before it shows the next frame.

    One that usually decides later (`sam2long`) is told not to.

    Raises:
        MosamError: unknown tracker or option, or one that is told to decide later (`emit=final`).

    >>> online_policy("sam2long").label
    'sam2long[emit=online]'
    """
    from mosam.policies.base import POLICIES, load_policy, parse_tracker

    name, options = parse_tracker(tracker)
    name = POLICIES.load_class(name)
    policy = load_policy(name, **options)
    if policy.emit == "online":
        return policy
    if "emit" in options:
        raise MosamError(f"{tracker}: the VOT toolkit wants each mask before the next frame; use emit=online")
    return load_policy(name, **options, emit="online")


# ---- the process -----------------------------------------------------------------------------------------------------


class _Peer:
    """A tracker process at the other end."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.session: Session | None = None

    def send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # gone: its reader says so
            self.connection.send_bytes(json.dumps(message).encode())


_Event = tuple[_Peer, "dict[str, Any] | None"]  # a request, or None: it has come or gone


@dataclass(slots=True, eq=False)
class Service:
    """Serves tracker processes with one engine, from one thread.

    Attributes:
        order: what it serves.
        keep: seconds without a peer after which it ends.
    """

    order: Order
    keep: float
    _engine: Any = None
    _peers: set[_Peer] = field(default_factory=set)
    _events: queue.Queue[_Event] = field(default_factory=queue.Queue)

    def run(self, listener: Listener) -> None:
        """Until it is no longer wanted, or the tracker cannot be loaded and everyone who came has been told."""
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        failure = None
        try:
            self._engine = load_engine(self.order)
        except Exception as error:
            failure = one_line(error)
            print(failure, file=sys.stderr, flush=True)
        idle_since, keep = time.monotonic(), max(self.keep, FIRST_KEEP) if failure is None else 1.0
        while self._peers or time.monotonic() - idle_since < keep:
            try:
                peer, request = self._events.get(timeout=0.2)
            except queue.Empty:
                continue
            if request is None and peer not in self._peers:
                self._peers.add(peer)
                peer.send(**({"ready": True} if failure is None else {"error": failure}))
            elif request is None:
                self._leave(peer)
                idle_since, keep = time.monotonic(), self.keep
            else:
                self._answer(peer, request)
        with contextlib.suppress(OSError):
            listener.close()  # whoever comes now finds nobody, and starts another

    def _accept(self, listener: Listener) -> None:
        while True:
            try:
                peer = _Peer(listener.accept())  # type: ignore[arg-type]
            except OSError as error:
                # a listener that was closed before this call says so without a number
                if error.errno in (None, errno.EBADF, errno.EINVAL):
                    return
                continue
            self._events.put((peer, None))
            threading.Thread(target=self._listen, args=(peer,), daemon=True).start()

    def _listen(self, peer: _Peer) -> None:
        with contextlib.suppress(EOFError, OSError, ValueError):
            while True:
                self._events.put((peer, json.loads(peer.connection.recv_bytes())))
        self._events.put((peer, None))

    def _answer(self, peer: _Peer, request: dict[str, Any]) -> None:
        from mosam.codecs.base import CodecOptions

        if peer.session is None:
            options = CodecOptions(box_from_mask=self.order.box_from_mask)
            peer.session = Session(self._engine, prompt=self.order.prompt, options=options)
        act = peer.session.start if request["do"] == "start" else peer.session.frame
        try:
            answers = act(request["picture"], request["regions"])
        except (MosamError, ValueError) as error:
            peer.send(error=one_line(error))
        except Exception as error:  # the engine is in an unknown state
            print(one_line(error), file=sys.stderr, flush=True)
            peer.send(error=one_line(error))
            self._renew()
        else:
            peer.send(answers=[dataclasses.astuple(answer) for answer in answers])

    def _renew(self) -> None:
        from mosam.engine.engine import Engine

        old = self._engine
        self._engine = Engine(old.model, old.policy, parity=old.parity)
        for peer in self._peers:
            peer.session = None

    def _leave(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        if peer.session is not None:
            with contextlib.suppress(Exception):
                peer.session.close()
        peer.connection.close()


# ---- the way to it ---------------------------------------------------------------------------------------------------


class Remote:
    """A session in another process; see `Session`."""

    def __init__(self, connection: Connection, log: Path):
        self._connection, self._log = connection, log

    def start(self, picture: str, regions: Sequence[str]) -> list[Answer]:
        """See `Session.start`."""
        return self._ask("start", picture, regions)

    def frame(self, picture: str, regions: Sequence[str] = ()) -> list[Answer]:
        """See `Session.frame`."""
        return self._ask("frame", picture, regions)

    def close(self) -> None:
        """Leaves; the process may go on for others."""
        self._connection.close()

    def _ask(self, what: str, picture: str, regions: Sequence[str]) -> list[Answer]:
        try:
            self._connection.send_bytes(json.dumps({"do": what, "picture": picture, "regions": list(regions)}).encode())
            reply = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise MosamError(f"{picture}: the tracker's process ended{_last_words(self._log)}") from None
        if "error" in reply:
            raise MosamError(reply["error"])
        return [Answer(*answer) for answer in reply["answers"]]


def connect(order: Order, *, keep: float = KEEP) -> Remote:
    """Reaches the process of an order, started where it is missing; returns when its network is loaded.

    Raises:
        MosamError: the tracker cannot be loaded, or the process ended meanwhile.
    """
    from filelock import FileLock

    place = _own_folder()
    name = order.key()
    address, log = place / f"{name}.sock", place / f"{name}.log"
    for _ in range(_TRIES):
        with FileLock(place / f"{name}.lock"):
            connection = _try(address)
            started = connection is None
            if connection is None:
                connection = _start(address, log, order, keep)
        try:
            greeting = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            if started:
                break
            continue  # it ended just as we came
        if "error" in greeting:
            raise MosamError(greeting["error"])
        return Remote(connection, log)
    raise MosamError(f"{order.tracker} with {order.model}: the tracker's process ended while loading{_last_words(log)}")


def _own_folder() -> Path:
    """A folder that nobody else can write to, with a short path.

    Anybody can put something at its usual place in the temporary folder; what is not a folder of this user's alone, a
    link to one included, is passed over for the next name.
    """
    for base in dict.fromkeys((os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")):
        for name in (f"mosam-{os.getuid()}", *(f"mosam-{os.getuid()}-{number}" for number in range(1, _PLACES))):
            folder = Path(base or "", name)
            if base and len(os.fsencode(folder)) + 24 <= _ADDRESS_BYTES and _is_own(folder):
                return folder
    raise MosamError("expected a folder for a socket that is this user's alone; set XDG_RUNTIME_DIR to one (mode 700)")


def _is_own(folder: Path) -> bool:
    """Whether a folder, made where nothing is, is this user's alone and no link."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    except OSError:
        return False
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return mine and not status.st_mode & 0o077 and os.access(folder, os.W_OK | os.X_OK)


def _try(address: Path) -> Connection | None:
    try:
        return Client(str(address), family="AF_UNIX")
    except OSError:
        return None


def _start(address: Path, log: Path, order: Order, keep: float) -> Connection:
    address.unlink(missing_ok=True)
    given = json.dumps(dataclasses.asdict(order))
    command = [sys.executable, "-m", "mosam.vot.service", str(address), f"{keep:g}", given]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, close_fds=True
        )
    until = time.monotonic() + _LISTENS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        connection = _try(address)
        if connection is not None:
            return connection
        time.sleep(0.02)
    raise MosamError(f"{order.tracker} with {order.model}: the tracker's process did not start{_last_words(log)}")


def _last_words(log: Path) -> str:
    """What a process wrote last, for an error."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            return f": {lines[-1]} (all of it in {log})"
    return f"; see {log}"


def main() -> None:
    """Entry point of the process."""
    address, keep, given = sys.argv[1:4]
    listener = Listener(address, family="AF_UNIX", backlog=16)
    Service(Order(**json.loads(given)), float(keep)).run(listener)


if __name__ == "__main__":
    main()
