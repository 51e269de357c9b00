"""`mosam data fetch`, from servers on the loopback: addresses, the hub, VOT."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from served import serving

from mosam.cli import run_command
from mosam.commands.fetch import run
from mosam.datasets.base import DATASETS
from mosam.datasets.make import make_tree
from mosam.datasets.obtain import HubFiles, Obtain, VotFiles, WebFile
from mosam.model.fetch import OFFLINE_VARIABLES

COUNTED = {"davis2017": 2, "mose": 2, "lasot": 2, "trackingnet": 2, "vot2019": 2, "secvos": 2, "mose-v2": 2}


@pytest.fixture
def served(monkeypatch):
    import huggingface_hub.file_download as hub

    for name in (*OFFLINE_VARIABLES, "MOSAM_DATA", "http_proxy", "HTTP_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(hub.constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    with serving({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def mosam(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        capfd.readouterr()
        code = run_command(list(words))
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def obtained(monkeypatch):
    """`obtained(name, *downloads)`: a benchmark of two sequences that is got so."""

    def set_downloads(name, *downloads, gigabytes=None):
        loader = DATASETS[name]
        get = Obtain("fetch", "From a server here.", gigabytes, "", lambda split: tuple(downloads))
        info = replace(loader.info, obtain=get, official_counts={loader.info.default_split: COUNTED[name]})
        if isinstance(loader, type):
            monkeypatch.setattr(loader, "info", info)
        else:
            monkeypatch.setattr(DATASETS, "_items", {**DATASETS._items, name: replace(loader, info=info)})

    return set_downloads


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def tree_of(name, folder, **more):
    """Files of a made tree, by name."""
    make_tree(name, folder, sequences=2, frames=6, **more)
    return content(folder)


def content(folder):
    """Files below a folder, by name."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and ".mosam-fetch" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def on_hub(served, repository, files):
    """Serves files as the hub does a dataset's."""
    listed = []
    for name, data in files.items():
        large = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 1}
        listed.append({"rfilename": name, "size": len(data), "blobId": "0" * 40, "lfs": large})
        served.files[f"/datasets/{repository}/resolve/{'a' * 40}/{name}"] = data
    about = {"private": False, "downloads": 0, "likes": 0, "tags": []}
    said = json.dumps({"id": repository, "sha": "a" * 40, "siblings": listed, **about}).encode()
    served.files |= {f"/api/datasets/{repository}?blobs={word}": said for word in ("True", "true")}


def davis(served, obtained, tmp_path, **more):
    """DAVIS behind one address; what is in its archive."""
    files = {f"DAVIS/{name}": data for name, data in tree_of("davis2017", tmp_path / "made").items()}
    served.files["/davis.zip"] = zipped(files)
    data = served.files["/davis.zip"]
    checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
    obtained("davis2017", WebFile(f"{served.url}/davis.zip", len(data), checksum), **more)
    return files


FETCH = ("data", "fetch", "davis2017", "--root", "here", "--yes")


def test_a_benchmark_is_fetched_once(served, obtained, mosam, tmp_path):
    files = davis(served, obtained, tmp_path)
    code, out, err = mosam(*FETCH)
    assert (code, out) == (0, "here\n"), err
    assert "DAVIS 2017, val: From a server here." in err
    assert "license: research use; the benchmark's page says more (https://davischallenge.org" in err
    assert "[1/1] davis.zip" in err
    assert "davis2017 val: 2 sequences" in err
    assert content("here") == files
    assert mosam("data", "check", "davis2017", "--root", "here")[:2] == (0, "")
    asked = len(served.requests)
    assert mosam(*FETCH) == (0, "here\n", "davis2017 val: is there already\n")
    assert len(served.requests) == asked
    assert not list(Path("here").rglob("*.zip"))


def test_nobody_at_the_terminal_fetches_nothing(served, obtained, mosam, tmp_path):
    davis(served, obtained, tmp_path)
    code, out, err = mosam(*FETCH[:-1])
    assert (code, out) == (2, "")
    assert "pass --yes if you accept the license" in err
    assert not Path("here").exists()
    assert served.gets("/davis.zip") == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 2)])
def test_a_person_is_asked(served, obtained, mosam, tmp_path, monkeypatch, answer, code):
    davis(served, obtained, tmp_path)
    stream = io.StringIO(answer)
    stream.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", stream)
    assert mosam(*FETCH[:-1])[0] == code
    assert Path("here").exists() == (code == 0)


def test_a_download_that_broke_off_goes_on(served, obtained, mosam, tmp_path):
    files = davis(served, obtained, tmp_path)
    served.breaks, served.times = 20_000, 1
    served.status["/davis.zip"] = 503
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "could not be downloaded (the server answered 503)" in err
    del served.status["/davis.zip"]
    assert mosam(*FETCH)[0] == 0
    assert content("here") == files
    assert served.gets("/davis.zip")[-1] == "bytes=20000-"


def test_an_unpacking_that_was_interrupted_goes_on(served, obtained, mosam, tmp_path, monkeypatch):
    files = davis(served, obtained, tmp_path)
    written, write = [], run.Inside.write_from

    def interrupt(self, name, source):
        written.append(name)
        if len(written) == 4:
            raise KeyboardInterrupt
        write(self, name, source)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(run.Inside, "write_from", interrupt)
        assert mosam(*FETCH)[0] == 130
    assert len(content("here")) == 3
    kept = {name: (Path("here") / name).stat().st_ino for name in content("here")}
    assert mosam(*FETCH)[0] == 0
    assert content("here") == files
    assert kept == {name: (Path("here") / name).stat().st_ino for name in kept}
    assert len(served.gets("/davis.zip")) == 1


def test_a_full_disk_is_told_before(served, obtained, mosam, tmp_path):
    davis(served, obtained, tmp_path, gigabytes=10**7)
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected 10,000,000.0 GB free, got " in err
    assert served.gets("/davis.zip") == []


@pytest.mark.parametrize("evil", ["../out", "/out", "a\\b"])
def test_a_hostile_archive_writes_nothing_and_is_deleted(served, obtained, mosam, tmp_path, evil):
    served.files["/davis.zip"] = zipped({"DAVIS/x": b"x", evil: b"evil"})
    obtained("davis2017", WebFile(f"{served.url}/davis.zip"))
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected names of files inside the archive" in err
    assert f"({served.url}/davis.zip)" in err
    assert content("here") == {}
    assert not list(Path("here").rglob("*.zip"))
    assert not (tmp_path / "out").exists()


def test_a_page_in_place_of_an_archive_is_told_and_fetched_anew(served, obtained, mosam, tmp_path):
    davis(served, obtained, tmp_path)
    right = served.files["/davis.zip"]
    obtained("davis2017", WebFile(f"{served.url}/davis.zip"))
    served.files["/davis.zip"] = b"<html>Please log in</html>"
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected a whole zip archive, got File is not a zip file" in err
    served.files["/davis.zip"] = right
    assert mosam(*FETCH)[0] == 0


def test_what_lacks_sequences_at_the_end_is_told(served, obtained, mosam, tmp_path):
    served.files["/davis.zip"] = zipped({"DAVIS/README": b"x"})
    obtained("davis2017", WebFile(f"{served.url}/davis.zip"))
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected DAVIS 2017, found" in err


def test_another_process_is_waited_for_by_the_person(served, obtained, mosam, tmp_path):
    from filelock import FileLock

    davis(served, obtained, tmp_path)
    Path("here/.mosam-fetch").mkdir(parents=True)
    with FileLock("here/.mosam-fetch/lock"):
        code, _, err = mosam(*FETCH)
    assert code == 2
    assert "another process is fetching to this folder" in err


def test_a_link_in_the_tree_is_not_followed(served, obtained, mosam, tmp_path):
    davis(served, obtained, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "DAVIS").symlink_to(tmp_path / "other", target_is_directory=True)
    (tmp_path / "here" / ".mosam-fetch").mkdir()
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected a folder, got a link; nothing was touched" in err
    assert content("other") == {}


# ---- the hub ---------------------------------------------------------------------------------------------------------


def test_classes_on_the_hub_keep_the_sequences_of_the_split(served, obtained, mosam, tmp_path, monkeypatch):
    files = tree_of("lasot", tmp_path / "made")
    names = files["testing_set.txt"].decode().split()
    classes = {}
    for name, data in files.items():
        classes.setdefault(name.partition("/")[0], {})[name] = data
    repository = {f"{name}.zip": zipped(inside) for name, inside in classes.items() if "/" in next(iter(inside))}
    first = next(iter(repository))
    other = {f"{first[:-4]}/{first[:-4]}-99/groundtruth.txt": b"1,1,1,1"}
    repository[first] = zipped(classes[first[:-4]] | other)
    on_hub(served, "l-lt/LaSOT", repository | {"testing_set.txt": files["testing_set.txt"], "README.md": b"x"})
    obtained("lasot", HubFiles("l-lt/LaSOT", ("*.zip", "*.txt"), wanted=lambda: names))
    code, _, err = mosam("data", "fetch", "lasot", "--root", "here", "--yes")
    assert code == 0, err
    assert content("here") == files
    assert mosam("data", "check", "lasot", "--root", "here")[:2] == (0, "")


def test_zips_that_are_read_as_they_are_stay(served, obtained, mosam, tmp_path):
    files = tree_of("trackingnet", tmp_path / "made")
    repository = {}
    for name, data in files.items():
        if "/frames/" in name:
            sequence = name.split("/")[2]
            repository.setdefault(f"TEST/zips/{sequence}.zip", {})[name.rpartition("/")[2]] = data
        else:
            repository[name] = data
    repository = {name: zipped(data) if isinstance(data, dict) else data for name, data in repository.items()}
    on_hub(served, "s/T", repository | {"TRAIN_0/anno/x.txt": b"1,2,3,4"})
    obtained("trackingnet", HubFiles("s/T", ("TEST/*",), unpack=False))
    code, _, err = mosam("data", "fetch", "trackingnet", "--root", "here", "--yes")
    assert code == 0, err
    assert content("here") == repository
    assert mosam("data", "check", "trackingnet", "--root", "here")[:2] == (0, "")


def test_archives_in_an_archive_and_parts_of_one(served, obtained, mosam, tmp_path):
    files = tree_of("mose", tmp_path / "made")
    on_hub(served, "F/M", {"MOSE_release.zip": zipped({"MOSE_release/valid.tar.gz": tarred(files)})})
    obtained("mose", HubFiles("F/M", ("*.zip",), nested=True))
    assert mosam("data", "fetch", "mose", "--root", "one", "--yes")[0] == 0
    assert content("one") == {f"MOSE_release/{name}": data for name, data in files.items()}
    on_hub(served, "F/M", {"MOSE_release.zip": zipped({"valid.tar.gz": tarred(files)})})
    Path("two/.mosam-fetch").mkdir(parents=True)
    Path("two/mine.zip").write_bytes(zipped({"x": b"x"}))  # of somebody else: neither unpacked nor removed
    assert mosam("data", "fetch", "mose", "--root", "two", "--yes")[0] == 0
    assert set(content("two")) == {*files, "mine.zip"}
    packed = tarred(files)
    parts = {"valid.tar.gz.aa": packed[:5000], "valid.tar.gz.ab": packed[5000:], "train.tar.gz.aa": b"x"}
    on_hub(served, "F/M2", parts)
    obtained("mose-v2", HubFiles("F/M2", ("valid.tar.gz*",)))
    code, _, err = mosam("data", "fetch", "mose-v2", "--root", "three", "--yes")
    assert code == 0, err
    assert " MB in 2 files; on disk: about as much" in err
    assert content("three") == files


@pytest.mark.parametrize("kind", ["none", "nothing fits", "changed"])
def test_a_hub_that_has_it_not(served, obtained, mosam, kind):
    if kind != "none":
        on_hub(served, "o/x", {"a.zip": zipped({"a": b"a"})})
    if kind == "changed":
        served.files[f"/datasets/o/x/resolve/{'a' * 40}/a.zip"] = zipped({"a": b"b"})
    obtained("mose", HubFiles("o/x", ("*.txt",) if kind == "nothing fits" else ("*",)))
    code, _, err = mosam("data", "fetch", "mose", "--root", "here", "--yes")
    assert code == 2
    expected = {
        "none": "o/x: the hub could not be asked for its files",
        "nothing fits": "o/x: expected *.txt on the hub, found none",
        "changed": "expected SHA256",
    }
    assert expected[kind] in err


# ---- VOT -------------------------------------------------------------------------------------------------------------


def vot(served, tmp_path, **changes):
    """A challenge of two sequences; the files that should come out of it."""
    files = tree_of("vot2019", tmp_path / "made")
    names = files["list.txt"].decode().split()
    sequences, expected = [], {"list.txt": files["list.txt"]}
    for name in names:
        own = {path.removeprefix(f"{name}/"): data for path, data in files.items() if path.startswith(f"{name}/")}
        color = {path.removeprefix("color/"): data for path, data in own.items() if path.startswith("color/")}
        rest = {path: data for path, data in own.items() if not path.startswith("color/") and path != "sequence"}
        served.files[f"/vot2019/main/{name}.zip"] = zipped(rest)
        served.files[f"/sequences/{name}c.zip"] = zipped(color)
        expected |= {f"{name}/{path}": data for path, data in own.items()}
        expected[f"{name}/sequence"] = (
            f"length=6\nname={name}\nfps=25\nformat=default\nuid=u-{name}\nchannels.color=color/%08d.jpg\n".encode()
        )
        channel = {"url": f"../../sequences/{name}c.zip", "pattern": "%08d.jpg", "uid": "c", "uncompressed": 1}
        annotations = {"url": f"{name}.zip", "uid": f"u-{name}", "uncompressed": 1}
        described = {"name": name, "fps": 25, "annotations": annotations, "channels": {"color": channel}, "width": 3}
        sequences.append({**described, "metadata": {"length": 6, "channels.color": "x"}, **changes})
    served.files["/vot2019/main/description.json"] = json.dumps({"name": "x", "sequences": sequences}).encode()
    return expected


def test_a_challenge_is_laid_out_as_the_toolkit_does(served, obtained, mosam, tmp_path):
    expected = vot(served, tmp_path)
    obtained("vot2019", VotFiles(f"{served.url}/vot2019/main/description.json"))
    code, _, err = mosam("data", "fetch", "vot2019", "--root", "here", "--yes")
    assert code == 0, err
    assert content("here") == expected
    assert mosam("data", "check", "vot2019", "--root", "here")[:2] == (0, "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../x"}, "expected a plain path inside this folder"),
        ({"name": "a/b"}, "expected names of sequences"),
        ({"fps": "25\nroot=/"}, "expected text of one line, got 'fps'"),
        ({"channels": {"../x": {"url": "x.zip"}}}, "expected a plain path inside this folder"),
        ({"annotations": {"url": "file:///etc/x.zip"}}, "expected addresses of archives"),
        ({"annotations": {"url": "x.html"}}, "expected addresses of archives"),
        ({"annotations": 3}, "annotations"),
    ],
)
def test_a_hostile_description_is_refused(served, obtained, mosam, tmp_path, changes, said):
    vot(served, tmp_path, **changes)
    obtained("vot2019", VotFiles(f"{served.url}/vot2019/main/description.json"))
    code, _, err = mosam("data", "fetch", "vot2019", "--root", "here", "--yes")
    assert code == 2
    assert said in err
    assert content("here") == {}


# ---- what cannot be fetched ------------------------------------------------------------------------------------------


def test_steps_for_a_person(mosam):
    code, out, err = mosam("data", "fetch", "got10k", "--root", "here", "--yes")
    assert (code, out) == (2, "")
    assert "got10k val cannot be fetched by a program: Register at http://got-10k.aitestunion.com/downloads;" in err
    assert "mosam data check got10k --root here" in err
    assert "GOT-10k_Val_000001/" in err
    bare = mosam("data", "fetch", "got10k")[2]  # no folder is needed to be told
    assert "cannot be fetched by a program" in bare
    assert "mosam data check got10k --root ROOT" in bare


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("toy",), "toy is not downloaded: generated by mosam"),
        (("folder",), "folder is not downloaded: your own"),
        (("davis2017", "--split", "vall"), "unknown split 'vall'"),
        (("davis2017",), "pass --root or set MOSAM_DATA"),
        (("vots2023", "--split", "val", "--root", "x"), "see https://www.votchallenge.net/vots2023/"),
    ],
)
def test_what_is_asked_for_wrongly(served, mosam, words, said):
    code, _, err = mosam("data", "fetch", *words)
    assert code == 2
    assert said in err
    assert served.requests == []


def test_a_folder_of_something_else_is_left_alone(served, obtained, mosam, tmp_path):
    files = davis(served, obtained, tmp_path)
    Path("here").mkdir()
    Path("here/thesis.tex").write_text("mine")
    code, _, err = mosam(*FETCH)
    assert code == 2
    assert "expected DAVIS 2017, or a new or empty folder, got other things" in err
    assert content("here") == {"thesis.tex": b"mine"}
    Path("here/thesis.tex").unlink()
    assert mosam(*FETCH)[0] == 0
    Path("here/thesis.tex").write_text("mine")  # afterwards it is the benchmark's
    assert mosam(*FETCH)[0] == 0
    assert content("here") == {**files, "thesis.tex": b"mine"}


def test_a_file_in_the_place_of_the_root(mosam, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "expected a folder, or nothing yet, got a file" in mosam("data", "fetch", "lasot", "--root", "file")[2]


@pytest.mark.parametrize("name", [name for name in DATASETS if not DATASETS[name].generated and name != "folder"])
def test_every_benchmark_says_how_it_is_got(name):
    """Facts are whole: steps and their source, and for what is fetched addresses that a program can use."""
    info = DATASETS[name].info
    assert info.obtain is not None
    assert info.obtain.steps.endswith(".")
    assert info.obtain.facts
    downloads = info.obtain.downloads(info.default_split)
    assert bool(downloads) == (info.obtain.how == "fetch")
    for download in downloads:
        address = getattr(download, "url", None) or getattr(download, "description", "https://huggingface.co/")
        assert address.startswith(("https://", "http://cvlab.hanyang.ac.kr/"))
        if isinstance(download, HubFiles) and download.wanted is not None:
            assert len(list(download.wanted())) == info.official_counts[info.default_split]
