import pytest
from trees import stems, write_frames, write_text

from mosam.datasets.base import load_dataset
from mosam.datasets.check import Note, check
from mosam.errors import DataError

VIDEO = "Skiing_red"


def repackaged(root, *, count=4, images=4):
    write_text(root / "anno" / f"nfs_{VIDEO}.txt", "1\t2\t3\t4\n" * count)
    return loaded(root, root / "sequences" / VIDEO, images)


def official(root, *, count=32, images=4, row='0 {t} 2 9 8 {t} 0 0 1 "skier"'):
    write_text(root / VIDEO / "30" / f"{VIDEO}.txt", "".join(row.format(t=t) + "\n" for t in range(count)))
    return loaded(root, root / VIDEO / "30" / VIDEO, images)


def loaded(root, folder, images):
    write_frames(folder, stems(images, base=1))
    write_text(root / "list.txt", f"nfs_{VIDEO}")
    return load_dataset("nfs", root=root)


def test_repackaged(tmp_path):
    dataset = repackaged(tmp_path)
    sequence = dataset[f"nfs_{VIDEO}"]
    assert (len(sequence), sequence.frame_names[0]) == (4, "00001")
    assert sequence.truth.boxes[3].tolist() == [1, 2, 3, 4]
    assert dataset.layout == "repackaged"
    assert check(dataset) == []


def test_official_rows_are_corners_and_every_eighth_counts(tmp_path):
    dataset = official(tmp_path)
    assert dataset[f"nfs_{VIDEO}"].truth.boxes.tolist() == [[t, 2, 9 - t, 6] for t in (0, 8, 16, 24)]
    (note,) = check(dataset)
    assert isinstance(note, Note)
    assert note == "note: nfs: laid out as the official archive, of whose boxes every eighth counts"


def test_official_boxes_at_thirty_frames_a_second(tmp_path):
    assert len(official(tmp_path, count=4)[f"nfs_{VIDEO}"]) == 4


def test_official_boxes_without_pictures(tmp_path):
    sequence = official(tmp_path, count=69 * 8 - 3, images=0)[f"nfs_{VIDEO}"]
    assert len(sequence) == 69


@pytest.mark.parametrize(("rows", "images"), [(5, 4), (4, 5), (29, 4), (34, 4)])
def test_one_row_or_picture_too_many(tmp_path, rows, images):
    sequence = official(tmp_path, count=rows, images=images)[f"nfs_{VIDEO}"]
    assert len(sequence) == len(sequence.source) == len(sequence.truth) == 4


def test_two_too_many(tmp_path):
    with pytest.raises(DataError, match=rf"{VIDEO}\.txt: expected 6 rows, one for each image, got 4"):
        repackaged(tmp_path, images=6)[f"nfs_{VIDEO}"]


@pytest.mark.parametrize("row", ["0 1 tw", "0 1 two 3 4"])
def test_a_bad_official_row(tmp_path, row):
    with pytest.raises(DataError, match=rf"{VIDEO}\.txt:1: expected id left top right bottom, got '0 1 t?"):
        official(tmp_path, count=4, row=row)[f"nfs_{VIDEO}"]


def test_an_empty_official_file(tmp_path):
    with pytest.raises(DataError, match="expected id left top right bottom, got ''"):
        official(tmp_path, count=0)[f"nfs_{VIDEO}"]
