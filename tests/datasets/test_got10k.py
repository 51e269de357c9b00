import numpy as np
import pytest
from trees import stems, write_frames, write_text

from mosam.datasets.base import load_dataset
from mosam.datasets.check import check
from mosam.errors import DataError, MissingDataError

NAME = "GOT-10k_Val_000001"


def write_sequence(folder, count=4, *, rows=None, images=None, metadata="resolution: (14, 10)"):
    lines = [f"{t}.5000,{t}.2500,5.0000,4.0000" for t in range(count if rows is None else rows)]
    write_text(folder / "groundtruth.txt", "\n".join(lines) + "\n")
    write_text(folder / "absence.label", "0\n0\n1\n0\n")
    write_text(folder / "cover.label", "8\n4\n0\n7\n")
    write_text(folder / "meta_info.ini", f"[METAINFO]\nurl: https://a.b/%20c\nanno_fps: 10Hz\n{metadata}\n")
    write_frames(folder, stems(count if images is None else images, base=1, digits=8))


def test_boxes_cover_and_absence(tmp_path):
    write_sequence(tmp_path / "val" / NAME)
    write_text(tmp_path / "val" / "list.txt", NAME)
    dataset = load_dataset("got10k", root=tmp_path)
    assert (list(dataset), dataset.subset) == ([NAME], "1 of 180 official sequences")
    sequence = dataset[NAME]
    assert sequence.frame_names == ("00000001", "00000002", "00000003", "00000004")
    truth = sequence.truth
    np.testing.assert_array_equal(truth.boxes[3], [3.5, 3.25, 5, 4])
    assert truth.absent.tolist() == [False, False, True, False]
    assert truth.cover.tolist() == [1, 0.5, 0, 0.875]
    assert sequence.prompts[0].box.tolist() == [0.5, 0.25, 5, 4]
    assert check(dataset) == []


def test_without_frames_the_metadata_knows_the_size(tmp_path):
    write_sequence(tmp_path / "val" / NAME, images=0)
    sequence = load_dataset("got10k", root=tmp_path)[NAME]
    assert (len(sequence), len(sequence.source), sequence.size) == (4, 0, (10, 14))
    (tmp_path / "val" / NAME / "meta_info.ini").unlink()
    assert load_dataset("got10k", root=tmp_path)[NAME].size is None


@pytest.mark.parametrize(
    "metadata",
    ["resolution: (14)", "resolution: 14x10", "resolution: (0, 10)", "resolution: (14.0, 10)", "resolution: [" * 99],
)
def test_a_bad_resolution_is_one_line(tmp_path, metadata):
    write_sequence(tmp_path / "val" / NAME, images=0, metadata=metadata)
    with pytest.raises(DataError, match=r"meta_info\.ini: expected \[METAINFO\] with resolution: \(width, height\)"):
        _ = load_dataset("got10k", root=tmp_path)[NAME].size


def test_test_publishes_one_row(tmp_path):
    folder = tmp_path / "test" / "GOT-10k_Test_000001"
    write_sequence(folder, rows=1)
    dataset = load_dataset("got10k", root=tmp_path, split="test")
    assert len(dataset) == 180  # no list: the official one
    sequence = dataset["GOT-10k_Test_000001"]
    assert (len(sequence), sequence.load_truth) == (4, None)
    assert sequence.prompts[0].box.tolist() == [0.5, 0.25, 5, 4]
    with pytest.raises(MissingDataError, match="no published ground truth; see mosam submit"):
        _ = sequence.truth
    write_sequence(folder, rows=3)
    with pytest.raises(DataError, match="expected 4 rows, one for each image, got 3"):
        dataset["GOT-10k_Test_000001"]


def test_bad_companions_are_one_line(tmp_path):
    write_sequence(tmp_path / NAME)  # the root is the split's folder
    dataset = load_dataset("got10k", root=tmp_path)
    for text, message in {
        "8\n4\n9\n7\n": r"cover\.label:3: expected an integer of 0 to 8, got 9",
        "8\n4\n0.5\n7\n": r"cover\.label:3: expected an integer of 0 to 8, got 0\.5",
        "8\n4\n": r"cover\.label: expected 4 numbers, one for each annotated frame, got 2",
    }.items():
        write_text(tmp_path / NAME / "cover.label", text)
        with pytest.raises(DataError, match=message):
            _ = dataset[NAME].truth
    write_sequence(tmp_path / NAME, rows=3)
    with pytest.raises(DataError, match="expected 4 rows, one for each image, got 3"):
        dataset[NAME]


def test_names_are_numbered(tmp_path):
    write_sequence(tmp_path / "train" / "GOT-10k_Train_009335")
    names = load_dataset("got10k", root=tmp_path, split="train").official_names()
    assert (len(names), names[0], names[-1]) == (9335, "GOT-10k_Train_000001", "GOT-10k_Train_009335")
