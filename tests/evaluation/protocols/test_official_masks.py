"""J and F of made clips against what the official programs gave for them (`parity/masks_official.json`), to 1e-9."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mask_cases import FRAMES, SIZES, Clip, make_clip, object_masks, pairs, write_maps

from mosam.codecs import CODECS
from mosam.codecs.masks import object_folder
from mosam.datasets.base import Sequence, load_dataset
from mosam.evaluation.metrics.boundary import boundary_radius, boundary_scores, boundary_table
from mosam.evaluation.metrics.region import region_similarity, region_table
from mosam.evaluation.protocols.base import SequenceScore, TrackerResults, parse_protocol

STORED = Path(__file__).parents[2] / "parity" / "masks_official.json"
TOLERANCE = 1e-9


@cache
def official() -> dict:
    return json.loads(STORED.read_text())


class Truth:
    """Masks by frame and object in memory; with `listed`, on these frames only."""

    def __init__(self, masks: list[dict[int, np.ndarray]], *, void=None, listed=None):
        self._masks, self._void, self.listed = masks, void, listed or {}
        self.frame_indices = tuple(range(len(masks)))
        self.object_ids = tuple(sorted({label for frame in masks for label in frame}))

    def read(self, frame_index: int) -> Mapping[int, np.ndarray]:
        return self._masks[frame_index]

    def void(self, frame_index: int) -> np.ndarray | None:
        return None if self._void is None else self._void[frame_index]


def truth_of(clip: Clip, **changes) -> Truth:
    frames = [{i: labels == i for i in clip.ids if (labels == i).any()} for labels in clip.truth]
    return Truth(frames, **changes)


def score(protocol: str, truth: Truth, folder: Path, codec: str = "davis") -> SequenceScore:
    names = tuple(f"{t:05d}" for t in range(FRAMES))
    sequence = Sequence("clip", (), names, truth.object_ids, tuple, lambda: truth)  # type: ignore[arg-type]
    return parse_protocol(protocol).score(sequence, TrackerResults(folder, CODECS[codec]))


def check(expected: Mapping[str, float | None], got: Mapping[str, float]) -> None:
    for name, value in expected.items():
        wanted = math.nan if value is None else value
        assert got[name] == pytest.approx(wanted, abs=TOLERANCE, nan_ok=True), name


def boundary_accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return boundary_scores(predicted, truth, (boundary_radius(truth.shape),))[0]


def test_pairs():
    expected = official()["pairs"]
    found = [(region_similarity(a, b), boundary_accuracy(a, b)) for a, b in pairs()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_a_table_of_pairs_is_the_pairs():
    masks = [mask[:100, :120] for pair in pairs() for mask in pair if mask.shape[0] >= 100 and mask.shape[1] >= 120]
    void = masks[0]
    for hidden in (None, void):
        j, f = (table(masks[:4], masks[4:9], void=hidden) for table in (region_table, boundary_table))
        for p in range(4):
            for n in range(5):
                pair = masks[p], masks[4 + n]
                assert j[p, n] == pytest.approx(region_similarity(*pair, void=hidden), abs=1e-15)
                seen = pair if hidden is None else tuple(mask & ~hidden for mask in pair)
                assert f[p, n] == boundary_accuracy(*seen)
    assert region_table([], masks[:2]).shape == boundary_table([], masks[:2]).shape == (0, 2)


@pytest.mark.parametrize("kind", SIZES)
def test_davis2017(tmp_path, kind):
    clip = make_clip(kind)
    write_maps(tmp_path / "clip", clip.predicted)
    scored = clip.truth.copy()
    scored[clip.void] = 0
    truth = Truth([{i: labels == i for i in clip.ids} for labels in scored], void=clip.void)
    result = score("davis2017", truth, tmp_path)
    for i, expected in enumerate(official()["davis2017"][kind], 1):
        check(expected, result.objects[i])


@pytest.mark.parametrize("kind", SIZES)
def test_davis2017_unsupervised(tmp_path, kind):
    clip = make_clip(kind)
    write_maps(tmp_path / "clip", clip.proposals)
    scored = clip.truth.copy()
    scored[clip.void] = 0
    truth = Truth([{i: labels == i for i in clip.ids} for labels in scored], void=clip.void)
    result = score("davis2017-unsupervised", truth, tmp_path)
    # the official program lists objects in the order of the proposals that they were matched to
    ours = sorted(result.objects.values(), key=lambda values: values["proposal"] or math.inf)
    expected = official()["davis2017-unsupervised"][kind]
    for theirs, mine in zip(expected, ours, strict=True):
        check(theirs, mine)
    for name in expected[0]:
        assert result.values[name] == pytest.approx(np.mean([values[name] for values in expected]), abs=TOLERANCE)


@pytest.mark.parametrize("kind", SIZES)
def test_vos_benchmark(tmp_path, kind):
    clip = make_clip(kind, late=True)
    write_maps(tmp_path / "clip", clip.predicted)
    result = score("vos-benchmark", truth_of(clip), tmp_path)
    expected = official()["vos-benchmark"][kind]
    assert set(map(str, result.objects)) == set(expected)
    for i, values in expected.items():
        check(values, result.objects[int(i)])


@pytest.mark.parametrize("kind", SIZES)
def test_sav(tmp_path, kind):
    masks: list[dict[int, np.ndarray]] = [{} for _ in range(FRAMES)]
    listed = {}
    for i, true, predicted in object_masks(make_clip(kind)):
        listed[i] = tuple(true)
        for t, mask in true.items():
            masks[t][i] = mask.astype(bool)
        write_maps(tmp_path / "clip" / object_folder(i), predicted)
    result = score("sav", Truth(masks, listed=listed), tmp_path, codec="sav")
    expected = official()["sav"][kind]
    assert {object_folder(i) for i in result.objects} == set(expected)
    for i, values in result.objects.items():
        check(expected[object_folder(i)], values)


@pytest.mark.parametrize("kind", SIZES)
def test_shots(tmp_path, kind):
    masks: list[dict[int, np.ndarray]] = [{} for _ in range(FRAMES)]
    listed = {}
    for i, true, predicted in object_masks(make_clip(kind)):
        listed[i] = tuple(true)
        for t, mask in true.items():
            masks[t][i] = mask.astype(bool)
        write_maps(tmp_path / "clip" / object_folder(i), predicted)
    truth = Truth(masks, listed=listed)
    whole = score("sav", truth, tmp_path, codec="sav")
    assert score("secvos", truth, tmp_path, codec="sav") == whole  # without shots
    truth.shots = {"first": frozenset(range(5)), "second": frozenset(range(5, 10)), "remain": frozenset(range(10, 14))}
    result = score("secvos", truth, tmp_path, codec="sav")
    assert whole.values.items() <= result.values.items()
    for shot, expected in official()["secvos"][kind].items():
        assert {object_folder(i) for i in result.objects} == set(expected)
        for i, values in result.objects.items():
            j, f = expected[object_folder(i)]
            check({f"j_{shot}": j, f"f_{shot}": f, f"jf_{shot}": (j + f) / 2}, values)
        mean = np.mean(list(expected.values()))  # the official program's, of all objects
        assert result.values[f"jf_{shot}"] == pytest.approx(mean, abs=TOLERANCE)


MOSE = ("j_mean", "f_mean", "f_classic", "j_away", "f_away", "j_back", "f_back")


def check_mose(expected: Mapping[str, list[float | None]], result: SequenceScore) -> None:
    assert set(map(str, result.objects)) == set(expected)
    for i, numbers in expected.items():
        named = dict(zip(MOSE, numbers, strict=True))
        for name, part in (("jf_disappear", "away"), ("jf_reappear", "back")):
            j, f = named.pop(f"j_{part}"), named.pop(f"f_{part}")
            named[name] = None if j is None else (j + f) / 2
        check(named, result.objects[int(i)])


@pytest.mark.parametrize("kind", SIZES)
def test_mose_v2(tmp_path, kind):
    clip = make_clip(kind)
    write_maps(tmp_path / "clip", clip.predicted)
    check_mose(official()["mose-v2"][kind], score("mose-v2", truth_of(clip), tmp_path))


def test_mose_v2_on_the_six_sequences(unpacked):
    root = unpacked("davis/osvos_vs_rvos_6seq")
    dataset = load_dataset("davis2017", root=root / "pairs")
    results = TrackerResults(root / "pairs-predictions" / "rvos_matched", CODECS["davis"])
    stored = official()["mose-v2-pairs"]
    assert set(stored) == set(dataset)
    for name in dataset:
        check_mose(stored[name], parse_protocol("mose-v2").score(dataset[name], results))
