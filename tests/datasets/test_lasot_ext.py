import numpy as np
import pytest
from trees import write_lasot_sequence, write_text

from mosam.datasets.annotations import official_list
from mosam.datasets.base import load_dataset
from mosam.errors import DataError, MissingDataError


def test_the_official_list_is_of_15_classes_with_10_each():
    names = official_list("lasot_ext_test")
    assert len(set(names)) == 150
    classes = {name.rpartition("-")[0] for name in names}
    assert {f"{kind}-{number}" for kind in classes for number in range(1, 11)} == set(names)


def test_a_list_of_lasot_itself_in_the_same_folder_is_not_its_list(tmp_path):
    write_lasot_sequence(tmp_path / "atv" / "atv-1")
    write_text(tmp_path / "testing_set.txt", "airplane-1\nairplane-9")
    dataset = load_dataset("lasot-ext", root=tmp_path)
    assert len(dataset) == 150
    with pytest.raises(MissingDataError, match="149 are absent: atv-2"):
        dataset.require()
    write_text(tmp_path / "testing_set.txt", "atv-1")
    assert load_dataset("lasot-ext", root=tmp_path).subset == "1 of 150 official sequences"


def test_more_images_than_rows_are_known_of_two_sequences(tmp_path):
    write_lasot_sequence(tmp_path / "paddle-1", count=3, images=6)
    write_lasot_sequence(tmp_path / "paddle-2", count=3, images=6)
    dataset = load_dataset("lasot-ext", root=tmp_path)
    assert (len(dataset["paddle-1"]), len(dataset["paddle-1"].source)) == (3, 3)
    with pytest.raises(DataError, match="expected 6 rows, one for each image of img/, got 3"):
        dataset["paddle-2"]


def test_boxes_are_as_written(tmp_path):
    write_lasot_sequence(tmp_path / "atv-1")
    write_text(tmp_path / "atv-1" / "groundtruth.txt", "0,0,5,4\n0,1,5,4\n0,0,0,0\n7,7,5,4\n")
    sequence = load_dataset("lasot-ext", root=tmp_path)["atv-1"]
    np.testing.assert_array_equal(sequence.truth.boxes[:2], [[0, 0, 5, 4], [0, 1, 5, 4]])
    assert sequence.truth.absent.tolist() == [False, True, True, False]


def test_wrong_root(tmp_path):
    with pytest.raises(MissingDataError, match=r"(?s)found none of its 150 sequences; expected tree:.*LaSOT_extension"):
        load_dataset("lasot-ext", root=tmp_path)
