from trees import stems, write_frames, write_text

from mosam.datasets.base import load_dataset


def test_every_folder_with_boxes_or_those_listed(tmp_path):
    for name in ("b", "a"):
        write_text(tmp_path / name / f"{name}.txt", "1 2 3 4\n5,6,7,8\n")
        write_frames(tmp_path / name / "img", stems(2, base=1, digits=4))
    (tmp_path / "c").mkdir()
    dataset = load_dataset("latot", root=tmp_path)
    assert list(dataset) == ["a", "b"]
    assert dataset["a"].truth.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    write_text(tmp_path / "list.txt", "b")
    assert list(load_dataset("latot", root=tmp_path)) == ["b"]
