import pytest
from trees import stems, write_frames, write_text

from mosam.datasets.base import load_dataset
from mosam.datasets.one_pass import official_spans

ROW = {"comma": "3,4,5,6", "tab": "3\t4\t5\t6", "blanks": "3 4  5 6"}


def one(root, name, *, file="groundtruth_rect.txt", folder=None, images="img", row=ROW["comma"], suffix=".jpg"):
    folder = root / (folder or name)
    write_text(folder / file, f"{row}\n" * 3)
    write_frames(folder / images, stems(3, base=1, digits=4), suffix=suffix)
    write_text(root / "list.txt", name)
    return load_dataset("otb100", root=root)[name]


@pytest.mark.parametrize("row", ROW.values(), ids=ROW)
def test_separators(tmp_path, row):
    assert one(tmp_path, "Bolt", row=row).truth.boxes[2].tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("Jogging_1", "Jogging", "groundtruth_rect.1.txt"),
        ("Jogging_2", "Jogging", "groundtruth_rect.2.txt"),
        ("Skating2_2", "Skating2", "groundtruth_rect.2.txt"),
        ("Human4_2", "Human4", "groundtruth_rect.2.txt"),
    ],
)
def test_two_objects_of_one_video(tmp_path, name, folder, file):
    assert len(one(tmp_path, name, folder=folder, file=file)) == 3


@pytest.mark.parametrize(("images", "suffix"), [("img", ".jpg"), ("jpg", ".png")])
def test_the_pictures_of_kitesurf_are_where_they_are(tmp_path, images, suffix):
    assert len(one(tmp_path, "KiteSurf", images=images, suffix=suffix).source) == 3


def test_the_first_five_frames_of_tiger1_are_left_out(tmp_path):
    write_text(tmp_path / "Tiger1" / "groundtruth_rect.txt", "".join(f"{n},2,3,4\n" for n in range(1, 355)))
    write_text(tmp_path / "list.txt", "Tiger1")
    sequence = load_dataset("otb100", root=tmp_path)["Tiger1"]
    assert (len(sequence), sequence.frame_names[0], sequence.truth.boxes[0, 0]) == (349, "0006", 6)


def test_spans_and_attributes(tmp_path):
    spans = official_spans("otb100_frames")
    late = {name: (span.first, span.last) for name, span in spans.items() if span.first > 1}
    assert late == {
        "BlurCar1": (247, 988),
        "BlurCar3": (3, 359),
        "BlurCar4": (18, 397),
        "David": (300, 770),
        "Tiger1": (6, 354),
    }
    assert [len(spans[name]) for name in ("Diving", "Football1", "Freeman3", "Freeman4")] == [215, 74, 460, 283]
    assert one(tmp_path, "Basketball").attributes == {"IV", "OCC", "DEF", "OPR", "BC"}
