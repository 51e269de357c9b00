"""The pictures of the README and the gallery, from the shipped runs and the generated benchmark (`make pictures`).

    python docs/pictures.py [FOLDER]

`demo.webp`: a sequence of `toy` test behind a wall with a look-alike in view, tracked by two trackers. The figures are
those of `mosam plot`, at the size and resolution of a web page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image as Pillow

import mosam
from mosam.commands.demo.draw import draw_objects, side_by_side
from mosam.evaluation.figures import FIGURES
from mosam.evaluation.figures.save import save
from mosam.evaluation.scores import load_scores

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "pictures"
RUNS = ROOT / "experiments" / "runs" / "toy"
SEQUENCE, PAIR = "full_occlusion-2", ("sam2", "mosam")
TRACKERS = ("sam2", "samurai", "sam2long", "dam4sam", "mosam")
KINDS = ("success", "precision", "attributes", "attribute-bars", "jf", "sequences", "speed")
SCALE, EVERY, COLORS, SMALLER = 2, 2, 256, 0.45


def animation(path: Path) -> None:
    """Both trackers side by side, every second frame."""
    sequence = mosam.load_dataset("toy", split="test")[SEQUENCE]
    model = mosam.load_model("nano", device="cpu", precision="fp32")
    tiles = [list(_tracked(sequence, model, name)) for name in PAIR]
    frames = [Pillow.fromarray(side_by_side(pair, PAIR)) for pair in zip(*tiles, strict=True)][::EVERY]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40 * EVERY, loop=0, quality=45, method=4)


def _tracked(sequence, model, tracker):
    engine = mosam.Engine(model, mosam.load_policy(tracker))
    video = engine.open(sequence.prompts, size=sequence.size, num_frames=len(sequence))
    for image in sequence.frames():
        drawn = draw_objects(image, engine.step({video: image})[video])
        yield np.repeat(np.repeat(drawn, SCALE, axis=0), SCALE, axis=1)
    engine.close(video)


def figure(kind: str, path: Path) -> None:
    """A figure of the shipped scores."""
    scores = [item for name in TRACKERS for item in load_scores(RUNS / f"{name}-nano@test" / "scores.json")]
    made = FIGURES[kind](scores)
    save(made, path.with_suffix(""), formats=["png"])
    plt.close(made)
    whole = Pillow.open(path).convert("RGB")
    small = whole.resize((round(whole.width * SMALLER), round(whole.height * SMALLER)), Pillow.Resampling.LANCZOS)
    small.quantize(COLORS, Pillow.Quantize.MAXCOVERAGE, dither=Pillow.Dither.NONE).save(path, optimize=True)


def main(folder: Path = OUT) -> None:
    """Writes all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    animation(folder / "demo.webp")
    for kind in KINDS:
        figure(kind, folder / f"{kind}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
