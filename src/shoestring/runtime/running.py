"""Running a network: in evaluation mode, timed, to its end, replayed, and within the memory that there is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import torch
from torch import nn

What = TypeVar("What")

# what PyTorch says on CPUs, by system, and on accelerators where these have no error of their own
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
_FEWEST_CHANNELS = 8
_REHEARSALS = 2  # times that work is done before it is recorded, in which it makes whatever it keeps


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def wait(device: torch.device | str) -> None:
    """Return when all that was asked of the device is done: accelerators work behind Python's back."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory did not suffice; what the accelerator holds for later is freed then."""
    if isinstance(error, torch.OutOfMemoryError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True
    return any(words in str(error) for words in _NO_MEMORY)


@dataclass(frozen=True)
class Timing:
    """The least seconds of one call, and the least processor seconds of all threads in it.

    Other processes can only make a call slower. `crowded` is seconds over processor seconds, of all calls together: for
    one thread 1 on an idle machine, and 2 where another process takes half of its processor.
    """

    seconds: float
    busy: float
    crowded: float


def timed(run: Callable[[], None], limit: float) -> Timing:
    """Time calls for about `limit` seconds: at least two and at most nine, the first not counted."""
    ends = time.monotonic() + limit
    run()
    best, least_busy, all_seconds, all_busy = float("inf"), float("inf"), 0.0, 0.0
    for _ in range(8):
        before, busy_before = time.monotonic(), time.process_time()
        run()
        seconds, busy = time.monotonic() - before, time.process_time() - busy_before
        best, least_busy = min(best, seconds), min(least_busy, busy)
        all_seconds, all_busy = all_seconds + seconds, all_busy + busy
        if time.monotonic() + best > ends:
            break
    return Timing(best, least_busy, all_seconds / max(all_busy, 1e-9))


def least_seconds(run: Callable[[], None], limit: float) -> float:
    """The least seconds of one call, as `timed` finds them."""
    return timed(run, limit).seconds


class Stopwatch(Generic[What]):
    """Seconds of one piece of work after the other.

    A CUDA device works behind Python's back: there the clock is the device's own, each piece is told of when the next
    one has been asked for, and nobody gets further ahead than that. Other accelerators are waited for.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self.forget()

    def forget(self) -> None:
        """Do not tell of the last piece of work."""
        self._before: tuple[What, torch.cuda.Event, torch.cuda.Event] | None = None

    @property
    def behind(self) -> int:
        """How many pieces of work that were asked for are not done yet, at most."""
        return int(self._before is not None)

    @contextmanager
    def __call__(self, what: What, tell: Callable[[What, float, float], None]) -> Iterator[None]:
        """Time the block; `tell` gets a piece of work that is done, its seconds and its processor seconds.

        A device that works by itself has the same of both.
        """
        if self._device.type != "cuda":
            began, busy = time.monotonic(), time.process_time()
            yield
            wait(self._device)
            seconds = time.monotonic() - began
            tell(what, seconds, time.process_time() - busy if self._device.type == "cpu" else seconds)
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        if self._before is not None:
            what_before, began, ended = self._before
            ended.synchronize()
            seconds = began.elapsed_time(ended) / 1000
            tell(what_before, seconds, seconds)
        self._before = what, begin, end


class Replay:
    """Work on tensors that is recorded once and then replayed, as CUDA devices can.

    Asking for each of the hundreds of kernels of a training step takes Python longer than a fast device takes to run
    them. `work` takes tensors and gives tensors, and does not wait for the device; what it decides in Python is decided
    once. Elsewhere, and where work cannot be recorded, it is simply done each time.
    """

    def __init__(self, work: Callable[..., Any], *, device: torch.device | str) -> None:
        self._work, self._able = work, torch.device(device).type == "cuda"
        self._aside = _stream_aside(torch.device(device)) if self._able else None
        self._shapes: list[torch.Size] = []
        self.forget()

    def forget(self) -> None:
        """Record anew: what the work uses besides what it is given is elsewhere from here on."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: tuple[torch.Tensor, ...] = ()
        self._found: Any = None
        self._rehearsed = 0

    @property
    def calls_before(self) -> int:
        """How often the work is done before it is replayed."""
        return _REHEARSALS + 1 - self._rehearsed if self._able and self._graph is None else 0

    def __call__(self, *given: Any) -> Any:
        """Do the work on these tensors; what it gave is overwritten by the next call."""
        if not self._able:
            return self._work(*given)
        shapes = [tensor.shape for tensor in given]
        if shapes != self._shapes:
            self.forget()
            self._shapes = shapes
        if self._rehearsed < _REHEARSALS:
            return self._rehearse(given)
        if self._graph is None:
            self._record(given)
        if self._graph is None:
            return self._work(*given)
        for place, tensor in zip(self._given, given):
            place.copy_(tensor)
        self._graph.replay()
        return self._found

    def _rehearse(self, given: tuple[torch.Tensor, ...]) -> Any:
        """Do the work on a stream aside, where what is recorded later leaves no traces of the usual one.

        The last time it is an error to wait for the device: to find out while recording would leave torch in disorder.
        """
        usual = torch.cuda.current_stream()
        assert self._aside is not None
        self._rehearsed += 1
        self._aside.wait_stream(usual)
        try:
            with torch.cuda.stream(self._aside), _no_waiting(self._rehearsed == _REHEARSALS):
                return self._work(*given)
        except RuntimeError as error:
            if out_of_memory(error) or self._rehearsed < _REHEARSALS:
                raise
            self._able = False
        finally:
            usual.wait_stream(self._aside)
        return self._work(*given)

    def _record(self, given: tuple[torch.Tensor, ...]) -> None:
        usual = torch.cuda.current_stream()
        places, graph = tuple(tensor.clone() for tensor in given), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._aside):
                found = self._work(*places)
        except RuntimeError as error:
            torch.cuda.set_stream(usual)  # which torch forgets then
            if out_of_memory(error):
                raise
            self._able = False
        else:
            self._graph, self._given, self._found = graph, places, found


def to_be_timed(work: Callable[[], object], device: torch.device | str) -> Callable[[], None]:
    """The work and a wait for its end; replayed from the first call on where it can be."""
    replay = Replay(work, device=device)
    for _ in range(replay.calls_before):
        replay()

    def run() -> None:
        replay()
        wait(device)

    return run


@lru_cache(maxsize=16)
def _stream_aside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def _no_waiting(forbidden: bool) -> Iterator[None]:
    """Inside the block it is an error to wait for a CUDA device, if that is forbidden."""
    if not forbidden:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this a prototype: it does not find all there is
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def sound_convolutions(module: nn.Module, device: torch.device | str) -> Iterator[None]:
    """Train inside the block without the kernels of oneDNN that write past their memory, where the network needs one.

    On processors without AVX-512, weight gradients of 1 x 1 convolutions with a stride and fewer than eight input
    channels in channels-last format corrupt the heap (seen with PyTorch 2.14.1). PyTorch's own kernels are slower.
    """
    if torch.device(device).type != "cpu" or not _short_of_vectors() or not any(map(_unsound, module.modules())):
        yield
        return
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def _unsound(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.weight.shape[1] < _FEWEST_CHANNELS
    )


@lru_cache(maxsize=1)
def _short_of_vectors() -> bool:
    return "AVX512" not in torch.backends.cpu.get_cpu_capability()
