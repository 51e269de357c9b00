"""How processes end: with their parent, and when they are asked to.

A worker whose parent was killed would go on for hours, or wait for ever. `start_worker` and `end_with_parent` have the
kernel end it (Linux), and a thread that watches the parent (everywhere). `asked_to_end` makes the signals by which
schedulers, terminals and `kill` end a program do what Ctrl-C does: what is unfinished is cleared, workers are ended.
"""

from __future__ import annotations

# What only workers need is imported by them: every command begins here.
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mosam.system.plugins import load_from_environment

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing.connection import Connection

S = TypeVar("S")
T = TypeVar("T")
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_SECONDS = 2.0  # of one wish to end: systemd sends SIGTERM and SIGHUP, a terminal several
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>


def end_with_parent() -> None:
    """Ends this process, which `multiprocessing` started, as soon as its parent is gone; other processes go on."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is None:
        return
    _ask_kernel()
    threading.Thread(target=_watch, args=(parent.sentinel,), name="watch-parent", daemon=True).start()
    if not parent.is_alive():  # before the kernel was asked
        _end()


def packed(main: Callable[..., None], *arguments: Any) -> bytes:
    """A worker's function and its arguments for `start_worker`."""
    import pickle

    return pickle.dumps((main, arguments))


def start_worker(pipe: Connection, work: bytes) -> None:
    """Where a worker process begins: it is tied to its parent before anything large is imported.

    Args:
        pipe: to the parent; the function's first argument.
        work: as `packed`.
    """
    import pickle

    end_with_parent()
    main, arguments = pickle.loads(work)
    main(pipe, *arguments)


def _ask_kernel() -> None:
    if sys.platform.startswith("linux"):
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _watch(sentinel: int) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; yields a list of those that came.

    One that is ignored stays ignored (`nohup`). What comes again within seconds is the same wish; later it interrupts
    the clearing up too. Outside the main thread nothing changes.
    """
    came: list[int] = []
    since = 0.0

    def end(number: int, frame: object) -> None:
        nonlocal since
        if came and time.monotonic() < since + SAME_SECONDS:
            return
        since = time.monotonic()
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    before = {number: handler for number, handler in before.items() if handler == signal.SIG_DFL}
    for number in before:
        signal.signal(number, end)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(number: int) -> int:
    """What a shell says of a program that a signal ended.

    >>> exit_code(signal.SIGTERM)
    143
    """
    return 128 + number


def begin_pool_worker() -> None:
    """Of a process of a pool: it ends with its parent, which alone decides what Ctrl-C means, and has its plugins."""
    end_with_parent()
    load_from_environment()  # classes of files among them can then be sent here
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING:  # a fork has its parent's handlers
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def process_pool(jobs: int, *, fork: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one; an error inside ends them at once, whatever they do.

    Args:
        jobs: how many.
        fork: start them as copies of this process where that is safe, which takes no time; else each imports anew.
    """
    import multiprocessing  # takes longer to load than a small score
    from concurrent.futures import ProcessPoolExecutor

    # a program that has torch's threads cannot be forked safely
    forks = fork and "fork" in multiprocessing.get_all_start_methods() and "torch" not in sys.modules
    context = multiprocessing.get_context("fork" if forks else "spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=begin_pool_worker)
    try:
        yield pool
    except BaseException:
        _end_pool(pool)
        raise
    pool.shutdown()


def map_in_processes(work: Callable[[S], T], names: Sequence[S], jobs: int) -> Iterator[T]:
    """Something done for each name, in order; in this process where one does it all.

    Args:
        work: a function that other processes can import; it hands errors back as values where their class matters.
        names: of sequences, or anything else that can be sent to a process.
        jobs: processes.
    """
    jobs = min(jobs, len(names))
    if jobs <= 1:
        yield from map(work, names)
        return
    with process_pool(jobs) as pool:
        yield from pool.map(work, names, chunksize=max(1, len(names) // (8 * jobs)))


def _end_pool(pool: ProcessPoolExecutor) -> None:
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
    pool.shutdown(cancel_futures=True)
