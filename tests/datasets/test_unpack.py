"""Archives put on disk, hostile and damaged ones too."""

import io
import stat
import tarfile
import zipfile

import pytest

from mosam.datasets import unpack as module
from mosam.datasets.unpack import unpack
from mosam.errors import DataError
from mosam.system.files import Inside, PathError

FILES = {"a/1.txt": b"one", "a/b/2.bin": bytes(range(256)) * 20, "3": b"", "__MACOSX/._3": b"x", "a/.DS_Store": b"x"}
KEPT = {name: data for name, data in FILES.items() if "__MACOSX" not in name and "DS_Store" not in name}
KINDS = ("x.zip", "x.tar", "x.tar.gz", "x.tgz")


def write_archive(path, files=FILES):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        write_tar(path, [(tarfile.TarInfo(name), data) for name, data in files.items()])
    return path


def write_tar(path, members):
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def everything(name):
    return True


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["", "in/side"])
def test_files_come_out_as_they_went_in(tmp_path, root, kind, folder):
    assert unpack([write_archive(tmp_path / kind)], Inside(root), folder, wanted=everything) == len(KEPT)
    assert content(root / folder) == KEPT


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_wanted_comes_out(tmp_path, root, kind):
    archive = write_archive(tmp_path / kind)
    assert unpack([archive], Inside(root), wanted=lambda name: name.startswith("a/b")) == 1
    assert set(content(root)) == {"a/b/2.bin"}


def test_parts_of_a_tar_are_one(tmp_path, root):
    data = write_archive(tmp_path / "x.tar.gz").read_bytes()
    parts = [tmp_path / f"part-{number}.tar.gz" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * 70 : (number + 1) * 70 if number < 2 else None])
    unpack(parts, Inside(root), wanted=everything)
    assert content(root) == KEPT


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_written_anew_unless_it_goes_on(tmp_path, root, kind):
    archive = write_archive(tmp_path / kind)
    (root / "a").mkdir()
    (root / "a" / "1.txt").write_bytes(b"own")  # of the same length
    unpack([archive], Inside(root), wanted=everything, resume=True)
    assert content(root) == {**KEPT, "a/1.txt": b"own"}
    unpack([archive], Inside(root), wanted=everything)
    assert content(root) == KEPT


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_what_an_interruption_left_is_completed(tmp_path, root, kind, monkeypatch):
    archive, inside = write_archive(tmp_path / kind), Inside(root)
    written = []

    def write(name, source):
        written.append(name)
        if len(written) == 2:
            source.read(10)
            raise KeyboardInterrupt
        Inside.write_from(inside, name, source)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(inside, "write_from", write)
        with pytest.raises(KeyboardInterrupt):
            unpack([archive], inside, wanted=everything)
    assert len(content(root)) == 1  # whole files only
    unpack([archive], inside, wanted=everything, resume=True)
    assert content(root) == KEPT


OUTSIDE = ["../out", "a/../../out", "/out", "a\\..\\out", "C:/out", "a/\x1b[31m", "x" * 300]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["x.zip", "x.tar"])
def test_names_that_lead_out_are_refused(tmp_path, root, kind, name):
    archive = write_archive(tmp_path / kind, {name: b"evil"})
    with pytest.raises(DataError, match="expected names of files inside the archive"):
        unpack([archive], Inside(root), wanted=everything)
    assert content(tmp_path) == {kind: archive.read_bytes()}


TYPES = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "pipe": tarfile.FIFOTYPE, "device": tarfile.BLKTYPE}


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_a_tar_with_what_is_no_file_is_refused(tmp_path, root, kind):
    member = tarfile.TarInfo("a")
    member.type, member.linkname = kind, "/etc/passwd"
    archive = write_tar(tmp_path / "x.tar", [(member, b"")])
    with pytest.raises(DataError, match=r"expected files and folders, got 'a', a link, a device or the like; refused"):
        unpack([archive], Inside(root), wanted=everything)
    assert content(root) == {}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_a_zip_with_what_is_no_file_is_refused(tmp_path, root, kind):
    member = zipfile.ZipInfo("a")
    member.external_attr = (kind | 0o644) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="expected files and folders, got 'a', a link"):
        unpack([tmp_path / "x.zip"], Inside(root), wanted=everything)
    assert content(root) == {}


def test_a_link_on_the_way_is_not_followed(tmp_path, root):
    (tmp_path / "other").mkdir()
    (root / "a").symlink_to(tmp_path / "other", target_is_directory=True)
    with pytest.raises(PathError, match="expected a folder, got a link; nothing was touched"):
        unpack([write_archive(tmp_path / "x.zip")], Inside(root), wanted=everything)
    assert content(tmp_path / "other") == {}


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
def test_what_swells_is_refused(tmp_path, root, kind, monkeypatch):
    monkeypatch.setattr(module, "SLACK", 1000)
    archive = write_archive(tmp_path / kind, {f"{number}": b"\0" * 400_000 for number in range(8)})
    with pytest.raises(DataError, match=r"got more: no pictures shrink so; refused|declares 400000 bytes; refused"):
        unpack([archive], Inside(root), wanted=everything)


def test_a_size_that_lies_is_refused(tmp_path, root):
    """A member that says to be larger than deflate could have made it."""
    archive = write_archive(tmp_path / "x.zip", {"a": b"abc"})
    data = bytearray(archive.read_bytes())
    start = data.rindex(b"PK\x01\x02")
    data[start + 24 : start + 28] = (50_000_000).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(DataError, match="declares 50000000 bytes; refused"):
        unpack([archive], Inside(root), wanted=everything)
    assert content(root) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "changed", "a page"])
def test_what_is_damaged_is_told(tmp_path, root, kind, damage):
    files = {"1": bytes(range(256)) * 2000, "2": b"second"}
    archive = write_archive(tmp_path / kind, files)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "changed":
        middle = len(data) // 2
        data[middle : middle + 40] = bytes(40)
    else:
        data = bytearray(b"<html>Please log in</html>" * 40)
    archive.write_bytes(data)
    if (kind, damage) == ("x.tar", "changed"):  # which has no sums of its content
        assert unpack([archive], Inside(root), wanted=everything) == 2
        return
    with pytest.raises(DataError, match="expected a whole"):
        unpack([archive], Inside(root), wanted=everything)
    if kind in ("x.zip", "x.tar") or damage != "changed":  # the sum of a packed tar stands at its end
        assert content(root).get("1") in (None, files["1"])


def test_an_encrypted_zip_is_told(tmp_path, root):
    archive = write_archive(tmp_path / "x.zip", {"a": b"abc"})
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match=r"expected a whole member of a zip, got .*encrypted"):
        unpack([archive], Inside(root), wanted=everything)
