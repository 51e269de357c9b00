"""The page of `mosam report`: what is on it, and what becomes of bad input."""

import base64
import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from commands.report.pages import Page, made_lasot, made_scores, tracked
from hypothesis import given
from hypothesis import strategies as st

from mosam.cli import run_command
from mosam.commands.gather import Gatherer, Places
from mosam.commands.page.render import CONTRAST, DARK, _contrast, _lightened, _parts
from mosam.commands.report import ReportOptions, build_report
from mosam.commands.report.sequences import POINTS, Job, _encode, _path, view_sequences
from mosam.errors import DataError, MissingDataError
from mosam.evaluation.figures import FIGURES
from mosam.evaluation.scores import load_scores, save_scores

NASTY = "<img src=x onerror=alert(1)>&\"'</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a made benchmark and two scored runs."""
    folder = tmp_path_factory.mktemp("runs")
    dataset = made_lasot(folder)
    tracked(folder, dataset, "sam2", shift=300, model="nano")
    tracked(folder, dataset, "mosam", shift=3, model="nano")
    return folder


@pytest.fixture(autouse=True)
def few_figures(request, monkeypatch):
    """Figures take longest; two kinds do, but where a test is about them."""
    if "everything" not in request.node.name:
        kept = {kind: FIGURES[kind] for kind in ("sequences", "success")}
        monkeypatch.setattr("mosam.commands.report.build.FIGURES", kept)


def report(*paths, **options):
    return build_report(paths, ReportOptions(**options))


def decoded(url):
    head, _, data = url.partition(",")
    assert head.endswith(";base64")
    return base64.b64decode(data)


def test_everything_is_on_the_page_and_nothing_comes_from_elsewhere(runs):
    text = report(runs / "results", data=runs, title="Two trackers")
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.all("a"):
        assert attributes["href"].startswith("data:") or attributes["href"][1:] in ids
    for attributes in page.all("img"):
        assert attributes["src"].startswith("data:image/")
        assert attributes["alt"]
    for attributes in page.all("label"):
        assert attributes["for"] in ids
    assert not page.all("link")
    assert all("src" not in attributes for attributes in page.all("script"))
    assert not re.search(r"(src|href)=.?https?:", text)
    assert "default-src 'none'" in text

    # each sequence has a part with a chart and frames, and a link to it
    details = [attributes["id"] for attributes in page.all("details")]
    assert len(details) == 2
    assert [a["href"][1:] for a in page.all("a") if a["href"][1:] in details] == details
    charts = [a for a in page.all("svg") if a.get("role") == "img"]
    assert len(charts) == 2
    assert "mosam nano mean" in charts[0]["aria-label"]
    assert "sam2 nano mean" in charts[0]["aria-label"]
    # not on a video whose object has gone before the boxes are off
    lost = [re.search(r"sam2 nano mean \d+, first lost at frame (\d+)", chart["aria-label"]) for chart in charts]
    assert [15 <= int(found[1]) < 30 for found in lost if found] == [True]
    strips = [a for a in page.all("img") if a["src"].startswith("data:image/webp")]
    assert len(strips) == 2
    assert "first loss: sam2" in page.words

    # figures are SVG, raw scores are those on disk, settings that differ are marked
    figures = [a for a in page.all("img") if a["src"].startswith("data:image/svg+xml")]
    assert len(figures) >= 5
    for figure in figures:
        assert ElementTree.fromstring(decoded(figure["src"])).tag.endswith("svg")
        assert int(figure["width"]) > 100
    [link] = [a for a in page.all("a") if a.get("download", "").endswith("mosam-nano.json")]
    [stored] = load_scores(runs / "results" / "lasot" / "mosam-nano" / "scores.json")
    assert json.loads(decoded(link["href"])) == stored.to_json()
    assert page.words.count("differs") >= 2
    [row] = re.findall(r'<tr class="differs"><th scope="row">policy\.stride.*?</tr>', text)
    assert ">300<" in row
    assert ">3<" in row
    assert page.words.startswith("Two trackers")


def test_without_the_benchmark_numbers_remain(runs, tmp_path, monkeypatch):
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    page = Page(report(runs / "results"))
    assert "No curves or frames: lasot: no folder given" in page.words
    assert len(page.all("details")) == 2
    copy = tmp_path / "both.json"
    save_scores(copy, [*load_scores(runs / "results/lasot/mosam-nano/scores.json"), made_scores("other")])
    page = Page(report(copy))
    assert "the scores came without the folders of raw results" in page.words
    assert "No run's record lies beside these scores" in page.words


def test_names_with_special_characters(tmp_path):
    path = tmp_path / "scores.json"
    scores = made_scores(NASTY, (NASTY, "b"), notes=(f"{NASTY}: cut",), missing=(f"m{NASTY}",))
    save_scores(path, [scores, made_scores("[x]{y}")])
    text = report(path, title=NASTY)
    page = Page(text)
    assert "onerror" not in {key for _, attributes in page.elements for key in attributes}
    assert all(attributes["src"].startswith("data:") for attributes in page.all("img"))
    assert text.count("<script>") == text.count("</script>") == 1
    assert page.words.count(NASTY) >= 6
    for figure in page.all("img"):
        ElementTree.fromstring(decoded(figure["src"]))


def test_one_tracker(tmp_path):
    save_scores(tmp_path / "scores.json", made_scores())
    page = Page(report(tmp_path))
    assert "Best less worst" not in page.words
    assert len(page.all("details")) == 2
    assert not [a for a in page.all("td") if "rank" in a.get("class", "")]


def test_every_number_is_shown_where_tables_show_a_few(tmp_path):
    """`mosam table` shows five columns of `toy`; the page has room for all, each under its own head."""
    overall = {"jf_mean": 0.8, "j_mean": 0.711, "f_mean": 0.622, "success_auc": 0.533, "presence": 0.944}
    made = [made_scores(name, sequences=("a",), dataset="toy", protocol="toy", overall=overall) for name in ("x", "y")]
    save_scores(tmp_path / "scores.json", made)
    cells = re.findall(r'<td data-v="([\d.]+)"[^>]*>([\d.]+)', report(tmp_path))
    assert cells[:5] == [(str(value), f"{100 * value:.1f}") for value in overall.values()]


def test_no_sequences(tmp_path):
    save_scores(tmp_path / "scores.json", made_scores(sequences=(), overall={}))
    page = Page(report(tmp_path))
    assert "No sequence was scored." in page.words
    assert not page.all("img")


def test_missing_sequences_are_shown_and_win_nothing(tmp_path):
    whole, short = made_scores(), made_scores("short", ("a",), overall={"success_auc": 0.9}, missing=("b",))
    asked_less, empty = made_scores("asked-less", ("a",)), made_scores("empty", (), overall={})
    save_scores(tmp_path / "scores.json", [whole, short, asked_less, empty])
    page = Page(report(tmp_path))
    assert page.words.count("missing") == 4
    assert "No results of 1 sequences, left out: b" in page.words
    assert "asked-less: lacks b, which others have" in page.words
    assert not [a for a in page.all("td") if a.get("class") == "rank1"]  # only one tracker has all of them
    assert page.all("img")  # one without sequences does not keep the others from being drawn


def test_other_protocols_stand_apart(tmp_path):
    save_scores(
        tmp_path / "scores.json",
        [made_scores(), made_scores("mosam"), made_scores("mosam", protocol="lasot"), made_scores(dataset="lasot-ext")],
    )
    groups = Gatherer().gather([tmp_path])
    assert [len(group.entries) for group in groups] == [2, 1, 1]
    page = Page(report(tmp_path))
    assert "cannot be compared; each has a part of its own" in page.words
    titles = [text for text in page.text if text.startswith("lasot")]
    assert {"lasot test, protocol pytracking", "lasot test, protocol lasot"} <= set(titles)


def test_equal_names_are_told_apart(tmp_path):
    for folder in ("sam2-large", "sam2-large@box", "again"):
        (tmp_path / folder).mkdir()
        save_scores(tmp_path / folder / "scores.json", made_scores(model="large"))
    [group] = Gatherer().gather([tmp_path])
    names = [entry.name for entry in group.entries]
    assert len(set(names)) == 3
    assert "sam2 @box large" in names


def test_runs_without_scores_are_scored(tmp_path, monkeypatch):
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    out = tracked(tmp_path, made_lasot(tmp_path), "sam2", shift=5, model="nano")
    [stored] = load_scores(out / "scores.json")
    (out / "scores.json").unlink()
    [group] = Gatherer(Places(data=tmp_path)).gather([tmp_path / "results"])
    assert group.entries[0].scores.overall == pytest.approx(stored.overall)
    with pytest.raises(MissingDataError, match="not scored yet, and cannot be now: lasot: no folder given"):
        Gatherer().gather([tmp_path / "results"])
    (out / "run.json").unlink()
    with pytest.raises(MissingDataError, match="name the --dataset"):
        Gatherer().gather([out])
    [group] = Gatherer(Places(data=tmp_path), dataset="lasot").gather([out])
    assert group.entries[0].name == "sam2-nano"


def test_bad_files(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({**made_scores().to_json(), "schema": 99}))
    with pytest.raises(DataError, match="schema 1, got 99; update mosam"):
        report(tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match="expected JSON"):
        report(tmp_path)
    save_scores(path, made_scores())
    (tmp_path / "run.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="expected the record of a run"):
        report(tmp_path)


def test_the_command(runs, tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    out = tmp_path / "new" / "page.html"
    words = ["report", str(runs / "results"), "--out", str(out)]
    assert run_command([*words, "--root", str(runs / "lasot"), "--jobs", "2"]) == 0
    assert capfd.readouterr().out.strip() == str(out)
    assert "data:image/webp" in out.read_text()
    assert run_command([*words, "--root", str(runs / "lasot"), "--no-strips", "--jobs", "1"]) == 0
    assert "data:image/webp" not in out.read_text()
    assert run_command([*words, "--no-curves"]) == 0
    assert 'class="line' not in out.read_text()
    capfd.readouterr()
    assert run_command(["report", str(tmp_path / "nothing"), "--out", str(out)]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


# ---------------------------------------------------------------------------------------------- parts


@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=2000))
def test_curves_are_short_and_within_the_chart(values):
    path = _path(np.linspace(0, 800, len(values)), np.array(values))
    points = re.findall(r"([ML])(\d+) (\d+)", path)
    assert "".join(f"{pen}{x} {y}" for pen, x, y in points) == path
    assert len(points) <= POINTS
    assert all(0 <= int(x) <= 800 and 0 <= int(y) <= 120 for _, x, y in points)
    assert bool(points) == (not np.isnan(values).all())


def test_undefined_values_break_a_curve():
    assert _path(np.arange(5.0), np.array([1.0, 0.5, math.nan, 0.0, 0.0])) == "M0 0L1 60M3 120L4 120"


def test_strips_keep_to_their_budget():
    noise = np.random.default_rng(0).integers(0, 255, (128, 1136, 3), dtype=np.uint8)
    assert len(_encode(noise, 10**9)) > len(_encode(noise, 60_000))
    assert len(_encode(np.full((128, 1136, 3), 90, dtype=np.uint8), 6_000)) < 6_000


def test_a_damaged_result_is_said(tmp_path):
    dataset = made_lasot(tmp_path)
    out = tracked(tmp_path, dataset, "sam2", shift=5)
    name = next(iter(dataset))
    (out / f"{name}.txt").write_text("1,2\n")
    views = view_sequences(Job(dataset, (("sam2", None, out, "#000000"),)), list(dataset))
    assert name in views[name].notes[0]
    assert views[name].curves == ()
    assert [len(view.curves) for view in views.values()] == [0, 1]


@pytest.mark.parametrize("color", ["#000000", "#882255", "#0072B2", "#D55E00", "#E69F00"])
def test_colors_show_in_the_dark(color):
    assert _contrast(_parts(_lightened(color)), _parts(DARK)) >= CONTRAST - 0.05


def test_contrast_is_that_of_the_guidelines():
    assert _contrast((1, 1, 1), (0, 0, 0)) == pytest.approx(21)
    assert _contrast(_parts("#777777"), (1, 1, 1)) == pytest.approx(4.48, abs=0.01)
