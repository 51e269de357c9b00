import pytest
from trees import stems, write_frames, write_text

from mosam.datasets.base import load_dataset

NAME = "Aiptasia Eating Filefish-33"


@pytest.mark.parametrize("folder", [f"Aiptasia Eating Filefish/{NAME}", NAME])
@pytest.mark.parametrize("images", ["img", "imgs"])
def test_class_folders_and_names_with_blanks(tmp_path, folder, images):
    write_text(tmp_path / folder / "Groundtruth.txt", "-1,2,3,4\n0,0,0,0\n")
    write_frames(tmp_path / folder / images, stems(2, base=1, digits=8))
    dataset = load_dataset("vasttrack", root=tmp_path)
    assert len(dataset) == 3500
    sequence = dataset[NAME]
    assert len(sequence.source) == 2
    assert sequence.truth.absent.tolist() == [False, True]
    assert dataset.is_present(NAME, frames=True)
