"""Running a network: in evaluation mode, timed, to its end, replayed, and within the memory that there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch
from torch import nn

What = TypeVar("What")

# what PyTorch says on CPUs, by system; accelerators have an error of their own
_NO_MEMORY = ("not enough memory", "can't allocate memory")
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


def least_seconds(run: Callable[[], None], limit: float) -> float:
    """The least seconds of one call: others can only make it slower. At least two calls, the first not counted."""
    ends = time.monotonic() + limit
    run()
    best = float("inf")
    for _ in range(8):
        before = time.monotonic()
        run()
        best = min(best, time.monotonic() - before)
        if time.monotonic() + best > ends:
            break
    return best


class Stopwatch(Generic[What]):
    """Seconds of one piece of work after the other.

    A CUDA device works behind Python's back: there the clock is the device's own, each piece is told when the next one
    has been asked for, and nobody gets further ahead than that.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._before: tuple[What, torch.cuda.Event, torch.cuda.Event] | None = None

    @contextmanager
    def __call__(self, what: What, tell: Callable[[What, float], None]) -> Iterator[None]:
        """Time the block; `tell` hears of a piece of work that is done, and how many seconds it took."""
        if self._device.type != "cuda":
            began = time.monotonic()
            yield
            tell(what, time.monotonic() - began)
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield
        end.record()
        if self._before is not None:
            what_before, began, ended = self._before
            ended.synchronize()
            tell(what_before, began.elapsed_time(ended) / 1000)
        self._before = what, begin, end


class Replay:
    """Work on tensors that is recorded once and then replayed, as CUDA devices can.

    Asking for each of the hundreds of kernels of a training step takes Python longer than a fast device takes to run
    them. `work` takes tensors and gives tensors, and does not wait for the device. Elsewhere, and where work cannot be
    recorded, it is simply done each time.
    """

    def __init__(self, work: Callable[..., Any], *, device: torch.device | str) -> None:
        self._work, self._able = work, torch.device(device).type == "cuda"
        self._aside = torch.cuda.Stream(device) if self._able else None
        self._shapes: list[torch.Size] = []
        self.forget()

    def forget(self) -> None:
        """Record anew: what the work uses besides what it is given is elsewhere from here on."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: tuple[torch.Tensor, ...] = ()
        self._found: Any = None
        self._rehearsed = 0

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
        """Do the work on a stream aside, where what is recorded later leaves no traces of the usual one."""
        usual = torch.cuda.current_stream()
        assert self._aside is not None
        self._aside.wait_stream(usual)
        with torch.cuda.stream(self._aside):
            found = self._work(*given)
        usual.wait_stream(self._aside)
        self._rehearsed += 1
        return found

    def _record(self, given: tuple[torch.Tensor, ...]) -> None:
        places, graph = tuple(tensor.clone() for tensor in given), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                found = self._work(*places)
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            self._able = False
        else:
            self._graph, self._given, self._found = graph, places, found
