"""The folder of a site: written anew, without what an earlier board left in it."""

from __future__ import annotations

import json
from pathlib import Path

from mosam.errors import MosamError
from mosam.system.files import Inside
from mosam.system.typed import read_json

LIST = "board.json"  # names of the files of a board


class SiteFolder:
    """Writes the files of a site into a folder; at the end, files of an earlier board that are not written again go.

    Args:
        folder: made where missing; one that holds anything else than a board is refused.
    Raises:
        MosamError: it holds other files, or is a file.
    """

    def __init__(self, folder: Path):
        self._folder, self._inside, self._written = folder, Inside(folder), list[str]()

    def __enter__(self) -> SiteFolder:
        if self._folder.exists() and not self._folder.is_dir():
            raise MosamError(f"{self._folder}: expected a folder for the site, got a file")
        self._folder.mkdir(parents=True, exist_ok=True)
        strange = [name for name in self._inside.names() if not name.startswith(".")]
        if strange and self._inside.kind(LIST) != "file":
            raise MosamError(
                f"{self._folder}: expected nothing or an earlier board, found {strange[0]}; choose another --out"
            )
        return self

    def write(self, relative: str, text: str) -> None:
        """A file of the site."""
        self._inside.write_text(relative, text)
        self._written.append(relative)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            return
        path = self._folder / LIST
        before = read_json(path, tuple[str, ...]) if self._inside.kind(LIST) == "file" else ()
        for relative in sorted(set(before) - set(self._written)):
            self._inside.remove(relative)
        self._inside.write_text(LIST, json.dumps(sorted(self._written), indent=0))
