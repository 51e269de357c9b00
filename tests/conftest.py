"""Fixtures of the whole suite: where the shared test data is, and its archives unpacked once."""

from __future__ import annotations

import importlib.util
import os
import signal
import tarfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings
from vot_environment import toolkit_environment

# A shell without job control starts what is in the background, and nohup all, with signals ignored that tests send.
for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    if signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _usual)


settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")

PROJECT = Path(__file__).resolve().parents[1]
DATA_VARIABLE, CASES_VARIABLE = "MOSAM_TEST_DATA", "MOSAM_TEST_CASES"


# What mosam imports only where it is used; a test that needs one that is not installed is skipped, by itself.
LAZY = ("av", "lmdb", "matplot2tikz", "orjson", "zlib_ng", "simplejpeg", "duckdb")


def absent_package(error: BaseException | None) -> str | None:
    """The package of `LAZY` for want of which something failed."""
    while error is not None:
        name = (getattr(error, "name", None) or "").split(".")[0]
        if isinstance(error, ModuleNotFoundError) and name in LAZY and importlib.util.find_spec(name) is None:
            return name
        error = error.__cause__ or error.__context__
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """See `LAZY`."""
    report = yield
    absent = absent_package(call.excinfo.value) if call.excinfo is not None and report.failed else None
    if absent is not None:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {absent} is not installed")
    return report


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that a test keeps are its own."""
    monkeypatch.setenv("MOSAM_CACHE", str(tmp_path / "mosam-cache"))


@pytest.fixture(scope="module")
def drawn_weights() -> Generator[None]:
    """Engines give policies drawn weights where they need published ones, which are not fetched in a test."""
    from policy_cases import motion_weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mosam.engine.engine.load_arrays", lambda name: motion_weights(3, (20.0, 30.0)))
        yield


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
