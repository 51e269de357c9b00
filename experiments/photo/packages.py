"""Photographs and photographic cut-outs from Debian packages, fetched by name when a pack is made.

    python -m photo.packages --cache ~/.cache/mosam-photo --out photo.pack      (in experiments/)

Nothing of the pictures is part of this project: the packages are downloaded with `apt-get download` and unpacked with
`dpkg-deb -x` below the cache folder, what is drawn rather than photographed is left out, and the rest goes into one
file that a machine without network, Pillow or OpenCV can read (`photo.pack`).

Cut-outs of the categories in `HELD_CATEGORIES` and every eighth photograph are for validation alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mosam.errors import MissingDataError, MosamError
from photo.pack import CUTOUT_SIDE, PHOTO_SIDE, Picture, write_pack

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures of one package.

    Attributes:
        package: its name.
        kind: `cutout` (alpha is the mask) or `photo`.
        pattern: glob below the package's root.
        skip: regular expression of paths that are left out, and why in the comment beside it.
    """

    package: str
    kind: str
    pattern: str
    skip: str = "^$"


STAMPS = "usr/share/tuxpaint/stamps"
SOURCES = (
    # folders of letters, signs, coins, flags and drawings; then drawings among photographs, and what is see-through
    Source(
        "tuxpaint-stamps-default", "cutout", f"{STAMPS}/**/*.png",
        "cartoon|symbols/|flags/|roadsigns/|seasonal/easter|clothes/|hanukkah|body_parts"
        "|Santa|/candy_cane|christmas/tree|jackolantern|hedgehog|pizza|apollo_lander|0_sun|newyears|lightning|fire.png"
        "|explosion|dishes/glass|eggplant|thyme|lavender|bolsom",
    ),
    Source("lomiri-wallpapers-16.04", "photo", "usr/share/backgrounds/*.jpg", "freespace|umang|warty"),  # rendered
    Source("lomiri-wallpapers-20.04", "photo", "usr/share/backgrounds/*.jpg", "Infinite-Sea|warty"),  # rendered
    Source("mate-backgrounds", "photo", "usr/share/backgrounds/mate/nature/*.jpg"),
    Source(
        "plasma-workspace-wallpapers", "photo", "usr/share/wallpapers/*/contents/images/2560x1600.jpg",
        "Kite|OneStandsOut|DarkestHour|Path",  # rendered
    ),
    Source("palapeli-data", "photo", "usr/share/palapeli/collection/*.jpg"),
    Source(
        "opencv-doc", "photo", "usr/share/doc/opencv-doc/examples/**/*.*",
        # calibration boards, drawings, masks, maps, texts, and pictures that are of another one
        r"left\d|right\d|Blender|GT|cards|chessboard|blob|digits|ela_|ellipses|gradient|imageText|/ml\.|logo|pca|pic\d"
        "|smarties|sudoku|text_|polygon|stanford|output|trimaps|segmented|graf3|aloeR|aero3|basketball2|rubberwhale2"
        "|leuvenB|box_in|shape_sample|fuzzy|anime|superres|HappyFish|Windows|scenetext_word|/right|starry|lena|mask|hfs/|tsukuba|echo",
    ),
    Source(
        "python3-skimage", "photo", "usr/lib/python3/dist-packages/skimage/data/*.*",
        # measurements, drawings, texts, and the second picture of a pair
        "cell|clock|/color|hubble|ihc|logo|/moon|motorcycle_right|page|retina|text|coins|bw|multi|phantom|blobs|tests",
    ),
    Source("stellarium-data", "photo", "usr/share/stellarium/landscapes/ocean/*[13].png", "ocean9"),
    Source("stellarium-data", "photo", "usr/share/stellarium/landscapes/*/*b.png", "oceanb"),
    Source("stellarium-data", "photo", "usr/share/stellarium/scenery3d/**/*_Text*.png", "_nrm|_bump|_spec"),
    # photographs of animals, monuments and things in Qt's resource files; the rest of them is drawn
    Source("gcompris-qt-data", "photo", "usr/share/gcompris-qt/rcc/categorization.rcc"),
    Source("gcompris-qt-data", "photo", "usr/share/gcompris-qt/rcc/explore_*.rcc"),
)  # fmt: skip
PACKAGES = tuple(dict.fromkeys(source.package for source in SOURCES))

HELD_CATEGORIES = ("mammals/equines", "mammals/dogs", "marsupials", "hobbies", "sports", "mushrooms", "vehicles/flight")
HELD_PHOTOS = 8  # every so manieth photograph, by a checksum of its name
MOST_FLAT = 0.45  # share of pixels like their neighbors above which a picture is taken for a drawing
LEAST_SIDE = 90
LEAST_FILLED = 0.12  # share of its box that a cut-out covers
MOST_BLURRED = 0.5  # share of a cut-out that may be half transparent


def fetch(cache: Path) -> dict[str, Path]:
    """Download and unpack the packages that are not there yet; returns the folder of each.

    Raises:
        MissingDataError: a package cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folders = {}
    for package in PACKAGES:
        if not list(cache.glob(f"{package}_*.deb")):
            _call(["apt-get", "download", package], cache, package)
        folder = cache / "unpacked" / package
        if not folder.is_dir():
            folder.mkdir(parents=True)
            _call(["dpkg-deb", "-x", str(next(cache.glob(f"{package}_*.deb"))), str(folder)], cache, package)
        folders[package] = folder
    return folders


def _call(command: list[str], cache: Path, package: str) -> None:
    try:
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=600, check=False)
        why = (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        raise MissingDataError(f"{package}: expected a Debian package that can be fetched, {command[0]} says: {why}")


def versions(cache: Path) -> dict[str, str]:
    """Version of each package in the cache, from its file name."""
    names = {package: next(cache.glob(f"{package}_*.deb")).name for package in PACKAGES}
    return {package: name.split("_")[1].replace("%3a", ":") for package, name in names.items()}


def pictures(folders: dict[str, Path]) -> Iterator[Picture]:
    """Every picture that passes the rules, cut to size; no picture twice."""
    seen: set[bytes] = set()
    for source in SOURCES:
        root = folders[source.package]
        for path in sorted(root.glob(source.pattern)):
            name = f"{source.package}/{path.relative_to(root).as_posix()}"
            if not path.is_file() or re.search(source.skip, name):
                continue
            for part, pixels in _read(path):
                picture = _cutout(name, pixels) if source.kind == "cutout" else _photo(name + part, pixels)
                if picture is None:
                    continue
                look = cv2.resize(picture.pixels[..., :3], (8, 8), interpolation=cv2.INTER_AREA) // 16
                if look.tobytes() not in seen:
                    seen.add(look.tobytes())
                    yield picture


def _read(path: Path) -> Iterator[tuple[str, Pixels]]:
    """Pictures of a file: name within it, and RGB or RGBA."""
    data = path.read_bytes()
    if path.suffix != ".rcc":
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None and pixels.dtype == np.uint8:
            yield "", _rgb(pixels)
        return
    # pictures lie in resource files as they are
    for found in re.finditer(rb"\xff\xd8\xff[\xe0\xe1\xdb]|RIFF.{4}WEBP", data, re.DOTALL):
        block = np.frombuffer(data[found.start() : found.start() + 4_000_000], np.uint8)
        pixels = cv2.imdecode(block, cv2.IMREAD_COLOR)
        if pixels is not None:
            yield f"@{found.start()}", _rgb(pixels)


def _rgb(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB).astype(np.uint8)


def _cutout(name: str, pixels: Pixels) -> Picture | None:
    """A cut-out with its box scaled into a square, or None where it is no photograph of one thing."""
    if pixels.shape[2] != 4:
        return None
    opaque = pixels[..., 3] > 127
    if not opaque.any():
        return None
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    pixels, opaque = pixels[box], opaque[box]
    alpha = pixels[..., 3]
    blurred = ((alpha > 25) & (alpha < 230)).sum() / opaque.sum()
    if max(opaque.shape) < LEAST_SIDE or opaque.mean() < LEAST_FILLED or blurred > MOST_BLURRED:
        return None
    if _flat(pixels[..., :3], opaque) > MOST_FLAT:
        return None
    scale = CUTOUT_SIDE / max(opaque.shape)
    size = tuple(max(1, round(length * scale)) for length in opaque.shape[::-1])
    color = pixels[..., :3].astype(np.float32) * (alpha[..., None] / 255.0)  # what is see-through has no color
    color = cv2.resize(color, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    color = np.clip(color / np.maximum(alpha[..., None] / 255.0, 1 / 255), 0, 255)
    square = np.zeros((CUTOUT_SIDE, CUTOUT_SIDE, 4), np.uint8)
    top, left = (CUTOUT_SIDE - size[1]) // 2, (CUTOUT_SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = np.dstack([color, alpha]).astype(np.uint8)
    return Picture(name, any(f"/{category}/" in name for category in HELD_CATEGORIES), _bled(square))


def _bled(square: Pixels) -> Pixels:
    """Colors carried over the border into what is transparent, so that neither filter nor code darkens the edge."""
    known = square[..., 3] > 127
    weight, color = known.astype(np.float32), square[..., :3] * known[..., None].astype(np.float32)
    out = square.copy()
    for size in (9, 41, 161):
        near = cv2.blur(weight, (size, size))
        mean = cv2.blur(color, (size, size)) / np.maximum(near, 1e-6)[..., None]
        fill = ~known & (near > 1e-4)
        out[fill, :3] = np.clip(mean[fill], 0, 255)
        known = known | fill
    out[~known, :3] = 127
    return out


def _photo(name: str, pixels: Pixels) -> Picture | None:
    """A photograph squeezed into a square, as every network of the family sees its frames, or None for a drawing."""
    pixels = np.ascontiguousarray(pixels[..., :3])
    if min(pixels.shape[:2]) < 2 * LEAST_SIDE or _flat(pixels, np.ones(pixels.shape[:2], bool)) > MOST_FLAT:
        return None
    small = cv2.resize(pixels, (PHOTO_SIDE, PHOTO_SIDE), interpolation=cv2.INTER_AREA)
    return Picture(name, zlib.crc32(name.encode()) % HELD_PHOTOS == 0, small)


def _flat(pixels: Pixels, where: NDArray[np.bool_]) -> float:
    """Share of the pixels that equal their right neighbor: high in drawings, low in photographs."""
    both = where[:, 1:] & where[:, :-1]
    same = (pixels[:, 1:] == pixels[:, :-1]).all(axis=2)
    return float(same[both].mean()) if both.any() else 1.0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for packages and what is in them")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    try:
        found = list(pictures(fetch(options.cache)))
        write_pack(options.out, found)
    except (MosamError, OSError) as error:
        print(f"photo.packages: {error}", file=sys.stderr)
        return 2
    for kind, cutout in (("cut-outs", True), ("photographs", False)):
        some = [picture for picture in found if picture.cutout == cutout]
        print(f"{kind}: {len(some)}, held back {sum(picture.held for picture in some)}")
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB from", versions(options.cache))
    return 0


if __name__ == "__main__":
    sys.exit(main())
