"""Every benchmark's loader on a made tree, as a folder, in a zip and packed: the same sequences and results."""

import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from fakes import FakeEngine, FakeModel, FakePolicy
from PIL import Image

from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.check import Note, check
from mosam.datasets.make import make_tree
from mosam.datasets.pack import pack
from mosam.errors import MosamError, UnknownNameError
from mosam.tracking import run as runner

ON_DISK = [name for name in DATASETS if not DATASETS[name].generated]
VOT = ("vot2013", "vot2019", "vot2019-lt", "vot2022-st", "vots2023")
# One of each layout and split; the other years of a challenge differ by their name alone.
CASES = [
    (name, split)
    for name in ON_DISK
    for split in DATASETS[name].info.splits
    if not (name == "trackingnet" and split not in ("test", "train_0")) and (name in VOT or not name.startswith("vot"))
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Roots of made trees by (name, split), each made once."""
    roots = {}

    def make(name, split=None):
        if (name, split) not in roots:
            folder = tmp_path_factory.mktemp("made") / name
            roots[name, split] = make_tree(name, folder, split=split, frames=11, scale=8)
        return roots[name, split]

    return make


def zipped(root, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, f"{root.name}/{file.relative_to(root).as_posix()}")
    return path


def results(monkeypatch, dataset, out):
    """Files of a run whose engine finds bright pixels, without times and the record."""
    monkeypatch.setattr("mosam.tracking.loop._new_engine", lambda *args: FakeEngine())
    result = runner.run(dataset, FakeModel(), FakePolicy(FakePolicy.Config()), out=out)
    assert result.failed == {}
    files = [path for path in out.rglob("*") if path.is_file() and "time" not in path.name]
    files = [path for path in files if not path.name.startswith("run.json")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(("name", "split"), CASES)
def test_a_made_tree_is_sound_in_every_form(made, tmp_path, monkeypatch, name, split):
    root = made(name, split)
    dataset = load_dataset(name, root=root, split=split)
    assert len(dataset) == 2
    assert check(dataset) == []
    roots = [zipped(root, tmp_path / "tree.zip"), pack(dataset, tmp_path / "packed")]
    expected = results(monkeypatch, dataset, tmp_path / "from-folder")
    assert expected
    for number, other in enumerate(roots):
        same = load_dataset(name, root=other, split=split)
        assert list(same) == list(dataset)
        assert same.subset == dataset.subset
        assert same.annotation_hash() == dataset.annotation_hash()
        assert results(monkeypatch, same, tmp_path / f"from-{number}") == expected


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_prompts_and_truth_of_a_made_tree(made, name):
    for prompt in DATASETS[name].info.prompts:
        if name == "folder" and prompt == "mask":
            continue  # one of its videos is given with boxes
        dataset = load_dataset(name, root=made(name), prompt=prompt)
        for sequence in map(dataset.__getitem__, dataset):
            assert {p.object_id for p in sequence.prompts} == set(sequence.object_ids)
            assert set(sequence.frames_out) <= set(range(len(sequence)))
            assert len(sequence.source) == len(sequence) == 11
            if dataset.has_truth:
                assert max(sequence.truth.frame_indices if hasattr(sequence.truth, "frame_indices") else [0]) < 11


def test_every_benchmark_can_be_made(tmp_path):
    for name in ON_DISK:
        assert check(load_dataset(name, root=make_tree(name, tmp_path / name, frames=6, sequences=1, scale=8))) == []


def test_the_same_order_makes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        make_tree("lvos", tmp_path / name, frames=6, scale=8)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_what_cannot_be_made_is_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown dataset 'davies'"):
        make_tree("davies", tmp_path / "x")
    with pytest.raises(UnknownNameError, match="davis2017: unknown split 'test'"):
        make_tree("davis", tmp_path / "x", split="test")
    with pytest.raises(UnknownNameError, match="data make: unknown tree that can be made 'toy'"):
        make_tree("toy", tmp_path / "x")
    with pytest.raises(MosamError, match="expected sequences >= 1, frames >= 6 and scale >= 1, got 0, 6 and 1"):
        make_tree("davis", tmp_path / "x", sequences=0, frames=6, scale=1)
    (tmp_path / "y").write_text("")
    with pytest.raises(MosamError, match="y: expected a new or empty folder, found files"):
        make_tree("davis", tmp_path / "y")


def test_reading_a_tree_loads_neither_torch_nor_av(made, tmp_path):
    code = f"""
import sys
from mosam.datasets.base import load_dataset
dataset = load_dataset("davis", root={str(made("davis2017"))!r})
[sequence.source.read(0) for sequence in map(dataset.__getitem__, dataset)]
print([name for name in ("torch", "torchvision", "av", "lmdb") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_seed_gives_another_tree(tmp_path):
    first, second = (
        load_dataset("mose", root=make_tree("mose", tmp_path / str(seed), frames=6, scale=8, seed=seed))
        for seed in (0, 1)
    )
    name = next(iter(first))
    assert not np.array_equal(first[name].source.read(0), second[name].source.read(0))


@pytest.mark.parametrize("name", [*dict.fromkeys(name for name, _ in CASES)])
def test_only_own_pictures_are_turned(made, tmp_path, name):
    root = tmp_path / name
    shutil.copytree(made(name), root)
    dataset = load_dataset(name, root=root)
    sequence = next(iter(dataset))
    source = dataset[sequence].source
    stored = source.read(0)
    path = next(where for _, where in dataset.open_frames(sequence).files())
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down, of the same size
    block, data = exif.tobytes(), path.read_bytes()
    assert data[:2] == b"\xff\xd8"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:])
    now = load_dataset(name, root=root)[sequence].source.read(0)
    np.testing.assert_array_equal(now, stored[::-1, ::-1] if name == "folder" else stored)
    notes = [line for line in check(load_dataset(name, root=root)) if "orientation" in line]
    shown = "turned upright" if name == "folder" else "read as stored"
    assert len(notes) == 1
    assert isinstance(notes[0], Note)
    assert shown in notes[0]
