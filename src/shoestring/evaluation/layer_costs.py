"""Costs of the layers of a network: output channels, parameters, multiply-accumulates and latency of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from shoestring.evaluation.cost import Measurable, blank_images, count_params, mac_counter
from shoestring.runtime.device import eval_mode, synchronize
from shoestring.runtime.threads import single_thread
from shoestring.runtime.timing import thread_clock


@dataclass(frozen=True)
class LayerCost:
    """Costs of one layer for one image; `latency_ms` is its shortest time, as other programs only slow it down."""

    channels: int
    params: int
    macs: int
    latency_ms: float


def measure_layers(model: Measurable, *, seconds: float = 0.1) -> dict[str, LayerCost]:
    """Measure the layers with weights, such as convolutions, by name, with about `seconds` of timing.

    Latencies are those of a single image on the device of the network, on one thread of a CPU. They leave out what is
    between the layers, such as activations and normalization.
    """
    module, device = model.module, next(model.module.parameters()).device
    threads = torch.get_num_threads() if device.type == "cpu" else None
    layers = {name: layer for name, layer in module.named_modules() if _channels(layer) is not None}
    image = blank_images(model, 1, device)
    with eval_mode(module), single_thread(threads):
        with mac_counter() as counter, _watching(layers, lambda: counter.macs) as macs:
            module(image)
        times: dict[str, list[float]] = {name: [] for name in layers}
        end = time.perf_counter() + seconds
        while True:
            with torch.inference_mode(), _watching(layers, partial(_clock, device)) as spent:
                module(image)
            for name, value in spent.items():
                times[name].append(value)
            if time.perf_counter() >= end:
                break
    return {
        name: LayerCost(_channels(layer) or 0, count_params(layer), round(macs[name]), 1000 * min(times[name]))
        for name, layer in layers.items()
    }


def _channels(layer: nn.Module) -> int | None:
    """Length of the first axis of the layer's own weight; None without a weight of at least two axes."""
    weight = getattr(layer, "weight", None)
    return weight.shape[0] if isinstance(weight, nn.Parameter) and weight.ndim > 1 else None


def _clock(device: torch.device) -> float:
    if device.type == "cpu":
        return thread_clock()
    synchronize(device)
    return time.perf_counter()


@contextmanager
def _watching(layers: Mapping[str, nn.Module], read: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Yield by how much a counter that only increases does so inside each layer, in total: name -> sum."""
    totals = dict.fromkeys(layers, 0.0)
    before: dict[str, float] = {}

    def enter(name: str, *_: Any) -> None:
        before[name] = read()

    def leave(name: str, *_: Any) -> None:
        totals[name] += read() - before[name]

    handles = [
        handle
        for name, layer in layers.items()
        for handle in (
            layer.register_forward_pre_hook(partial(enter, name)),
            layer.register_forward_hook(partial(leave, name)),
        )
    ]
    try:
        yield totals
    finally:
        for handle in handles:
            handle.remove()
