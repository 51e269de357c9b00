"""The folder of one run: its name, the names of what lies in it, the hash of results, and errors of writing to it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mosam.errors import MosamError
from mosam.system.option_names import earlier_label

SCORES = "scores.json"
LOCK = ".lock"
PARTIAL = ".partial-"
HIDDEN = (
    PARTIAL,
    ".work-",
    ".ready-",
    ".shared-",
    ".settings-",
)  # what a run keeps in its folder while it is under way
_NAME_BYTES = 100  # of a sequence's name in a hidden folder's

# What an operating system says when no sequence can be written any more, with the words a person understands.
_FATAL = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another folder with --results",
    errno.EACCES: "no permission to write; choose another folder with --results",
    errno.EPERM: "no permission to write; choose another folder with --results",
}


class StoreError(MosamError):
    """Results cannot be written: full disk, no permission, or another process writes the same run."""


def run_name(
    tracker: str,
    model: str,
    *,
    split: str | None = None,
    prompt: str | None = None,
    settings: str | None = None,
    seed: int = 0,
) -> str:
    """Folder name of a run: `<tracker>[-<options>]-<model>`, then `@` and each setting that is not the usual one.

    Args:
        tracker: policy label, `mosam[stride=3,mgp=off]`.
        model: model name as given; of a path the last part counts, without the suffix of a checkpoint file; empty for a
            tracker that needs none.
        split, prompt, settings: where they are not the default, else None.
        seed: shown where it is not 0.

    >>> run_name("mosam[stride=3,mgp=off]", "random:nano", split="test", seed=2)
    'mosam-stride=3,mgp=off-random-nano@test@seed2'
    >>> run_name("opencv:MIL", "")
    'opencv-MIL'
    """
    path = Path(model)
    short = path.stem if path.suffix in (".pt", ".pth", ".safetensors") else path.name
    plain = tracker.replace("[", "-").replace("]", "")
    name = f"{plain}-{short.replace(':', '-')}" if short else plain.replace(":", "-")
    extras = [split, prompt, settings, f"seed{seed}" if seed else None]
    return "@".join([name, *filter(None, extras)]).replace("/", "_")  # one folder, whatever an option says


def run_folder(parent: Path, tracker: str, model: str, **extras: Any) -> Path:
    """The folder of a run below `parent`, see `run_name`; one that is there by earlier names of options is found."""
    folder, earlier = (parent / run_name(label, model, **extras) for label in (tracker, earlier_label(tracker)))
    return earlier if earlier.is_dir() and not folder.exists() else folder


def hidden_name(prefix: str, name: str) -> str:
    """Name of a sequence's hidden folder: with its own name, or a hash of one that is too long or no file's name.

    >>> hidden_name(".partial-", "car"), hidden_name(".work-", "a/b")
    ('.partial-car', '.work-~575aa62220a2c597f5def8d269b6acac')
    """
    data = name.encode(errors="surrogatepass")
    if len(data) <= _NAME_BYTES and not re.search("[/\0\ud800-\udfff]", name):
        return f"{prefix}{name}"
    return f"{prefix}~{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def content_hash(folder: Path, paths: Iterable[str], *, links: bool = True) -> str | None:
    """SHA-256 over names and bytes of result files.

    Args:
        folder: the run's folder.
        paths: files or folders in it; folders count with all their files, in sorted order.
        links: whether results may be links to files.
    Returns:
        the hash, or None where a path is missing, or no file or folder.
    """
    digest = hashlib.sha256()
    for relative in sorted(paths):
        path = folder / relative
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        if not (path.is_file() or path.is_dir()) or (not links and any(p.is_symlink() for p in [path, *inside])):
            return None
        for file in [p for p in inside if p.is_file()] if path.is_dir() else [path]:
            data = file.read_bytes()
            digest.update(f"{file.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission, met while writing under `path`, into one `StoreError`."""
    try:
        yield
    except OSError as error:
        what = _FATAL.get(error.errno or 0)
        if what is None:
            raise
        raise StoreError(f"{path}: {what} and repeat the command (finished sequences are kept)") from error
