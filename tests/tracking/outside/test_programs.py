"""Trackers in a process of their own: what they are told, what their answers become, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import SquareDataset
from outside_cases import write_folder, write_trax
from vot_squares import write_squares

from mosam import load_tracker, run
from mosam.codecs import CODECS
from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.errors import DataError, MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.regions.files import read_trajectory
from mosam.regions.trajectory import Special
from mosam.results.record import read_record
from mosam.tracking.outside.process import Ended, TooLate, TrackerProcess
from mosam.tracking.outside.registry_files import load_program

EXACT = [[3 + t, 4, 10, 8] for t in range(9)]
LONG = 120.0  # seconds that a busy machine may take


def track(tracker, folder, dataset=None, **options):
    dataset = SquareDataset(None, prompt="box") if dataset is None else dataset
    return run(dataset, None, tracker, out=folder, **options)


def processes_named(word):
    """Command lines that hold a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if word in text:
            found.append(text)
    return found


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path):
    threads = threading.active_count()
    yield
    assert processes_named(str(tmp_path)) == []
    until = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    "form", [{"version": 4}, {"version": 4, "several": False}, {"version": 1, "several": False}, {"region": "mask"}]
)
def test_trax_follows_and_its_numbers_are_kept(tmp_path, form):
    result = track(load_tracker(write_trax(tmp_path, **form), frame_timeout=LONG), tmp_path / "run")
    assert result.failed == {}
    rows = np.loadtxt(tmp_path / "run/bird.txt", delimiter=",")
    short = np.array([0, 0, 1, 1]) if form.get("region") == "mask" else 0
    np.testing.assert_array_equal(rows[1:], (EXACT - short)[1:] if form.get("region") else EXACT[1:])


def test_folder_follows_and_its_time_is_shared_by_the_frames(tmp_path):
    result = track(load_tracker(write_folder(tmp_path), frame_timeout=LONG), tmp_path / "run")
    assert result.failed == {}
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "run/bird.txt", delimiter=","), EXACT)
    times = np.loadtxt(tmp_path / "run/bird_time.txt")
    assert (times > 0).all()
    np.testing.assert_array_equal(times, times[0])
    np.testing.assert_allclose(times.sum(), result.record.sequences["bird"].seconds, atol=1e-6)


@pytest.mark.parametrize("write", [write_trax, write_folder], ids=["trax", "folder"])
def test_benchmarks_of_files_of_masks_of_resets_and_of_anchors(tmp_path, write):
    tracker = load_tracker(write(tmp_path), frame_timeout=LONG)
    lasot = load_dataset("lasot", root=make_tree("lasot", tmp_path / "LaSOT", sequences=1, frames=6))
    davis = load_dataset("davis2017", root=make_tree("davis2017", tmp_path / "DAVIS", sequences=1, frames=6))
    assert track(tracker, tmp_path / "lasot", lasot).failed == {}
    assert track(tracker, tmp_path / "davis", davis).failed == {}
    [name] = davis
    masks = CODECS["davis"].read_masks(tmp_path / "davis", davis[name])
    assert set(masks.read(0)) == set(davis[name].object_ids)
    write_squares(tmp_path / "resets", "a", 20)
    supervised = load_dataset("vot2019", root=tmp_path / "resets")
    away = load_tracker(write(tmp_path, fault="away"), frame_timeout=LONG)
    assert track(away, tmp_path / "supervised", supervised).failed == {}
    rows = list(read_trajectory(tmp_path / "supervised/baseline/a/a_001.txt"))
    assert [row.code for row in rows if isinstance(row, Special)] == [1, 2, 0, 0, 0, 0] * 3 + [1, 2]
    tracker = load_tracker(write(tmp_path), frame_timeout=LONG)
    write_squares(tmp_path / "anchors", "a", 20, anchors={0: 1, 19: -1}, kind="mask")
    multistart = load_dataset("vot2022-st", root=tmp_path / "anchors")
    assert track(tracker, tmp_path / "multistart", multistart).failed == {}
    regions = list(read_trajectory(tmp_path / "multistart/baseline/a/a_00000019.bin"))
    assert (len(regions), regions[0]) == (20, Special(1))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("start", "frame 0: its program ended (exit code 1; its last words: no licence for this machine)"),
        ("die", "frame 3: its program ended (exit code 1; its last words: "),
        ("quit", "frame 3: expected the message state with one region, got quit (lost); its last words: "),
        ("nonsense", "frame 3: expected a region (x,y,w,h, a polygon or a mask), got '12,abc'"),
        ("hello", "frame 3: expected the message state with one region, got 'hello'; its last words: "),
        ("far", "frame 3: expected a region (x,y,w,h, a polygon or a mask), got '1e308,"),
        ("real-time signal", "frame 3: its program ended (killed by signal 40; its last words: "),
    ],
)
def test_a_fault_of_trax_is_one_line_and_the_others_go_on(tmp_path, fault, reason):
    dataset = SquareDataset(None, prompt="box").select(["bird", "car"])
    result = track(load_tracker(write_trax(tmp_path, fault=fault), frame_timeout=LONG), tmp_path / "run", dataset)
    assert result.done == (() if fault == "start" else ("car",))
    assert result.failed["bird"].startswith(reason)
    assert "\n" not in result.failed["bird"]
    if fault == "die":
        assert "a warning" in result.failed["bird"]
        assert result.failed["bird"].endswith("cannot allocate memory)")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("die", "its program failed (killed by SIGKILL; its last words: cannot allocate memory)"),
        ("short", "output_obj0.txt: expected 9 lines, one a frame, got 8"),
        ("nonsense", "frame 2: expected a region (x,y,w,h, a polygon or a mask), got '1,two'"),
        ("unsure", "frame 1: expected a finite confidence, got 'nan'"),
        ("nothing", "expected output_obj0.txt in the program's folder, found none"),
    ],
)
def test_a_fault_of_folder_is_one_line(tmp_path, fault, reason):
    dataset = SquareDataset(None, prompt="box").select(["bird"])
    result = track(load_tracker(write_folder(tmp_path, fault=fault), frame_timeout=LONG), tmp_path / "run", dataset)
    assert result.failed == {"bird": reason}


def test_what_hangs_is_ended_and_named(tmp_path):
    dataset = SquareDataset(None, prompt="box").select(["bird"])
    late = load_tracker(write_trax(tmp_path, fault="hang"), sequence_timeout=3.0, frame_timeout=LONG)
    reason = track(late, tmp_path / "trax", dataset).failed["bird"]
    assert "expected the sequence within 3 s, got no end" in reason
    assert "load" in reason or "frame 0" in reason  # its last words, unless it had no time to start
    chatter = load_tracker(write_trax(tmp_path, fault="chatter"), sequence_timeout=5.0, frame_timeout=LONG)
    assert "within 5 s, got no end" in track(chatter, tmp_path / "chatter", dataset).failed["bird"]
    late = load_tracker(write_trax(tmp_path, fault="silent"), frame_timeout=0.5)
    reason = "frame 0: expected an answer within 0.5 s, got none"
    assert track(late, tmp_path / "silent", dataset).failed["bird"] == reason
    late = load_tracker(write_folder(tmp_path, fault="hang"), frame_timeout=0.1)
    reason = "expected 9 frames at 0.1 s each, got no end"
    assert track(late, tmp_path / "folder", dataset).failed["bird"] == reason


def test_a_run_goes_on_where_it_stopped(tmp_path):
    dataset = SquareDataset(None, prompt="box")
    broken = track(load_tracker(write_trax(tmp_path, fault="die"), frame_timeout=LONG), tmp_path / "run", dataset)
    assert broken.done == ("car",)
    with pytest.raises(MismatchError, match=r"outside\.command"):
        track(load_tracker(write_trax(tmp_path), frame_timeout=LONG), tmp_path / "run", dataset)
    mended = (tmp_path / "speaks_trax.py").read_text().replace('fault == "die"', "False")
    (tmp_path / "trackers.ini").write_text((tmp_path / "trackers.ini").read_text().replace("''", "'die'"))
    (tmp_path / "speaks_trax.py").write_text(mended)
    with pytest.raises(MismatchError, match=r"outside\.files\.speaks_trax\.py"):
        track(load_tracker(f"{tmp_path}/trackers.ini:Square", frame_timeout=LONG), tmp_path / "run", dataset)


def test_the_record_says_how_it_was_started(tmp_path):
    dataset = SquareDataset(None, prompt="box").select(["car"])
    settings = read_record(track(load_tracker(write_folder(tmp_path)), tmp_path / "run", dataset).path).settings
    assert settings.tracker == "Square"
    assert settings.outside["protocol"] == "folder"
    assert settings.outside["command"] == [sys.executable, str(tmp_path / "speaks_folder.py"), ""]
    assert set(settings.outside["files"]) == {"speaks_folder.py"}


def test_everything_it_started_ends_with_mosam(tmp_path):
    tracker = write_trax(tmp_path, fault="family")
    code = "import sys; sys.path[:0] = sys.argv[2:]\nfrom fakes import SquareDataset\nimport mosam\n"
    code += f"out, tracker = {str(tmp_path / 'r')!r}, mosam.load_tracker(sys.argv[1])\n"
    code += "mosam.run(SquareDataset(None, prompt='box'), None, tracker, out=out)"
    tests = Path(__file__).parents[2]
    pids = tmp_path / "pids"
    environment = {**os.environ, "PIDS": str(pids)}
    words = [sys.executable, "-c", code, tracker, str(tests), str(tests.parent)]
    process = subprocess.Popen(words, env=environment)
    try:
        until = time.monotonic() + LONG
        while not (pids.exists() and pids.read_text().endswith("\n")):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        started = [int(word) for word in pids.read_text().split()]
        while [pid for pid in started if is_running(pid)]:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="descendants are found by /proc")
@pytest.mark.parametrize("stays", ["time.sleep(600)", "pass"], ids=["is ended", "ends by itself"])
def test_what_left_its_group_ends_with_its_pass(tmp_path, stays):
    start = "subprocess.Popen(['sleep', '600'], start_new_session=True, stdout=2).pid"
    code = f"import subprocess, time; print({start}, flush=True); {stays}"
    with TrackerProcess([sys.executable, "-c", code], {}, talks=True) as process:
        process.start()
        daemon = int(process.line(LONG))
        if stays == "pass":
            process.wait(LONG)
    until = time.monotonic() + LONG
    while is_running(daemon):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_little_again_and_again_is_no_line():
    code = "import sys, time\nwhile True: sys.stdout.write('.'); sys.stdout.flush(); time.sleep(0.01)"
    with TrackerProcess([sys.executable, "-c", code], {}, talks=True) as process:
        process.start()
        with pytest.raises(TooLate):
            process.line(0.5)


def test_a_process_that_does_not_read_or_says_no_end():
    with TrackerProcess([sys.executable, "-c", "import time; time.sleep(600)"], {}, talks=True) as process:
        process.start()
        with pytest.raises(TooLate):
            process.write("x" * 1_000_000, 0.2)
        with pytest.raises(TooLate):
            process.line(0.1)
    with TrackerProcess([sys.executable, "-c", "print('a'); print('b', end='')"], {}, talks=True) as process:
        process.start()
        assert process.line(LONG) == b"a"
        with pytest.raises(Ended):
            process.line(LONG)
        assert process.how_it_ended() == "exit code 0"
    with TrackerProcess(["/no/such/program"], {}, talks=True) as process:
        process.start()
        with pytest.raises(Ended):
            process.line(LONG)
        assert process.how_it_ended() == "exit code 127; its last words: /no/such/program: No such file or directory"


def test_a_laboratory_s_file_of_trackers(tmp_path, monkeypatch):
    monkeypatch.setenv("LAB", "/opt/lab")
    path = tmp_path / "trackers.ini"
    path.write_text(
        "[PyNCC]\nlabel = NCC\nprotocol = traxpython\ncommand = python_ncc\npaths = integration:/abs/path\n"
        "env_PATH = ${LAB}/bin\ntimeout = 300\nversion = 2\ntags = a,b\nmeta_year = 2020\n"
        '[Line]\nprotocol = traxpython\ncommand = import ncc; ncc.main("a")\npython = /usr/bin/python3\n'
        "[Native]\nprotocol = trax\ncommand = /usr/bin/env ncc --rate 50%%\nlinkpaths = lib\n"
        "[Matlab]\nprotocol = traxmatlab\ncommand = ncc\n[Socket]\nprotocol = trax\ncommand = x\nsocket = true\n"
        "[Empty]\nprotocol = trax\n"
    )
    program = load_program(f"{path}:PyNCC")
    assert program.command == (sys.executable, "-m", "python_ncc")
    assert program.environment == {
        "PATH": "/opt/lab/bin", "PYTHONPATH": f"/abs/path:{tmp_path}/integration", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    assert (program.protocol, program.seconds, program.version) == ("trax", 300.0, "2")
    assert load_program(f"{path}:Line").command == (
        "/usr/bin/python3", "-c", 'import sys; import ncc; ncc.main("a")'
    )  # fmt: skip
    native = load_program(f"{path}:Native")
    assert native.command == ("/usr/bin/env", "ncc", "--rate", "50%")
    assert native.environment["LD_LIBRARY_PATH"].endswith(f"{tmp_path}/lib")
    for name, message in (
        ("Matlab", r"trackers.ini: \[Matlab\] protocol: expected trax, traxpython, folder or folderpython, got 'traxm"),
        ("Socket", r"\[Socket\] socket: only the standard streams"),
        ("Empty", r"\[Empty\] command: expected text, got nothing"),
    ):
        with pytest.raises(MosamError, match=message):
            load_program(f"{path}:{name}")
    with pytest.raises(UnknownNameError, match="did you mean PyNCC"):
        load_program(f"{path}:PyNC")


def test_toml_and_yaml_say_the_same(tmp_path):
    (tmp_path / "own.py").write_text("")
    command = 'command = ["python3", "own.py", "a b"]'
    text = f'[ncc]\nprotocol = "folder"\n{command}\nconvert = "mask"\n[ncc.env]\nMODE = "fast"\n'
    (tmp_path / "lab.toml").write_text(text)
    (tmp_path / "lab.yaml").write_text(
        "ncc:\n  protocol: folder\n  command: python3 own.py 'a b'\n  env:\n    MODE: fast\n  convert: mask\n"
    )
    program = load_program(f"{tmp_path}/lab.toml")  # the only one
    assert program == load_program(f"{tmp_path}/lab.yaml:ncc")
    assert program.command == ("python3", str(tmp_path / "own.py"), "a b")
    assert (program.environment, program.convert) == ({"MODE": "fast"}, "mask")


@pytest.mark.parametrize("name", ["bad.ini", "bad.toml", "bad.yaml"])
@pytest.mark.parametrize("text", ["\x00\x01", "no section", "[a\n", "- 1\n- [", "a: &a [*a]", "[a]\n=\n"])
def test_another_file_is_refused_in_one_line(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(MosamError) as caught:
        load_program(f"{tmp_path / name}:a")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_start_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(MissingDataError, match=r"trackers.ini: expected a file, found none"):
        load_tracker(f"{tmp_path}/trackers.ini:Square")
    path = tmp_path / "trackers.ini"
    path.write_text("[Square]\nprotocol = trax\ncommand = nobody-has-this-program\n")
    with pytest.raises(MosamError, match="Square: expected a program, found no nobody-has-this-program"):
        track(load_tracker(f"{path}:Square"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    path.write_text("[Square]\nprotocol = trax\ncommand = 'half\n")
    with pytest.raises(MosamError, match="expected words as for a shell"):
        load_tracker(f"{path}:Square")
    path.write_text("[Square]\nprotocol = trax\ncommand = true\ntimeout = soon\n")
    with pytest.raises(MosamError, match="timeout: expected seconds, got 'soon'"):
        load_tracker(f"{path}:Square")
    with pytest.raises(MosamError, match="takes no options here"):
        load_tracker(f"{path}:Square[a=1]")
    path.write_text("[..]\nprotocol = trax\ncommand = true\n")
    with pytest.raises(MosamError, match=r"tracker '\.\.': expected letters"):
        load_tracker(f"{path}:..")
    (tmp_path / "folder.ini").mkdir()
    with pytest.raises(DataError, match="expected a file, got a folder"):
        load_tracker(f"{tmp_path}/folder.ini:Square")


def test_a_command_can_be_typed(tmp_path, monkeypatch):
    write_trax(tmp_path)
    monkeypatch.chdir(tmp_path)
    typed = f"trax[command={sys.executable} speaks_trax.py 4 1 rectangle none,name=Mine]"
    tracker = load_tracker(typed, frame_timeout=LONG)
    assert tracker.label == "Mine"
    assert track(tracker, tmp_path / "run", SquareDataset(None, prompt="box").select(["car"])).done == ("car",)
    with pytest.raises(MosamError, match=r"trax: expected trax\[command=...\]"):
        load_tracker("trax")
    with pytest.raises(UnknownNameError, match="unknown option 'comand'; did you mean command"):
        load_tracker("folder[comand=x]")
