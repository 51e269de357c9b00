"""The site of `mosam board`: what is on it, and what becomes of bad or hostile results."""

import csv
import dataclasses
import io
import json
import math
import re

import pytest
from commands.board.sites import site_of
from commands.report.pages import Page, made_lasot, made_scores, tracked

from mosam.cli import DONE, WRONG, run_command
from mosam.commands.board import BoardOptions, build_board
from mosam.commands.board.build import _below, _letters, _Names, _no_formula
from mosam.commands.board.cards import command, facts
from mosam.commands.board.published import published_rows, scaled
from mosam.commands.gather import Entry, Group
from mosam.errors import MissingDataError, MosamError
from mosam.evaluation.scores import load_scores, save_scores
from mosam.results.record import RunRecord, RunSettings, SequenceRecord

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
LASOT = "lasot-test-pytracking"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs with records, and somebody's results, scored; the benchmark beside them."""
    folder = tmp_path_factory.mktemp("board")
    dataset = made_lasot(folder)
    tracked(folder, dataset, "sam2", shift=300, model="nano")
    tracked(folder, dataset, "mosam", shift=3, model="nano")
    tracked(folder, dataset, "other", shift=30)
    return folder


@pytest.fixture(scope="module")
def site(results):
    return site_of(results / "results")[0]


def test_a_page_a_benchmark_and_a_card_a_result(site):
    names = ("mosam-nano", "other-none", "sam2-nano")
    cards = [f"{LASOT}/{name}{ending}" for name in names for ending in (".html", ".json")]
    assert sorted(site) == sorted(["index.html", f"{LASOT}.html", f"{LASOT}.csv", *cards])
    index, page = Page(site["index.html"]), Page(site[f"{LASOT}.html"])
    assert [a["href"] for a in index.all("a")][1:] == [f"{LASOT}.html"]
    assert "lasot test, protocol pytracking" in index.words
    links = [a["href"] for a in page.all("a") if a["href"].startswith(LASOT)]
    assert {*links} == {name for name in site if name.startswith(LASOT) and name != f"{LASOT}.html"} - {
        name for name in site if name.endswith(".json")
    }
    for name, text in site.items():
        if name.endswith(".html"):
            assert not re.search(r"(src|href)=.?https?:", text)
            assert "default-src 'none'" in text
            parsed = Page(text)
            ids = [a["id"] for _, a in parsed.elements if "id" in a]
            assert len(ids) == len(set(ids))


def test_the_table_has_the_best_first_with_intervals_and_published_rows_marked(site):
    page = Page(site[f"{LASOT}.html"])
    rows = [a for a in page.all("tr") if "data-tags" in a]
    measured = [a["data-text"] for a in rows if a["data-tags"] == "measured"]
    assert measured == ["mosam nano", "other-none", "sam2 nano"]
    printed = [a for a in rows if a["data-tags"] == "published"]
    assert len(printed) > 20
    assert {a.get("class") for a in printed} == {"published"}
    assert re.search(r"SAMURAI L.*?<td data-v=\"0.742[0-9]*\">74.2", site[f"{LASOT}.html"], re.S)
    assert "arXiv:2411.11922 Table 1" in page.words
    assert re.search(r'<span class="interval">[0-9.]+ to [0-9.]+</span>', site[f"{LASOT}.html"])
    assert "published" not in [a.get("data-tags") for a in Page(site["index.html"]).all("tr")]


def test_published_rows_can_be_left_out_and_are_only_of_the_same_protocol(results):
    page = site_of(results / "results", published=False)[0][f"{LASOT}.html"]
    assert "Sources of published" not in page
    values = ("success_auc", "precision")
    assert published_rows(Group("lasot", "test", "lasot"), values) == []
    assert published_rows(Group("nobodys", "test", "pytracking"), values) == []
    rows = published_rows(Group("lasot", "test", "pytracking"), values)
    assert all(0.3 < scaled(number) < 1 for row in rows for number in row.numbers.values())
    assert any(row.doubtful for row in rows)


def test_a_card_says_how_a_number_was_made(site, results):
    page = Page(site[f"{LASOT}/mosam-nano.html"])
    for word in ("Annotation hash", "SHA-256 " + "0" * 64, "Command", "Code", "Device", "Date", "Frames and seconds"):
        assert word in page.words
    assert "mosam run lasot --split test --tracker mosam --model nano --device cpu --precision fp32" in page.words
    assert "60 frames in 4.0 s of tracking, 15.00 frames/s" in page.words
    assert "policy.stride 3" in page.words
    [stored] = load_scores(results / "results" / "lasot" / "mosam-nano" / "scores.json")
    assert json.loads(site[f"{LASOT}/mosam-nano.json"]) == stored.to_json()
    assert Page(site[f"{LASOT}/other-none.html"]).words.count("not recorded") == 7


def test_the_command_of_a_run_has_what_is_not_usual(tmp_path):
    output = {"format": "lasot", "absent_as": "nan", "box_from_mask": "inclusive"}
    settings = RunSettings(
        "lasot", "test", "mask", 3, "mosam[stride=3]", {}, "large", "ab", "bfloat16", "cuda", {}, {}, output
    )
    record = RunRecord(settings, ("cup-1", "cup-2"))
    words = command(record, "lasot/mosam-large@published")
    assert words == (
        "mosam run lasot --split test --tracker 'mosam[stride=3]' --model large --device cuda --precision bf16 "
        "--prompt mask --seed 3 --absent-as nan --box-from-mask inclusive --settings published --sequences cup-1,cup-2"
    )
    environment = {"code": {"version": "1.0", "commit": "abc", "clean": False}, "date": "2026-01-02", "device": "H100"}
    record = dataclasses.replace(record, environment=environment, sequences={"cup-1": SequenceRecord("done", 10, 2.0)})
    found = facts(Entry(made_scores(), None, record), Group("lasot", "test", "pytracking"), "x")
    assert found["Code"] == "mosam 1.0, commit abc, with changes that are not committed"
    assert found["Date"] == "2026-01-02"
    assert found["Device"].startswith("H100, bfloat16")


def test_pairs_are_tested_and_marked(tmp_path):
    names = [f"s{number}" for number in range(12)]
    for tracker, values in (("good", 0.8), ("also", 0.79), ("bad", 0.2)):
        rows = {name: {"success_auc": values + 0.001 * (number % 3)} for number, name in enumerate(names)}
        mean = sum(row["success_auc"] for row in rows.values()) / len(rows)
        (tmp_path / tracker).mkdir()
        save_scores(
            tmp_path / tracker / "scores.json",
            dataclasses.replace(made_scores(tracker), sequences=rows, overall={"success_auc": mean}),
        )
    page = site_of(tmp_path)[0][f"{LASOT}.html"]
    kinds = re.findall(r'<td class="(better|worse|same)">', page)
    assert kinds == ["better", "better", "worse", "better", "worse", "worse"]
    assert "adjusted by Holm over the 3 pairs shown" in page
    for tracker in ("also", "bad"):
        (tmp_path / tracker / "scores.json").unlink()
    assert "There is only one tracker" in site_of(tmp_path)[0][f"{LASOT}.html"]


def test_no_test_where_a_number_is_no_mean_over_sequences(tmp_path):
    for tracker in ("a", "b"):
        (tmp_path / tracker).mkdir()
        save_scores(tmp_path / tracker / "scores.json", made_scores(tracker, overall={"success_auc": 0.9}))
    assert "No test: AUC is no mean over sequences" in site_of(tmp_path)[0][f"{LASOT}.html"]


def test_the_csv_has_every_run(site):
    rows = list(csv.reader(io.StringIO(site[f"{LASOT}.csv"])))
    assert rows[0][:3] == ["tracker", "coverage", "success_auc"]
    assert [row[0] for row in rows[1:]] == ["mosam nano", "other-None", "sam2 nano"]
    assert _no_formula("=1+1") == "'=1+1"


# ------------------------------------------------------------------------------------------------- labels


def test_labels_stand_for_trackers(results, tmp_path):
    labels = tmp_path / "labels.toml"
    labels.write_text(f'[labels]\n"mosam nano" = "MoSAM, ours"\n"other-None" = {json.dumps(NASTY)}\n')
    files, _ = site_of(results / "results", labels=labels)
    page = Page(files[f"{LASOT}.html"])
    assert "MoSAM, ours" in page.words
    assert NASTY in page.words
    assert "sam2 nano" in page.words
    assert not re.search(r"<script>alert|<img src=x", files[f"{LASOT}.html"])


# ------------------------------------------------------------------------------------------------- hostile folders


def test_everything_of_a_hostile_folder_is_escaped_and_nothing_loaded(tmp_path):
    folder = tmp_path / "results" / "evil"
    folder.mkdir(parents=True)
    scores = made_scores(
        NASTY, (NASTY, "../../up"), split=NASTY, protocol=NASTY, model=NASTY, notes=(NASTY,), missing=(NASTY,),
        subset=NASTY,
    )  # fmt: skip
    save_scores(folder / "scores.json", scores)
    trap = tmp_path / "trap.py"
    trap.write_text("raise SystemExit('loaded')")
    settings = RunSettings(
        "trap:Trap", NASTY, NASTY, 0, "trap:Trap", {NASTY: NASTY}, "trap:Trap", NASTY, NASTY, NASTY, {}, {},
        {"format": NASTY}, {"trap": {"sha256": NASTY, "file": str(trap)}},
    )  # fmt: skip
    record = RunRecord(settings, (NASTY,), NASTY, {"code": {"version": NASTY}, "date": NASTY, "platform": NASTY})
    (folder / "run.json").write_text(json.dumps(record.to_json()))
    bare = tmp_path / "results" / "bare"
    bare.mkdir()
    (bare / "run.json").write_text(json.dumps(record.to_json()))
    files, notes = site_of(tmp_path / "results", title=NASTY)
    assert any("bare: not scored yet, and cannot be now" in note for note in notes)
    for name, text in files.items():
        assert re.fullmatch(r"[a-z0-9._=-]+(/[a-z0-9._=-]+)?", name)
        assert ".." not in name
        if name.endswith(".html"):
            page = Page(text)
            assert len(page.all("script")) == 1
            assert page.all("img") == []
            assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert NASTY in Page(files["index.html"]).words


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    save_scores(secret / "scores.json", made_scores("secret"))
    folder = tmp_path / "results"
    for name in ("good", "file"):
        (folder / name).mkdir(parents=True)
    save_scores(folder / "good" / "scores.json", made_scores("good"))
    (folder / "file" / "scores.json").symlink_to(secret / "scores.json")
    (folder / "all").symlink_to(secret)
    files, notes = site_of(folder)
    assert not any("secret" in text for text in files.values() if "secret/" not in text)
    assert [re.sub(r".*results/", "", note) for note in notes] == [
        "all: a link, which is not followed",
        "file/scores.json: a link, which is not followed",
    ]


def test_raw_results_behind_links_are_not_scored(tmp_path):
    dataset = made_lasot(tmp_path)
    out = tracked(tmp_path, dataset, "sam2", shift=5, model="nano")
    (out / "scores.json").unlink()
    first = next(iter(dataset))
    (out / f"{first}.txt").rename(tmp_path / "moved.txt")
    (out / f"{first}.txt").symlink_to(tmp_path / "moved.txt")
    with pytest.raises(MissingDataError, match="a link, pipe or device among raw results"):
        site_of(tmp_path / "results", data=tmp_path)


def test_damaged_runs_are_left_out_and_named(tmp_path):
    for name, text in {"good": None, "torn": "{", "late": '{"schema": 99}'}.items():
        (tmp_path / name).mkdir()
        save_scores(tmp_path / name / "scores.json", made_scores(name))
        if text is not None:
            (tmp_path / name / "scores.json").write_text(text)
    files, notes = site_of(tmp_path)
    assert len(notes) == 2
    assert all(note in Page(files["index.html"]).words for note in notes)
    with pytest.raises(MissingDataError):
        site_of(tmp_path / "torn")


def test_a_tracker_without_numbers_is_shown_all_the_same(tmp_path):
    (tmp_path / "x").mkdir()
    save_scores(tmp_path / "x" / "scores.json", made_scores(overall={"success_auc": math.nan}, sequences={}))
    files, _ = site_of(tmp_path)
    assert f"{LASOT}/sam2.html" in files
    save_scores(tmp_path / "x" / "scores.json", made_scores(overall={}, sequences={}))
    assert f"{LASOT}/sam2.html" in site_of(tmp_path)[0]


# ------------------------------------------------------------------------------------------------- the command


def test_the_command_writes_a_site_and_takes_away_only_its_own_files(results, tmp_path, capfd):
    out = tmp_path / "site"
    assert run_command(["board", str(results / "results"), "--out", str(out), "--jobs", "1"]) == DONE
    assert capfd.readouterr().out.strip() == str(out / "index.html")
    assert (out / LASOT / "other-none.html").is_file()
    (out / "mine.txt").write_text("kept")
    only = str(results / "results" / "lasot" / "mosam-nano")
    assert run_command(["board", "build", only, "--out", str(out), "--jobs", "1"]) == DONE
    assert not (out / LASOT / "other-none.html").exists()
    assert (out / LASOT / "mosam-nano.html").is_file()
    assert (out / "mine.txt").read_text() == "kept"


def test_a_folder_with_other_files_is_no_place_for_a_site(results, tmp_path, capfd):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run_command(["board", str(results / "results"), "--out", str(tmp_path)]) == WRONG
    assert "expected nothing or an earlier board, found thesis.tex" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_nothing_there(tmp_path):
    with pytest.raises(MissingDataError, match="expected scores or runs"):
        build_board(tmp_path, BoardOptions(), write=lambda name, text: None)


def test_names_of_files_are_plain_and_never_the_same():
    names = _Names()
    assert [names.make(words) for words in ("A b/..", "a-b", "index", "///", "x" * 300)] == [
        "a-b", "a-b-2", "index-2", "unnamed", "x" * 80,
    ]  # fmt: skip
    assert [_letters(number) for number in (0, 25, 26, 701, 702)] == ["a", "z", "aa", "zz", "aaa"]


def test_places_are_below_the_results(tmp_path):
    assert _below(tmp_path / "a" / "b", tmp_path) == "a/b"
    assert _below(None, tmp_path) == ""
    assert _below(tmp_path, tmp_path / "other") == tmp_path.name
    assert issubclass(MissingDataError, MosamError)
