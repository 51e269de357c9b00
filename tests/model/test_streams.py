"""Streams that nobody else is given; torch's hand-out of them is imitated, as there is no GPU here."""

from __future__ import annotations

import contextlib
import gc
import itertools
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from mosam.model import graphs, streams
from mosam.model.graphs import CudaRecorder
from mosam.model.streams import POOL, own_stream

GPU = torch.device("cuda:0")


class Owner:
    pass


@pytest.fixture(autouse=True)
def handed_out_in_turn(monkeypatch):
    numbers = itertools.cycle(range(100, 100 + POOL))
    monkeypatch.setattr(streams, "_taken", {})
    monkeypatch.setattr(torch.cuda, "Stream", lambda index: SimpleNamespace(cuda_stream=next(numbers)))


def test_no_two_owners_share_a_stream_and_a_late_one_gets_what_is_free():
    owners = [Owner() for _ in range(POOL)]
    given = {own_stream(owner, GPU).cuda_stream for owner in owners}
    assert len(given) == POOL
    late = Owner()
    assert own_stream(late, GPU) is None
    del owners[3]
    gc.collect()
    assert own_stream(late, GPU) is not None


class FakeGraph:
    """A graph that says when it goes."""

    gone: ClassVar[list[int]] = []
    numbers = itertools.count()

    def __init__(self):
        self.number = next(self.numbers)

    def replay(self):
        pass

    def __del__(self):
        self.gone.append(self.number)


@pytest.fixture
def fake_cuda(monkeypatch):
    """What `record` asks of torch; notes the stream of each recording."""
    seen = []

    @contextlib.contextmanager
    def graph(graph, *, pool, stream, capture_error_mode):
        seen.append((pool, stream.cuda_stream))
        yield

    monkeypatch.setattr(FakeGraph, "gone", [])
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", itertools.count(1).__next__)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 100))
    return seen


def test_two_recorders_share_neither_stream_nor_pool(fake_cuda):
    first, second = CudaRecorder(GPU), CudaRecorder(GPU)
    for recorder in (first, second, first, second):
        recorder.record(tuple)
    assert fake_cuda[0] == fake_cuda[2]
    assert fake_cuda[1] == fake_cuda[3]
    assert fake_cuda[0][0] != fake_cuda[1][0]
    assert fake_cuda[0][1] != fake_cuda[1][1]


def test_a_graph_that_is_not_used_lives_as_long_as_those_that_are(fake_cuda, monkeypatch):
    """torch frees the workspace of a stream's products with the first graph of the stream that goes."""
    monkeypatch.setattr(graphs, "SLOWER", 0.0)  # none is fast enough
    recorder = CudaRecorder(GPU)
    graphed = graphs.Graphed(lambda x: (x + 1,), recorder, name="plus")
    with torch.inference_mode():
        for _ in range(graphs.OFTEN):
            graphed(torch.zeros(2))
    gc.collect()
    assert len(fake_cuda) == 1
    assert graphed.made == 0
    assert FakeGraph.gone == []
    recorder.close()
    gc.collect()
    assert len(FakeGraph.gone) == 1
