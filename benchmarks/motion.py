"""How well each motion estimator carries a mask to the next frame, and what a pair of frames costs.

    python benchmarks/motion.py [--draw 5] [--pairs 18]

True masks of `toy` val are moved by the flow and the points between two frames and compared with the true masks of the
second one. Processor time of one thread, on pictures of `toy`.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

KINDS = ("scale-1", "rotation-1", "fast-1", "camera-1", "blur-1", "light-1", "partial_occlusion-1", "distractor-1")
ESTIMATORS = (
    ("lk", "dis-medium"),
    ("lk", "dis-fast"),
    ("lk-fast", "dis-fast"),
    ("off", "dis-medium"),
    ("off", "dis-fast"),
    ("lk", "off"),
    ("lk-fast", "off"),
)
SIDE = 128


def main() -> None:
    """Prints the table."""
    import cv2

    import mosam
    from mosam.motion.field import MotionPair, MotionSettings, MotionStream
    from mosam.motion.forecast import forecast
    from mosam.types import MotionNeeds

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=18, help="of each sequence")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    dataset = mosam.load_dataset("toy", split="val", seed=arguments.draw)
    pairs = []  # two pictures and the mask of one object on both
    for name in KINDS:
        sequence = dataset[name]
        step = max(1, (len(sequence) - 1) // arguments.pairs)
        for t in range(0, len(sequence) - 1, step)[: arguments.pairs]:
            before, after = sequence.truth.read(t), sequence.truth.read(t + 1)
            for object_id in sorted(before.keys() & after.keys()):
                if before[object_id].sum() >= 100 and after[object_id].any():
                    pictures = sequence.source.read(t), sequence.source.read(t + 1)
                    pairs.append((*pictures, before[object_id], after[object_id]))
                    break
    print(f"{len(pairs)} pairs of toy val, draw {arguments.draw}")
    print("| points and flow | IoU of the mask | IoU of the box | no box [%] | ms |\n|---|--:|--:|--:|--:|")
    for sparse, dense in ESTIMATORS:
        masks, boxes, spent = [], [], []
        for first, second, before, after in pairs:
            stream = MotionStream(MotionSettings(sparse, dense, SIDE))
            stream.push(first)
            start = time.thread_time()
            motion = stream.push(second).current
            spent.append(time.thread_time() - start)
            seen = forecast(MotionPair(motion), on_grid(before), MotionNeeds(sparse, dense, 3))
            if seen is not None and seen.box is not None and seen.expected is not None:
                target = on_grid(after) > 0.5
                masks.append((seen.expected & target).sum() / max(1, (seen.expected | target).sum()))
                boxes.append(box_iou(seen.box, box_of(target)))
        lost = 100 * (1 - len(boxes) / len(pairs))
        row = f"{np.mean(masks):.3f} | {np.mean(boxes):.3f} | {lost:.0f} | {1e3 * np.median(spent):.1f}"
        print(f"| `{sparse}`, `{dense}` | {row} |", flush=True)


def on_grid(mask: np.ndarray) -> np.ndarray:
    """A mask as a probability on the square grid."""
    import cv2

    return cv2.resize(mask.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def box_of(mask: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 as fractions, grown as a forecast's box is."""
    from mosam.motion.forecast import GROW

    y, x = np.nonzero(mask)
    box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / SIDE
    reach = GROW * (box[2:] - box[:2])
    return np.clip(np.concatenate([box[:2] - reach, box[2:] + reach]), 0, 1)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap of two boxes."""
    both = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both))


if __name__ == "__main__":
    main()
