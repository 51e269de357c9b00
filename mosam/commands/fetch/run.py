"""`mosam data fetch`: a benchmark's files, downloaded and laid out as its loader reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mosam.commands.fetch.plan import Piece, Plan, is_archive, make_plan
from mosam.commands.fetch.transfer import PART, Watch, in_words, require_room, transfer
from mosam.commands.progress import count
from mosam.datasets.base import DATA_VARIABLE, DATASETS, Dataset, DatasetInfo, find_root
from mosam.datasets.unpack import unpack
from mosam.errors import DataError, MissingDataError, MosamError, UnknownNameError
from mosam.system.files import Inside, sync_disks

STATE = ".mosam-fetch"  # below the root: downloads that are not unpacked yet, and what is done
DONE, BEGUN = ".done", ".begun"

View = Callable[[str], contextlib.AbstractContextManager[Watch]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        name: the benchmark.
        info: what it is.
        split: one of its splits.
        root: the folder it goes to.
    """

    name: str
    info: DatasetInfo
    split: str
    root: Path


def choose(name: str, root: Path | None, split: str | None) -> Wish:
    """Checks what is asked for.

    Raises:
        UnknownNameError: an unknown benchmark or split.
        MissingDataError: no root, and only a person can get it: the message says how.
        MosamError: no root, one that is no folder, or a folder of something else.
    """
    name = DATASETS.canonical(name)
    info = DATASETS[name].info
    if DATASETS[name].generated or info.obtain is None:
        raise MosamError(f"data fetch: {name} is not downloaded: {info.source}")
    split = split or info.default_split
    if split not in info.splits:
        raise UnknownNameError("split", split, info.splits, where=name)
    place = root or find_root(name)
    if place is None and not info.obtain.downloads(split):
        raise _by_hand(Wish(name, info, split, Path("ROOT")))
    if place is None:
        raise MosamError(f"{name}: no folder given; pass --root or set {DATA_VARIABLE} to a folder for benchmarks")
    if place.exists() and not place.is_dir():
        raise MosamError(f"{place}: expected a folder, or nothing yet, got a file; choose another --root")
    wish = Wish(name, info, split, place)
    if not _may_hold(wish):
        raise MosamError(
            f"{place}: expected {info.title}, or a new or empty folder, got other things; choose another --root"
        )
    return wish


def _may_hold(wish: Wish) -> bool:
    """Whether a folder is new, was begun by this command, or holds some split of the benchmark."""
    if not wish.root.is_dir() or (wish.root / STATE).is_dir() or not any(wish.root.iterdir()):
        return True
    return any(_load(replace(wish, split=split)) is not None for split in wish.info.splits)


def is_there(wish: Wish) -> bool:
    """Whether the loader finds every sequence of the official split, pictures included."""
    data = _load(wish)
    return data is not None and len(data) > 0 and data.subset is None and not data.missing(frames=True)


def plan_for(wish: Wish) -> Plan:
    """What is to be downloaded.

    Raises:
        MissingDataError: only a person can get it: the message says how; or the server is not reached.
    """
    assert wish.info.obtain is not None
    downloads = wish.info.obtain.downloads(wish.split)
    if not downloads:
        raise _by_hand(wish)
    return make_plan(downloads)


def _by_hand(wish: Wish) -> MissingDataError:
    """The error for what only a person can get."""
    assert wish.info.obtain is not None
    steps = wish.info.obtain.steps if wish.info.obtain.how != "fetch" else f"see {wish.info.source}"
    return MissingDataError(
        f"{wish.name} {wish.split} cannot be fetched by a program: {steps}\nThen `mosam data check {wish.name} "
        f"--root {wish.root}`; expected tree:\n{wish.info.tree}"
    )


def describe(wish: Wish, plan: Plan) -> list[str]:
    """What a person should know before it begins."""
    assert wish.info.obtain is not None
    size = "of unknown length" if plan.bytes is None else in_words(plan.bytes)
    disk = wish.info.obtain.gigabytes if wish.split == wish.info.default_split else None
    room = "about as much" if disk is None else f"about {in_words(disk * 1e9)}"
    files = count(sum(len(piece.files) for piece in plan.pieces), "file")
    return [
        f"{wish.info.title}, {wish.split}: {wish.info.obtain.steps}",
        f"license: {wish.info.license} ({wish.info.source})",
        f"download: {size} in {files}; on disk: {room}",
        f"to: {wish.root}",
    ]


def fetch(wish: Wish, plan: Plan, *, view: View, tell: Callable[[str], None], keep: bool = False) -> Dataset:
    """Downloads and unpacks what is missing.

    Every piece is done for good before the next one begins, so that the same call goes on after whatever ended it.

    Args:
        wish, plan: what.
        view: a context for each download, called with its name, that gives what is told of its progress.
        tell: takes lines on what is done.
        keep: keep archives, in the state's folder.
    Returns:
        the benchmark.
    Raises:
        MosamError: what is wrong with the network, the disk or a file; or the benchmark is not whole at the end.
    """
    inside = Inside(wish.root)
    try:
        wish.root.mkdir(parents=True, exist_ok=True)
        inside.make_folder(STATE)
        with _locked(wish.root / STATE):
            left = [piece for piece in plan.pieces if inside.kind(f"{STATE}/{piece.key}{DONE}") != "file"]
            _check_room(wish, plan, left)
            for number, piece in enumerate(left, len(plan.pieces) - len(left) + 1):
                tell(f"[{number}/{len(plan.pieces)}] {piece.name}")
                _fetch_piece(inside, piece, view, keep)
            for name, text in plan.texts.items():
                inside.write_text(name, text)
    except OSError as error:
        raise MosamError(f"{wish.root}: cannot be written to: {error.strerror or error}") from None
    return _result(wish)


def _fetch_piece(inside: Inside, piece: Piece, view: View, keep: bool) -> None:
    suffix = next((end for end in (".zip", ".tar.gz", ".tgz", ".tar") if piece.name.lower().endswith(end)), "")
    names = [f"{STATE}/{piece.key}-{number}{suffix}" for number in range(len(piece.files))]
    for file, name in zip(piece.files, names, strict=True):
        if inside.kind(name) != "file":
            inside.path(f"{name}{PART}")  # no link
            with view(piece.name.rpartition("/")[2]) as watch:
                transfer(file, inside.path(name), watch)
    if not piece.unpack:
        for name in names:
            inside.move(name, piece.name)
    else:
        _unpack_piece(inside, piece, names)
        for name in () if keep else names:
            inside.remove(name)
    sync_disks()
    inside.write_text(f"{STATE}/{piece.key}{DONE}", f"{piece.name}\n")
    inside.remove(f"{STATE}/{piece.key}{BEGUN}")


def _unpack_piece(inside: Inside, piece: Piece, names: list[str]) -> None:
    """Unpacks an archive; what cannot be unpacked is deleted, so that the next try downloads it again."""
    begun = f"{STATE}/{piece.key}{BEGUN}"
    resume = inside.kind(begun) == "file"
    inside.write_text(begun, f"{piece.name}\n")
    nested: list[str] = []

    def keeps(name: str) -> bool:
        if piece.nested and is_archive(name):
            nested.append("/".join(filter(None, (piece.folder, name))))
        return piece.keeps(name)

    try:
        unpack([inside.path(name) for name in names], inside, piece.folder, wanted=keeps, resume=resume)
    except DataError as error:
        for name in (*names, begun):
            inside.remove(name)
        raise DataError(error.path, f"{str(error).removeprefix(f'{error.path}: ')} ({piece.files[0].url})") from None
    for name in nested:
        unpack([inside.path(name)], inside, name.rpartition("/")[0], wanted=piece.keeps, resume=True)
        inside.remove(name)


def _check_room(wish: Wish, plan: Plan, left: list[Piece]) -> None:
    """MosamError where the disk is too small for what is left, the archive that is unpacked included."""
    whole, here = plan.bytes, [piece.bytes or 0 for piece in left]
    if not whole or not any(here):
        return
    assert wish.info.obtain is not None
    disk = wish.info.obtain.gigabytes if wish.split == wish.info.default_split else None
    need = (whole if disk is None else disk * 1e9) * sum(here) / whole
    require_room(wish.root, need + max(size if piece.unpack else 0 for piece, size in zip(left, here, strict=True)))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise MosamError(f"{folder.parent}: another process is fetching to this folder; wait for it") from None


def _result(wish: Wish) -> Dataset:
    data = DATASETS[wish.name](wish.root, split=wish.split)
    data.require(frames=True)
    return data


def _load(wish: Wish) -> Dataset | None:
    if not wish.root.is_dir():
        return None
    with contextlib.suppress(MosamError):
        return DATASETS[wish.name](wish.root, split=wish.split)
    return None
