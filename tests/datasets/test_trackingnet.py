import shutil
import zipfile

import pytest
from trees import write_frames, write_text

from mosam.datasets.annotations import official_list
from mosam.datasets.base import load_dataset
from mosam.errors import DataError, MissingDataError


def write_chunk(folder, *, rows=1, count=12):
    write_frames(folder / "frames" / "abc_0", [str(index) for index in range(count)])
    write_text(folder / "anno" / "abc_0.txt", "".join(f"{2 + t},3,5,4\n" for t in range(rows)))


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    write_chunk(tmp_path / "TEST")
    write_text(tmp_path / "TEST" / "anno" / "._abc_0.txt", "macOS")
    dataset = load_dataset("trackingnet", root=tmp_path)
    assert list(dataset) == ["abc_0"]
    sequence = dataset["abc_0"]
    assert sequence.frame_names == tuple(str(index) for index in range(12))
    assert sequence.prompts[0].box.tolist() == [2, 3, 5, 4]
    assert dataset.subset == "1 of 511 official sequences"


def test_the_official_list():
    names = official_list("trackingnet_test")
    assert len(names) == 511
    assert list(names) == sorted(names)


@pytest.mark.parametrize("folder", ["Test", "test", "."])
def test_other_names_of_the_folder(tmp_path, folder):
    write_chunk(tmp_path / folder)
    assert list(load_dataset("trackingnet", root=tmp_path)) == ["abc_0"]


@pytest.mark.parametrize("place", ["frames", "zips"])
def test_frames_may_stay_in_the_zip_they_came_in(tmp_path, place):
    write_chunk(tmp_path / "TEST")
    pixels = load_dataset("trackingnet", root=tmp_path)["abc_0"].source.read(10)
    (tmp_path / "TEST" / place).mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "TEST" / place / "abc_0.zip", "w") as archive:
        for path in (tmp_path / "TEST" / "frames" / "abc_0").iterdir():
            archive.write(path, path.name)
    shutil.rmtree(tmp_path / "TEST" / "frames" / "abc_0")
    dataset = load_dataset("trackingnet", root=tmp_path)
    dataset.require(frames=True)
    assert (dataset["abc_0"].source.read(10) == pixels).all()


def test_training_chunks_are_annotated_throughout(tmp_path):
    write_chunk(tmp_path / "TRAIN_3", rows=12)
    dataset = load_dataset("trackingnet", root=tmp_path, split="train_3")
    assert len(dataset["abc_0"].truth) == 12
    assert dataset.official_count == 2511
    write_chunk(tmp_path / "TRAIN_3", rows=11)
    with pytest.raises(DataError, match="expected 12 rows, one for each image, got 11"):
        dataset["abc_0"]


def test_wrong_root(tmp_path):
    with pytest.raises(MissingDataError, match=r"(?s)found no TEST/anno; expected tree:.*zips/"):
        load_dataset("trackingnet", root=tmp_path)
    (tmp_path / "TEST" / "anno").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="found no text file in"):
        load_dataset("trackingnet", root=tmp_path)
