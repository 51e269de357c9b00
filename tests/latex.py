"""LaTeX where it is installed: documents to PDF, and what a PDF shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "figures-and-tables.md"
WANTED = ("pdflatex", "pdftoppm", "pdftotext", "pdffonts")


def require_latex(*files: str) -> None:
    """Skip the test where an engine, a package or poppler is not installed."""
    lacking = [name for name in WANTED if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"no {', '.join(lacking)} (texlive-latex-extra, texlive-pictures, poppler-utils)")
    for name in files:
        if not subprocess.run(["kpsewhich", name], capture_output=True, text=True).stdout.strip():
            pytest.skip(f"no {name} (texlive-latex-extra, texlive-pictures)")


def documented_preamble() -> str:
    """What docs/figures-and-tables.md tells users to put into their document."""
    return "".join(re.findall(r"```latex\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL))


def typeset(folder: Path, text: str) -> Path:
    """The PDF of a document; a failure shows the end of LaTeX's log."""
    (folder / "document.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return folder / "document.pdf"


def page_text(pdf: Path, page: int) -> str:
    """The words of a page, separated by single blanks."""
    command = ["pdftotext", "-layout", "-f", str(page), "-l", str(page), str(pdf), "-"]
    return " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def page_pixels(pdf: Path, page: int, dpi: int) -> np.ndarray:
    """A page as uint8 (H, W, 3)."""
    stem = pdf.with_name(f"page-{page}")
    command = ["pdftoppm", "-r", str(dpi), "-f", str(page), "-l", str(page), "-singlefile", "-png", str(pdf), str(stem)]
    subprocess.run(command, check=True)
    return np.array(Image.open(f"{stem}.png").convert("RGB"))


def fonts(pdf: Path) -> str:
    """The fonts a PDF uses, one a line."""
    return subprocess.run(["pdffonts", str(pdf)], capture_output=True, text=True, check=True).stdout
