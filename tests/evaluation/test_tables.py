from __future__ import annotations

import csv
import math

import pytest

from mosam.cli import run_command
from mosam.errors import MismatchError, MosamError, UnknownNameError
from mosam.evaluation import tables
from mosam.evaluation.columns import Column
from mosam.evaluation.figures import FIGURES
from mosam.evaluation.layouts import escape_latex, ranks_as_shown
from mosam.evaluation.protocols.base import PROTOCOLS, Protocol, protocol
from mosam.evaluation.scores import Scores, save_scores


def make_scores(tracker: str = "sam2", **changes) -> Scores:
    values = {
        "dataset": "lasot",
        "split": "test",
        "tracker": tracker,
        "model": None,
        "protocol": "pytracking",
        "overall": {"success_auc": 0.12345, "precision": 1.0, "fps": 12.34},
        "sequences": {"cup-1": {}, "cup-2": {}},
    }
    return Scores(**(values | changes))


def test_text():
    lines = tables.compare([make_scores(), make_scores("a-long-name", overall={"success_auc": math.nan})]).split("\n")
    assert lines == [
        "lasot test, protocol pytracking, 2 sequences",
        "---------------------------------------------",
        "Tracker      AUC [%]  P [%]  Speed [frames/s]",
        "---------------------------------------------",
        "sam2            12.3  100.0              12.3",
        "a-long-name        -      -                 -",
        "---------------------------------------------",
    ]


def test_the_toy_table_fits_a_terminal_and_all_columns_can_be_had():
    names = ["jf_mean", "j_mean", "j_recall", "success_auc", "op50", "precision", "norm_precision", "presence", "fps"]
    overall = dict.fromkeys(names, 0.5)
    scores = [make_scores("mosam-literal", dataset="toy", protocol="toy", model="nano", overall=overall)]
    brief = tables.tabulate(scores)
    assert max(map(len, brief.splitlines())) <= 80
    assert "J&F [%]" in brief
    assert "J recall" not in brief
    everything = tables.tabulate(scores, columns=["all"])
    assert all(tables.column_of(name, "toy").title in everything for name in names)
    assert "J recall" in tables.tabulate(scores, format="csv")
    assert "J recall" in tables.tabulate(scores, format="markdown", columns=["j_recall"])
    parts = tables.tabulate(
        [make_scores(overall=overall, attributes={"blur": overall})], by="attribute", columns=["all"]
    )
    assert parts.count("by attribute") == len(names)


def test_rounding_is_of_percent():
    text = tables.compare([make_scores(overall={"success_auc": 0.4956})], columns=["success_auc"])
    assert "49.6" in text


def test_markdown():
    assert tables.compare([make_scores(model="tiny")], columns=["precision"], format="markdown").split("\n") == [
        "**lasot test, protocol pytracking, 2 sequences**",
        "",
        "| Tracker | Model | P [%] |",
        "| :-- | :-- | --: |",
        "| sam2 | tiny | 100.0 |",
    ]


def test_csv_can_be_read_back():
    scores = [make_scores("a,b", overall={"success_auc": math.nan, "precision": 0.5}, official="2 of 280 official")]
    rows = list(csv.reader(tables.compare(scores, format="csv").splitlines()))
    assert rows == [["Tracker", "AUC [%]", "P [%]", "Subset"], ["a,b", "", "50.0", "2 of 280 official"]]


def test_subsets_are_marked_under_the_table():
    text = tables.compare(
        [
            make_scores("all"),
            make_scores("some", official="2 of 280 official sequences"),
            make_scores("few", subset="1 of 3 sequences", sequences={"cup-1": {}}),
            make_scores("same", official="2 of 280 official sequences", missing=("cup-3",), notes=("cup-1: cut",)),
        ]
    )
    assert "sequences" not in text.split("\n")[0]  # they differ
    assert [line.split("  ")[0] for line in text.split("\n")[4:8]] == ["all", "some *", "few **", "same *"]
    assert text.split("\n")[9:] == [
        "* 2 of 280 official sequences",
        "** 1 of 3 sequences",
        "few: lacks cup-2, which others have",
        "same: cup-1: cut",
        "same: 1 without results left out: cup-3",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "got10k"}, r"expected scores of one dataset, got lasot \(sam2\); got10k \(other\)"),
        ({"split": "train"}, r"expected scores of one split, got test \(sam2\); train \(other\)"),
        ({"protocol": "lasot"}, r"expected scores of one protocol, got pytracking \(sam2\); lasot \(other\)"),
    ],
)
def test_what_cannot_be_compared_is_not_mixed(changes, message):
    with pytest.raises(MismatchError, match=message):
        tables.compare([make_scores(), make_scores("other", **changes)])


def test_a_tracker_that_lacks_a_sequence_says_so():
    one = make_scores("A", sequences={"cup": {"success_auc": 0.5}, "dog": {"success_auc": 0.5}})
    other = make_scores("B", sequences={"cup": {"success_auc": 0.6}, "zebra": {"success_auc": 0.6}})
    text = tables.compare([one, other])
    assert "2 sequences" not in text.split("\n")[0]  # of which two?
    assert [line.split("  ")[0] for line in text.split("\n")[4:6]] == ["A *", "B *"]
    notes = "* 2 of 3 sequences\nA: lacks zebra, which others have\nB: lacks dog, which others have"
    assert text.endswith(notes)
    rows = [line.split() for line in tables.by_sequence([one, other], "success_auc").split("\n")]
    assert ["dog", "50.0", "-"] in rows
    assert ["zebra", "-", "60.0"] in rows
    assert "textbf" not in tables.compare([one, other], format="latex")  # they are means over other sequences
    assert "lacks" not in tables.compare([one, make_scores("C", sequences=one.sequences)])


def test_one_name_does_not_hide_two_meanings():
    assert "P area [%]" in tables.compare([make_scores(protocol="trackingnet")])


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_each_protocol_declares_its_columns(name):
    names = [column.name for column in PROTOCOLS[name].columns]
    assert len(names) == len(set(names))
    assert any(column.main for column in PROTOCOLS[name].columns)
    assert set(PROTOCOLS[name].brief) <= {*names, "fps"}


def test_a_new_protocol_needs_no_other_edit(monkeypatch):
    monkeypatch.setattr(PROTOCOLS, "_items", dict(PROTOCOLS._items))

    @protocol("made-up", needs="boxes")
    class _MadeUp(Protocol):
        columns = (
            Column("steps", "Steps", unit="", digits=0, lower=True),
            Column("hits", "Hits", main=True, profile=True),
        )
        brief = ("hits", "fps")

        def score(self, sequence, results):
            raise NotImplementedError

    overall = {"steps": 12.0, "hits": 0.5, "fps": 20.0}
    scores = [make_scores(name, protocol="made-up", overall=overall | {"steps": steps}, sequences={"cup": overall},
                          attributes={"blur": overall}) for name, steps in (("a", 12.0), ("b", 7.0))]  # fmt: skip
    assert "Tracker  Hits [%]  Speed [frames/s]\n" in tables.tabulate(scores)
    assert "**7**" in tables.tabulate(scores, columns=["steps"], format="markdown", mark=True)
    assert tables.profile_table(scores[:1]).header == ("Attribute", "Hits [%]", "Speed [frames/s]")
    assert tables.main_column(overall, "made-up").name == "hits"
    assert FIGURES["sequences"](scores).axes[0].get_ylabel() == "Hits [%]"


def test_profile_of_one_tracker():
    scores = make_scores(attributes={"FM": {"success_auc": 0.25, "fps": 20.0}, "ARC": {"success_auc": 0.5}})
    lines = tables.render(tables.profile_table([scores]), "csv").split("\n")
    header = "Attribute,AUC [%],P [%],Speed [frames/s]"
    assert lines == [header, "ARC,50.0,,", "FM,25.0,,20.0", "all sequences,12.345,100.0,12.34"]
    assert tables.profile_table([make_scores()]) is None


def test_profile_of_several_trackers_has_a_column_for_each():
    items = [
        make_scores("near", attributes={"FM": {"success_auc": 0.25}, "ARC": {"success_auc": 0.5}}),
        make_scores("far", attributes={"FM": {"success_auc": 0.5}}),
    ]
    table = tables.profile_table(items)
    assert table.header == ("Attribute", "near", "far")
    assert table.rows == (("ARC", "50.0", "-"), ("FM", "25.0", "50.0"), ("all sequences", "12.3", "12.3"))
    assert table.ranks[1] == (0, 2, 1)
    assert table.title.startswith("AUC [%] by attribute (")


def test_the_best_is_first():
    values = {"a": 0.2, "b": math.nan, "c": 0.7, "d": 0.2}
    items = [make_scores(name, overall={"success_auc": value}) for name, value in values.items()]
    assert [item.tracker for item in tables.by_score(items)] == ["c", "a", "d", "b"]


def test_attributes():
    scores = [
        make_scores(attributes={"ARC": {"success_auc": 0.5}, "FM": {"success_auc": 0.25}}),
        make_scores("other", attributes={"FM": {"success_auc": 0.75}}),
    ]
    assert tables.by_attribute(scores, "success_auc", format="csv").split("\n") == [
        "Tracker,ARC,FM",
        "sam2,50.0,25.0",
        "other,,75.0",
    ]
    with pytest.raises(MosamError, match="expected sequences with attributes, got none"):
        tables.by_attribute([make_scores()], "success_auc")


def test_unknown_names():
    with pytest.raises(UnknownNameError, match="did you mean success_auc"):
        tables.compare([make_scores()], columns=["succes_auc"])
    with pytest.raises(UnknownNameError, match="unknown table format 'html'"):
        tables.compare([make_scores()], format="html")
    with pytest.raises(MosamError, match="expected scores, got none"):
        tables.compare([])


def test_an_unlisted_value_is_shown_too():
    assert tables.compare([make_scores(overall={"new_thing": 0.5})]).split("\n")[2:5:2] == [
        "Tracker  new_thing",
        "sam2         0.500",
    ]


def overall(**values: float) -> dict:
    return {"overall": values}


RANKED = [
    make_scores("a", **overall(success_auc=0.50001, v_mean=0.2, new_thing=0.5)),
    make_scores("b", **overall(success_auc=0.49999, v_mean=0.1, new_thing=0.6)),
    make_scores("c", **overall(success_auc=0.4, v_mean=math.nan, new_thing=0.7)),
    make_scores("d", **overall(success_auc=math.nan, v_mean=0.3, new_thing=0.8)),
]


def test_latex_marks_best_and_second():
    lines = tables.compare(RANKED, format="latex").split("\n")
    assert lines[2:6] == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Tracker & AUC [\%] & V [\%] & new\_thing \\",
        r"\midrule",
    ]
    assert lines[6:10] == [
        r"a & \textbf{50.0} & \underline{20.0} & 0.500 \\",  # equal as shown: both best
        r"b & \textbf{50.0} & \textbf{10.0} & 0.600 \\",  # less is better in V; unlisted values have no better
        r"c & \underline{40.0} & - & 0.700 \\",
        r"d & - & 30.0 & 0.800 \\",
    ]
    assert lines[10:] == [r"\bottomrule", r"\end{tabular}"]


def test_marks_elsewhere_on_request():
    plain = tables.compare(RANKED, columns=["success_auc"], format="markdown")
    assert "<u>" not in plain
    marked = tables.compare(RANKED, columns=["success_auc"], format="markdown", mark=True).split("\n")
    assert marked[4:] == ["| a | **50.0** |", "| b | **50.0** |", "| c | <u>40.0</u> |", "| d | - |"]
    text = tables.compare(RANKED, columns=["success_auc"], mark=True).split("\n")
    assert text[4:8] == ["a          50.0¹", "b          50.0¹", "c          40.0²", "d             -"]
    assert "textbf" not in tables.compare(RANKED, format="latex", mark=False)
    assert tables.compare(RANKED, format="csv", mark=True) == tables.compare(RANKED, format="csv")


def test_one_tracker_is_not_the_best():
    assert "textbf" not in tables.compare(RANKED[:1], format="latex")
    assert ranks_as_shown(["-", "1.0"], lower=False) == [0, 0]


def test_latex_prints_any_name():
    name = r"a_b&c%d$e#f{g}~^\<>|"
    text = tables.compare([make_scores(name, official="2 of 280 official")], columns=["precision"], format="latex")
    escaped = (
        r"a\_b\&c\%d\$e\#f\{g\}\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}\textbar{}"
    )
    assert f"{escaped}$^{{*}}$ & 100.0 \\\\" in text.split("\n")
    assert text.endswith(r"\par{\footnotesize {*} 2 of 280 official\par}")
    assert escape_latex("*x") == "{*}x"


def test_latex_groups_sizes():
    scores = [make_scores(t, model=m) for m, t in [("random:tiny", "x"), ("large", "x"), ("random:tiny", "y")]]
    lines = tables.compare(scores, columns=["precision"], format="latex").split("\n")
    assert [line.split(" & 1")[0].split(" & \\t")[0] for line in lines[6:10]] == [
        "x & random:tiny",
        "y & random:tiny",
        r"\midrule",
        "x & large",
    ]


def sequences(**values: float) -> dict:
    mean = sum(values.values()) / len(values)
    return {"overall": {"success_auc": mean}, "sequences": {name: {"success_auc": v} for name, v in values.items()}}


PAIR = [make_scores("a", **sequences(x=0.5, y=0.5, z=0.5)), make_scores("b", **sequences(x=0.6, y=0.6, z=0.6))]


def test_intervals_and_paired_differences():
    table = tables.comparison(PAIR, intervals=True, differences=True)
    assert table.header == ("Tracker", "AUC [%]", "AUC - a [%]")
    assert table.rows == (("a", "50.0", "-"), ("b", "60.0", "+10.0"))
    assert table.details == (("", "(50.0 to 50.0)", ""), ("", "(60.0 to 60.0)", "(+10.0 to +10.0)"))
    assert table.notes == ("in parentheses: 95 % bootstrap intervals over sequences",)
    latex = tables.tabulate(PAIR, intervals=True, format="latex")
    assert r"b & \textbf{60.0} (60.0 to 60.0) \\" in latex
    assert tables.tabulate(PAIR, intervals=True, format="csv").split("\n")[:2] == [
        "Tracker,AUC [%],AUC [%] interval",
        "a,50.0,(50.0 to 50.0)",
    ]


def test_an_interval_weighs_sequences_as_the_mean_does():
    frames = {"x": {"ao": 3.0}, "y": {"ao": 1.0}}
    values = {"sequences": {"x": {"ao": 1.0}, "y": {"ao": 0.0}}, "counts": frames}
    table = tables.comparison([make_scores(**values, **overall(ao=0.75))], intervals=True)
    assert (table.rows[0][1], table.details[0][1]) == ("75.0", "(0.0 to 100.0)")
    # a number that is no mean over sequences gets none, rather than a wrong one
    table = tables.comparison([make_scores(**values, **overall(ao=0.5))], intervals=True)
    assert table.details[0][1] == ""
    assert table.notes[-1] == "no interval, being no mean over sequences: AO"


def test_a_difference_is_over_the_sequences_of_both():
    other = make_scores("c", **sequences(x=0.8, y=0.8))
    table = tables.comparison([PAIR[0], other], differences=True)
    assert table.rows[1][2] == "+30.0"
    assert "c: differences over the 2 sequences that a has too" in table.notes


def test_sequences():
    other = make_scores("c", **sequences(x=0.8, y=0.4), missing=("z",), official="2 of 3 official sequences")
    text = tables.tabulate([PAIR[0], other], by="sequence", format="markdown", mark=True)
    assert text.split("\n") == [
        "**lasot test, protocol pytracking, AUC [%] by sequence**",
        "",
        "| Sequence | a | c |",
        "| :-- | --: | --: |",
        "| x | <u>50.0</u> | **80.0** |",
        "| y | **50.0** | <u>40.0</u> |",
        "| z | 50.0 | - |",
        "| overall | 50.0 | 60.0 |",  # c has no z: neither is best
        "",
        "c: 2 of 3 official sequences",
        "c: 1 without results left out: z",
    ]


def test_rows_are_chosen_in_order():
    scores = [make_scores("a", model="tiny"), make_scores("a", model="large"), make_scores("b", model="tiny")]
    lines = tables.tabulate(scores, rows=["b", "a large"], columns=["precision"], format="csv").split("\n")
    assert lines[1:] == ["b,tiny,100.0", "a,large,100.0"]
    assert len(tables.choose_rows(scores, ["a"])) == 2
    with pytest.raises(UnknownNameError, match="unknown row 'c'"):
        tables.tabulate(scores, rows=["c"])


def test_wishes_that_do_not_go_together():
    with pytest.raises(UnknownNameError, match="unknown kind of table 'frame'"):
        tables.tabulate(PAIR, by="frame")
    with pytest.raises(MosamError, match="table by sequence: expected no intervals"):
        tables.tabulate(PAIR, by="sequence", intervals=True)


def test_robustness_of_pysot_counts_failures():
    assert tables.column_of("robustness", "pysot[exact]").lower is True
    assert tables.column_of("robustness", "vot").lower is False
    assert tables.column_of("failures_motion_change", "vot").title == "Failures motion change"


def test_command(tmp_path, capsys):
    save_scores(tmp_path / "all.json", PAIR)
    words = ["table", str(tmp_path / "all.json")]
    assert run_command([*words, "--format", "latex", "--ci", "--paired", "--rows", "b,a"]) == 0
    assert r"a & \underline{50.0} (50.0 to 50.0) & -10.0 (-10.0 to -10.0) \\" in capsys.readouterr().out
    assert run_command([*words, "--by", "sequence", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Sequence,a,b",
        "x,50.0,60.0",
        "y,50.0,60.0",
        "z,50.0,60.0",
        "overall,50.0,60.0",
    ]
    assert run_command([*words, "--by", "attribute"]) == 2
    assert capsys.readouterr().err == "lasot: expected sequences with attributes, got none\n"


def test_a_wide_table_goes_on_below_with_its_names():
    names = ["jf_mean", "j_mean", "j_recall", "success_auc", "op50", "precision", "norm_precision", "presence"]
    overall = dict.fromkeys(names, 0.5)
    items = [make_scores(name, protocol="toy", overall=overall) for name in ("near", "far", "nowhere")]
    lines = tables.tabulate(items, columns=names, intervals=True, differences=True).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("Tracker") for line in lines) > 1
    assert sum(line.startswith("nowhere ") for line in lines) == sum(line.startswith("Tracker") for line in lines)
    text = "\n".join(lines)
    assert all(text.count(f"{tables.column_of(name, 'toy').title} ") + text.count(
        f"{tables.column_of(name, 'toy').title}\n") >= 1 for name in names)  # fmt: skip


def test_csv_has_all_digits():
    items = [make_scores(overall={"success_auc": 2 / 3, "fps": 12.5}), make_scores("b", overall={"success_auc": 0.55})]
    lines = tables.tabulate(items, format="csv").splitlines()
    assert lines[1:] == ["sam2,66.6666666667,12.5", "b,55.0,"]
