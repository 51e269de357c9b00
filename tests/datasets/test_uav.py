import pytest
from trees import write_frames, write_text

from mosam.datasets.base import load_dataset
from mosam.datasets.one_pass import Span, official_spans


def parts(root):
    """Two sequences of one video, of which the second begins at frame 775."""
    write_text(root / "list.txt", "bird1_1\nbird1_2")
    write_text(root / "anno" / "UAV123" / "bird1_1.txt", "1,2,3,4\nNaN,NaN,NaN,NaN\n")
    write_text(root / "anno" / "UAV123" / "bird1_2.txt", "1,2,3,4\n")
    write_frames(root / "data_seq" / "UAV123" / "bird1", ["000001", "000002", "000775"])
    return load_dataset("uav123", root=root)


def test_sequences_share_a_folder(tmp_path):
    dataset = parts(tmp_path)
    assert dataset["bird1_1"].frame_names == ("000001", "000002")
    assert dataset["bird1_2"].frame_names == ("000775",)
    assert dataset["bird1_1"].truth.absent.tolist() == [False, True]
    assert dataset["bird1_2"].attributes >= {"LR", "SV"}


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("bird1_2", (775, 1477)),
        ("bird1_3", (1573, 2437)),
        ("car1_2", (751, 1627)),
        ("car1_3", (1627, 2629)),
        ("uav1_2", (1555, 2377)),
        ("uav1_3", (2473, 3469)),
    ],
)
def test_official_spans(name, span):
    assert official_spans("uav123_frames")[name] == Span(name.partition("_")[0], *span)


def test_whole_videos(tmp_path):
    write_text(tmp_path / "anno" / "UAV20L" / "bird1.txt", "1,2,3,4\n")
    write_frames(tmp_path / "data_seq" / "UAV123" / "bird1", ["000001"])
    dataset = load_dataset("uav20l", root=tmp_path)
    assert len(dataset) == 20
    assert len(dataset["bird1"].source) == 1
    assert len(dataset.missing()) == 19
