"""`mosam board check`: what is recomputed, what is found, and what is left alone."""

import dataclasses
import json
import os

import pytest
from commands.report.pages import made_lasot, made_scores, tracked

from mosam.cli import run_command
from mosam.commands.board import CheckOptions, check_scores
from mosam.commands.board.check import Difference, compare_scores
from mosam.errors import MissingDataError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.realtime import RealTime
from mosam.evaluation.scores import load_scores, save_scores
from mosam.results.folder import content_hash
from mosam.results.record import RunRecord, read_record, to_text


@pytest.fixture
def results(tmp_path):
    """Two runs of a made LaSOT, one of them with a record that names the hash of its files."""
    dataset = made_lasot(tmp_path)
    out = tracked(tmp_path, dataset, "mosam", shift=3, model="nano")
    tracked(tmp_path, dataset, "other", shift=30)
    record = read_record(out)
    for name in record.sequences:
        (out / f"{name}_time.txt").write_text("0.05\n" * 30)
    hashed = {
        name: dataclasses.replace(done, hash=content_hash(out, [f"{name}.txt", f"{name}_time.txt"]))
        for name, done in record.sequences.items()
    }
    output = {"format": "lasot"}
    settings = dataclasses.replace(record.settings, output=output)
    (out / "run.json").write_text(to_text(RunRecord(settings, environment={}, sequences=hashed)))
    save_scores(out / "scores.json", evaluate(out, dataset))
    return tmp_path


def check(folder, **options):
    return check_scores(folder / "results", CheckOptions(data=folder, jobs=1, **options))


def change(path, edit):
    """Edits a scores file as a cheat would."""
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def test_true_scores_pass(results):
    found = check(results)
    assert found.recomputed == ["lasot/mosam-nano/scores.json", "lasot/other-None/scores.json"]
    assert found.differences == []
    assert found.skipped == {}
    assert found.numbers > 20


def test_a_doctored_score_is_named_with_run_sequence_and_metric(results, capsys):
    path = results / "results/lasot/other-None/scores.json"
    [before] = load_scores(path)
    name = next(iter(before.sequences))
    change(path, lambda data: data["overall"].update(success_auc=0.999))
    change(path, lambda data: data["sequences"][name].update(precision=0.25))
    was, is_now = before.sequences[name]["precision"], before.overall["success_auc"]
    assert check(results).differences == [
        Difference("lasot/other-None", "overall", "success_auc", "0.999", f"{is_now:.9g}"),
        Difference("lasot/other-None", name, "precision", "0.25", f"{was:.9g}"),
    ]
    code = run_command(["board", "check", str(results / "results"), "--data", str(results), "--jobs", "1"])
    assert code == 1
    out = capsys.readouterr().out
    assert f"lasot/other-None: {name}: precision: stored 0.25, recomputed {was:.9g}" in out
    assert "2 scores files recomputed" in out
    assert "2 differ; 0 could not be recomputed" in out


def test_a_value_or_sequence_that_was_removed_or_added_is_found(results):
    path = results / "results/lasot/other-None/scores.json"
    first, second = load_scores(path)[0].sequences
    change(path, lambda data: data["sequences"].pop(first))
    assert {one.sequence for one in check(results).differences} == {"overall"}
    change(path, lambda data: data["sequences"][second].update(op75=None, made_up=1.0))
    found = {(one.sequence, one.metric): (one.stored, one.recomputed) for one in check(results).differences}
    assert found[second, "made_up"] == ("1", "none")
    assert found[second, "op75"][0] == "undefined"


def test_raw_results_that_are_not_the_recorded_ones_are_found(results):
    out = results / "results/lasot/mosam-nano"
    [first, *_] = load_scores(out / "scores.json")[0].sequences
    lines = (out / f"{first}.txt").read_text().splitlines()
    (out / f"{first}.txt").write_text("\n".join([*lines[:-1], "1,1,5,5"]))
    save_scores(out / "scores.json", evaluate(out, made_again(results)))
    [found] = check(results).differences
    assert (found.sequence, found.metric) == (first, "raw results")


def made_again(folder):
    from mosam.datasets.base import load_dataset

    return load_dataset("lasot", root=folder / "lasot")


def test_raw_results_that_are_gone_are_found(results):
    out = results / "results/lasot/other-None"
    [first, *_] = load_scores(out / "scores.json")[0].sequences
    (out / f"{first}.txt").unlink()
    found = check(results).differences
    assert Difference("lasot/other-None", first, "results", "there", "missing") in found


def test_scores_of_a_subset_another_protocol_and_a_rate_are_recomputed_in_their_way(results):
    dataset, out = made_again(results), results / "results/lasot/mosam-nano"
    first = next(iter(dataset))
    for name, scores in {
        "scores@lasot": evaluate(out, dataset, protocol="lasot"),
        "scores@realtime": evaluate(out, dataset, realtime=RealTime(20, 3)),
        "scores": evaluate(out, dataset.select([first])),
    }.items():
        save_scores(out / f"{name}.json", scores)
    found = check(results)
    assert found.differences == []
    assert len(found.recomputed) == 4


def test_what_cannot_be_recomputed_is_said_and_can_fail(results, monkeypatch, capsys):
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    (results / "results/bare").mkdir()
    save_scores(results / "results/bare/scores.json", made_scores())
    (results / "results/far").mkdir()
    save_scores(results / "results/far/scores.json", made_scores(dataset="trap:Trap"))
    (results / "results/two").mkdir()
    save_scores(results / "results/two/scores.json", [made_scores(), made_scores("b")])
    (results / "results/link").symlink_to(results / "lasot")
    found = check(results)
    assert found.skipped == {
        "link": "a link, which is not followed",
        "bare/scores.json": "no raw results lie beside it",
        "far/scores.json": "'trap:Trap' is no benchmark that mosam knows without a plugin",
        "two/scores.json": "scores of 2 trackers, so that their raw results are not known",
    }
    words = ["board", "check", str(results / "results"), "--data", str(results), "--jobs", "1"]
    assert run_command(words) == 0
    assert run_command([*words, "--complete"]) == 1
    assert "not recomputed: bare/scores.json: no raw results lie beside it" in capsys.readouterr().err
    assert run_command(["board", "check", str(results / "results"), "--jobs", "1"]) == 1  # nothing was recomputed
    assert "lasot: no folder given" in capsys.readouterr().err


def test_names_that_lead_outside_are_not_followed(results):
    out = results / "results/lasot/mosam-nano"
    record = json.loads((out / "run.json").read_text())
    record["sequences"]["../../../secret"] = {"status": "done", "hash": "0" * 64}
    (out / "run.json").write_text(json.dumps(record))
    assert "nothing was touched" in check(results).skipped["lasot/mosam-nano/scores.json"]


def test_links_among_raw_results_are_not_followed(results):
    out = results / "results/lasot/other-None"
    (out / "more.txt").symlink_to("/etc/passwd")
    assert "a link, pipe or device among the raw results" in check(results).skipped["lasot/other-None/scores.json"]


def test_no_scores(tmp_path):
    with pytest.raises(MissingDataError, match="expected scores files of runs at any depth"):
        check_scores(tmp_path)


def test_what_other_versions_of_numpy_move_is_no_difference():
    stored = made_scores()
    near = dataclasses.replace(stored, overall={"success_auc": 0.55 * (1 + 1e-9)})
    far = dataclasses.replace(stored, overall={"success_auc": 0.55 + 1e-4})
    assert list(compare_scores("x", stored, near)) == []
    assert len(list(compare_scores("x", stored, far))) == 1


def test_pipes_are_not_waited_for(results):
    place = results / "results"
    (place / "pipe").mkdir()
    os.mkfifo(place / "pipe" / "scores.json")
    out = place / "lasot" / "other-None"
    [first, *_] = load_scores(out / "scores.json")[0].sequences
    (out / f"{first}.txt").unlink()
    os.mkfifo(out / f"{first}.txt")
    os.mkfifo(out / "run.json")
    found = check(results)
    assert found.skipped["pipe/scores.json"].endswith("expected a file, got a folder, a pipe or a device")
    assert "a link, pipe or device among the raw results" in found.skipped["lasot/other-None/scores.json"]
    assert found.recomputed == ["lasot/mosam-nano/scores.json"]
