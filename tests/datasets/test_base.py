import numpy as np
import pytest
from trees import moving_square, stems, write_davis, write_frames, write_lasot_sequence, write_text

from mosam.datasets.annotations import SPLITS, read_names
from mosam.datasets.base import DATASETS, load_dataset, shorten
from mosam.datasets.names import check_names
from mosam.errors import DataError, MissingDataError, UnknownNameError


def test_every_dataset_says_what_it_is():
    for name in DATASETS:
        info = DATASETS[name].info
        assert DATASETS[name].name == name
        assert info.default_split in info.splits
        assert info.title
        assert info.prompts
        assert info.protocol
        assert info.metrics or set(info.no_truth) == set(info.splits)
        assert set(info.no_truth) <= set(info.splits)
        assert DATASETS[name].generated or info.tree


def test_unknown_names_list_the_known_and_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown dataset 'lasott'; did you mean lasot"):
        load_dataset("lasott", root=tmp_path)
    with pytest.raises(UnknownNameError, match="davis2017: unknown split 'valid'; did you mean val"):
        load_dataset("davis", root=tmp_path, split="valid")
    with pytest.raises(UnknownNameError, match="lasot: unknown prompt 'mask'"):
        load_dataset("lasot", root=tmp_path, prompt="mask")


def test_missing_root_names_it_and_shows_the_tree(tmp_path, monkeypatch):
    with pytest.raises(
        MissingDataError, match=r"(?s)absent: expected the LaSOT folder, found nothing.*groundtruth\.txt"
    ):
        load_dataset("lasot", root=tmp_path / "absent")
    monkeypatch.delenv("MOSAM_DATA", raising=False)
    with pytest.raises(MissingDataError, match="lasot: no folder given; pass --root or set MOSAM_DATA"):
        load_dataset("lasot")


def test_root_from_the_environment_under_the_listed_name(tmp_path, monkeypatch):
    write_davis(tmp_path / "davis2017", {"dog": moving_square()})
    monkeypatch.setenv("MOSAM_DATA", str(tmp_path))
    assert list(load_dataset("davis")) == ["dog"]


def _three(tmp_path):
    for name in ("cat-1", "cat-2", "cat-3"):
        write_lasot_sequence(tmp_path / name)
    write_text(tmp_path / "testing_set.txt", "cat-1\ncat-2\ncat-3")
    return load_dataset("lasot", root=tmp_path)


def test_selection_keeps_order_and_says_it_is_one(tmp_path):
    dataset = _three(tmp_path)
    assert dataset.subset == "3 of 280 official sequences"
    chosen = dataset.select(["cat-3", "cat-1"])
    assert list(chosen) == ["cat-1", "cat-3"]
    assert chosen.subset == "2 of 280 official sequences"
    assert list(dataset.select(limit=1)) == ["cat-1"]
    assert list(dataset) == ["cat-1", "cat-2", "cat-3"]
    assert dataset.select(limit=9) is dataset
    assert "cat-1" in chosen
    assert "cat-2" not in chosen
    with pytest.raises(UnknownNameError, match=r"lasot test: unknown sequence 'cat-9'; did you mean cat-3"):
        dataset.select(["cat-9"])
    with pytest.raises(ValueError, match="--limit"):
        dataset.select(limit=0)


def test_require_looks_only_at_chosen_sequences(tmp_path):
    for name in ("cat-1", "cat-2"):
        write_lasot_sequence(tmp_path / name, images=0 if name == "cat-2" else None)
    write_text(tmp_path / "testing_set.txt", "cat-1\ncat-2\ncat-3\ncat-4\ncat-5\ncat-6")
    dataset = load_dataset("lasot", root=tmp_path)
    with pytest.raises(
        MissingDataError, match=r"6 sequences of lasot test, 4 are absent: cat-3, cat-4, cat-5 and 1 more"
    ):
        dataset.require()
    two = dataset.select(limit=2)
    two.require()
    assert two.missing(frames=True) == ("cat-2",)
    with pytest.raises(MissingDataError, match="expected frames of 2 sequences"):
        two.require(frames=True)
    two.select(["cat-1"]).require(frames=True)


def test_annotation_hash_is_of_what_scores_depend_on(tmp_path):
    dataset = _three(tmp_path)
    before = dataset.annotation_hash()
    assert before == load_dataset("lasot", root=tmp_path).annotation_hash()
    assert before != dataset.select(["cat-1", "cat-2"]).annotation_hash()
    (tmp_path / "cat-3" / "img" / "00000001.jpg").unlink()
    assert before == dataset.annotation_hash()
    write_text(tmp_path / "cat-3" / "out_of_view.txt", "0,0,0,0")
    assert before != dataset.annotation_hash()
    assert dataset.select(["cat-1"]).annotation_hash() == dataset.select(["cat-1"]).annotation_hash()


def test_annotation_hash_does_not_mind_unsound_sequences(tmp_path):
    dataset = _three(tmp_path)
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        (tmp_path / "cat-1" / name).unlink()
    assert len(dataset.annotation_hash()) == 64
    root = write_davis(tmp_path / "davis", {"dog": moving_square(1)})
    (root / "Annotations" / "480p" / "dog" / "00000.png").unlink()
    assert len(load_dataset("davis", root=root).annotation_hash()) == 64


def test_frames_iterates_from_a_start(tmp_path):
    sequence = _three(tmp_path)["cat-1"]
    frames = list(sequence.frames(start=2))
    assert len(frames) == 2
    np.testing.assert_array_equal(frames[0], sequence.source.read(2))


@pytest.mark.parametrize(("count", "text"), [(1, "a"), (3, "a, b, c"), (5, "a, b, c and 2 more")])
def test_shorten(count, text):
    assert shorten("abcde"[:count]) == text


BAD_NAMES = {
    "a\nb": r"without line feeds, control characters .* got 'a\\nb'; rename it",
    "a\x1b[31mred": "without line feeds, control characters",
    "a\u202etxt": "without line feeds, control characters",
    "caf\udce9": "without .* or bytes that are no UTF-8",
    "n" * 247: r"of at most 200 bytes, got 'n{60}\.\.\.'",
    "\u00e4" * 101: "of at most 200 bytes",
    ".partial-x": "that are plain and do not begin with a dot",
    "a/b": "that are plain",
    "run.json": "other than those of a run's own files",
    "Run.JSON.bak": "other than those of a run's own files",
    "scores.json": "other than those of a run's own files",
    "scores@a.json": "other than those of a run's own files",
    "log": "other than those of a run's own files",
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_that_results_cannot_have_are_refused_in_one_line(name):
    with pytest.raises(DataError, match=f"^root: expected sequence names {BAD_NAMES[name]}") as caught:
        check_names(["fine", name], "root")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("twin", ["car", "CAR", "Stra\u00dfe", "STRASSE", "cafe\u0301", "caf\u00e9"])
def test_names_that_are_one_file_on_some_disks_are_refused(twin):
    names = ["Car", "strasse", "Cafe\u0301"]
    check_names([*names, "other"], "root")
    with pytest.raises(DataError, match="differ by more than case or Unicode form"):
        check_names([*names, twin], "root")


def test_usual_and_official_names_are_accepted():
    check_names(["a b", "a,b", "2024-01-01T12:30:15", "\u00fcber", "\u6d4b\u8bd5", "-x", "n" * 200, "login"], "root")
    for path in SPLITS.glob("*.txt"):
        if not path.name.endswith(("_attributes.txt", "_lengths.txt")):
            check_names(read_names(path), path)


def test_the_runs_own_files_are_those_of_the_store():
    from mosam.results import folder, frame_log, record

    for own in (record.RECORD, record.BACKUP, folder.SCORES, frame_log.log_path("x").split("/")[0], folder.LOCK):
        with pytest.raises(DataError):
            check_names([own], "root")


def test_a_dataset_with_such_a_name_is_not_opened(tmp_path):
    write_frames(tmp_path / "a\x1b[2Jb", stems(2))
    write_text(tmp_path / "a\x1b[2Jb.txt", "1,1,2,2")
    with pytest.raises(DataError, match=r"got 'a\\x1b\[2Jb'; rename it"):
        load_dataset("folder", root=tmp_path)
