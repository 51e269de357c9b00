from types import SimpleNamespace

import pytest
import torch

from mosam.model.threads import SMALL_GRID, suitable_threads


def model(grid: int, device: str = "cpu"):
    return SimpleNamespace(device=torch.device(device), sizes=SimpleNamespace(grid=grid))


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("grid", "device", "threads"), [(SMALL_GRID, "cpu", 1), (64, "cpu", 2), (64, "cuda", 1)])
def test_small_networks_and_the_host_of_a_gpu_get_one(grid, device, threads):
    with suitable_threads(model(grid, device)):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_the_environment_wins(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with suitable_threads(model(8)):
        assert torch.get_num_threads() == 2


def test_an_error_puts_it_back():
    with pytest.raises(RuntimeError), suitable_threads(model(8)):
        raise RuntimeError
    assert torch.get_num_threads() == 2
