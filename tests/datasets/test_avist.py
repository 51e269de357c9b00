import pytest
from trees import write_frames, write_text

from mosam.datasets.base import load_dataset
from mosam.errors import DataError


def one(root, name="air_show", *, outside="0,0,1"):
    write_text(root / "anno" / f"{name}.txt", "1 2 3 4\n" * 3)
    write_text(root / "full_occlusion" / f"{name}_full_occlusion.txt", "0,1,0\n")
    write_text(root / "out_of_view" / f"{name}_out_of_view.txt", outside)
    write_frames(root / "sequences" / name, ["img_00001", "img_00002", "img_00003"])
    return load_dataset("avist", root=root)[name]


def test_absent_by_either_flag(tmp_path):
    sequence = one(tmp_path)
    assert sequence.truth.absent.tolist() == [False, True, True]
    assert sequence.frame_names == ("img_00001", "img_00002", "img_00003")
    assert sequence.attributes == {"OE", "TE", "SM", "SO"}


def test_flags_that_lack_one(tmp_path):
    with pytest.raises(DataError, match=r"out_of_view\.txt: expected 3 flags, one for each annotated frame, got 2"):
        one(tmp_path, outside="0,0").truth  # noqa: B018
