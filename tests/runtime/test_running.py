from __future__ import annotations

import contextlib
import time

import pytest
import torch

from shoestring.runtime import running
from shoestring.runtime.running import Replay, Stopwatch, least_seconds


def test_a_stopwatch_tells_of_each_piece_of_work():
    told: list[tuple[str, float]] = []
    watch = Stopwatch[str]("cpu")
    for name in ("one", "two"):
        with watch(name, lambda what, seconds, busy: told.append((what, seconds))):
            time.sleep(0.01)
    assert [what for what, _ in told] == ["one", "two"]
    assert all(0.01 <= seconds < 1 for _, seconds in told)


def test_the_least_of_some_calls_is_timed_within_the_limit():
    waits = iter([0.0, 0.03, 0.01, 0.02, *[0.05] * 99])
    found = least_seconds(lambda: time.sleep(next(waits)), 0.1)
    assert 0.01 <= found < 0.02


def test_on_a_processor_work_is_simply_done():
    calls = []
    replay = Replay(lambda tensor: calls.append(1) or tensor + 1, device="cpu")
    assert [replay(torch.tensor(float(number))).item() for number in range(4)] == [1, 2, 3, 4]
    assert len(calls) == 4


class _Recorder:
    """In the place of `torch.cuda`: what is done inside `graph` is kept, and done again by `replay`."""

    OutOfMemoryError = torch.OutOfMemoryError

    def __init__(self) -> None:
        self.recorded = 0
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

    def Stream(self, device: object) -> _Recorder:
        return self

    def current_stream(self) -> _Recorder:
        return self

    def wait_stream(self, other: object) -> None:
        pass

    def stream(self, which: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def CUDAGraph(self) -> _Recorder:
        return self

    @contextlib.contextmanager
    def graph(self, graph: object, stream: object):
        yield
        self.recorded += 1
        if self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")

    def replay(self) -> None:
        self.again()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    recorder = _Recorder()
    monkeypatch.setattr(running.torch, "cuda", recorder)
    running._stream_aside.cache_clear()
    return recorder


def _work(cuda: _Recorder, calls: list[int]) -> Replay:
    def work(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(len(tensor))
        out = tensor * 2
        cuda.again = lambda: out.copy_(tensor * 2)
        return out

    return Replay(work, device="cuda")


def test_work_is_rehearsed_recorded_and_then_replayed_on_what_is_given(cuda):
    calls: list[int] = []
    replay = _work(cuda, calls)
    found, before = [], []
    for number in range(6):
        before.append(replay.calls_before)
        found.append(replay(torch.full((2,), float(number)))[0].item())
    assert found == [0, 2, 4, 6, 8, 10]
    assert before == [3, 2, 1, 0, 0, 0]
    assert len(calls) == 3 and cuda.recorded == 1


def test_other_shapes_and_what_was_forgotten_are_recorded_anew(cuda):
    calls: list[int] = []
    replay = _work(cuda, calls)
    for size in (2, 2, 2, 2, 3, 3, 3, 3):
        assert len(replay(torch.ones(size))) == size
    assert calls == [2, 2, 2, 3, 3, 3] and cuda.recorded == 2
    replay.forget()
    for _ in range(4):
        replay(torch.ones(3))
    assert cuda.recorded == 3


def test_what_cannot_be_recorded_is_done_each_time(cuda):
    calls: list[int] = []
    replay, cuda.broken = _work(cuda, calls), True
    found = [replay(torch.full((2,), float(number)))[0].item() for number in range(5)]
    assert found == [0, 2, 4, 6, 8] and cuda.recorded == 1
    assert cuda.stream_set and replay.calls_before == 0


def test_work_that_waits_for_the_device_is_found_out_before_it_is_recorded(cuda):
    calls: list[int] = []

    def work(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if cuda.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return tensor * 2

    replay = Replay(work, device="cuda")
    found = [replay(torch.full((2,), float(number)))[0].item() for number in range(4)]
    assert found == [0, 2, 4, 6] and len(calls) == 5
    assert cuda.recorded == 0 and cuda.mode == 0


def test_an_error_of_the_work_itself_is_told(cuda):
    def work(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Replay(work, device="cuda")(torch.ones(2))


class _Event:
    """A CUDA event on a device whose clock is `now`."""

    now = 0.0
    waited: list[_Event] = []

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = _Event.now

    def synchronize(self) -> None:
        _Event.waited.append(self)

    def elapsed_time(self, later: _Event) -> float:
        return 1000 * (later.at - self.at)


def test_a_cuda_device_has_a_clock_of_its_own_and_python_is_one_piece_of_work_ahead(monkeypatch):
    monkeypatch.setattr(running.torch.cuda, "Event", _Event)
    told: list[tuple[str, float]] = []
    watch = Stopwatch[str]("cuda")
    assert watch.behind == 0
    for name, seconds in (("one", 1.0), ("two", 2.0), ("three", 3.0)):
        with watch(name, lambda what, took, busy: told.append((what, took))):
            _Event.now += seconds
        assert watch.behind == 1
        _Event.now += 10  # between two pieces of work
    assert told == [("one", 1.0), ("two", 2.0)] and len(_Event.waited) == 2
    watch.forget()
    assert watch.behind == 0
    with watch("four", lambda what, took, busy: told.append((what, took))):
        pass
    assert len(told) == 2


def test_recording_tells_where_memory_does_not_suffice(cuda):
    replay = _work(cuda, [])
    for _ in range(2):
        replay(torch.ones(2))

    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    replay._work = full
    with pytest.raises(torch.OutOfMemoryError):
        replay(torch.ones(2))


def test_convolutions_that_would_corrupt_memory_are_trained_by_other_kernels(monkeypatch):
    from torch import nn

    cases = [(5, 2, True, False), (8, 2, True, True), (5, 1, True, True), (5, 2, False, True)]
    for channels, stride, short, expected in cases:
        monkeypatch.setattr(running, "_short_of_vectors", lambda short=short: short)
        layer = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 10, 1, stride=stride))
        with running.sound_convolutions(layer, "cpu"):
            assert torch.backends.mkldnn.enabled is expected
        assert torch.backends.mkldnn.enabled
