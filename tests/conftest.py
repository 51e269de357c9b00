"""Fixtures of the whole suite: where the shared test data is, and its archives unpacked once."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from vot_environment import toolkit_environment

settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")

PROJECT = Path(__file__).resolve().parents[1]
DATA_VARIABLE, CASES_VARIABLE = "MOSAM_TEST_DATA", "MOSAM_TEST_CASES"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that a test keeps are its own."""
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path / "mosam-cache"))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped, with the reason, where it is absent."""
    root = Path(os.environ.get(DATA_VARIABLE) or PROJECT.parent / "shared" / "data")
    if not (root / "golden.json").is_file():
        pytest.skip(f"{root}: no test data there (set {DATA_VARIABLE})")
    return root


@pytest.fixture(scope="session")
def cases_root() -> Path:
    """The folder of small inputs that once went wrong; the test is skipped, with the reason, where it is absent."""
    root = Path(os.environ.get(CASES_VARIABLE) or PROJECT.parent / "shared" / "cases")
    if not (root / "README.md").is_file():
        pytest.skip(f"{root}: no test cases there (set {CASES_VARIABLE})")
    return root


@pytest.fixture(scope="session")
def unpacked(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`unpacked("lasot/results_ATOM")` gives a folder with the content of that `.tar.xz`, to be read only."""
    folders: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in folders:
            archive = data_root / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"{archive}: no such test data")
            folder = tmp_path_factory.mktemp(name.replace("/", "-"))
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(folder)
            folders[name] = folder
        return folders[name]

    return unpack


@pytest.fixture(scope="session")
def toolkit_python() -> str:
    """An interpreter that has vot-toolkit: the one `MOSAM_VOT_PYTHON` names, else that of 0.7.4's environment."""
    return os.environ.get("MOSAM_VOT_PYTHON") or str(toolkit_environment("0.7.4") / "bin" / "python")
