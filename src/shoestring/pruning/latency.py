"""Latency of networks in ONNX Runtime, measured on this machine, and pruning to a latency."""

from __future__ import annotations

import statistics
import tempfile
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
from shoestring.pruning.limits import file_bytes
from shoestring.pruning.rounding import MULTIPLES
from shoestring.runtime.extras import check_installed, is_installed
from shoestring.runtime.quiet import quiet
from shoestring.runtime.timing import thread_clock, wall_clock

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_SECONDS = 0.5  # of timing per measurement
_MIN_RUNS, _MAX_RUNS = 5, 2000
_LOW = 0.92  # fraction of the target that is close enough; the search ends there
_MAX_TRIALS, _MAX_ROUNDED_TRIALS = 8, 4  # between two networks; of those with rounded numbers of channels
_Point = tuple[float, float]  # limit on MACs, milliseconds


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one image in ONNX Runtime on one thread, and on all threads of this machine."""

    one_thread: float
    all_threads: float


@dataclass(frozen=True)
class Measurement:
    """Costs of a network that was measured; `onnx_one_thread_ms` is its latency, as `Latency.one_thread`."""

    macs: int
    params: int
    file_bytes: int
    onnx_one_thread_ms: float


def has_onnx_runtime() -> bool:
    """Return whether all packages that measuring needs are installed."""
    return all(map(is_installed, _PACKAGES))


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
    `rounded` returns channels to keep with their numbers rounded to a multiple. `on_measured` is called with each
    measurement.
    """

    def __init__(
        self,
        module: nn.Module,
        table: Table,
        example: Tensor,
        choose: Callable[[float], Kept],
        rounded: Callable[[Kept, int], Kept],
        on_measured: Callable[[Measurement], object] = lambda measurement: None,
    ) -> None:
        require_onnx_runtime()
        self._module, self._table, self._example = module, table, example.cpu()
        self._choose, self._round, self._on_measured = choose, rounded, on_measured
        self.measured: dict[tuple[tuple[str, int], ...], Measurement] = {}  # by the numbers of channels

    def __call__(self, target: float) -> Kept:
        """Return the largest choice that meets the target in milliseconds, of those measured until one is close to it.

        Numbers of channels are rounded to multiples of 4 or 8 if a network with more MACs meets the target then. Raises
        `UserError`, with the least latency possible, if the target cannot be met.
        """
        most = float(self._table.macs())
        whole = self._choose(most)
        if self._milliseconds(whole) <= target:
            return whole
        least = self._smallest_macs()
        smallest = self._choose(least)
        lowest = self._milliseconds(smallest)
        if lowest > target:
            raise _unreachable(target, lowest)
        low, high = (least, lowest), (most, self._milliseconds(whole))
        close = (_LOW * target, target)
        best = self._between(low, high, close, self._choose, _MAX_TRIALS) or smallest
        return self._rounded(best, low, high, target)

    def _between(
        self, low: _Point, high: _Point, close: tuple[float, float], choose: Callable[[float], Kept], trials: int
    ) -> Kept | None:
        """Return the largest choice measured that is fast enough; None if there is none.

        The search begins between two points, and ends with a time within `close`.
        """
        best = None
        for _ in range(trials):
            if low[1] >= close[0] or high[0] - low[0] < 1e-3 * self._table.macs():
                break
            macs = _interpolated(low, high, sum(close) / 2)
            kept = choose(macs)
            point = (macs, self._milliseconds(kept))
            if point[1] <= close[1]:
                low, best = point, kept
            else:
                high = point
        return best

    def _rounded(self, best: Kept, low: _Point, high: _Point, target: float) -> Kept:
        """Return channels whose numbers are multiples, if more MACs meet the target then; otherwise those given.

        Only the multiple is searched with which a network of about as many MACs takes the least time for each of them.
        """
        choices = {multiple: self._round(best, multiple) for multiple in MULTIPLES}
        multiple = min(choices, key=lambda multiple: self._seconds_per_mac(choices[multiple]))
        start = choices[multiple]
        if self._seconds_per_mac(start) >= self._seconds_per_mac(best):
            return best
        point = (float(self._table.macs(best)), self._milliseconds(start))
        fits = point[1] <= target
        low, high = (point, high) if fits else (low, point)
        close = (max(_LOW * target, self._milliseconds(best)), target)
        found = self._between(
            low, high, close, lambda macs: self._round(self._choose(macs), multiple), _MAX_ROUNDED_TRIALS
        )
        found = found or (start if fits else best)
        return max(best, found, key=self._table.macs)

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

    def _seconds_per_mac(self, kept: Kept) -> float:
        return self._milliseconds(kept) / 1000 / max(self._table.macs(kept), 1)

    def _milliseconds(self, kept: Kept) -> float:
        table = self._table
        key = tuple((name, len(kept.get(name, range(group.size)))) for name, group in table.groups.items())
        if key not in self.measured:
            smaller = drop(self._module, table, kept)
            milliseconds = _median_milliseconds(_exported(smaller, self._example), self._example, 1)
            size = file_bytes(self._module, table, kept)
            self.measured[key] = Measurement(table.macs(kept), table.params(kept), size, milliseconds)
            self._on_measured(self.measured[key])
        return self.measured[key].onnx_one_thread_ms


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
    failures: list[Exception] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        for dynamo in (False, True):  # the first is many times faster, the second exports more networks
            try:
                with quiet():
                    torch.onnx.export(
                        module, (example,), str(file), dynamo=dynamo, input_names=["images"], external_data=False
                    )
                return file.read_bytes()
            except Exception as error:  # code of a third-party module can fail in any way
                failures.append(error)
    cause = " ".join(str(failures[0]).split())[:200]
    raise UserError(f"the network cannot be exported to ONNX, so its latency is unknown: {cause}") from failures[0]


def _median_milliseconds(model: bytes, example: Tensor, threads: int) -> float:
    """Return the median time of a run of an ONNX model on so many threads; 0 for all.

    One thread is timed without what other processes take of its core.
    """
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: example.contiguous().cpu().numpy()}
    for _ in range(2):
        session.run(None, inputs)
    clock, times = thread_clock if threads == 1 else wall_clock, list[float]()
    end = wall_clock() + _SECONDS
    while len(times) < _MIN_RUNS or (wall_clock() < end and len(times) < _MAX_RUNS):
        start = clock()
        session.run(None, inputs)
        times.append(clock() - start)
    return 1000 * statistics.median(times)
