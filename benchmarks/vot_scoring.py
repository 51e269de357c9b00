"""Processor seconds of scoring VOT, ours against other programs: whole processes, in turn, caches empty.

    python benchmarks/vot_scoring.py [PYTHON] [--annotations DIR --results DIR] [--pysot PYTHON] [--rounds N]

PYTHON is an interpreter with vot-toolkit 0.7.4 (and attributee 0.1.9), else $MOSAM_VOT_PYTHON; without one nothing can
be compared, which is said. With the annotation and one tracker's results of
VOT2019 the supervised protocol is timed, also against the pysot toolkit where an interpreter that can import it is
given; multistart always, on masks of moving ellipses made here, as binary files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mosam.regions.files import write_trajectory
from mosam.regions.trajectory import Region, Special, Trajectory, mask_region

SIZE = (360, 640)
SUPERVISED = "{type: supervised, repetitions: 15, skip_initialize: 5, analyses: [{type: supervised_average_ar}, %s]}"
MULTISTART = "{type: multistart, analyses: [%s]}"
EAO_2019 = "{type: supervised_eao_score, low: 46, high: 291}"
EAO_2022 = "{type: multistart_eao_score, low: 115, high: 755}"
PYSOT = """
import sys
from pysot.datasets import VOTDataset
from pysot.evaluation import AccuracyRobustnessBenchmark, EAOBenchmark
dataset = VOTDataset("VOT2019", sys.argv[1])
dataset.set_tracker(sys.argv[2], ["tracker"])
accuracy, eao = AccuracyRobustnessBenchmark(dataset), EAOBenchmark(dataset)
eao.low, eao.high = 46, 291
accuracy.show_result(accuracy.eval(["tracker"]), eao.eval(["tracker"]))
"""
TAGS = ("camera_motion", "illum_change", "motion_change", "size_change", "occlusion")


def ellipse(rng: np.random.Generator, x: float, y: float) -> Region:
    """A blob about 110 x 90 pixels large."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    w, h = rng.normal((55, 45), 4)
    return mask_region(((columns - x) / w) ** 2 + ((rows - y) / h) ** 2 < 1)


def write_multistart(root: Path, sequences: int, frames: int) -> None:
    """Sequences and a tracker's runs from seven anchors each."""
    rng = np.random.default_rng(0)
    names = [f"blob{number}" for number in range(sequences)]
    (root / "list.txt").write_text("\n".join(names))
    for name in names:
        place = root / name
        place.mkdir()
        path = np.add(np.cumsum(rng.normal(0, 4, (frames, 2)), axis=0), (320, 180))
        path = 60 + np.abs(path - 60) % (SIZE[1] - 120, SIZE[0] - 120)
        write_trajectory(place / "groundtruth.txt", Trajectory.of([ellipse(rng, *point) for point in path]))
        anchors = np.linspace(0, frames - 1, 7).astype(int)
        values = np.zeros(frames, dtype=int)
        values[anchors] = np.where(anchors < frames / 2, 1, -1)
        (place / "anchor.value").write_text("\n".join(map(str, values)))
        metadata = f"name={name}\nchannels.color=color/%08d.jpg\nwidth={SIZE[1]}\nheight={SIZE[0]}\nlength={frames}\n"
        (place / "sequence").write_text(metadata)
        runs = root.parent / "results" / "tracker" / "baseline" / name
        runs.mkdir(parents=True)
        for anchor in anchors:
            order = range(anchor, frames) if values[anchor] > 0 else range(anchor, -1, -1)
            tracked = [ellipse(rng, *(path[i] + rng.normal(0, 5, 2))) for i in order]
            write_trajectory(runs / f"{name}_{anchor:08d}.bin", Trajectory.of([Special(1), *tracked[1:]]))


def workspace(root: Path, experiment: str) -> None:
    """What the toolkit wants around sequences and results: a picture of each sequence, stack and trackers."""
    for path in sorted((root / "sequences").glob("*/sequence")):
        values = dict(line.split("=") for line in path.read_text().split())
        (path.parent / "color").mkdir(exist_ok=True)
        Image.new("RGB", (int(values["width"]), int(values["height"]))).save(path.parent / "color" / "00000001.jpg")
    (root / "stack.yaml").write_text(f"title: timing\nexperiments:\n  baseline: {experiment}\n")
    (root / "config.yaml").write_text("registry: [./trackers.ini]\nsequences: sequences\nstack: stack.yaml\n")
    (root / "trackers.ini").write_text("[tracker]\nlabel=tracker\nprotocol=trax\ncommand=true\n")


def write_pysot(root: Path) -> None:
    """The annotation as the pysot toolkit wants it, `VOT2019.json`, beside the sequences."""
    content = {}
    for name in (root / "sequences" / "list.txt").read_text().split():
        folder = root / "sequences" / name
        rows = [[float(word) for word in line.split(",")] for line in (folder / "groundtruth.txt").read_text().split()]
        tags = {tag: [0] * len(rows) for tag in TAGS}
        for tag in TAGS:
            if (folder / f"{tag}.tag").is_file():
                given = [int(word) for word in (folder / f"{tag}.tag").read_text().split()]
                tags[tag] = (given + tags[tag])[: len(rows)]  # some files end early
        pictures = [f"{name}/color/00000001.jpg"] * len(rows)  # only the first is opened, for its size
        content[name] = {"video_dir": name, "init_rect": rows[0], "img_names": pictures, "gt_rect": rows, **tags}
    (root / "sequences" / "VOT2019.json").write_text(json.dumps(content))


def processor_seconds(command: list[str], root: Path) -> float:
    """User and system time of a process; the caches of both programs are thrown away first."""
    subprocess.run(["rm", "-rf", str(root / "cache"), str(root / "kept")], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment |= {"MOSAM_CACHE": str(root / "kept")}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(title: str, dataset: str, root: Path, others: dict[str, list[str]], rounds: int) -> None:
    """All programs in turn, medians."""
    ours = [str(Path(sys.executable).with_name("mosam")), "score", dataset, "--root", str(root / "sequences")]
    ours += ["--results", str(root / "results" / "tracker"), "--jobs", "1"]
    commands = {"ours": ours, **others}
    times = [[processor_seconds(command, root) for command in commands.values()] for _ in range(rounds)]
    own, *medians = (statistics.median(column) for column in zip(*times, strict=True))
    for name, other in zip(others, medians, strict=True):
        print(f"{title:40} ours {own:6.2f} s   {name} {other:6.2f} s   {other / own:4.1f} times", flush=True)


def toolkit(python: str, root: Path) -> dict[str, list[str]]:
    """The VOT toolkit's analysis of a workspace."""
    return {"vot-toolkit": [python, "-m", "vot", "analysis", "--workspace", str(root), "--format", "json", "tracker"]}


def main() -> None:
    """Prints one line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="?", default=os.environ.get("MOSAM_VOT_PYTHON"))
    parser.add_argument("--annotations", type=Path, help="folder with list.txt and the sequences of VOT2019")
    parser.add_argument("--results", type=Path, help="folder of one tracker, holding baseline/")
    parser.add_argument("--pysot", metavar="PYTHON", help="interpreter of the pysot toolkit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=12)
    options = parser.parse_args()
    if options.python is None:
        print("not measured: no interpreter with vot-toolkit given (MOSAM_VOT_PYTHON)")
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.annotations and options.results:
            supervised = root / "supervised"
            (supervised / "results").mkdir(parents=True)
            for source, target in ((options.annotations, "sequences"), (options.results, "results/tracker")):
                subprocess.run(["cp", "-r", str(source.resolve()), str(supervised / target)], check=True)
            workspace(supervised, SUPERVISED % EAO_2019)
            others = toolkit(options.python, supervised)
            if options.pysot:
                write_pysot(supervised)
                paths = [str(supervised / "sequences"), str(supervised / "results")]
                others["pysot-toolkit"] = [options.pysot, "-c", PYSOT, *paths]
            compare("VOT2019: accuracy, robustness, EAO", "vot2019", supervised, others, options.rounds)
        multistart = root / "multistart"
        (multistart / "sequences").mkdir(parents=True)
        write_multistart(multistart / "sequences", options.sequences, 300)
        workspace(multistart, MULTISTART % EAO_2022)
        others = toolkit(options.python, multistart)
        compare("multistart: EAO", "vot2022-st", multistart, others, options.rounds)
        workspace(multistart, MULTISTART % f"{EAO_2022}, {{type: multistart_average_ar}}")
        compare("multistart: accuracy, robustness, EAO", "vot2022-st", multistart, others, options.rounds)


if __name__ == "__main__":
    main()
