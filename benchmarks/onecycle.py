"""Baseline: ResNet-18 trained with SGD and the one-cycle schedule for a fixed number of steps.

    python benchmarks/onecycle.py DATA --seconds 300 [--seed 0]

The number of steps is estimated from a few timed steps, so that the cycle ends shortly before the time is over; most
scripts do less. The schedule does not adapt if the machine slows down. Data loading, crops, network and evaluation are
shoestring's, so that only the training differs. It uses bfloat16, and no test-time augmentation, as shoestring does for
a network this slow. Prints one JSON line.
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

BATCH, SHIFT, TIMED_STEPS = 128, 0.125, 6
PEAK, DECAY, SMOOTHING = 0.2, 5e-4, 0.1
SAFETY = 0.97  # fraction of the time that is planned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = process_started()
    torch.manual_seed(args.seed)
    data = load(args.data)
    model = build("resnet18", classes=data.classes, preprocessing=preprocessing(sampled(data.train, args.seed)))
    module = model.module.to(memory_format=torch.channels_last)
    stream = Batches(data.train, model.prepare, size=BATCH, augment=Augment(shift=SHIFT), seed=args.seed)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0, momentum=0.9, weight_decay=DECAY, nesterov=True)

    def step() -> None:
        loss(module, stream.draw()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step_seconds = time_call(step)
    end = started + SAFETY * args.seconds - evaluation_seconds(model, data.validation[:BATCH]) * len(data.test) / BATCH
    count = max(int((end - time.monotonic()) / step_seconds), 2)
    policy = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=count)
    for number in itertools.count(1):
        step()
        if number == count:
            break
        policy.step()
    accuracy = execute.accuracy(model, data.test)
    result: dict[str, Any] = {"accuracy": accuracy, "steps": count, "epochs": round(count * BATCH / len(stream), 3)}
    print(json.dumps({**result, "seconds": round(time.monotonic() - started, 2)}))


def loss(module: torch.nn.Module, batch: Batch) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        logits = module.train()(batch.images)
    return functional.cross_entropy(logits.float(), batch.labels, label_smoothing=SMOOTHING)


def evaluation_seconds(model: Any, images: Any) -> float:
    """Return the seconds that evaluating these images takes."""
    return time_call(lambda: execute.accuracy(model, images))


def time_call(work: Callable[[], object]) -> float:
    """Return the median seconds of a few calls after a warm-up call."""
    work()
    times = []
    for _ in range(TIMED_STEPS):
        before = time.monotonic()
        work()
        times.append(time.monotonic() - before)
    return sorted(times)[TIMED_STEPS // 2]


if __name__ == "__main__":
    main()
