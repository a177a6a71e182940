from __future__ import annotations

import contextlib

import pytest
import torch

from shoestring.runtime import cuda_graph
from shoestring.runtime.cuda_graph import Replay


def test_on_a_cpu_the_work_is_called_every_time():
    calls = []
    replay = Replay(lambda tensor: calls.append(1) or tensor + 1, device="cpu")
    assert [replay(torch.tensor(float(number))).item() for number in range(4)] == [1, 2, 3, 4]
    assert len(calls) == 4


class _FakeCuda:
    """Replaces `torch.cuda`: work inside `graph` is captured, and repeated by `replay`."""

    OutOfMemoryError = torch.OutOfMemoryError

    def __init__(self) -> None:
        self.captures = 0
        self.broken = False
        self.mode: object = 0
        self.stream_set = False

    def get_sync_debug_mode(self) -> object:
        return self.mode

    def set_sync_debug_mode(self, mode: object) -> None:
        self.mode = mode

    def set_stream(self, stream: object) -> None:
        self.stream_set = True

    def is_available(self) -> bool:
        return False

    def Stream(self, device: object) -> _FakeCuda:
        return self

    def current_stream(self) -> _FakeCuda:
        return self

    def wait_stream(self, other: object) -> None:
        pass

    def stream(self, which: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def CUDAGraph(self) -> _FakeCuda:
        return self

    @contextlib.contextmanager
    def graph(self, graph: object, stream: object):
        yield
        self.captures += 1
        if self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")

    def replay(self) -> None:
        self.repeat()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> _FakeCuda:
    fake = _FakeCuda()
    monkeypatch.setattr(cuda_graph.torch, "cuda", fake)
    cuda_graph._side_stream.cache_clear()
    return fake


def _work(cuda: _FakeCuda, calls: list[int]) -> Replay:
    def work(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(len(tensor))
        out = tensor * 2
        cuda.repeat = lambda: out.copy_(tensor * 2)
        return out

    return Replay(work, device="cuda")


def test_work_is_warmed_up_captured_and_then_replayed_on_new_inputs(cuda):
    calls: list[int] = []
    replay = _work(cuda, calls)
    results, warmup = [], []
    for number in range(6):
        warmup.append(replay.warmup_calls)
        results.append(replay(torch.full((2,), float(number)))[0].item())
    assert results == [0, 2, 4, 6, 8, 10]
    assert warmup == [3, 2, 1, 0, 0, 0]
    assert len(calls) == 3 and cuda.captures == 1


def test_new_shapes_and_a_reset_cause_another_capture(cuda):
    calls: list[int] = []
    replay = _work(cuda, calls)
    for size in (2, 2, 2, 2, 3, 3, 3, 3):
        assert len(replay(torch.ones(size))) == size
    assert calls == [2, 2, 2, 3, 3, 3] and cuda.captures == 2
    replay.reset()
    for _ in range(4):
        replay(torch.ones(3))
    assert cuda.captures == 3


def test_work_that_cannot_be_captured_is_called_every_time(cuda):
    calls: list[int] = []
    replay, cuda.broken = _work(cuda, calls), True
    results = [replay(torch.full((2,), float(number)))[0].item() for number in range(5)]
    assert results == [0, 2, 4, 6, 8] and cuda.captures == 1
    assert cuda.stream_set and replay.warmup_calls == 0


def test_work_that_synchronizes_is_detected_before_the_capture(cuda):
    calls: list[int] = []

    def work(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if cuda.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return tensor * 2

    replay = Replay(work, device="cuda")
    results = [replay(torch.full((2,), float(number)))[0].item() for number in range(4)]
    assert results == [0, 2, 4, 6] and len(calls) == 5
    assert cuda.captures == 0 and cuda.mode == 0


def test_errors_of_the_work_itself_are_raised(cuda):
    def work(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Replay(work, device="cuda")(torch.ones(2))


def test_running_out_of_memory_during_the_capture_is_raised(cuda):
    replay = _work(cuda, [])
    for _ in range(2):
        replay(torch.ones(2))

    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    replay._work = full
    with pytest.raises(torch.OutOfMemoryError):
        replay(torch.ones(2))
