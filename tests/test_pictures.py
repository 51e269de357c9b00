"""The pictures of the README and the gallery: small, shown, and what docs/pictures.py makes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
PICTURES = PROJECT / "docs" / "pictures"


def test_they_are_small_and_each_is_shown():
    files = sorted(PICTURES.iterdir())
    assert sum(path.stat().st_size for path in files) < 1_000_000
    pages = "".join((PROJECT / "docs" / name).read_text() for name in ("index.md", "gallery.md"))
    assert [path.name for path in files if f"pictures/{path.name}" not in pages] == []


@pytest.mark.slow
def test_they_are_what_the_script_makes(tmp_path):
    spec = importlib.util.spec_from_file_location("pictures", PROJECT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in PICTURES.iterdir()}
    for path in sorted(tmp_path.iterdir()):
        made, stored = Image.open(path), Image.open(PICTURES / path.name)
        assert made.size == stored.size, path.name
        assert getattr(made, "n_frames", 1) == getattr(stored, "n_frames", 1), path.name
        for frame in range(0, getattr(made, "n_frames", 1), 5):
            made.seek(frame)
            stored.seek(frame)
            pair = [np.asarray(image.convert("RGB"), dtype=float) for image in (made, stored)]
            assert np.abs(pair[0] - pair[1]).mean() < 4, f"{path.name} frame {frame}"
