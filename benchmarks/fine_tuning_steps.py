"""Seconds of a fine-tuning step with frozen batch norms merged into the convolutions before them, and without.

    python benchmarks/fine_tuning_steps.py [NETWORK ...] [--side 128] [--batch-size 32] [--rounds 10]

The weights are random, as speed does not depend on them. Both kinds of step take turns; the medians are compared. Rows
are saved to results/fine_tuning_steps.json at once.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time

import torch
from torch.nn import functional

from machine import machine
from measured import Row, Rows
from shoestring.models.frozen_norms import FrozenNorms, freeze_norms
from shoestring.models.model import build
from shoestring.models.preprocessing import Preprocessing

ROWS = Rows("fine_tuning_steps.json", ("network", "side", "batch_size"))
NETWORKS = ("timm:tf_efficientnet_lite0", "timm:mobilenetv2_100", "timm:resnet18")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, help=f"networks (default: {' '.join(NETWORKS)})")
    parser.add_argument("--side", type=int, default=128, help="side of the input in pixels (default: 128)")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a step (default: 32)")
    parser.add_argument("--rounds", type=int, default=10, help="steps of each kind (default: 10)")
    args = parser.parse_args()
    for name in args.networks:
        row = {"network": name, "side": args.side, "batch_size": args.batch_size}
        row |= measure(name, args.side, args.batch_size, args.rounds)
        ROWS.put(row)
        print({key: value for key, value in row.items() if key != "machine"}, flush=True)


def measure(name: str, side: int, batch_size: int, rounds: int) -> Row:
    """Return the median seconds of a step with and without merged batch norms, and their ratio."""
    torch.manual_seed(0)
    hardware = machine()
    size = Preprocessing(side, 3, (0.5,) * 3, (0.25,) * 3)
    model = build(name, classes=[str(index) for index in range(10)], preprocessing=size)
    module, norms = model.module.train(), FrozenNorms(model)
    freeze_norms(module)
    images = torch.randn(batch_size, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch_size,))

    def step(merge: bool) -> float:
        start = time.monotonic()
        with norms.merged() if merge else contextlib.nullcontext():
            scores = module(images)
        functional.cross_entropy(scores, labels).backward()
        module.zero_grad()
        return time.monotonic() - start

    seconds = [(step(True), step(False)) for _ in range(rounds + 1)][1:]  # the first ones include setup
    merged, plain = (statistics.median(times) for times in zip(*seconds, strict=True))
    return {
        "seconds": {"merged": round(merged, 4), "plain": round(plain, 4)},
        "ratio": round(statistics.median(one / other for one, other in seconds), 3),
        "machine": hardware,
    }


if __name__ == "__main__":
    main()
