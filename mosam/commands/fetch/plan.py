"""From what a benchmark declares to the files that are to be downloaded, and where each goes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import urljoin, urlsplit

from mosam.commands.fetch.transfer import RemoteFile, network_errors, read_remote, remote_length
from mosam.datasets.obtain import ARCHIVES, Download, HubFiles, VotFiles, WebFile
from mosam.errors import DataError, MissingDataError
from mosam.system.files import plain_parts
from mosam.system.typed import from_data, parse_json

MOST_DESCRIPTION = 64 << 20  # bytes of a description; VOT's are below one megabyte
MOST_ASKED = 4  # files whose lengths servers are asked for beforehand
_PART = re.compile(r"(.+)\.(?:[a-z]{2}|\d{2,3})", re.ASCII)  # x.tar.gz.aa, x.tar.gz.001


@dataclass(frozen=True, slots=True)
class Piece:
    """What is downloaded together: a file, or the parts of an archive.

    Attributes:
        files: in order.
        name: `/`-separated, of the file that it becomes below the root, or that an archive would be.
        unpack: whether it is an archive whose content goes to the folder of `name`.
        nested: whether archives in it are unpacked too.
        wanted: names of sequences whose files are kept, see `HubFiles`; empty = everything.
    Raises:
        PathError: a name that is no plain path below the root.
    """

    files: tuple[RemoteFile, ...]
    name: str
    unpack: bool
    nested: bool = False
    wanted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        plain_parts(self.name, self.files[0].url)

    @property
    def folder(self) -> str:
        """The folder below the root that it goes to; empty = the root."""
        return self.name.rpartition("/")[0]

    @property
    def key(self) -> str:
        """Names it among all pieces; another where something else is to be fetched."""
        said = [self.name, *sorted(self.wanted), *(f"{file.url} {file.bytes} {file.checksum}" for file in self.files)]
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:20]

    @property
    def bytes(self) -> int | None:
        """Length of all its files; None where one is not known."""
        lengths = [file.bytes for file in self.files]
        return None if None in lengths else sum(length for length in lengths if length is not None)

    def keeps(self, name: str) -> bool:
        """Whether a file of the archive is kept."""
        parts = name.split("/")
        return not self.wanted or len(parts) == 1 or not self.wanted.isdisjoint(parts)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to be done.

    Attributes:
        pieces: in order.
        texts: small files that are written at the end, by name below the root.
    """

    pieces: tuple[Piece, ...]
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int | None:
        """Length of all downloads; None where one is not known."""
        lengths = [piece.bytes for piece in self.pieces]
        return None if None in lengths else sum(length for length in lengths if length is not None)


def make_plan(downloads: tuple[Download, ...]) -> Plan:
    """Asks the hub, and a challenge's server, what there is.

    Raises:
        MissingDataError: not reachable, no access, or no such files.
        DataError: a description that is none.
    """
    pieces: list[Piece] = []
    texts: dict[str, str] = {}
    for download in downloads:
        if isinstance(download, WebFile):
            pieces.append(_web_piece(download, ask=len(downloads) <= MOST_ASKED))
        elif isinstance(download, HubFiles):
            pieces += _hub_pieces(download)
        else:
            found = _vot_plan(download)
            pieces += found.pieces
            texts |= found.texts
    return Plan(tuple(pieces), texts)


def is_archive(name: str) -> bool:
    """Whether a file of this name is one that is unpacked."""
    return name.lower().endswith(ARCHIVES)


def _web_piece(file: WebFile, *, ask: bool) -> Piece:
    length = file.bytes if file.bytes is not None or not ask else remote_length(file.url)
    remote = RemoteFile(file.url, length, file.checksum)
    return Piece((remote,), "/".join(filter(None, (file.into, file.name))), is_archive(file.name))


# ---- the hub ---------------------------------------------------------------------------------------------------------


def _hub_pieces(wanted: HubFiles) -> list[Piece]:
    """The files of a repository that are wanted, parts of one archive together."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    names = frozenset(wanted.wanted() if wanted.wanted is not None else ())
    headers = {key: str(value) for key, value in build_hf_headers().items()}
    groups: dict[str, list[RemoteFile]] = {}
    revision, listed = _hub_list(wanted.repository)
    for name, length, sha256 in listed:
        if any(fnmatchcase(name, pattern) for pattern in wanted.patterns):
            whole = found[1] if (found := _PART.fullmatch(name)) and is_archive(found[1]) else name
            url = hf_hub_url(wanted.repository, name, repo_type="dataset", revision=revision, endpoint=_endpoint())
            checksum = None if sha256 is None else f"sha256:{sha256}"
            groups.setdefault(whole, []).append(RemoteFile(url, length, checksum, headers))
    if not groups:
        raise MissingDataError(f"{wanted.repository}: expected {', '.join(wanted.patterns)} on the hub, found none")
    return [
        Piece(tuple(files), name, wanted.unpack and is_archive(name), wanted.nested, names)
        for name, files in groups.items()
    ]


def _hub_list(repository: str) -> tuple[str, list[tuple[str, int | None, str | None]]]:
    """The revision of a dataset, and its files in order, with length and SHA-256 where the hub has it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    asked: list[type[Exception]] = [HfHubHTTPError, OSError, ValueError, *network_errors()]
    try:
        info = HfApi(endpoint=_endpoint()).dataset_info(repository, files_metadata=True)
    except tuple(asked) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise MissingDataError(
            f"{repository}: the hub could not be asked for its files ({reason}); check the network, or, where access "
            "is restricted, ask for it on the dataset's page and run `hf auth login`"
        ) from None
    found = []
    for file in sorted(info.siblings or (), key=lambda file: file.rfilename):
        found.append((file.rfilename, file.size, None if file.lfs is None else file.lfs.sha256))
    return info.sha or "main", found


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


# ---- VOT -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Archive:
    """An archive of a description."""

    url: str
    uid: str | None = None
    compressed: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A sequence of a description."""

    name: str
    annotations: _Archive
    channels: Mapping[str, _Archive]
    fps: float | int | str = 30
    metadata: Mapping[str, str | int | float | bool | None] | None = None


@dataclass(frozen=True, slots=True)
class _Description:
    """A challenge's `description.json`, as far as it is needed."""

    sequences: tuple[_Sequence, ...]


def _vot_plan(wanted: VotFiles) -> Plan:
    """Two archives and a `sequence` file for each sequence, as the VOT toolkit lays them out, and their list.

    The toolkit takes sequences that are there so for its own downloads. A description also has a `checksum` of each
    archive, which no program of the challenge reads; the archives are zips, which hold sums of their own.
    """
    url = wanted.description
    data = parse_json(read_remote(url, most=MOST_DESCRIPTION), url)
    listed = from_data(_Description, data, url, unknown=True).sequences
    pieces: list[Piece] = []
    texts: dict[str, str] = {}
    for sequence in listed:
        if len(plain_parts(sequence.name, url)) != 1:
            raise DataError(url, f"expected names of sequences, got {sequence.name[:80]!r}")
        pieces.append(_vot_piece(url, sequence.annotations, sequence.name))
        pieces += (_vot_piece(url, one, f"{sequence.name}/{name}") for name, one in sequence.channels.items())
        texts[f"{sequence.name}/sequence"] = "".join(f"{key}={value}\n" for key, value in _properties(sequence, url))
    if not pieces:
        raise DataError(url, "expected sequences, got none")
    texts["list.txt"] = "".join(f"{sequence.name}\n" for sequence in listed)
    return Plan(tuple(pieces), texts)


def _vot_piece(base: str, archive: _Archive, folder: str) -> Piece:
    url = urljoin(base, archive.url)
    name = PurePosixPath(urlsplit(url).path).name
    if urlsplit(url).scheme not in ("http", "https") or not is_archive(name):
        raise DataError(base, f"expected addresses of archives, got {archive.url[:80]!r}")
    return Piece((RemoteFile(url, archive.compressed),), f"{folder}/{name}", unpack=True)


def _properties(sequence: _Sequence, url: str) -> Iterator[tuple[str, object]]:
    """Lines of the file `sequence`."""
    fixed: dict[str, object] = {"name": sequence.name, "fps": sequence.fps, "format": "default"}
    more = {key: value for key, value in (sequence.metadata or {}).items() if not key.startswith("channels.")}
    fixed = {**more, **fixed}
    if sequence.annotations.uid is not None:
        fixed["uid"] = sequence.annotations.uid
    for name, channel in sequence.channels.items():
        fixed[f"channels.{name}"] = f"{name}/{channel.pattern or ''}"
    for key, value in fixed.items():
        if not f"{key}{value}".isprintable():
            raise DataError(url, f"expected text of one line, got {key[:40]!r} of {sequence.name}")
        yield key, value
