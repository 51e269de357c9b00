"""What a run was made with: code version, package versions, machine. Recorded in `run.json`, never compared."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "torchvision", "transformers", "numpy", "scipy", "pillow", "opencv-python-headless")


def describe_environment() -> dict[str, object]:
    """Date, code, packages and machine of this process, ready for JSON."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "code": describe_code(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }


def package_version(name: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def describe_code(folder: Path | None = None) -> dict[str, object]:
    """Version of this package and, where it runs from a git checkout, the commit and whether files differ from it.

    Args:
        folder: where the package lies; None = this file's folder.
    Returns:
        `version`, `commit` (None outside a checkout) and `clean` (None likewise).
    """
    folder = Path(__file__).parent if folder is None else folder
    code: dict[str, object] = {"version": package_version("mosam"), "commit": None, "clean": None}
    # A package installed inside another repository is not part of it: only tracked files count.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is not None:
        commit = _git(folder, "rev-parse", "HEAD")
        if commit:
            code["commit"] = commit
            code["clean"] = _git(folder, "status", "--porcelain", "--untracked-files=no") == ""
    return code


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, or None where it fails or git is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
