from __future__ import annotations

import configparser
import shlex
import sys

import pytest
import yaml
from vot_squares import write_squares

from mosam.cli import run_command
from mosam.errors import MosamError
from mosam.policies.base import POLICIES
from mosam.vot.stacks import find_stack
from mosam.vot.workspace import identifier, stack_of

pytest.importorskip("trax", reason="vot-trax is not installed")

STACK = "title: made\nexperiments:\n  baseline:\n    type: multistart\n"


@pytest.fixture
def mosam(capfd, monkeypatch, tmp_path):
    """`mosam("vot", ...)` gives exit code, standard output and standard error, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_squares(tmp_path / "tree", name, 6, anchors={0: 1}, kind="mask")

    def call(*words):
        capfd.readouterr()
        code = run_command(["vot", *words])
        return code, *capfd.readouterr()

    return call


def init(mosam, *words, stack="vot2022/shortterm", tracker="sam2", root="tree"):
    given = ["--root", root] if root else []
    given += ["--tracker", tracker] if tracker else []
    given += ["--stack", stack] if stack else []
    return mosam("init", "ws", "--model", "random:mini", *given, *words)


def trackers(tmp_path):
    parser = configparser.ConfigParser()  # with interpolation, as the toolkit reads it
    parser.read(tmp_path / "ws/trackers.ini")
    return parser


def test_a_workspace_of_sequences_on_disk(mosam, tmp_path):
    code, out, err = init(mosam, tracker="mosam[stride=3],sam2long")
    assert (code, out) == (0, "ws\n")
    assert err == "vot2022/shortterm (vot-toolkit 0.7.4): 2 sequences, trackers mosam_stride-3, sam2long\n"
    assert yaml.safe_load((tmp_path / "ws/config.yaml").read_text()) == {
        "registry": ["./trackers.ini"],
        "sequences": "sequences",
        "stack": "vot2022/shortterm",
    }
    assert (tmp_path / "ws/sequences/list.txt").read_text() == "a\nb\n"
    assert (tmp_path / "ws/sequences/a/groundtruth.txt").is_file()
    section = trackers(tmp_path)["mosam_stride-3"]
    words = shlex.split(section["command"])
    assert words[1:7] == ["-m", "mosam", "vot", "track", "--tracker", "mosam[stride=3]"]
    assert "sam2long[emit=online]" in trackers(tmp_path)["sam2long"]["command"]
    assert (section["protocol"], section["label"], int(section["timeout"])) == ("trax", "mosam[stride=3]", 600)


def test_the_toolkit_may_talk_in_folders(mosam, tmp_path, monkeypatch):
    assert init(mosam, "--protocol", "folder", stack="vots2026/main")[0] == 0
    section = trackers(tmp_path)["sam2"]
    assert section["protocol"] == "folder"
    assert shlex.split(section["command"])[-4:] == ["--protocol", "folder", "--keep", "60"]
    for words, options, message in (
        (("--protocol", "folder"), {}, "--protocol folder: vot2022/shortterm is run by vot-toolkit 0.7.4"),
        (("--protocol", "pipe"), {}, "--protocol: expected one of trax, folder, got 'pipe'"),
    ):
        assert message in init(mosam, *words, **options)[2]


def test_without_the_package_for_trax_new_stacks_are_run_in_folders(mosam, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trax", None)
    assert init(mosam, stack="vots2026/main")[0] == 0
    assert trackers(tmp_path)["sam2"]["protocol"] == "folder"
    for words, options in (((), {}), (("--protocol", "trax"), {"stack": "vots2026/main"})):
        assert "which is not here" in init(mosam, *words, **options)[2]


def test_all_trackers_are_registered_unless_some_are_named(mosam, tmp_path):
    assert init(mosam, tracker=None)[0] == 0
    assert trackers(tmp_path).sections() == sorted(POLICIES)


def test_a_workspace_grows_and_refuses_to_change(mosam, tmp_path):
    init(mosam)
    assert init(mosam)[0] == 0
    assert init(mosam, tracker="samurai", stack=None)[0] == 0
    assert trackers(tmp_path).sections() == ["sam2", "samurai"]
    before = (tmp_path / "ws/trackers.ini").read_text()
    for words, options, message in (
        ((), {"stack": "vot2020/shortterm"}, "holds a workspace of the stack vot2022/shortterm"),
        (("--seed", "3"), {}, "sam2 is registered with other settings"),
        (("--limit", "1"), {}, "holds a workspace of other sequences"),
    ):
        code, out, err = init(mosam, *words, **options)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert (tmp_path / "ws/trackers.ini").read_text() == before


def test_trackers_of_others_stay(mosam, tmp_path):
    init(mosam)
    with (tmp_path / "ws/trackers.ini").open("a") as file:
        file.write("\n[theirs]\nlabel = 90%% of it\nprotocol = traxpython\ncommand = theirs\n")
    init(mosam, tracker="samurai")
    assert trackers(tmp_path)["theirs"]["label"] == "90% of it"


def test_a_stack_of_ones_own(mosam, tmp_path):
    (tmp_path / "mine.yaml").write_text(STACK)
    assert init(mosam, stack="mine.yaml")[0] == 0
    assert (tmp_path / "ws/stack.yaml").read_text() == STACK
    assert init(mosam, stack=None)[0] == 0
    (tmp_path / "mine.yaml").write_text(STACK + "# other\n")
    assert "another stack.yaml" in init(mosam, stack="mine.yaml")[2]


def test_sequences_that_are_there_are_used(mosam, tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "tree").rename(tmp_path / "ws/sequences")
    (tmp_path / "ws/made.yaml").write_text(STACK)
    assert init(mosam, root=None, stack="made.yaml")[0] == 0
    assert (tmp_path / "ws/sequences/list.txt").read_text() == "a\nb\n"
    assert yaml.safe_load((tmp_path / "ws/config.yaml").read_text())["stack"] == "made.yaml"


def test_without_sequences_the_toolkit_downloads_them(mosam, tmp_path):
    assert "sequences to be downloaded" in init(mosam, root=None)[2]
    assert not (tmp_path / "ws/sequences/list.txt").exists()


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ((), {"stack": "vot2022/shorterm"}, "did you mean vot2022/shortterm"),
        ((), {"stack": None}, "--stack: expected one of vot2013"),
        ((), {"stack": "absent.yaml"}, "expected a stack file, found nothing"),
        ((), {"tracker": "samm"}, "unknown tracker 'samm'"),
        ((), {"tracker": "sam2long[emit=final]"}, "use emit=online"),
        ((), {"tracker": "sam2,sam2"}, None),
        ((), {"root": "absent"}, "absent"),
        (("--prompt", "point"), {}, "--prompt: expected one of auto, box, mask"),
        (("--box-from-mask", "wide"), {}, "--box-from-mask: expected one of"),
        (("--results", "r"), {"root": None}, "--results: expected also --root"),
    ],
)
def test_wrong_calls_are_one_line(mosam, tmp_path, words, options, message):
    code, _, err = init(mosam, *words, **options)
    if message is None:
        assert code == 0
        return
    assert code == 2
    assert message in err.splitlines()[0]
    assert not (tmp_path / "ws").exists()


def test_a_folder_of_something_else_is_left_alone(mosam, tmp_path):
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/thesis.tex").write_text("")
    assert "expected a workspace" in init(mosam)[2]
    assert [path.name for path in (tmp_path / "ws").iterdir()] == ["thesis.tex"]


def test_damaged_files_of_a_workspace(mosam, tmp_path):
    init(mosam)
    (tmp_path / "ws/trackers.ini").write_text("no section\n")
    assert "expected sections" in init(mosam)[2]
    (tmp_path / "ws/config.yaml").write_text("a: [")
    assert "expected YAML" in init(mosam)[2]


def test_results_of_ours_are_copied_for_the_toolkit(mosam, tmp_path):
    run = tmp_path / "results/vot2022-st/sam2-mini"
    (run / "baseline/a").mkdir(parents=True)
    (run / "baseline/a/a_00000000.txt").write_text("1\n")
    assert init(mosam, "--results", "results/vot2022-st")[0] == 0
    assert (tmp_path / "ws/results/sam2-mini/baseline/a/a_00000000.txt").is_file()
    assert "sam2-mini" in trackers(tmp_path).sections()


def test_identifiers_are_what_the_toolkit_accepts():
    assert identifier("sam2-large[q=0.5]") == "sam2-large_q-0-5"


def test_the_toolkit_is_missed_in_one_line(mosam, tmp_path):
    init(mosam)
    code, _, err = mosam("evaluate", "ws", "--toolkit", "nowhere")
    assert (code, err) == (2, "nowhere: expected an environment with the VOT toolkit, found none; see make vot\n")
    code, _, err = mosam("evaluate", "tree", "--toolkit", "nowhere")
    assert "expected a workspace of the VOT toolkit" in err


@pytest.mark.parametrize("name", ["[" * 3000, "a/" * 3000])
def test_a_stack_no_file_can_be_named_as_is_told(tmp_path, name):
    (tmp_path / "config.yaml").write_text(f"stack: '{name}'\n")
    assert stack_of(tmp_path) == name
    with pytest.raises(MosamError, match="unknown stack"):
        find_stack(name, inside=tmp_path)
