"""Random VOT regions, sequences and results, and the VOT toolkit asked about them in an interpreter of its own.

`python tests/vot_cases.py PYTHON`, where PYTHON has vot-toolkit (0.7.4 with attributee 0.1.9; numpy 2 works), makes the
files of `evaluation/parity_vot/`: inputs and the toolkit's numbers, in `regions.json` overlaps of pairs of regions, in
the others whole experiments. The toolkit is never imported here.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent / "evaluation" / "parity_vot"
SIZE = (48, 64)  # height, width
INTERVALS = {"supervised": (5, 30), "multistart": (5, 45)}
DATASETS = {
    "supervised": "vot2019",
    "multistart": "vot2020-st",
    "longterm": "vot2019-lt",
    "vots": "vots2023",
    "ignored": "vots2023",
}
KINDS = tuple(DATASETS)
EXPERIMENTS = {"longterm": "longterm"}

OVERLAPS = """
import json, sys
from vot.region import Special
from vot.region.io import create_mask_from_string, parse_region
from vot.region.raster import calculate_overlap
from vot.region.shapes import Mask

def uncropped(text):  # as a binary file is read
    return Mask(*create_mask_from_string(text[1:].split(","))) if text[0] == "m" else parse_region(text)

given = json.load(sys.stdin)
size = tuple(given["size"][::-1])
out = {name: [] for name in ("text", "text_unbounded", "binary", "binary_unbounded", "ignore", "empty", "empty_binary")}
for a, b, c in given["pairs"]:
    first, second, hidden = parse_region(a), parse_region(b), parse_region(c)
    out["text"].append(calculate_overlap(first, second, size))
    out["text_unbounded"].append(calculate_overlap(first, second))
    out["ignore"].append(calculate_overlap(first, second, size, hidden))
    out["empty"].append(bool(first.is_empty()))
    first, second = uncropped(a), uncropped(b)
    out["binary"].append(calculate_overlap(first, second, size))
    out["binary_unbounded"].append(calculate_overlap(first, second))
    out["empty_binary"].append(bool(first.is_empty()))
json.dump(out, sys.stdout)
"""

STACKS = {
    "supervised": """\
    type: supervised
    repetitions: 15
    skip_initialize: 5
    analyses:
      - {type: supervised_average_ar, sensitivity: 30}
      - {type: supervised_eao_score, low: 5, high: 30}
      - {type: supervised_eao_curve}
""",
    "multistart": """\
    type: multistart
    analyses:
      - {type: multistart_average_ar}
      - {type: multistart_eao_score, low: 5, high: 45}
      - {type: multistart_eao_curve, high: 45}
""",
    "longterm": """\
    type: unsupervised
    repetitions: 1
    analyses:
      - {type: average_tpr}
      - {type: pr_curve}
      - {type: f_curve}
""",
    "vots": """\
    type: unsupervised
    repetitions: 1
    multiobject: True
    analyses:
      - {type: average_accuracy, burnin: 0, ignore_unknown: False, weighted: False}
      - {type: average_success_plot, burnin: 0, ignore_unknown: False}
      - {type: longterm_ar}
      - {type: average_quality_auxiliary}
""",
}
STACKS["ignored"] = STACKS["vots"]


# ---- pairs of regions ------------------------------------------------------------------------------------------------


class RandomRegions:
    """Draws regions of all kinds as text: inside, across and outside of the image, thin, empty, flat, crossing."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng(seed)

    def pairs(self, count: int) -> list[tuple[str, str, str]]:
        """Two regions to compare and one to leave out."""
        out = []
        for _ in range(count):
            first = self.region()
            second = first if self._chance(0.08) else self.region()
            if first.count(",") == 3 and first[0] != "m" and self._chance(0.15):
                x, y, w, h = map(float, first.split(","))
                second = f"{x + self._pick(0, 1, 0.5, -2)},{y + self._pick(0, 1, -0.5)},{w},{h}"
            out.append((first, second, self._pick("0", self.mask(), self.rectangle())))
        return out

    def region(self) -> str:
        kind = self._pick(*4 * ["rectangle"], *4 * ["polygon"], *4 * ["mask"], "code")
        return str(self._rng.integers(0, 3)) if kind == "code" else getattr(self, kind)()

    def rectangle(self) -> str:
        w, h = round(self._rng.uniform(0, SIZE[1]), 2), round(self._rng.uniform(0, SIZE[0]), 2)
        if self._chance(0.2):
            w, h = self._pick(0, 1, -3, 0.4, 0.5, 1.5, 2), self._pick(0, 1, 5, -2, 0.6, 30)
        w, h = (h, w) if self._chance(0.5) else (w, h)
        return f"{self._x()},{self._y()},{w},{h}"

    def polygon(self) -> str:
        count, shape = self._pick(3, 4, 4, 4, 5, 6, 9), self._rng.random()
        if shape < 0.4:  # convex
            x, y, radius = self._x(), self._y(), self._rng.uniform(1, 25)
            angles = sorted(self._rng.uniform(0, 2 * math.pi, count))
            corners = [(round(x + radius * math.cos(a), 2), round(y + radius * math.sin(a), 2)) for a in angles]
        elif shape < 0.55:  # a pixel or two
            x, y = self._x(), self._y()
            corners = [(x + self._pick(0, 0, 1), y + self._pick(0, 0, 1)) for _ in range(count)]
        elif shape < 0.7:  # flat edges
            y = int(self._rng.integers(-3, SIZE[0] + 3))
            corners = [(self._pick(*range(-5, SIZE[1] + 5)), self._pick(y, y, y, 7)) for _ in range(count)]
        else:  # edges that cross
            corners = [(self._x(), self._y()) for _ in range(count)]
        return ",".join(f"{x},{y}" for x, y in corners)

    def mask(self) -> str:
        if self._chance(0.05):
            return self._pick("m0,0,0,0,0", "m0,0,7,5,35", "m3,4,7,5,35")
        w, h = int(self._rng.integers(1, 40)), int(self._rng.integers(1, 30))
        if self._chance(0.35):
            w, h = self._pick(1, 2, 1, 7), self._pick(1, 1, 2, 9)
        x, y = int(self._rng.integers(-10, SIZE[1])), int(self._rng.integers(-10, SIZE[0]))
        left, longest, runs = w * h, w * h if self._chance(0.3) else max(2, w), []
        while left > 0:
            runs.append(int(self._rng.integers(1 if runs else 0, min(left, longest) + 1)))
            left -= runs[-1]
        return f"m{x},{y},{w},{h},{','.join(map(str, runs))}"

    def _x(self) -> float:
        return self._coordinate(SIZE[1])

    def _y(self) -> float:
        return self._coordinate(SIZE[0])

    def _coordinate(self, side: int) -> float:
        far = round(float(self._rng.uniform(-0.5 * side, 1.5 * side)), self._pick(0, 1, 3))
        near = int(self._rng.integers(-3, side + 3))
        return self._pick(far, near, abs(near) + 0.5, round(float(self._rng.uniform(0, side)), 2))

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _pick(self, *choices: Any) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def toolkit_overlaps(python: str, pairs: list[tuple[str, str, str]]) -> dict[str, list[float]]:
    """The toolkit's overlaps of pairs, under every reading and bound."""
    given = json.dumps({"size": SIZE, "pairs": pairs})
    done = subprocess.run([python, "-c", OVERLAPS], input=given, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# ---- whole experiments -----------------------------------------------------------------------------------------------


@dataclass
class Motion:
    """Centers (T, 2) and sizes (T, 2) of something that moves."""

    centers: np.ndarray
    sizes: np.ndarray

    def region(self, frame: int, kind: str) -> str:
        (x, y), (w, h) = self.centers[frame], self.sizes[frame]
        if kind == "rectangle":
            return f"{x - w / 2:.3f},{y - h / 2:.3f},{w:.3f},{h:.3f}"
        if kind == "polygon":
            turn = 0.1 * (frame % 7)
            corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (w / 2, h / 2)
            spin = np.array([(math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))])
            return ",".join(f"{value:.3f}" for value in (corners @ spin.T + (x, y)).ravel())
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        return mask_text(((columns - x) / (w / 2)) ** 2 + ((rows - y) / (h / 2)) ** 2 < 1)


def mask_text(mask: np.ndarray) -> str:
    """A mask as VOT's text, counted pixel by pixel."""
    if not mask.any():
        return "m0,0,0,0,0"
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    runs, last = [0], False
    for pixel in crop.ravel().tolist():
        if pixel != last:
            runs.append(0)
        runs[-1] += 1
        last = pixel
    return f"m{columns[0]},{rows[0]},{crop.shape[1]},{crop.shape[0]},{','.join(map(str, runs))}"


def experiment_files(kind: str, seed: int, sequences: int = 2, trackers: str = "A") -> dict[str, str]:
    """A workspace of one experiment, without pictures: file contents by path."""
    return dict(_experiment(kind, np.random.default_rng(seed), sequences, trackers))


def _experiment(kind: str, rng: np.random.Generator, sequences: int, trackers: str) -> Iterator[tuple[str, str]]:
    names = [f"sequence-{number}" for number in range(sequences)]
    yield "sequences/list.txt", _lines(names)
    for name in names:
        count = int(rng.integers(30, 50))
        height, width = SIZE
        metadata = {"name": name, "channels.color": "color/%08d.jpg", "width": width, "height": height, "length": count}
        yield f"sequences/{name}/sequence", _lines(f"{key}={value}" for key, value in metadata.items())
        for tag in ("occlusion", "camera_motion"):
            flags = rng.random(count - int(rng.integers(0, 5))) < 0.4
            yield f"sequences/{name}/{tag}.tag", _lines(str(int(flag)) for flag in flags)
        objects = int(rng.integers(1, 4)) if kind in ("vots", "ignored") else 1
        if kind == "ignored":
            hidden = _motion(rng, count)
            rows = (hidden.region(i, "mask") if rng.random() < 0.7 else "0" for i in range(count))
            yield f"sequences/{name}/groundtruth__ignore.txt", _lines(rows)
        single = objects == 1 and kind != "ignored"
        for number in range(1, objects + 1):
            stem = "groundtruth" if single else f"groundtruth_{number}"
            prefix = name if objects == 1 else f"{name}_{number}"
            for path, text in _object(kind, rng, count, number, trackers):
                yield (
                    path.format(truth=f"sequences/{name}/{stem}", sequence=f"sequences/{name}", name=name, file=prefix),
                    text,
                )


def _object(kind: str, rng: np.random.Generator, count: int, number: int, trackers: str) -> Iterator[tuple[str, str]]:
    motion = _motion(rng, count)
    shape = {"supervised": ("rectangle", "polygon"), "multistart": ("mask", "rectangle"), "longterm": ("rectangle",)}
    kinds = shape.get(kind, ("mask",))
    of_truth = kinds[int(rng.integers(len(kinds)))]
    absent = np.zeros(count, dtype=bool)
    if kind != "supervised":
        for _ in range(1 if kind == "multistart" else 3):
            first = int(rng.integers(5, count))
            absent[first : first + int(rng.integers(1, 4 if kind == "multistart" else 14))] = True
    start = int(rng.integers(0, 8)) if kind in ("vots", "ignored") and number > 1 else 0
    nothing = {"longterm": "nan,nan,nan,nan"}.get(kind, "m0,0,0,0,0" if of_truth == "mask" else "0,0,0,0")
    truth = ["0" if i < start else nothing if absent[i] else motion.region(i, of_truth) for i in range(count)]
    if kind in ("vots", "ignored"):
        truth = ["0" if i > start and rng.random() < 0.05 else row for i, row in enumerate(truth)]
    yield "{truth}.txt", _lines(truth)
    anchors = {}
    if kind == "multistart":
        shown = np.flatnonzero(~absent)
        chosen = sorted({int(shown[0]), int(shown[-1]), *map(int, rng.choice(shown, 2))})
        anchors = {frame: frame < count / 2 for frame in chosen}
        values = ["1" if anchors.get(i) else "-1" if i in anchors else "0" for i in range(count)]
        yield "{sequence}/anchor.value", _lines(values)
    for tracker in trackers:
        folder = f"results/{tracker}/{EXPERIMENTS.get(kind, 'baseline')}/{{name}}"
        if kind == "supervised":
            for repetition in range(1, 1 + int(rng.choice([1, 3]))):
                yield f"{folder}/{{file}}_{repetition:03d}.txt", _lines(_supervised(rng, motion, count))
        elif kind == "multistart":
            for frame, forward in anchors.items():
                order = range(frame, count) if forward else range(frame, -1, -1)
                tracked = _tracked(rng, motion, list(order))
                rows = ["1", *(tracked.region(i, of_truth) for i in range(1, len(order)))]
                yield f"{folder}/{{file}}_{frame:08d}.txt", _lines(rows)
        else:
            tracked = _tracked(rng, motion, list(range(count)))
            rows = _one_pass(rng, tracked, absent, start, "rectangle" if kind == "longterm" else "mask")
            yield f"{folder}/{{file}}_001.txt", _lines(rows)
            if kind == "longterm":
                sure = [f"{value:.3f}" if rng.random() > 0.03 else "" for value in rng.random(count - 1)]
                yield f"{folder}/{{file}}_001_confidence.value", _lines(["", "nan", *sure[1:]])


def _motion(rng: np.random.Generator, count: int) -> Motion:
    middle, typical = np.array([SIZE[1] / 2, SIZE[0] / 2]), np.array([18.0, 14.0])
    centers = np.cumsum(rng.normal(0, 2.0, (count, 2)), axis=0) + middle
    sizes = np.abs(np.cumsum(rng.normal(0, 0.5, (count, 2)), axis=0) + typical) + 2
    return Motion(np.abs(centers) % (SIZE[1], SIZE[0]), sizes)


def _tracked(rng: np.random.Generator, motion: Motion, order: list[int]) -> Motion:
    """A tracker's noisy copy, which loses the object now and then."""
    error = rng.normal(0, 2.5, (len(order), 2))
    frame = int(rng.integers(0, 15))
    while frame < len(order):
        lost = int(rng.integers(3, 22))
        error[frame : frame + lost] += rng.choice([-40, 40], 2)
        frame += lost + int(rng.integers(8, 40))
    return Motion(motion.centers[order] + error, np.abs(motion.sizes[order] * rng.normal(1, 0.15, (len(order), 2))))


def _supervised(rng: np.random.Generator, motion: Motion, count: int) -> list[str]:
    tracked, kind = _tracked(rng, motion, list(range(count))), str(rng.choice(["rectangle", "polygon", "mask"]))
    rows, frame = ["1", *["0"] * (count - 1)], 1
    while frame < count:
        if rng.random() < 0.07:
            rows[frame] = "2"
            frame += 5
            if frame < count:
                rows[frame] = "1"
        else:
            rows[frame] = tracked.region(frame, kind)
        frame += 1
    return rows


def _one_pass(rng: np.random.Generator, tracked: Motion, absent: np.ndarray, start: int, kind: str) -> list[str]:
    nothing = ("0,0,0,0", "0") if kind == "rectangle" else ("m0,0,0,0,0", "m0,0,0,0,0")
    rows = []
    for frame in range(len(absent)):
        gone = rng.random() < 0.1 or (absent[frame] and rng.random() < 0.6)
        rows.append(str(rng.choice(nothing)) if gone else tracked.region(frame, kind))
    return [*["0"] * start, "1", *rows[start + 1 :]]


def _lines(rows: Any) -> str:
    return "".join(f"{row}\n" for row in rows)


def write_files(root: Path, files: dict[str, str]) -> None:
    """File contents by path, below a folder."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="ascii")


def toolkit_analysis(python: str, kind: str, files: dict[str, str], trackers: str = "A") -> list[Any]:
    """What the toolkit finds: of each analysis of the stack, the results of each tracker."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_files(root, files)
        for path in (root / "sequences").glob("*/sequence"):
            (path.parent / "color").mkdir()
            Image.new("RGB", SIZE[::-1]).save(path.parent / "color" / "00000001.jpg")  # it asks the first for its size
        experiment = EXPERIMENTS.get(kind, "baseline")
        (root / "stack.yaml").write_text(f"title: random\nexperiments:\n  {experiment}:\n{STACKS[kind]}")
        (root / "config.yaml").write_text("registry: [./trackers.ini]\nsequences: sequences\nstack: stack.yaml\n")
        (root / "trackers.ini").write_text(
            "".join(f"[{t}]\nlabel={t}\nprotocol=trax\ncommand=true\n" for t in trackers)
        )
        command = [python, "-m", "vot", "analysis", "--workspace", str(root), "--format", "json", *trackers]
        subprocess.run(command, capture_output=True, text=True, check=True)
        (report,) = (root / "analysis").glob("*.json")
        return json.loads(report.read_text())["results"][experiment]["results"]


def main(python: str) -> None:
    """Writes the stored files."""
    show = "import importlib.metadata as m; print(m.version('vot-toolkit'))"
    version = subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout.strip()
    made = {"toolkit": f"vot-toolkit {version}", "made_by": "python tests/vot_cases.py PYTHON"}
    FOLDER.mkdir(exist_ok=True)
    pairs = RandomRegions(1).pairs(800)
    content = {**made, "size": SIZE, "pairs": pairs, "overlaps": toolkit_overlaps(python, pairs)}
    (FOLDER / "regions.json").write_text(json.dumps(content) + "\n")
    for kind in KINDS:
        files = experiment_files(kind, seed=3)
        content = {**made, "kind": kind, "files": files, "results": toolkit_analysis(python, kind, files)}
        (FOLDER / f"{kind}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
