"""Work that is captured as a CUDA graph once and then replayed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from shoestring.runtime.device import out_of_memory, synchronize

_WARMUP_CALLS = 2  # before the capture; in these the work allocates whatever it keeps


class Replay:
    """A function of tensors that is captured as a CUDA graph and then replayed.

    Launching the hundreds of kernels of a training step takes Python longer than a fast device takes to run them.
    `work` takes and returns tensors and must not synchronize with the device; its Python code runs only until the
    capture. On other devices, and where the capture fails, `work` is called every time.
    """

    def __init__(self, work: Callable[..., Any], *, device: torch.device | str) -> None:
        self._work, self._enabled = work, torch.device(device).type == "cuda"
        self._side_stream = _side_stream(torch.device(device)) if self._enabled else None
        self._shapes: list[torch.Size] = []
        self.reset()

    def reset(self) -> None:
        """Discard the graph: other tensors that the work uses have moved."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: Any = None
        self._warmed_up = 0

    @property
    def warmup_calls(self) -> int:
        """Number of calls until the graph is replayed."""
        return _WARMUP_CALLS + 1 - self._warmed_up if self._enabled and self._graph is None else 0

    def __call__(self, *inputs: Any) -> Any:
        """Apply the work to these tensors; the next call overwrites the result."""
        if not self._enabled:
            return self._work(*inputs)
        shapes = [tensor.shape for tensor in inputs]
        if shapes != self._shapes:
            self.reset()
            self._shapes = shapes
        if self._warmed_up < _WARMUP_CALLS:
            return self._warm_up(inputs)
        if self._graph is None:
            self._capture(inputs)
        if self._graph is None:
            return self._work(*inputs)
        for static, tensor in zip(self._inputs, inputs):
            static.copy_(tensor)
        self._graph.replay()
        return self._outputs

    def _warm_up(self, inputs: tuple[torch.Tensor, ...]) -> Any:
        """Run the work on a side stream, as a capture requires.

        In the last warm-up call, synchronization raises an error: detecting it during the capture would leave torch in
        an inconsistent state.
        """
        current = torch.cuda.current_stream()
        assert self._side_stream is not None
        self._warmed_up += 1
        self._side_stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._side_stream), _no_synchronization(self._warmed_up == _WARMUP_CALLS):
                return self._work(*inputs)
        except RuntimeError as error:
            if out_of_memory(error) or self._warmed_up < _WARMUP_CALLS:
                raise
            self._enabled = False
        finally:
            current.wait_stream(self._side_stream)
        return self._work(*inputs)

    def _capture(self, inputs: tuple[torch.Tensor, ...]) -> None:
        current = torch.cuda.current_stream()
        static, graph = tuple(tensor.clone() for tensor in inputs), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._side_stream):
                outputs = self._work(*static)
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # torch does not restore it after an error
            if out_of_memory(error):
                raise
            self._enabled = False
        else:
            self._graph, self._inputs, self._outputs = graph, static, outputs


def synchronous(work: Callable[[], object], device: torch.device | str) -> Callable[[], None]:
    """Return a function to be timed: it does the work and waits for its end, replayed from the start if possible."""
    replay = Replay(work, device=device)
    for _ in range(replay.warmup_calls):
        replay()

    def run() -> None:
        replay()
        synchronize(device)

    return run


@lru_cache(maxsize=16)
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def _no_synchronization(forbidden: bool) -> Iterator[None]:
    """If `forbidden`, synchronizing with a CUDA device inside the block raises an error."""
    if not forbidden:
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this is a prototype: it does not detect everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
