"""Latency of networks in ONNX Runtime, measured on this machine, and pruning to a latency."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels import Kept, Table, drop
from shoestring.channels.copying import copy_module
from shoestring.config.units import format_milliseconds
from shoestring.errors import UserError
from shoestring.runtime.extras import check_installed

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_SECONDS = 0.5  # of timing per measurement
_MIN_RUNS, _MAX_RUNS = 5, 2000
_LOW = 0.92  # fraction of the target that is close enough; the search ends there
_MAX_TRIALS = 8  # between the smallest network and the whole one


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one image in ONNX Runtime on one thread, and on all threads of this machine."""

    one_thread: float
    all_threads: float


def require_onnx_runtime() -> None:
    """Raise `UserError`, with the command that installs it, if a package that measuring needs is missing."""
    check_installed(_PACKAGES, what="measuring the latency", extra="export")


def measure_latency(module: nn.Module, example: Tensor) -> Latency:
    """Measure the latency of a network for one image like `example` (1, C, H, W).

    Raises `UserError` if ONNX Runtime is missing or the network cannot be exported.
    """
    model = _exported(module, example)
    return Latency(*(_median_milliseconds(model, example, threads) for threads in (1, 0)))


def check_latency(module: nn.Module, table: Table, example: Tensor, target: float) -> None:
    """Raise `UserError`, with the least latency possible, if no pruned network meets the target in milliseconds."""
    smallest = drop(module, table, {name: torch.arange(1) for name in table.groups})
    lowest = _median_milliseconds(_exported(smallest, example), example, 1)
    if lowest > target:
        raise _unreachable(target, lowest)


class LatencySearch:
    """Find the channels to keep for a latency on one thread; what was measured is never measured again.

    `choose` returns the channels to keep for an upper limit on MACs, and raises `UserError` if it is too small.
    """

    def __init__(self, module: nn.Module, table: Table, example: Tensor, choose: Callable[[float], Kept]) -> None:
        require_onnx_runtime()
        self._module, self._table, self._example, self._choose = module, table, example.cpu(), choose
        self.measured: dict[tuple[tuple[str, int], ...], float] = {}  # numbers of channels -> milliseconds

    def __call__(self, target: float) -> Kept:
        """Return the largest choice that meets the target in milliseconds, of those measured until one is close to it.

        Raises `UserError`, with the least latency possible, if the target cannot be met.
        """
        most = float(self._table.macs())
        whole = self._choose(most)
        latest = self._milliseconds(whole)
        if latest <= target:
            return whole
        least = self._smallest_macs()
        kept = self._choose(least)
        lowest = self._milliseconds(kept)
        if lowest > target:
            raise _unreachable(target, lowest)
        low, high, best = (least, lowest), (most, latest), kept
        for _ in range(_MAX_TRIALS):
            if low[1] >= _LOW * target or high[0] - low[0] < 1e-3 * most:
                break
            macs = _interpolated(low, high, (_LOW + 1) / 2 * target)
            kept = self._choose(macs)
            point = (macs, self._milliseconds(kept))
            if point[1] <= target:
                low, best = point, kept
            else:
                high = point
        return best

    def _smallest_macs(self) -> float:
        """Return nearly the smallest limit on MACs for which there is a choice."""
        low, high = 0.0, float(self._table.macs())
        while high - low > 1e-3 * self._table.macs():
            middle = (low + high) / 2
            try:
                self._choose(middle)
                high = middle
            except UserError:
                low = middle
        return high

    def _milliseconds(self, kept: Kept) -> float:
        key = tuple((name, len(kept.get(name, range(group.size)))) for name, group in self._table.groups.items())
        if key not in self.measured:
            smaller = drop(self._module, self._table, kept)
            self.measured[key] = _median_milliseconds(_exported(smaller, self._example), self._example, 1)
        return self.measured[key]


def _unreachable(target: float, lowest: float) -> UserError:
    return UserError(
        f"a latency of {format_milliseconds(target)} cannot be reached: the smallest network takes "
        f"{format_milliseconds(lowest)} per image on this machine. Set a larger --latency."
    )


def _interpolated(low: tuple[float, float], high: tuple[float, float], target: float) -> float:
    """Return MACs for a latency between two (MACs, latency), well inside of the interval even if noise misleads."""
    (a, fast), (b, slow) = low, high
    fraction = (target - fast) / max(slow - fast, 1e-12)
    return a + min(max(fraction, 0.1), 0.9) * (b - a)


def _exported(module: nn.Module, example: Tensor) -> bytes:
    """Return a network as an ONNX model. Raises `UserError` if it cannot be exported."""
    require_onnx_runtime()
    module, example = copy_module(module).cpu().eval(), example.cpu()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        file = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(module, (example,), str(file), dynamo=False, input_names=["images"])
        except Exception as error:  # code of a third-party module can fail in any way
            cause = " ".join(str(error).split())[:200]
            raise UserError(f"the network cannot be exported to ONNX, so its latency is unknown: {cause}") from error
        return file.read_bytes()


def _median_milliseconds(model: bytes, example: Tensor, threads: int) -> float:
    """Return the median time of a run of an ONNX model on so many threads; 0 for all."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: example.contiguous().cpu().numpy()}
    for _ in range(2):
        session.run(None, inputs)
    times: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < _MIN_RUNS or (time.perf_counter() < end and len(times) < _MAX_RUNS):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
