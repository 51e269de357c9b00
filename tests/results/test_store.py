"""A run's folder: what is renamed into it, what a killed run leaves, who may write it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.results.folder import LOCK, PARTIAL, StoreError, content_hash, run_name, writing
from mosam.results.record import BACKUP, RECORD, RunSettings, SequenceRecord, read_record
from mosam.results.store import RunStore
from mosam.system.files import PathError


def settings(**changes):
    values = {
        "dataset": "toy",
        "split": "val",
        "prompt": "mask",
        "seed": 0,
        "tracker": "sam2",
        "policy": {"stride": 1, "sizes": (1, 2)},
        "model": "nano",
        "weights_hash": "ab",
        "precision": "float32",
        "device": "cpu",
        "network": {"resize": "pil_bicubic"},
        "engine": {"fill_holes": 0},
        "output": {"format": "toy"},
    }
    return RunSettings(**{**values, **changes})


def names(folder):
    """What lies in a folder, but for the copy of the record."""
    return sorted(path.name for path in folder.iterdir() if path.name != BACKUP)


def write(store, name, text="x"):
    folder = store.partial(name)
    (folder / name).mkdir()
    (folder / name / "0.txt").write_text(text)
    return store.commit(name, [name], SequenceRecord("done", 3, 1.5, 2.0, annotation="a"))


def test_record_reads_back_as_written(tmp_path):
    with RunStore(tmp_path / "run", settings(), selection=["a"], environment={"python": "3"}) as store:
        write(store, "a")
        store.fail("b", SequenceRecord("failed", reason="why"))
        written = store.record
    record = read_record(tmp_path / "run")
    assert record == written
    assert record.done == ["a"]
    assert record.failed == {"b": "why"}
    assert record.fps == 2.0


def test_results_appear_only_when_whole(tmp_path):
    with RunStore(tmp_path / "run", settings()) as store:
        folder = store.partial("a")
        (folder / "a").mkdir()
        (folder / "a" / "0.txt").write_text("x")
        assert not (tmp_path / "run" / "a").exists()
        assert folder.name.startswith(PARTIAL)
        store.commit("a", ["a"], SequenceRecord("done"))
        assert (tmp_path / "run" / "a" / "0.txt").read_text() == "x"
        assert not folder.exists()


def test_times_beside_results_come_and_go_with_them_and_are_not_in_their_hash(tmp_path):
    with RunStore(tmp_path, settings()) as store:
        digest = write(store, "a").hash
        assert not (tmp_path / "times").exists()
        for seconds in ("0.1", "0.2"):
            folder = store.partial("a")
            (folder / "a").mkdir()
            (folder / "a" / "0.txt").write_text("x")
            (folder / "times").mkdir()
            (folder / "times" / "a_time.txt").write_text(seconds)
            assert store.commit("a", ["a"], SequenceRecord("done")).hash == digest
            assert (tmp_path / "times" / "a_time.txt").read_text() == seconds
        store.forget("a", ["a"])
        assert not list((tmp_path / "times").iterdir())


def test_commit_replaces_older_files_of_the_sequence(tmp_path):
    with RunStore(tmp_path / "run", settings()) as store:
        write(store, "a", "old")
        (tmp_path / "run" / "a" / "1.txt").write_text("x")
        write(store, "a", "new")
    assert {p.name: p.read_text() for p in (tmp_path / "run" / "a").iterdir()} == {"0.txt": "new"}


def test_writer_that_leaves_nothing_is_an_error(tmp_path):
    with RunStore(tmp_path / "run", settings()) as store:
        store.partial("a")
        with pytest.raises(FileNotFoundError, match=r"a: the result writer left no a\.txt"):
            store.commit("a", ["a.txt"], SequenceRecord("done"))
        assert store.record.sequences == {}


def test_leftovers_of_a_killed_run_are_cleared(tmp_path):
    with RunStore(tmp_path / "run", settings()) as store:
        write(store, "a")
    (tmp_path / "run" / f"{PARTIAL}b" / "b").mkdir(parents=True)
    (tmp_path / "run" / f"{RECORD}.new").write_text('{"half')
    with RunStore(tmp_path / "run", settings()) as store:
        assert store.check("a", ["a"]) is None
        assert not (tmp_path / "run" / f"{PARTIAL}b").exists()
    assert names(tmp_path / "run") == ["a", RECORD]


@pytest.mark.parametrize("harm", ["changed", "added", "missing"])
def test_check_sees_every_change(tmp_path, harm):
    with RunStore(tmp_path / "run", settings()) as store:
        write(store, "a")
        file = tmp_path / "run" / "a" / "0.txt"
        if harm == "changed":
            file.write_text("y")
        elif harm == "added":
            file.with_name("1.txt").write_text("")
        else:
            (file.unlink(), file.parent.rmdir())
        assert (
            store.check("a", ["a"])
            == f"its result files {'are missing' if harm == 'missing' else 'have changed since'}"
        )


def test_hash_depends_on_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("xy")
    (tmp_path / "b").write_text("z")
    first = content_hash(tmp_path, ["a", "b"])
    assert first == content_hash(tmp_path, ["b", "a"])
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("yz")
    assert content_hash(tmp_path, ["a", "b"]) != first
    assert content_hash(tmp_path, ["a", "c"]) is None


def test_many_differences_are_cut_short(tmp_path):
    with RunStore(tmp_path / "run", settings()):
        pass
    other = settings(policy={str(n): n for n in range(20)}, seed=4)
    with pytest.raises(MismatchError) as caught, RunStore(tmp_path / "run", other):
        pass
    assert "seed: 0 -> 4; policy.stride: 1 -> (not recorded)" in str(caught.value)
    assert "and 17 more" in str(caught.value)


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        store = RunStore(tmp_path, settings(), overwrite=overwrite)
        with pytest.raises(MismatchError, match=r"notes\.txt"), store:
            pass
    assert names(tmp_path) == ["notes.txt"]


def test_overwrite_throws_everything_away(tmp_path):
    with RunStore(tmp_path / "run", settings()) as store:
        write(store, "a")
    with RunStore(tmp_path / "run", settings(seed=1), overwrite=True) as store:
        assert store.record.sequences == {}
    assert names(tmp_path / "run") == [RECORD]


@pytest.mark.parametrize("text", ['{"format": 1}', "[]", "{", '{"format": 99}', ""])
def test_damaged_record_is_one_line(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(DataError, match="damaged") as caught:
        read_record(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / RECORD}: ")
    assert "\n" not in str(caught.value)
    with RunStore(tmp_path, settings(), overwrite=True):
        pass
    assert read_record(tmp_path).settings.dataset == "toy"


def three(folder):
    """A run of three finished sequences."""
    with RunStore(folder, settings()) as store:
        for name in ("a", "b", "c"):
            write(store, name)


@pytest.mark.parametrize("harm", ["empty", "torn", "zeros", "gone", "folder", "type"])
def test_a_record_that_is_lost_is_taken_from_its_copy(tmp_path, harm):
    three(tmp_path)
    path = tmp_path / RECORD
    data = path.read_bytes()
    if harm == "type":
        path.write_text(path.read_text().replace('"seed": 0', '"seed": "0"'))
    elif harm in ("gone", "folder"):
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "torn": data[: len(data) // 2], "zeros": bytes(len(data))}[harm])
    if harm == "folder":
        path.symlink_to(tmp_path / "nowhere")
    with RunStore(tmp_path, settings()) as store:
        assert store.record.done == ["a", "b", "c"]
        assert [store.check(name, [name]) for name in "abc"] == [None] * 3
        assert len(store.notes) == 1
        assert store.notes[0].isprintable()
        assert "rebuilt: 3 finished sequences" in store.notes[0]
    assert read_record(tmp_path).done == ["a", "b", "c"]


def test_a_torn_record_without_a_copy_keeps_what_can_be_read(tmp_path):
    three(tmp_path)
    data = (tmp_path / RECORD).read_bytes()
    cut = data.index(b'"c": {') + 20
    (tmp_path / RECORD).write_bytes(data[:cut] + bytes(50))
    (tmp_path / BACKUP).write_bytes(data[:100])
    with RunStore(tmp_path, settings()) as store:
        assert store.record.done == ["a", "b"]
        assert "rebuilt: 2 finished sequences" in store.notes[0]
    assert names(tmp_path) == ["a", "b", "c", RECORD]


def test_an_older_copy_and_a_torn_record_complete_each_other(tmp_path):
    three(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    del record["sequences"]["b"]
    (tmp_path / BACKUP).write_text(json.dumps(record))
    data = (tmp_path / RECORD).read_bytes()
    (tmp_path / RECORD).write_bytes(data[: data.index(b'"c": {') + 20])
    with RunStore(tmp_path, settings()) as store:
        assert sorted(store.record.done) == ["a", "b", "c"]


def test_results_of_which_nothing_is_known_are_left_alone(tmp_path):
    three(tmp_path)
    for name in (RECORD, BACKUP):
        (tmp_path / name).write_text("")
    with pytest.raises(
        DataError, match=r"no run\.json\.bak says how the results beside it were made; move them"
    ) as caught:
        RunStore(tmp_path, settings()).__enter__()
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["a", "b", "c", RECORD]
    with RunStore(tmp_path, settings(), overwrite=True, names=["a", "b", "c"]) as store:
        assert store.record.done == []
    assert names(tmp_path) == [RECORD]


def test_a_record_without_hash_is_not_intact(tmp_path):
    three(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    for sequence in record["sequences"].values():
        del sequence["hash"]
    (tmp_path / RECORD).write_text(json.dumps(record))
    shutil.rmtree(tmp_path / "a")
    with RunStore(tmp_path, settings()) as store:
        assert store.check("a", ["a"]) == "its result files are missing"
        assert store.check("b", ["b"]) == "its record has no hash of its result files"


@pytest.mark.parametrize("name", [LOCK, f"{RECORD}.new", RECORD, BACKUP, f"{PARTIAL}a", ".mosam-0.part"])
def test_links_are_not_followed_for_writing(tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for target in ("file", "new"):
        run = tmp_path / f"run-{target}"
        with RunStore(run, settings()) as store:
            write(store, "a")
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(tmp_path / "mine" / target)
        if name == LOCK:
            with pytest.raises(StoreError, match=r"\.lock: expected the lock of a run, found something else"):
                RunStore(run, settings()).__enter__()
        else:
            with RunStore(run, settings()) as store:
                write(store, "b")
            assert sorted(read_record(run).done) == ["a", "b"]
        assert {p.name: p.read_text() for p in (tmp_path / "mine").iterdir()} == {"file": "mine"}


@pytest.mark.parametrize("kind", ["another name", "text", "pipe", "folder"])
def test_a_lock_that_is_none_is_not_written_to(tmp_path, kind):
    (tmp_path / "mine").write_text("mine" if kind == "text" else "")
    run = tmp_path / "run"
    run.mkdir()
    lock = run / LOCK
    if kind == "another name":
        os.link(tmp_path / "mine", lock)
    elif kind == "text":
        lock.write_text("my own notes")
    else:
        lock.mkdir() if kind == "folder" else os.mkfifo(lock)
    with pytest.raises(StoreError, match=r"\.lock: expected the lock of a run"):
        RunStore(run, settings()).__enter__()
    assert lock.exists()
    assert kind != "text" or lock.read_text() == "my own notes"


@pytest.mark.parametrize(
    "extra", ["notes.txt", "d", "a.txt", "log/mine.txt", "log/d.jsonl", "times/d_time.txt", "masks/0.png"]
)
def test_overwriting_removes_only_what_the_record_names(tmp_path, extra):
    three(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.jsonl").write_text("")
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "a_time.txt").write_text("0.1\n")
    (tmp_path / "scores.json").write_text("{}")
    (tmp_path / "scores@davis2017.json").write_text("{}")
    (tmp_path / extra).parent.mkdir(exist_ok=True)
    (tmp_path / extra).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    found = extra.partition("/")[0] if extra.startswith("masks") else extra
    with pytest.raises(
        MismatchError, match=rf"but found {re.escape(found)} beside it; .*nothing was removed"
    ) as caught:
        RunStore(tmp_path, settings(seed=1), overwrite=True, names=["a", "b", "c", "d"]).__enter__()
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / extra).unlink()
    if found == "masks":
        (tmp_path / "masks").rmdir()
    (tmp_path / ".DS_Store").write_text("")
    with RunStore(tmp_path, settings(seed=1), overwrite=True):
        pass
    assert names(tmp_path) == [".DS_Store", RECORD]


@pytest.mark.parametrize("name", ["../mine", "a/../../mine", "..", "/mine", "log"])
def test_overwriting_goes_nowhere_that_a_record_says(tmp_path, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    run = tmp_path / "run"
    three(run)
    for path in (run / RECORD, run / BACKUP):
        record = json.loads(path.read_text())
        record["sequences"][name] = {"status": "done"}
        path.write_text(json.dumps(record))
    if name == "log":
        (run / "log").symlink_to(tmp_path / "mine")
    with pytest.raises(PathError) as caught:
        RunStore(run, settings(), overwrite=True).__enter__()
    assert str(caught.value).isprintable()
    assert set(names(run)) - {"log"} == {"a", "b", "c", RECORD}
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_overwriting_passes_over_names_that_no_file_can_have(tmp_path):
    with RunStore(tmp_path, settings()) as store:
        write(store, "a")
        store.fail("n" * 300, SequenceRecord("failed", reason="File name too long"))
    with RunStore(tmp_path, settings(seed=1), overwrite=True):
        pass
    assert names(tmp_path) == [RECORD]


def test_overwriting_removes_what_a_killed_run_had_moved_but_not_recorded(tmp_path, monkeypatch):
    three(tmp_path)
    with RunStore(tmp_path, settings()) as store:
        monkeypatch.setattr(store, "_clear_partial", lambda: None)
        folder = store.partial("d")
        (folder / "d").mkdir()
        (folder / "d").rename(tmp_path / "d")
    with RunStore(tmp_path, settings(seed=1), overwrite=True, names=["a", "b", "c", "d"]):
        pass
    assert names(tmp_path) == [RECORD]


def test_no_record(tmp_path):
    with pytest.raises(MissingDataError, match=r"with run\.json, found none"):
        read_record(tmp_path)


def test_record_is_plain_json(tmp_path):
    with RunStore(tmp_path, settings()) as store:
        store.fail("b", SequenceRecord("failed", reason="why"))
    data = json.loads((tmp_path / RECORD).read_text())
    assert data["dataset"] == "toy"
    assert data["sequences"]["b"] == {
        "status": "failed",
        "frames": 0,
        "seconds": 0.0,
        "wall_seconds": 0.0,
        "reason": "why",
    }


def test_two_processes_cannot_write_one_run(tmp_path):
    with RunStore(tmp_path, settings()):
        path = str(tmp_path / LOCK)
        code = f"from mosam.results.lock import take_lock; from pathlib import Path; take_lock(Path({path!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert other.returncode == 1
        assert f"another process ({os.getpid()}) writes this run" in other.stderr
    assert not (tmp_path / LOCK).exists()


def test_lock_of_a_dead_process_is_taken_over(tmp_path):
    code = (
        "import os; from mosam.results.lock import take_lock; from pathlib import Path\n"
        f"take_lock(Path({str(tmp_path / LOCK)!r})); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert (tmp_path / LOCK).exists()
    with RunStore(tmp_path, settings()):
        pass


@pytest.mark.parametrize(
    ("number", "words"), [(28, "disk is full"), (13, "no permission"), (30, "read-only"), (122, "quota")]
)
def test_unwritable_folder_is_one_line(tmp_path, number, words):
    with pytest.raises(StoreError, match=words) as caught, writing(tmp_path):
        raise OSError(number, "text of the system")
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_other_errors_of_the_system_pass(tmp_path):
    with pytest.raises(IsADirectoryError), writing(tmp_path):
        raise IsADirectoryError(21, "is a directory")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match="expected a folder"), RunStore(tmp_path / "results" / "run", settings()):
        pass


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("sam2", "large"), "sam2-large"),
        (("mosam[stride=3,mgp=off]", "large"), "mosam-stride=3,mgp=off-large"),
        (("sam2", "random:nano"), "sam2-random-nano"),
        (("mosam[sparse=../../x:C]", "a/.."), "mosam-sparse=.._.._x:C-.."),
        (("sam2", "org/some-model"), "sam2-some-model"),
        (("sam2", "/data/sam2.1_hiera_large.pt"), "sam2-sam2.1_hiera_large"),
    ],
)
def test_run_name(arguments, name):
    assert run_name(*arguments) == name
    assert run_name(*arguments, split="test-dev", prompt="box", seed=3) == f"{name}@test-dev@box@seed3"


@pytest.mark.parametrize("foreign", ["notes.txt", "photo.jpg", "mine/00000.png"])
def test_files_of_a_user_among_the_results_stay(tmp_path, foreign):
    with RunStore(tmp_path, settings()) as store:
        write(store, "a")
    mine = tmp_path / "a" / foreign
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(MismatchError, match=f"found a/{foreign} beside it.*nothing was removed"):
        RunStore(tmp_path, settings(seed=1), overwrite=True).__enter__()
    with RunStore(tmp_path, settings()) as store:
        assert store.check("a", ["a"]) is not None
        for change in (lambda: store.forget("a", ["a"]), lambda: store.partial("a")):
            with pytest.raises(MismatchError, match=f"found a/{foreign} among them"):
                change()
        assert store.record.done == ["a"]
    assert (mine.read_text(), (tmp_path / "a" / "0.txt").read_text()) == ("mine", "x")


def test_a_folder_of_a_user_is_not_replaced_by_results(tmp_path):
    with RunStore(tmp_path, settings()) as store:
        write(store, "a")
        folder = store.partial("b")
        (folder / "b").mkdir()
        (folder / "b" / "0.txt").write_text("x")
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "letter.odt").write_text("mine")
        with pytest.raises(MismatchError, match=r"found b/letter\.odt among them"):
            store.commit("b", ["b"], SequenceRecord("done", 3))
    assert (tmp_path / "b" / "letter.odt").read_text() == "mine"
