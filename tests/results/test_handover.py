"""What a run believes of the folders it finds: nothing that a file in them says moves or removes anything outside."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from launch_fakes import NAMES, FakeRunSpec, results, undisturbed

from mosam.codecs import times_path
from mosam.errors import DataError
from mosam.results.folder import content_hash, hidden_name
from mosam.results.frame_log import log_path
from mosam.results.handover import OUTCOME, READY, WORK, WorkerResultSink, place_of, take_over
from mosam.results.record import RECORD, SequenceRecord, read_record
from mosam.tracking import loop
from mosam.tracking import run as runner
from mosam.tracking.run import open_store


@pytest.fixture(autouse=True)
def real_engine_afterwards(monkeypatch):
    monkeypatch.setattr(loop, "_new_engine", loop._new_engine)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def places(tmp_path):
    """A run's folder, and things of somebody else beside it."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / "run").mkdir()
    return tmp_path / "run", tmp_path / "mine"


def go(folder, **options):
    """A run in this process; what happened."""
    events, setup = [], FakeRunSpec().open(None)
    result = runner.run(setup.dataset, setup.model, setup.policy, out=folder, progress=events.append, **options)
    return result, {name: [e.sequence for e in events if e.event == name] for name in ("kept", "done", "note")}


def leave(folder, plain, name="s03", token="7-1", *, change=None, log=None, times=None):
    """A finished sequence as a worker leaves it, with its outcome changed; returns the ready folder."""
    setup = FakeRunSpec().open(None)
    sink = WorkerResultSink(folder, setup.settings(), lambda name: token, lambda *what: None)
    partial = sink.partial(name)
    (partial / f"{name}.txt").write_bytes(plain[f"{name}.txt"])
    (partial / f"{name}_time.txt").write_text("0.1\n" * NAMES[name])
    if log is not None:
        (partial / log_path(name)).parent.mkdir()
        (partial / log_path(name)).write_text(log)
    if times is not None:
        (partial / times_path(name)).parent.mkdir()
        (partial / times_path(name)).write_text(times)
    annotation = setup.dataset.select([name]).annotation_hash()
    sink.commit(name, [f"{name}.txt", f"{name}_time.txt"], SequenceRecord("done", 3, 0.3, annotation=annotation))
    ready = folder / place_of(READY, name, token)
    if change is not None:
        outcome = json.loads((ready / OUTCOME).read_text())
        change(outcome)
        (ready / OUTCOME).write_text(json.dumps(outcome))
    return ready


def content(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_one_process_takes_over_what_workers_left(places, plain):
    run, _ = places
    leave(run, plain, log="line\n", times="0.25\n")
    (run / f"{WORK}s04@7-2").mkdir()
    (run / f"{WORK}s04@7-2" / "s04.txt").write_text("half")
    result, events = go(run)
    assert events["kept"] == ["s03"]
    assert (run / log_path("s03")).read_text() == "line\n"
    assert (run / times_path("s03")).read_text() == "0.25\n"
    assert results(run) == plain
    assert hidden(run) == []
    assert result.done == tuple(NAMES)


EVIL = ["../mine", "../../x", "/", "..", "s03/../../mine", "s03.txt/..", "", ".", "\0"]


@pytest.mark.parametrize("path", [*EVIL, None])
@pytest.mark.parametrize("field", ["name", "paths", "unhashed"])
def test_paths_in_a_file_move_and_remove_nothing(places, plain, field, path):
    run, mine = places
    where = str(mine) if path is None else path

    def change(outcome):
        outcome["record"]["hash"] = content_hash(mine.parent, ["mine"]) or outcome["record"]["hash"]
        outcome[field] = where if field == "name" else [where, f"{where}/file"]

    leave(run, plain, change=change)
    go(run)
    assert content(mine) == {"file": "mine"}
    assert sorted(p.name for p in run.parent.iterdir()) == ["mine", "run"]
    assert results(run) == plain
    assert hidden(run) == []


@pytest.mark.parametrize("field", ["paths", "unhashed"])
def test_text_where_a_list_is_meant_is_not_walked(places, plain, field):
    run, mine = places
    leave(run, plain, change=lambda outcome: outcome.update({field: str(mine)}))
    go(run)
    assert content(mine) == {"file": "mine"}
    assert results(run) == plain


@pytest.mark.parametrize(
    "outcome",
    [
        "", "[]", '"s03"', "{", "null", "[" * 5000, '{"name": "s03"}', '{"name": 3, "settings": {}, "record": {}}',
        '{"name": "s03", "settings": [], "record": "done"}', "\ud800".encode("utf-8", "surrogatepass"),
    ],
)  # fmt: skip
def test_an_outcome_of_another_shape_is_dropped(places, plain, outcome):
    run, _ = places
    ready = leave(run, plain)
    (ready / OUTCOME).write_bytes(outcome if isinstance(outcome, bytes) else outcome.encode())
    _, events = go(run)
    assert events["kept"] == []
    assert results(run) == plain
    assert hidden(run) == []


@pytest.mark.parametrize("what", ["folder", "file", "result", "log", "outcome"])
def test_links_in_the_folder_are_not_followed(places, plain, what):
    run, mine = places
    ready = leave(run, plain, log="line")
    if what == "folder":
        moved = ready.rename(mine / "ready")
        ready.symlink_to(moved)
    elif what == "file":
        (run / f"{READY}x@1-1").symlink_to(mine / "file")
        (run / f"{WORK}x@1-1").symlink_to(mine)
    elif what == "result":
        (ready / "s03.txt").rename(mine / "s03.txt")
        (ready / "s03.txt").symlink_to(mine / "s03.txt")
    elif what == "log":
        (ready / "log" / "s03.jsonl").rename(mine / "s03.jsonl")
        (ready / "log").rmdir()
        (ready / "log").symlink_to(mine)
    else:
        (ready / OUTCOME).rename(mine / OUTCOME)
        (ready / OUTCOME).symlink_to(mine / OUTCOME)
    before = content(mine)
    go(run)
    assert content(mine) == before
    assert not any(path.is_symlink() for path in run.rglob("*"))
    assert results(run) == plain
    assert hidden(run) == []


def test_results_that_cannot_be_read_are_made_again(places, plain, monkeypatch):
    run, _ = places
    leave(run, plain)

    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("mosam.results.handover.content_hash", refused)
    _, events = go(run)
    assert "s03" in events["done"]
    assert results(run) == plain
    assert hidden(run) == []


def test_links_where_results_go_are_replaced(places, plain):
    run, mine = places
    go(run)
    (run / "s03.txt").unlink()
    (run / "s03.txt").symlink_to(mine / "file")
    (run / hidden_name(".partial-", "s03")).symlink_to(mine)
    result, _ = go(run)
    assert content(mine) == {"file": "mine"}
    assert not (run / "s03.txt").is_symlink()
    assert results(run) == plain
    assert result.done == tuple(NAMES)


def test_a_folder_on_the_way_that_is_a_link_stops_the_run(places):
    from mosam.errors import MosamError

    run, mine = places
    (run / "log").symlink_to(mine)
    (run / "run.json").write_text("")
    setup = FakeRunSpec().open(None)
    with pytest.raises(MosamError), open_store(setup.dataset, setup.settings(), {}, out=run, overwrite=True):
        pass
    assert content(mine) == {"file": "mine"}


def test_other_settings_are_not_taken_over(places, plain):
    run, _ = places
    leave(run, plain, change=lambda outcome: outcome["settings"].update(seed=7))
    _, events = go(run)
    assert events["kept"] == []
    assert results(run) == plain


def test_what_was_not_asked_for_now_waits(places, plain):
    run, _ = places
    ready = leave(run, plain)
    setup = FakeRunSpec().open(None)
    few = setup.dataset.select(["s04"])
    runner.run(few, setup.model, setup.policy, out=run)
    assert ready.is_dir()
    assert read_record(run).done == ["s04"]
    _, events = go(run)
    assert sorted(events["kept"]) == ["s03", "s04"]


def test_overwriting_throws_away_what_workers_left(places, plain):
    run, _ = places
    go(run)
    leave(run, plain)
    (run / f"{WORK}s04@7-2").mkdir()
    _, events = go(run, overwrite=True)
    assert len(events["done"]) == len(NAMES)
    assert hidden(run) == []


def test_own_workers_are_left_alone(places, plain):
    run, _ = places
    own, other = leave(run, plain, token="ab-1"), leave(run, plain, "s04", token="abc-1")
    setup = FakeRunSpec().open(None)
    with open_store(setup.dataset, setup.settings(), {}, out=run, overwrite=False) as store:
        take_over(store, setup.dataset, overwrite=False, but="ab")
        assert store.record.done == ["s04"]
    assert own.is_dir()
    assert not other.is_dir()


def test_names_too_long_for_a_hidden_folder(tmp_path):
    setup = FakeRunSpec().open(None)
    with open_store(setup.dataset, setup.settings(), {}, out=tmp_path / "run", overwrite=False) as store:
        for name in ("n" * 250, "n" * 1000, "a/b", "a\0b", "\udcff"):
            store.fail(name, SequenceRecord("failed", reason="File name too long"))
            assert store.partial(name).parent == tmp_path / "run"
        sink = WorkerResultSink(tmp_path / "run", setup.settings(), lambda name: "7-1", lambda *what: None)
        sink.fail("n" * 250, SequenceRecord("failed", reason="File name too long"))
    assert len(read_record(tmp_path / "run").failed) == 5


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.lists(st.text(max_size=3))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from(["name", "record", "settings", "hash", "status", "frames", "seed"]), value=VALUES)
def test_any_value_in_an_outcome(tmp_path_factory, plain, where, value):
    run = tmp_path_factory.mktemp("outcome") / "run"
    run.mkdir()

    def change(outcome):
        inner = {"hash": "record", "status": "record", "frames": "record", "seed": "settings"}.get(where)
        (outcome[inner] if inner else outcome)[where] = value

    leave(run, plain, change=change)
    setup = FakeRunSpec().open(None)
    with open_store(setup.dataset, setup.settings(), {}, out=run, overwrite=False) as store:
        take_over(store, setup.dataset, overwrite=False)
        assert set(store.record.sequences) <= {"s03"}
    assert not [name for name in hidden(run) if name.startswith((READY, WORK))]
    assert sorted(p.name for p in run.parent.iterdir()) == ["run"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_a_record_is_one_line_or_mended(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("record")
    setup = FakeRunSpec().open(None)
    with open_store(setup.dataset, setup.settings(), {}, out=folder, overwrite=False) as store:
        store.fail("s03", SequenceRecord("failed", reason="why"))
        text = store.record.to_json()
    key = data.draw(st.sampled_from(sorted(text)))
    (folder / RECORD).write_text(json.dumps({**text, key: data.draw(VALUES)}))
    try:
        record = read_record(folder)
    except DataError as error:
        problem = str(error)
    else:
        assert dataclasses.asdict(record)
        return
    assert problem.isprintable()
    assert problem.startswith(f"{folder / RECORD}: ")
    with open_store(setup.dataset, setup.settings(), {}, out=folder, overwrite=False) as store:
        assert "rebuilt" in store.notes[0]
        assert store.record.failed == {"s03": "why"}
