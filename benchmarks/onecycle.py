"""A peer: ResNet-18 as it is usually trained, by SGD and the one-cycle policy, for a number of steps fixed beforehand.

    python benchmarks/onecycle.py DATA --seconds 300 [--seed 0]

The number of steps is set from a few that are timed, so that the cycle ends a little before the time is over; most
scripts do less. Nothing slows the schedule down when the machine does. Images, crops, network and scoring are
shoestring's own, so that only the training differs; it is in bfloat16, and predictions are of one view, as shoestring's
of so slow a network are. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shoestring import execute, load
from shoestring.budget import process_started
from shoestring.data.augment import Augment
from shoestring.data.batches import Batch, Batches
from shoestring.models.model import build
from shoestring.planning.model import preprocessing, sampled

BATCH, SHIFT, TIMED = 128, 0.125, 6
PEAK, DECAY, SMOOTHING = 0.2, 5e-4, 0.1
SAFETY = 0.97  # share of the time that is planned with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = process_started()
    torch.manual_seed(given.seed)
    data = load(given.data)
    model = build("resnet18", classes=data.classes, preprocessing=preprocessing(sampled(data.train, given.seed)))
    module = model.module.to(memory_format=torch.channels_last)
    stream = Batches(data.train, model.prepare, size=BATCH, augment=Augment(shift=SHIFT), seed=given.seed)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.0, momentum=0.9, weight_decay=DECAY, nesterov=True)

    def step() -> None:
        loss(module, stream.draw()).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step_seconds = timed(step)
    ends = started + SAFETY * given.seconds - evaluating(model, data.validation[:BATCH]) * len(data.test) / BATCH
    count = max(int((ends - time.monotonic()) / step_seconds), 2)
    policy = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=count)
    for number in itertools.count(1):
        step()
        if number == count:
            break
        policy.step()
    accuracy = execute.accuracy(model, data.test)
    found: dict[str, Any] = {"accuracy": accuracy, "steps": count, "epochs": round(count * BATCH / len(stream), 3)}
    print(json.dumps({**found, "seconds": round(time.monotonic() - started, 2)}))


def loss(module: torch.nn.Module, batch: Batch) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = module.train()(batch.images)
    return functional.cross_entropy(logits.float(), batch.labels, label_smoothing=SMOOTHING)


def evaluating(model: Any, images: Any) -> float:
    """Seconds that scoring these images takes."""
    return timed(lambda: execute.accuracy(model, images))


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call, the median of a few after a first."""
    work()
    found = []
    for _ in range(TIMED):
        before = time.monotonic()
        work()
        found.append(time.monotonic() - before)
    return sorted(found)[TIMED // 2]


if __name__ == "__main__":
    main()
