import pytest

from mosam.tracking import loop


@pytest.fixture(autouse=True)
def real_engine_afterwards(monkeypatch):
    """Work of the fakes that is opened in this very process replaces the engine; puts it back after each test."""
    monkeypatch.setattr(loop, "_new_engine", loop._new_engine)
