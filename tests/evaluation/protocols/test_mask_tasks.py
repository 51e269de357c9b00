"""SA-V, YouTube-VOS, MOSE v2 and unsupervised DAVIS: worked examples that can be checked by hand."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.codecs import CODECS, labels_of_masks, write_labels
from mosam.codecs.masks import object_folder
from mosam.datasets.base import Sequence
from mosam.errors import DataError, MismatchError
from mosam.evaluation.protocols.base import SequenceScore, ShortResultError, TrackerResults, parse_protocol
from mosam.evaluation.protocols.mose import object_values

SIZE = (150, 200)  # 0.008 of the diagonal is 2 pixels
Frames = list[dict[int, np.ndarray]]


class Truth:
    def __init__(self, frames: Frames, *, void=None, listed: Mapping[int, tuple[int, ...]] | None = None, groups=None):
        self._frames, self._void = frames, void
        self.listed, self.groups = listed or {}, groups or {}
        self.frame_indices = tuple(range(len(frames)))
        self.object_ids = tuple(sorted({label for frame in frames for label in frame}))

    def read(self, frame_index: int) -> Mapping[int, np.ndarray]:
        return self._frames[frame_index]

    def void(self, frame_index: int) -> np.ndarray | None:
        return self._void


def square(x: int, side: int = 20) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[40 : 40 + side, x : x + side] = True
    return mask


def score(folder: Path, protocol: str, truth: Truth, predicted: Frames, **changes) -> SequenceScore:
    """With label maps as results; `sav` gets one image an object."""
    names = tuple(f"{t:05d}" for t in range(len(truth.frame_indices)))
    sequence = Sequence("clip", (), names, truth.object_ids, tuple, lambda: truth, **changes)  # type: ignore[arg-type]
    (folder / "clip").mkdir(exist_ok=True)
    codec = "sav" if protocol == "sav" else "davis"
    for name, masks in zip(names, predicted, strict=False):
        if codec == "davis":
            write_labels(folder / "clip" / f"{name}.png", labels_of_masks(masks, SIZE))
            continue
        for i in truth.object_ids:
            (folder / "clip" / object_folder(i)).mkdir(exist_ok=True)
            mask = masks.get(i, np.zeros(SIZE, bool))
            write_labels(folder / "clip" / object_folder(i) / f"{name}.png", mask.astype(np.uint8))
    return parse_protocol(protocol).score(sequence, TrackerResults(folder, CODECS[codec]))


A, B, NOTHING = square(10), square(100), np.zeros(SIZE, bool)
TASKS = ["sav", "ytvos", "mose-v2", "davis2017-unsupervised"]


@pytest.mark.parametrize("protocol", TASKS)
def test_perfect(tmp_path, protocol):
    moving: Frames = [{1: square(3 * t), 2: B} for t in range(6)]
    result = score(tmp_path, protocol, Truth(moving), moving)
    assert {result.values[name] for name in ("jf_mean", "j_mean", "f_mean")} == {1.0}
    assert set(result.objects) == {1, 2}


@pytest.mark.parametrize("protocol", TASKS)
def test_results_that_stop_early_are_named(tmp_path, protocol):
    with pytest.raises(ShortResultError, match="clip: no mask of frame 00002"):
        score(tmp_path, protocol, Truth([{1: A}] * 6), [{1: A}] * 2)


# ---- SA-V ------------------------------------------------------------------------------------------------------------


def test_sav_drops_the_first_and_last_frame_of_each_object(tmp_path):
    listed = {1: (0, 1, 2, 3, 4, 5), 2: (0, 2, 4)}
    predicted: Frames = [{1: B}, {1: A}, {1: A, 2: A}, {1: A}, {1: A}, {}]
    result = score(tmp_path, "sav", Truth([{1: A, 2: B}] * 6, listed=listed), predicted)
    assert result.objects[1]["j_mean"] == 1.0  # frames 1 to 4; wrong on 0 and 5
    assert result.objects[2]["j_mean"] == 0.0  # frame 2 alone
    assert result.values["jf_mean"] == 0.5


def test_sav_keeps_masks_that_overlap(tmp_path):
    both: Frames = [{1: A, 2: square(15)}] * 5
    assert score(tmp_path, "sav", Truth(both), both).values["jf_mean"] == 1.0


def test_sav_begins_where_truth_or_result_first_show_an_object(tmp_path):
    truth = Truth([{1: NOTHING, 2: NOTHING}] * 3 + [{1: A, 2: B}] * 4)
    predicted: Frames = [{}, {2: B}, {}, {1: A, 2: B}, {1: A, 2: B}, {1: A, 2: B}, {}]
    result = score(tmp_path, "sav", truth, predicted)
    assert result.objects[1]["j_mean"] == 1.0  # frames 3 to 5
    assert result.objects[2]["j_mean"] == pytest.approx(4 / 5)  # from frame 1: wrong there, empty in both on 2


def test_sav_needs_the_masks_of_annotated_frames_only(tmp_path):
    truth = Truth([{1: A, 2: B}] * 6, listed={1: (0, 1, 2, 3, 4, 5), 2: (0, 2, 4)})
    score(tmp_path, "sav", truth, [{1: A, 2: B}] * 6)
    (tmp_path / "clip" / "001" / "00003.png").unlink()
    assert score(tmp_path, "sav", truth, []).values["jf_mean"] == 1.0
    (tmp_path / "clip" / "001" / "00002.png").unlink()
    with pytest.raises(ShortResultError, match="no mask of frame 00002"):
        score(tmp_path, "sav", truth, [])


def test_sav_leaves_out_an_object_that_never_shows_and_says_so(tmp_path):
    truth = Truth([{1: A, 2: B}, *[{1: A, 2: NOTHING}] * 4])
    result = score(tmp_path, "sav", truth, [{1: A}] * 5)
    assert set(result.objects) == {1}
    assert result.notes == ("objects 2 are on no frame that counts, left out",)


def test_sav_refuses_a_label_map_for_one_objects_mask(tmp_path):
    truth = Truth([{1: A}] * 4)
    score(tmp_path, "sav", truth, [{1: A}] * 4)
    write_labels(tmp_path / "clip" / "000" / "00001.png", A.astype(np.uint8) + 2 * B.astype(np.uint8))
    with pytest.raises(DataError, match=r"00001.png: expected one object, 0 and one other value, got 2 others"):
        score(tmp_path, "sav", truth, [])


# ---- YouTube-VOS -----------------------------------------------------------------------------------------------------


def test_ytvos_counts_the_listed_frames_after_an_objects_first(tmp_path):
    listed = {1: (0, 2, 4), 3: (2, 4)}
    truth = Truth([{1: A}, {}, {1: A, 3: B}, {}, {1: A, 3: B}], listed=listed)
    predicted: Frames = [{}, {3: B}, {1: A}, {}, {1: A, 3: B}]  # wrong on the prompts and on frames not listed
    result = score(tmp_path, "ytvos", truth, predicted, result_frames=(0, 2, 4))
    assert {i: values["j_mean"] for i, values in result.objects.items()} == {1: 1.0, 3: 1.0}


def test_ytvos_without_a_list_begins_where_the_truth_shows_an_object(tmp_path):
    truth = Truth([{1: A}, {1: A}, {1: A, 2: B}, {1: A, 2: B}])
    result = score(tmp_path, "ytvos", truth, [{}, {1: A}, {1: A}, {1: A}])
    assert result.objects[1]["j_mean"] == 1.0
    assert result.objects[2]["j_mean"] == 0.0  # frame 3 alone


def test_ytvos_is_the_mean_of_seen_and_unseen_objects(tmp_path):
    groups = {1: "seen", 2: "unseen"}
    good = score(tmp_path, "ytvos", Truth([{1: A, 2: B}] * 4, groups=groups), [{1: A, 2: B}] * 4)
    bad = score(tmp_path, "ytvos", Truth([{1: A, 2: B}] * 4, groups={1: "seen", 2: "seen"}), [{}] * 4)
    overall = parse_protocol("ytvos").overall([good, bad])
    assert (overall["j_seen"], overall["j_unseen"]) == (pytest.approx(1 / 3), 1.0)  # of 3 objects, of 1
    assert overall["jf_mean"] == overall["j_mean"] == pytest.approx((1 / 3 + 1) / 2)
    assert overall["jf_objects"] == 0.5  # of 4
    assert parse_protocol("ytvos").overall([bad])["jf_mean"] == 0.0  # of the only group
    assert math.isnan(parse_protocol("ytvos").overall([bad])["j_unseen"])


def test_ytvos_without_categories_is_the_mean_over_objects(tmp_path):
    result = score(tmp_path, "ytvos", Truth([{1: A, 2: B}] * 4), [{1: A}] * 4)
    overall = parse_protocol("ytvos").overall([result])
    assert overall["jf_mean"] == overall["jf_objects"] == 0.5
    assert math.isnan(overall["j_seen"])


# ---- MOSE v2 ---------------------------------------------------------------------------------------------------------


def test_mose_adds_a_pixel_to_intersection_and_union(tmp_path):
    result = score(tmp_path, "mose-v2", Truth([{1: A}] * 3), [{}] * 3)
    assert result.values["j_mean"] == pytest.approx(1 / 401)  # a square of 20 x 20 that was missed
    assert result.values["f_mean"] == 0.0


def test_mose_narrows_the_distance_for_small_objects(tmp_path):
    # a tenth of the side is 1 pixel, DAVIS's distance on this picture 2: only the latter takes an outline 2 pixels off
    result = score(tmp_path, "mose-v2", Truth([{1: square(50, side=8)}] * 3), [{1: square(52, side=8)}] * 3)
    assert result.values["f_classic"] == 1.0
    assert result.values["f_mean"] < 0.8
    large = score(tmp_path, "mose-v2", Truth([{1: square(50, side=40)}] * 3), [{1: square(52, side=40)}] * 3)
    assert large.values["f_mean"] == large.values["f_classic"] == 1.0  # a tenth is 4, but DAVIS's 2 is the most


def test_mose_takes_stretches_of_absence_and_return(tmp_path):
    # frames that count: 1 to 8; away on 3, 4 and 7, back on 5, 6 and 8
    truth = Truth([{1: NOTHING if t in (3, 4, 7) else A} for t in range(10)])
    seen = {0: A, 1: A, 2: A, 3: A, 4: None, 5: None, 6: A, 7: None, 8: A, 9: A}
    result = score(tmp_path, "mose-v2", truth, [{1: m} if m is not None else {} for m in seen.values()])
    wrong_away = (1 / 401 + 0) / 2  # (J + F) / 2 of a square where there should be none
    assert result.values["jf_disappear"] == pytest.approx(((wrong_away + 1) / 2 + 1) / 2)  # frames 3, 4; frame 7
    assert result.values["jf_reappear"] == pytest.approx(((wrong_away + 1) / 2 + 1) / 2)  # frames 5, 6; frame 8


def test_mose_leaves_out_an_absence_that_begins_with_the_first_frame(tmp_path):
    values = object_values(np.ones((4, 3)) * [[0.0], [0.0], [1.0], [1.0]], np.array([True, True, False, False]))
    assert math.isnan(values["jf_disappear"])
    assert values["jf_reappear"] == 1.0
    assert math.isnan(object_values(np.ones((3, 3)), np.zeros(3, bool))["jf_reappear"])
    assert math.isnan(object_values(np.zeros((0, 3)), np.zeros(0, bool))["jf_mean"])


# ---- unsupervised DAVIS ----------------------------------------------------------------------------------------------


def test_unsupervised_labels_do_not_matter(tmp_path):
    result = score(tmp_path, "davis2017-unsupervised", Truth([{1: A, 2: B}] * 4), [{7: A, 3: B, 5: square(150)}] * 4)
    assert result.values["jf_mean"] == 1.0
    assert {i: values["proposal"] for i, values in result.objects.items()} == {1: 7, 2: 3}
    assert "proposal" not in result.values


def test_unsupervised_keeps_the_first_and_last_frame(tmp_path):
    result = score(tmp_path, "davis2017-unsupervised", Truth([{1: A}] * 4), [{}, {4: A}, {4: A}, {}])
    assert result.values["j_mean"] == 0.5


def test_unsupervised_matches_one_to_one_for_the_best_sum(tmp_path):
    # label 1 fits both objects best; were it given to each, label 2 would be left over
    truth = Truth([{1: A, 2: square(14)}] * 4)
    result = score(tmp_path, "davis2017-unsupervised", truth, [{1: square(14), 2: A}] * 4)
    assert {i: values["proposal"] for i, values in result.objects.items()} == {1: 2, 2: 1}


def test_unsupervised_leaves_void_out(tmp_path):
    void = square(10) & ~square(10, side=10)
    truth = Truth([{1: square(10, side=10)}] * 4, void=void)
    assert score(tmp_path, "davis2017-unsupervised", truth, [{1: A}] * 4).values["jf_mean"] == 1.0
    assert score(tmp_path, "davis2017", truth, [{1: A}] * 4).values["jf_mean"] < 0.7


def test_unsupervised_objects_without_a_proposal_score_nothing(tmp_path):
    result = score(tmp_path, "davis2017-unsupervised", Truth([{1: A, 2: B}] * 4), [{1: B}] * 4)
    assert result.objects[1] | {"jf_mean": 0.0, "proposal": 0.0} == result.objects[1]
    assert result.objects[2]["jf_mean"] == 1.0


def test_unsupervised_takes_the_annotation_of_its_own_task(tmp_path):
    own = Truth([{1: B}] * 4)
    result = score(tmp_path, "davis2017-unsupervised", Truth([{1: A}] * 4), [{1: B}] * 4, load_unsupervised=lambda: own)
    assert result.values["jf_mean"] == 1.0


def test_unsupervised_has_twenty_proposals_at_most(tmp_path):
    score(tmp_path, "davis2017-unsupervised", Truth([{1: A}] * 3), [{20: A}] * 3)
    with pytest.raises(MismatchError, match="expected up to 20 proposals, got label 21 on frame 00001"):
        score(tmp_path, "davis2017-unsupervised", Truth([{1: A}] * 3), [{20: A}, {21: A}, {}])


@given(st.permutations([1, 2, 3, 4]))
def test_unsupervised_is_the_same_for_any_numbering(order):
    hole = square(52, side=8)
    truth = Truth([{1: square(5), 2: square(50, side=30), 3: square(150)}] * 3)
    predicted = dict(zip(order, [square(5), square(50, side=30) & ~hole, hole, square(150)], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        result = score(Path(folder), "davis2017-unsupervised", truth, [predicted] * 3)
    assert result.values["j_mean"] == pytest.approx((1 + (900 - 64) / 900 + 1) / 3)
