"""Small benchmark trees on disk, written by the tests that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (10, 14)  # height, width


def write_frame(path: Path, *, seed: int = 0, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A picture of noise; PNG holds exactly what is returned, JPEG nearly."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def write_frames(folder: Path, stems: Iterable[str], *, suffix: str = ".jpg", size: tuple[int, int] = SIZE) -> None:
    for seed, stem in enumerate(stems):
        write_frame(folder / f"{stem}{suffix}", seed=seed, size=size)


def label_map(objects: Mapping[int, tuple[int, int, int, int]], size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Labels (H, W) with a filled x, y, w, h rectangle for each object."""
    labels = np.zeros(size, dtype=np.uint8)
    for object_id, (x, y, w, h) in objects.items():
        labels[y : y + h, x : x + w] = object_id
    return labels


def write_labels(path: Path, labels: NDArray, *, mode: str = "P") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    if mode == "P":
        image.putpalette([value for index in range(256) for value in (index, 255 - index, index // 2)])
    (image.convert("RGB") if mode == "RGB" else image).save(path)


def stems(count: int, *, base: int = 0, digits: int = 5) -> list[str]:
    return [f"{base + index:0{digits}d}" for index in range(count)]


def write_davis(
    root: Path,
    sequences: Mapping[str, list[NDArray]],
    *,
    year: str = "2017",
    split: str = "val",
    resolution: str = "480p",
    mode: str = "P",
    annotated: int | None = None,
) -> Path:
    """A DAVIS tree: label maps by sequence, as many frames, and the list of names (without a final newline)."""
    for name, maps in sequences.items():
        write_frames(root / "JPEGImages" / resolution / name, stems(len(maps)), size=maps[0].shape)
        for stem, labels in list(zip(stems(len(maps)), maps, strict=True))[:annotated]:
            write_labels(root / "Annotations" / resolution / name / f"{stem}.png", labels, mode=mode)
    write_text(root / "ImageSets" / year / f"{split}.txt", "\n".join(sequences))
    return root


def moving_square(count: int = 4, ids: Iterable[int] = (1,)) -> list[NDArray]:
    """Label maps of squares that move one pixel a frame."""
    return [label_map({k: (2 + t, 1 + 3 * row, 3, 3) for row, k in enumerate(ids)}) for t in range(count)]


def write_lasot_sequence(folder: Path, *, count: int = 4, images: int | None = None, absent: str = "official") -> None:
    """One LaSOT sequence; `absent` is `official` (two one-line files), `column` (one flag a line) or `union`."""
    rows = [f"{2 + t},{1 + t},5,4" for t in range(count)]
    write_text(folder / "groundtruth.txt", "\n".join(rows) + "\n")
    hidden, outside = [0] * count, [0] * count
    hidden[1], outside[2] = 1, 1
    separator = "\n" if absent in ("column", "union") else ","
    if absent == "union":
        write_text(folder / "absent.txt", separator.join(str(a | b) for a, b in zip(hidden, outside, strict=True)))
    else:
        write_text(folder / "full_occlusion.txt", separator.join(map(str, hidden)))
        write_text(folder / "out_of_view.txt", separator.join(map(str, outside)))
    images = count if images is None else images
    if images:
        write_frames(folder / "img", stems(images, base=1, digits=8))


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def truncate(path: Path) -> None:
    """Cut the end off a file, as an interrupted download leaves it; its header stays."""
    path.write_bytes(path.read_bytes()[:-40])


def write_video(path: Path, count: int = 30, size: tuple[int, int] = (32, 48)) -> Path:
    """An MPEG-4 file of smooth pictures, each unlike the others."""
    import av

    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for t in range(count):
            image = np.stack([(rows * 3 + 7 * t) % 256, columns * 2, np.full(size, 8 * t)], axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
