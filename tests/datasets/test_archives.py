import pickle
import shutil
import zipfile

import pytest
from trees import SIZE, moving_square, write_davis, write_frame, write_frames, write_lasot_sequence, write_text

from mosam.datasets.archives import ArchivePath, open_archive, open_tree, possible_roots, relative_name
from mosam.datasets.base import load_dataset
from mosam.datasets.check import check
from mosam.datasets.frames import FrameFolder, has_frames, open_frames
from mosam.datasets.pack import pack
from mosam.errors import DataError, MissingDataError, MosamError


def write_zip(path, files, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def zip_folder(folder, path, *, prefix="", compression=zipfile.ZIP_STORED):
    files = {f"{prefix}{p.relative_to(folder).as_posix()}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return write_zip(path, files, compression=compression)


@pytest.fixture(params=["zip", "deflated", "lmdb"])
def tree(request, tmp_path):
    """The path inside an archive that holds two DAVIS sequences."""
    root = write_davis(tmp_path / "tree", {"dog": moving_square(), "dog-2": moving_square(2)})
    if request.param == "lmdb":
        return open_tree(pack(load_dataset("davis", root=root), tmp_path / "packed"))
    kind = zipfile.ZIP_DEFLATED if request.param == "deflated" else zipfile.ZIP_STORED
    return open_tree(zip_folder(root, tmp_path / "tree.zip", compression=kind))


def test_paths_look_like_those_of_a_disk(tree):
    masks = tree / "Annotations" / "480p"
    assert [path.name for path in masks.iterdir()] == ["dog", "dog-2"]
    assert [path.name for path in (masks / "dog").glob("*1.png")] == ["00001.png"]
    path = masks / "dog" / "00001.png"
    assert path.is_file()
    assert path.exists()
    assert not path.is_dir()
    assert masks.is_dir()
    assert not (masks / "do").exists()
    assert not (masks / "dog" / ".." / "dog").exists()
    assert (path.stem, path.suffix, path.parent) == ("00001", ".png", masks / "dog")
    assert path.with_suffix(".jpg").name == "00001.jpg"
    assert path.with_name("00000.png").is_file()
    assert relative_name(path, masks) == "dog/00001.png"
    assert str(path).endswith("Annotations/480p/dog/00001.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert (tree / "ImageSets" / "2017" / "val.txt").read_text() == "dog\ndog-2"
    with pytest.raises(FileNotFoundError):
        (masks / "cat.png").read_bytes()
    with pytest.raises(FileNotFoundError):
        list((masks / "cat").iterdir())
    with pytest.raises(NotADirectoryError):
        list(path.iterdir())
    with pytest.raises(ValueError, match=r"is not in|does not start with|not in the subpath"):
        relative_name(tree, masks)


def test_paths_survive_pickling_and_archives_are_opened_once(tree):
    path = tree / "Annotations" / "480p"
    again = pickle.loads(pickle.dumps(path))
    assert again == path
    assert again.archive is path.archive
    assert hash(again) == hash(path)


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", "..\\x.png", "C:/x.png", "a/" + 300 * "b"])
def test_members_outside_of_the_archive_are_refused(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {"fine.txt": "1", name: "2"})
    with pytest.raises(DataError, match=r"a\.zip: expected .*; refused"):
        open_tree(path)


def test_a_member_that_declares_an_enormous_size_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"0.jpg": b"x" * 100})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"0\.jpg: expected a file, got a member that declares 4294967280 bytes; refused"
    ):
        (open_tree(path) / "0.jpg").read_bytes()


def test_a_half_downloaded_zip_is_one_line(tmp_path):
    write_frames(tmp_path / "img", ["0", "1"])
    path = zip_folder(tmp_path / "img", tmp_path / "img.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"img\.zip: expected a whole zip archive, got .*; get it again"):
        open_tree(path)
    with pytest.raises(DataError, match="expected an archive, got No such file"):
        open_archive(tmp_path / "none.zip")


def test_a_damaged_member_is_one_line(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"0.txt": b"0123456789" * 10})
    data = path.read_bytes().replace(b"0123456789", b"0123x56789", 1)
    path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"a\.zip/0\.txt: expected a whole member of a zip, got Bad CRC-32.*; get it again"
    ):
        (open_tree(path) / "0.txt").read_bytes()


def test_frames_in_a_zip_beside_or_instead_of_the_folder(tmp_path):
    write_frames(tmp_path / "img", ["9", "10", "8"])
    write_text(tmp_path / "img" / "._8.jpg", "macOS")
    plain = [image.tobytes() for image in map(FrameFolder(tmp_path / "img").read, range(3))]
    for prefix in ("", "img/", "a/img/"):
        zip_folder(tmp_path / "img", tmp_path / "clip.zip", prefix=prefix)
        for place in ("clip", "clip.zip"):
            assert has_frames(tmp_path / place)
            source = open_frames(tmp_path / place)
            assert source.stems == ("8", "9", "10")
            assert [source.read(index).tobytes() for index in range(3)] == plain
            assert source.size() == SIZE
        (tmp_path / "clip.zip").unlink()
    assert not has_frames(tmp_path / "clip")


def test_lasot_with_zipped_images(tmp_path):
    write_lasot_sequence(tmp_path / "cat-1")
    write_text(tmp_path / "testing_set.txt", "cat-1")
    zip_folder(tmp_path / "cat-1" / "img", tmp_path / "cat-1" / "img.zip")
    shutil.rmtree(tmp_path / "cat-1" / "img")
    dataset = load_dataset("lasot", root=tmp_path)
    dataset.require(frames=True)
    assert check(dataset) == []
    packed = load_dataset("lasot", root=pack(dataset, tmp_path / "packed"))
    assert [path.name for path in (packed.root / "cat-1" / "img").iterdir()][:1] == ["00000001.jpg"]
    assert check(packed) == []


@pytest.mark.parametrize("depth", [1, 2])
def test_doubled_folders_are_looked_through(tmp_path, depth):
    names = ["outer", "DAVIS-2017", "x"][:depth]
    write_davis(tmp_path.joinpath("root", *names), {"dog": moving_square()})
    write_text(tmp_path / "root" / ".DS_Store", "")
    (tmp_path / "root" / "__MACOSX").mkdir()
    assert list(load_dataset("davis", root=tmp_path / "root")) == ["dog"]
    path = zip_folder(tmp_path / "root", tmp_path / "any.zip")
    assert list(load_dataset("davis", root=path)) == ["dog"]


def test_two_folders_are_not_guessed_between(tmp_path):
    for name in ("a", "b"):
        write_davis(tmp_path / name, {"dog": moving_square()})
    with pytest.raises(MissingDataError, match=r"found no Annotations/480p; expected tree"):
        load_dataset("davis", root=tmp_path)


def test_symlink_loops_end(tmp_path):
    root = write_davis(tmp_path / "root", {"dog": moving_square()})
    (root / "JPEGImages" / "480p" / "loop").symlink_to(root / "JPEGImages")
    (root / "self").symlink_to(root / "self")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "alone").symlink_to(tmp_path / "alone")
    assert len(list(possible_roots(tmp_path / "alone"))) == 3
    dataset = load_dataset("davis", root=root)
    assert check(dataset) == []
    pack(dataset, tmp_path / "packed")
    with pytest.raises(MissingDataError, match="expected tree"):
        load_dataset("davis", root=tmp_path / "alone")
    with pytest.raises(DataError, match=r"self: expected a folder, got Too many levels|self: expected a folder, got"):
        FrameFolder(root / "self")


# ---- packed trees


def test_packed_files_are_as_they_were_and_counted(tmp_path):
    root = write_davis(tmp_path / "tree", {"dog": moving_square(), "cat": moving_square(2)})
    dataset = load_dataset("davis", root=root)
    seen = []
    packed = pack(dataset, tmp_path / "packed", progress=lambda name, done, total: seen.append((name, done, total)))
    assert seen == [("dog", 0, 2), ("cat", 1, 2)]
    assert sorted(path.name for path in packed.iterdir()) == ["data.mdb", "manifest.json"]
    tree = open_tree(packed)
    for path in root.rglob("*"):
        if path.is_file():
            assert tree.joinpath(path.relative_to(root).as_posix()).read_bytes() == path.read_bytes()
    manifest = tree.archive.manifest
    assert (manifest.files, manifest.sequences) == (13, 2)
    assert manifest.folders["JPEGImages/480p/dog"].files == 4
    again = load_dataset("davis", root=packed)
    assert again.annotation_hash() == dataset.annotation_hash()
    assert (
        pack(again, tmp_path / "again").joinpath("manifest.json").read_bytes()
        == (packed / "manifest.json").read_bytes()
    )


def test_some_sequences_can_be_packed(tmp_path):
    root = write_davis(tmp_path / "tree", {"dog": moving_square(), "cat": moving_square(2)})
    packed = load_dataset("davis", root=pack(load_dataset("davis", root=root).select(["cat"]), tmp_path / "packed"))
    assert packed.missing() == ("dog",)
    assert check(packed.select(["cat"])) == []


def test_what_cannot_be_packed_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(MosamError, match="toy: expected a benchmark on disk to pack, got a generated one"):
        pack(load_dataset("toy"), tmp_path / "packed")
    root = write_davis(tmp_path / "tree", {"dog": moving_square(), "cat": moving_square(2)})
    shutil.rmtree(root / "JPEGImages" / "480p" / "cat")
    dataset = load_dataset("davis", root=root)
    with pytest.raises(MissingDataError, match="1 are absent: cat"):
        pack(dataset, tmp_path / "packed")
    write_text(tmp_path / "full" / "x", "")
    with pytest.raises(MosamError, match="expected a new or empty folder"):
        pack(dataset.select(["dog"]), tmp_path / "full")
    write_frame(root / "JPEGImages" / "480p" / "dog" / ("0" * 230 + ".jpg"))
    (root / "JPEGImages" / "480p" / "dog" / "00000.jpg").unlink()
    (root / "JPEGImages" / "480p" / ("d" * 250)).mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "tree"]


def test_a_truncated_pack_is_refused_before_it_is_read(tmp_path):
    root = write_davis(tmp_path / "tree", {"dog": moving_square(30)})
    packed = pack(load_dataset("davis", root=root), tmp_path / "packed")
    data = (packed / "data.mdb").read_bytes()
    for length in (len(data) - 1, len(data) // 2, 5000, 100, 0):
        (packed / "data.mdb").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"data\.mdb: expected .*(pack|copy).* again"):
            load_dataset("davis", root=packed)


def test_an_unfinished_or_foreign_pack_is_refused(tmp_path):
    root = write_davis(tmp_path / "tree", {"dog": moving_square()})
    packed = pack(load_dataset("davis", root=root), tmp_path / "packed")
    manifest = (packed / "manifest.json").read_text()
    for text, message in {
        "": r"manifest\.json: expected JSON, got an empty file; pack it again",
        "[]": "expected an object with fields, got a list of 0; pack it again",
        "{}": "format: expected 1, found no such field; pack it again",
        manifest.replace('"format": 1', '"format": 2'): "format: expected 1, got the number 2; pack it again",
        manifest.replace('"files": 4', '"files": "4"'): r"files: expected an integer, got text '4'; pack it again",
        manifest.replace('"files": 9', '"files": 8', 1): "expected the manifest's 8 files, got 9",
    }.items():
        (packed / "manifest.json").write_text(text)
        with pytest.raises(DataError, match=message):
            open_tree(packed)
    (packed / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"packed: expected manifest\.json beside data\.mdb, found none; pack it again"):
        open_tree(packed)


def test_check_finds_changed_bytes_in_a_pack(tmp_path):
    root = write_davis(tmp_path / "tree", {"dog": moving_square()})
    packed = pack(load_dataset("davis", root=root), tmp_path / "packed")
    wanted = (root / "Annotations" / "480p" / "dog" / "00002.png").read_bytes()
    data = (packed / "data.mdb").read_bytes()
    assert data.count(wanted) == 1
    changed = wanted[:-5] + bytes([wanted[-5] ^ 1]) + wanted[-4:]
    (packed / "data.mdb").write_bytes(data.replace(wanted, changed))
    problems = check(load_dataset("davis", root=packed))
    assert any("dog: expected its files as the manifest says, got others or changed ones" in line for line in problems)


def test_the_data_folder_may_hold_zips(tmp_path, monkeypatch):
    root = write_davis(tmp_path / "tree", {"dog": moving_square()})
    zip_folder(root, tmp_path / "davis2017.zip")
    monkeypatch.setenv("MOSAM_DATA", str(tmp_path))
    assert list(load_dataset("davis")) == ["dog"]
    write_davis(tmp_path / "davis2017", {"cat": moving_square()})
    assert list(load_dataset("davis")) == ["cat"]


def test_archive_paths_are_found_by_their_kind(tmp_path):
    write_frame(tmp_path / "a" / "0.jpg")
    zip_folder(tmp_path / "a", tmp_path / "a.zip")
    assert isinstance(open_tree(tmp_path / "a.zip"), ArchivePath)
    assert not isinstance(open_tree(tmp_path / "a"), ArchivePath)
    assert open_tree(open_tree(tmp_path / "a.zip")) == open_tree(tmp_path / "a.zip")
