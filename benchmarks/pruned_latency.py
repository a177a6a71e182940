"""Latency of a pruned network and of int8 in ONNX Runtime, on one thread: half of the channels of timm's ResNet-18.

    python benchmarks/pruned_latency.py [--network timm:resnet18] [--side 224] [--keep 0.5] [--rounds 5]

Weights are random, as latency does not depend on them. The models are those of `shoestring export`, so times include
everything from the pixels of one image of the trained size to its probabilities; `network_ms` is the network alone, as
`--latency` measures it. The models take turns; each time is the median of the rounds. Writes one row to
results/pruned_latency.json.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np
import torch

from machine import machine
from measured import Rows
from shoestring.evaluation.cost import count_macs
from shoestring.exporting import onnx
from shoestring.exporting.formats import pipeline
from shoestring.exporting.int8 import latencies, quantize
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.pruning import shrink
from shoestring.pruning.latency import measure_latency

ROWS = Rows("pruned_latency.json", ("network", "side", "keep"))
CALIBRATION = 16  # random images: ranges do not change the time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="timm:resnet18")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--keep", type=float, default=0.5, help="fraction of the channels of every layer")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    size = Preprocessing(args.side, 3, (0.5,) * 3, (0.5,) * 3)
    dense = build(args.network, classes=[f"class{index}" for index in range(10)], preprocessing=size)
    batch = torch.randn(8, 3, args.side, args.side)
    small = shrink(dense, [batch], method="magnitude", keep_channels=args.keep, compensate=False)
    hardware = machine()
    row = {"network": args.network, "side": args.side, "keep": args.keep, "rounds": args.rounds}
    row |= measure({"dense": dense, "pruned": small}, batch[:1], args.rounds)
    ROWS.put({**row, "machine": hardware})
    print(row)


def measure(models: dict[str, Model], example: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Return MACs and milliseconds of each model, and how many times faster than the first in float32 each is."""
    square = np.zeros((1, example.shape[-1], example.shape[-1], 3), np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (CALIBRATION, *square.shape[1:]), dtype=np.uint8)
    sessions = {}
    for name, model in models.items():
        proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
        sessions[f"{name} float32"] = onnx.Session(proto, threads=1)
        sessions[f"{name} int8"] = onnx.Session(quantize(proto, images), threads=1)
    timed = [latencies(list(sessions.values()), square) for _ in range(rounds)]
    milliseconds = dict(zip(sessions, map(statistics.median, zip(*timed))))
    alone = {
        name: statistics.median(measure_latency(model.module, example).one_thread for _ in range(rounds))
        for name, model in models.items()
    }
    return {
        "macs": {name: count_macs(model) for name, model in models.items()},
        "milliseconds": {name: round(value, 3) for name, value in milliseconds.items()},
        "speedup": {name: round(milliseconds["dense float32"] / value, 2) for name, value in milliseconds.items()},
        "network_ms": {name: round(value, 3) for name, value in alone.items()},
        "network_speedup": round(alone["dense"] / alone["pruned"], 2),
    }


if __name__ == "__main__":
    main()
