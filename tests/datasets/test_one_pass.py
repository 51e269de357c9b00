import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import stems, write_frames, write_text

from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.one_pass import OnePass, Span, official_spans
from mosam.errors import DataError, MissingDataError

NAMES = ("avist", "latot", "nfs", "otb100", "tnl2k", "uav123", "uav20l", "vasttrack")
LENGTHS = {"nfs": 47_953, "otb100": 59_035, "uav123": 112_578, "uav20l": 58_670}
LISTED = [("avist", "test"), ("tnl2k", "test"), ("tnl2k", "train"), ("vasttrack", "test")]


def rows(count, *, separator=","):
    return "\n".join(separator.join(map(str, (2 + t, 1 + t, 5, 4))) for t in range(count)) + "\n"


def david(root, *, count=471, images=range(290, 780)):
    """The one OTB sequence that begins late: frames 300 to 770 of its folder."""
    write_text(root / "David" / "groundtruth_rect.txt", rows(count))
    write_frames(root / "David" / "img", [f"{number:04d}" for number in images])
    write_text(root / "list.txt", "David")
    return load_dataset("otb100", root=root)


def test_each_is_a_file_of_its_own():
    assert (
        tuple(name for name in DATASETS if isinstance(DATASETS[name], type) and issubclass(DATASETS[name], OnePass))
        == NAMES
    )


@pytest.mark.parametrize(("name", "frames"), LENGTHS.items())
def test_official_frames(name, frames):
    spans = official_spans(DATASETS[name].spans)
    assert len(spans) == DATASETS[name].info.official_counts["test"]
    assert sum(map(len, spans.values())) == frames


@pytest.mark.parametrize(("name", "split"), LISTED)
def test_official_names(name, split):
    names = DATASETS[name].official(split)
    assert len(set(names)) == len(names) == DATASETS[name].info.official_counts[split]


def test_one_video_is_in_both_official_lists_of_tnl2k():
    shared = set(DATASETS["tnl2k"].official("train")) & set(DATASETS["tnl2k"].official("test"))
    assert shared == {"monitor_manypeople"}


@given(first=st.integers(1, 50), count=st.integers(1, 50))
def test_a_span_is_as_long_as_its_frames(first, count):
    assert len(Span("x", first, first + count - 1)) == count


def test_a_span_of_a_folder(tmp_path):
    sequence = david(tmp_path)["David"]
    assert (len(sequence), sequence.frame_names[0], sequence.frame_names[-1]) == (471, "0300", "0770")
    assert sequence.source.stems == sequence.frame_names


def test_rows_of_all_pictures_are_cut_to_the_span(tmp_path):
    sequence = david(tmp_path, count=770)["David"]
    assert len(sequence) == 471
    assert sequence.truth.boxes[0].tolist() == [301, 300, 5, 4]


def test_annotation_alone_is_enough_to_score(tmp_path):
    dataset = david(tmp_path, images=())
    assert dataset.missing(frames=True) == ("David",)
    sequence = dataset["David"]
    assert (len(sequence.source), sequence.frame_names[0], len(sequence.truth)) == (0, "0300", 471)


def test_pictures_outside_the_span_only(tmp_path):
    dataset = david(tmp_path, images=range(1, 5))
    with pytest.raises(DataError, match=r"img: expected frames 300 to 770 \(.*\), got none"):
        dataset["David"]


def test_rows_and_pictures_that_differ(tmp_path):
    dataset = david(tmp_path, count=400)
    with pytest.raises(DataError, match=r"groundtruth_rect\.txt: expected 471 rows, one for each image, got 400"):
        dataset["David"]


def test_what_is_absent(tmp_path):
    dataset = david(tmp_path)
    write_text(tmp_path / "list.txt", "David\nBolt\n")
    again = load_dataset("otb100", root=tmp_path)
    assert again.missing() == ("Bolt",)
    with pytest.raises(MissingDataError, match="1 are absent: Bolt"):
        again.require()
    with pytest.raises(DataError, match=r"Bolt/groundtruth_rect\.txt: expected a text file, got No such file"):
        again["Bolt"]
    assert dataset.subset == "1 of 100 official sequences"


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_root_shows_the_tree(tmp_path, name):
    write_frames(tmp_path / "x", stems(1))
    with pytest.raises(MissingDataError, match=rf"(?s)expected {DATASETS[name].info.title}, .*expected tree:\n"):
        load_dataset(name, root=tmp_path)


@pytest.mark.parametrize("box", ["0,0,0,0", "nan,nan,nan,nan", "3,4,0,5"])
def test_a_first_box_that_cannot_start_a_track(tmp_path, box):
    write_text(tmp_path / "David" / "groundtruth_rect.txt", f"{box}\n{rows(3)}")
    write_text(tmp_path / "list.txt", "David")
    sequence = load_dataset("otb100", root=tmp_path)["David"]
    with pytest.raises(DataError, match="expected a first box with w > 0 and h > 0"):
        _ = sequence.prompts


def test_absent_rows():
    boxes = np.array([[1.0, 2, 3, 4], [0, 0, 0, 0], [np.nan] * 4, [0, 5, 3, 4]])
    assert OnePass.hidden(boxes).tolist() == [False, True, True, False]
