from trees import write_frame, write_text

from mosam.datasets.base import load_dataset


def test_pictures_of_any_name_in_order_of_their_numbers(tmp_path):
    name = "advSamp_monitor_bikeyellow"
    images = tmp_path / name / "imgs"
    for file in ("frame_10.png", "frame_9.jpg", "frame_1.png"):
        write_frame(images / file)
    write_text(tmp_path / name / "groundtruth.txt", "0,2,3,4\n0,0,0,0\n5,6,7,8\n")
    sequence = load_dataset("tnl2k", root=tmp_path)[name]
    assert sequence.frame_names == ("frame_1", "frame_9", "frame_10")
    assert sequence.truth.absent.tolist() == [False, True, False]
    assert "AS" in sequence.attributes


def test_the_training_set_has_no_attributes(tmp_path):
    name = "Arrow_Video_ZZ04_done"
    write_text(tmp_path / name / "groundtruth.txt", "1,2,3,4\n")
    dataset = load_dataset("tnl2k", root=tmp_path, split="train")
    assert len(dataset) == 1300
    assert dataset[name].attributes == frozenset()
