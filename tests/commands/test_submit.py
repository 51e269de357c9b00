"""Archives for servers: their layout, that they are checked, and that the same results give the same bytes."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from mosam.codecs import CODECS, CodecOptions, voc_palette, write_labels
from mosam.commands.submit import DATE, submit
from mosam.datasets.base import load_dataset
from mosam.datasets.make import make_tree
from mosam.errors import MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.types import FrameOutput, ObjectOutput

CASES = {
    "got10k": "test",
    "trackingnet": "test",
    "davis2017": "test-dev",
    "ytvos2018": "valid",
    "lvos-v1": "test",
    "mose": "valid",
    "mose-v2": "valid",
    "vots2023": "test",
}


def write_results(dataset, out):
    """Results of a tracker that gives back the prompts' masks, or boxes filled in, from their frames on."""
    codec = CODECS[dataset.info.result_format]
    out.mkdir(parents=True)
    for sequence in map(dataset.__getitem__, dataset):
        masks = {p.object_id: (p.frame_index, mask_of(p, sequence.source.size())) for p in sequence.prompts}
        writer = codec.writer(out, sequence, CodecOptions())
        for t in range(len(sequence)):
            objects = {i: ObjectOutput(mask, 1.0, 1.0) for i, (start, mask) in masks.items() if start <= t}
            writer.add(FrameOutput(t, objects), 0.25)
        writer.finish()


def mask_of(prompt, size):
    if prompt.mask is not None:
        return prompt.mask
    x, y, w, h = (round(value) for value in prompt.box)
    mask = np.zeros(size, dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


@pytest.fixture
def finished(tmp_path):
    """`finished(name)` gives a dataset and a folder of complete results, both to be damaged at will."""

    def make(name):
        root = make_tree(name, tmp_path / f"{name}-tree", split=CASES[name], frames=6, scale=8)
        dataset = load_dataset(name, root=root, split=CASES[name])
        out = tmp_path / "results" / name / "echo"
        write_results(dataset, out)
        return dataset, out

    return make


def members(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


LAYOUTS = {
    "got10k": lambda d: [f"{s}/{s}_{what}.txt" for s in d for what in ("001", "time")],
    "trackingnet": lambda d: [f"{s}.txt" for s in d],
    "davis2017": lambda d: [f"{s}/{t:05d}.png" for s in d for t in range(6)],
    "ytvos2018": lambda d: [f"Annotations/{s}/{t:05d}.png" for s in d for t in (0, 5)],
    "lvos-v1": lambda d: [f"Annotations/{s}/{1 + 5 * t:08d}.png" for s in d for t in range(6)],
    "mose": lambda d: [f"{s}/{t:05d}.png" for s in d for t in range(6)],
    "mose-v2": lambda d: [f"{s}/{t:05d}.png" for s in d for t in range(6)],
    "vots2023": lambda d: [
        *(
            f"baseline/{s}/{s}{'' if len(d[s].object_ids) == 1 else f'_{i}'}_001{end}"
            for s in d
            for i in d[s].object_ids
            for end in (".bin", "_time.value")
        ),
        "manifest.yml",
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_layout_is_what_the_server_takes(finished, tmp_path, name):
    dataset, run = finished(name)
    done = submit(dataset, tmp_path / "results", None, tmp_path / "a" / "out.zip")
    assert members(done.path) == sorted(LAYOUTS[name](dataset))
    assert (done.sequences, done.files, done.subset) == (2, len(members(done.path)), dataset.subset)
    with zipfile.ZipFile(done.path) as archive:
        for info in archive.infolist():
            assert info.date_time == DATE
            file = run / info.filename.removeprefix("Annotations/")
            if info.filename != "manifest.yml":
                assert archive.read(info) == file.read_bytes()
    (run / "notes.txt").write_text("left out")
    again = submit(dataset, run, "echo", tmp_path / "b.zip")
    assert again.path.read_bytes() == done.path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{name}-tree", "results", "a", "b.zip"])


def refused(dataset, run, match):
    with pytest.raises(MismatchError, match=match) as caught:
        submit(dataset, run, None, run.parent / "out.zip")
    assert "\n" not in str(caught.value)
    assert not list(run.parent.glob("*.zip"))


def test_everything_missing_is_named_at_once(finished):
    dataset, run = finished("mose")
    first, second = dataset
    shutil.rmtree(run / first)
    (run / second / "00003.png").unlink()
    refused(dataset, run, rf"got 2 faults: {first} missing; {second} lacks {second}/00003\.png$")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4\n" * 5, "expected 6 rows, got 5"),
        ("1,2,3,4\n" * 5 + "1,2,nan,4\n", r":6: expected finite numbers, repeat the run with --absent-as zeros"),
        ("1\t2\t3\t4\n" * 6, "expected numbers separated by commas"),
        ("1,2,3\n" * 6, "expected 4 numbers, got '1,2,3'"),
    ],
)
def test_bad_boxes(finished, text, message):
    dataset, run = finished("got10k")
    name = next(iter(dataset))
    (run / name / f"{name}_001.txt").write_text(text)
    refused(dataset, run, message)


@pytest.mark.parametrize("text", ["0.1\n" * 5, "0.1\n" * 5 + "-1\n", "0.1\n" * 5 + "nan\n"])
def test_bad_times(finished, text):
    dataset, run = finished("got10k")
    name = next(iter(dataset))
    (run / name / f"{name}_time.txt").write_text(text)
    refused(dataset, run, f"{name}: expected 6 times in seconds")


def test_bad_label_maps(finished):
    dataset, run = finished("davis2017")
    name = next(iter(dataset))
    path = run / name / "00001.png"
    sound = path.read_bytes()
    labels = np.asarray(Image.open(path))

    def save(image, **options):
        image.save(path, **options)

    faults = {
        "expected a PNG, got a file of another kind": lambda: path.write_bytes(b"BM" + sound),
        "expected an 8-bit palette PNG that is not interlaced": lambda: save(Image.fromarray(labels)),
        "the image cannot be read": lambda: path.write_bytes(sound[:-30]),
        r"expected \d+x\d+ \(height x width\), got 4x4": lambda: write_labels(path, labels[:4, :4]),
        "expected objects 1 or none, got 9": lambda: write_labels(path, np.full_like(labels, 9)),
        "expected the palette of DAVIS": lambda: save(_recolored(labels)),
    }
    for message, damage in faults.items():
        damage()
        refused(dataset, run, rf"{name}/00001\.png: {message}")
    path.write_bytes(sound)
    submit(dataset, run, None, run.parent / "out.zip")


def _recolored(labels):
    image = Image.fromarray(labels)
    image.putpalette(bytes(reversed(voc_palette())))
    return image


def test_no_object_before_it_is_given(finished):
    dataset, run = finished("lvos-v1")
    name = next(name for name in dataset if any(p.frame_index for p in dataset[name].prompts))
    late = next(p for p in dataset[name].prompts if p.frame_index)
    stem = dataset[name].frame_names[late.frame_index - 1]
    write_labels(run / name / f"{stem}.png", late.mask.astype(np.uint8) * np.uint8(late.object_id))
    refused(dataset, run, rf"{stem}\.png: expected objects 1 or none, got {late.object_id}")


def test_short_regions(finished):
    dataset, run = finished("vots2023")
    name = next(iter(dataset))
    path = next((run / "baseline" / name).glob("*.bin"))
    path.with_suffix(".txt").write_text("1\n0\n")
    refused(dataset, run, "expected 6 regions, got 2")


def test_splits_and_benchmarks_without_a_server(finished, tmp_path):
    dataset, run = finished("davis2017")
    val = load_dataset("davis", root=make_tree("davis", tmp_path / "val", frames=6, scale=8))
    with pytest.raises(MismatchError, match=r"davis2017 val: expected a split that a server scores \(test-dev, test-"):
        submit(val, run, None, tmp_path / "x.zip")
    lasot = load_dataset("lasot", root=make_tree("lasot", tmp_path / "lasot", frames=6, scale=8))
    with pytest.raises(MismatchError, match="lasot: expected a benchmark with a server, got one that is scored"):
        submit(lasot, run, None, tmp_path / "x.zip")
    (dataset.root / "JPEGImages").rename(dataset.root / "gone")
    with pytest.raises(MissingDataError, match="expected frames of 2 sequences"):
        submit(dataset, run, None, tmp_path / "x.zip")


def test_one_tracker_is_submitted(finished, tmp_path):
    dataset, run = finished("davis2017")
    shutil.copytree(run, run.with_name("other"))
    with pytest.raises(MosamError, match=r"expected one tracker to submit, got 2 \(echo, other\); choose with"):
        submit(dataset, tmp_path / "results", None, tmp_path / "x.zip")
    with pytest.raises(UnknownNameError, match="unknown tracker 'otter'; did you mean other"):
        submit(dataset, tmp_path / "results", "otter", tmp_path / "x.zip")
    assert submit(dataset, tmp_path / "results", "other", tmp_path / "x.zip").files == 12
    with pytest.raises(MosamError, match="expected the name of a zip to write, got a folder"):
        submit(dataset, run, None, tmp_path)


def test_repetitions_of_got10k_are_packed_and_checked(finished, tmp_path):
    dataset, run = finished("got10k")
    name = next(iter(dataset))
    times = (run / name / f"{name}_time.txt").read_text().splitlines()
    shutil.copy(run / name / f"{name}_001.txt", run / name / f"{name}_002.txt")
    with pytest.raises(MismatchError, match="expected 12 times in seconds, got 6"):
        submit(dataset, run, None, tmp_path / "out.zip")
    (run / name / f"{name}_time.txt").write_text("".join(f"{line},{line}\n" for line in times))
    done = submit(dataset, run, None, tmp_path / "out.zip")
    packed = [file for file in members(done.path) if file.startswith(name) and "time" not in file]
    assert packed == [f"{name}/{name}_001.txt", f"{name}/{name}_002.txt"]


def test_many_faults_fit_a_line_that_is_read(finished, tmp_path):
    dataset, run = finished("davis2017")
    for path in run.glob("*/*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(MismatchError) as caught:
        submit(dataset, run, None, tmp_path / "out.zip")
    text = str(caught.value).replace(str(run), "")
    assert "got 12 faults" in text
    assert "and 7 more" in text
    assert len(text) < 700
