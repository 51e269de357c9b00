"""How a benchmark is obtained: addresses, sizes and steps, declared in the benchmark's own file.

`mosam data fetch` acts on them and `mosam data list` prints them; nothing here asks a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

How = Literal["fetch", "form", "drive", "page", "-"]
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file with an address of its own.

    Attributes:
        url: the address; http or https.
        bytes: length, where a source states it.
        checksum: `sha256:...` or `md5:...` of its content, where one is published.
        into: the folder below the root that it, or what is in it, goes to; empty = the root.
    """

    url: str
    bytes: int | None = None
    checksum: str | None = None
    into: str = ""

    @property
    def name(self) -> str:
        """Last part of the address.

        >>> WebFile("https://example.org/a/car%201.zip?x=1").name
        'car 1.zip'
        """
        return unquote(urlsplit(self.url).path).rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class HubFiles:
    """Files of a dataset on the hub (huggingface.co), which states the length and the SHA-256 of each.

    Attributes:
        repository: `owner/name`.
        patterns: of the files, as a shell's; a file that fits none is left out.
        unpack: whether archives are unpacked; else they are kept as they are.
        nested: whether archives inside these archives are unpacked too.
        wanted: names of sequences; of an archive only files below a folder of such a name are kept, and those at its
            top. None = all.
    """

    repository: str
    patterns: tuple[str, ...]
    unpack: bool = True
    nested: bool = False
    wanted: Callable[[], Iterable[str]] | None = None


@dataclass(frozen=True, slots=True)
class VotFiles:
    """Sequences of a VOT challenge, each in archives that one description lists.

    Attributes:
        description: address of its `description.json`.
    """

    description: str


Download: TypeAlias = "WebFile | HubFiles | VotFiles"


def nothing(split: str) -> tuple[Download, ...]:
    """Downloads of a benchmark that only a person can get."""
    return ()


@dataclass(frozen=True, slots=True)
class Obtain:
    """How to get a benchmark.

    Attributes:
        how: `fetch` = `mosam data fetch` does it; `form` = after a form is filled in; `drive` = from a cloud drive in a
            browser; `page` = from links on its page; `-` = nothing to get.
        steps: what a person does, in full sentences with addresses; for `fetch`, by whom the files are published.
        gigabytes: on disk, of the usual split; None = no source states it. Pictures do not shrink in archives, so that
            where only an archive's length is known, it is that.
        facts: where addresses, sizes and checksums are from.
        downloads: what is downloaded for a split; nothing = the steps are for a person.
    """

    how: How
    steps: str
    gigabytes: float | None = None
    facts: str = ""
    downloads: Callable[[str], tuple[Download, ...]] = nothing
