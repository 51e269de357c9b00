"""Scores kept by content: used when all is the same, never when anything differs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cups import LENGTH, NAMES, Cups, boxes

from mosam.errors import MissingDataError
from mosam.evaluation import cache as caching
from mosam.evaluation.evaluate import evaluate


def write(folder: Path, shift: float = 3.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        np.savetxt(folder / f"{name}.txt", boxes(name) + np.array([shift, 0, 0, 0]), fmt="%g", delimiter=",")
    return folder


class Tree(Cups):
    """Cups whose annotation is a file."""

    file: Path

    def annotation_files(self, name: str) -> tuple[Path, ...]:
        return (self.file,)


@pytest.fixture
def cups(tmp_path: Path) -> Cups:
    (tmp_path / "annotation").write_text("1")
    cls = type("Tree", (Tree,), {"file": tmp_path / "annotation", "__module__": __name__})
    return cls(None)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def spoil(kept: Path) -> None:
    """Makes every kept score tell that it was kept."""
    for path in kept.glob("*.json"):
        content = json.loads(path.read_text())
        content["notes"] = ["from the cache"]
        path.write_text(json.dumps(content))


def is_kept(folder: Path, cups: Cups, kept: Path, **options) -> bool:
    spoil(kept)
    return evaluate(folder, cups, cache=kept, **options).notes == ("from the cache",)


def test_the_same_is_not_scored_again(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    first = evaluate(folder, cups, cache=kept)
    assert first == evaluate(folder, cups)
    assert evaluate(folder, cups, cache=kept) == first
    assert is_kept(folder, cups, kept)


def test_names_and_dates_of_folders_play_no_part(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    evaluate(folder, cups, cache=kept)
    again = write(tmp_path / "elsewhere" / "y")
    spoil(kept)
    scores = evaluate(again, cups, cache=kept)
    assert (scores.tracker, scores.notes) == ("y", ("from the cache",))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "x" / "cup-3.txt").write_text((root / "x" / "cup-3.txt").read_text().replace("1", "2", 1)),
        lambda root: (root / "x" / "cup-3_time.txt").write_text("1\n" * LENGTH),
        lambda root: ((root / "x" / "times").mkdir(), (root / "x" / "times" / "cup-1_time.txt").write_text("1\n")),
        lambda root: (root / "annotation").write_text("2"),
        lambda root: (root / "x" / "run.json").write_text("{}"),
    ],
    ids=["result", "times", "times in a folder", "annotation", "record"],
)
def test_a_changed_byte_is_scored_anew(tmp_path, cups, kept, change):
    folder = write(tmp_path / "x")
    before = caching.score_key(cups, NAMES, folder, ("pytracking",))
    change(tmp_path)
    assert caching.score_key(cups, NAMES, folder, ("pytracking",)) != before


def test_a_changed_result_gives_its_own_score(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    before = evaluate(folder, cups, cache=kept)
    write(folder, shift=30.0)
    after = evaluate(folder, cups, cache=kept)
    assert after == evaluate(folder, cups)
    assert after.overall["success_auc"] < before.overall["success_auc"]


def test_what_is_asked_for_belongs_to_the_key(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    evaluate(folder, cups, cache=kept)
    assert not is_kept(folder, cups, kept, protocol="pytracking[valid_only]")
    assert not is_kept(folder, cups, kept, allow_missing=True)
    assert not is_kept(folder, cups.select(limit=2), kept)
    assert is_kept(folder, cups, kept)


def test_another_scorer_uses_nothing_of_the_old(tmp_path, cups, kept, monkeypatch):
    folder = write(tmp_path / "x")
    evaluate(folder, cups, cache=kept)
    monkeypatch.setattr(caching, "scorer_version", lambda: "other")
    assert not is_kept(folder, cups, kept)


def test_the_version_is_the_source(monkeypatch, tmp_path):
    read = Path.read_bytes
    caching.scorer_version.cache_clear()
    before = caching.scorer_version()
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if self.name == "success.py" else b""))
    caching.scorer_version.cache_clear()
    assert caching.scorer_version() != before
    caching.scorer_version.cache_clear()


def test_files_of_other_sequences_do_not_matter(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    some = cups.select(NAMES[:2])
    evaluate(folder, some, cache=kept)
    (folder / "cup-4.txt").write_text("broken")
    (folder / "scores.json").write_text("{}")
    assert is_kept(folder, some, kept)


def test_a_damaged_file_is_as_none(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    first = evaluate(folder, cups, cache=kept)
    for path in kept.glob("*.json"):
        path.write_text("{")
    assert evaluate(folder, cups, cache=kept) == first


def test_errors_are_not_kept_and_a_place_that_cannot_be_written_is_no_error(tmp_path, cups, kept):
    folder = write(tmp_path / "x")
    (folder / "cup-2.txt").unlink()
    with pytest.raises(MissingDataError):
        evaluate(folder, cups, cache=kept)
    assert not kept.exists()
    (tmp_path / "file").write_text("")
    assert evaluate(write(folder), cups, cache=tmp_path / "file" / "kept").notes == ()


def test_the_oldest_go(tmp_path, cups, kept, monkeypatch):
    monkeypatch.setattr(caching, "MOST_KEPT", 2)
    folder = write(tmp_path / "x")
    kept.mkdir(exist_ok=True)
    (kept / "mine.json").write_text("")
    for limit in (1, 2, 3):
        evaluate(folder, cups.select(limit=limit), cache=kept)
    assert len(list(kept.glob("*.json"))) == 3
    assert (kept / "mine.json").exists()


def test_where_scores_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("MOSAM_CACHE", "")
    assert caching.cache_folder() is None
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path))
    assert caching.cache_folder() == tmp_path / "scores"
    monkeypatch.delenv("MOSAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert caching.cache_folder() == tmp_path / "home" / "mosam" / "scores"
