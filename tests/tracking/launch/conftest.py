import pytest

from mosam.tracking import run as runner


@pytest.fixture(autouse=True)
def real_engine_afterwards(monkeypatch):
    """Work of the fakes that is opened in this very process replaces the engine; puts it back after each test."""
    monkeypatch.setattr(runner, "_new_engine", runner._new_engine)
