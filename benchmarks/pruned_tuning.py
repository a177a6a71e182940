"""Equal short fine-tuning of pruned networks: the best criterion of shoestring beside that of Torch-Pruning.

    python benchmarks/pruned_tuning.py CIFAR10 WEIGHTS_FOLDER [--network resnet20] [--steps 100] [--seeds 3]

Run benchmarks/pruning.py before: it chooses the criteria on validation images, without training. Both networks keep
half of the channels inside of the blocks, which halves the multiply-accumulates, and are trained by the same loop with
the same images in the same order: SGD with Nesterov momentum, batches of 128 images, a learning rate that falls
linearly from 0.02, random crops and mirror images. The training is counted in steps, so the load of the machine does
not matter. Accuracies are those after the last step. Each row is saved at once. Writes results/pruned_tuning.json and
the table `fine-tuning` in docs/pruning.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from measured import Row, Rows, fill
from pruning import OWN, PAGE, PEER, VALIDATION, Bench, accuracy, best, named, spread

ROWS = Rows("pruned_tuning.json", ("network", "steps", "tool", "seed"))
BATCH, RATE, MOMENTUM, DECAY, PADDING = 128, 0.02, 0.9, 5e-4, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", type=int, default=10_000)
    args = parser.parse_args()
    bench = Bench(args.network, args.data, args.weights, args.test)
    for seed in range(args.seeds):
        for tool in (OWN, PEER):
            measure(bench, tool, args.steps, seed)
    write_table()


def measure(bench: Bench, tool: str, steps: int, seed: int) -> None:
    """Add the row of a tool and seed, if it is missing."""
    row: Row = dict(zip(ROWS.key, (bench.network, steps, tool, seed)))
    if ROWS.have(row):
        return
    start, (method, compensate) = time.process_time(), best(bench.network, tool)
    module = bench.pruned(tool, method, compensate, seed)
    validation = bench.train[bench.order(seed)[-VALIDATION:]]
    row |= {"method": method, "compensate": compensate, "before": accuracy(bench.model, module, validation)}
    fine_tune(bench, module, steps, seed)
    row |= {"validation": accuracy(bench.model, module, validation), "batch": BATCH}
    row |= {"accuracy": accuracy(bench.model, module, bench.test), "images": len(bench.test)}
    row["cpu_seconds"] = round(time.process_time() - start, 1)
    ROWS.put({**row, "machine": {name: bench.hardware[name] for name in ("cpu", "cores", "torch", "commit")}})
    print(*row.values(), flush=True)


def fine_tune(bench: Bench, module: nn.Module, steps: int, seed: int) -> None:
    """Train a network in place, on other images than those for validation."""
    indices, torch_rng = bench.order(seed)[:-VALIDATION], torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.SGD(module.parameters(), RATE, MOMENTUM, weight_decay=DECAY, nesterov=True)
    module.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        batch: Any = bench.train[rng.choice(indices, BATCH, replace=False)]
        images = augmented(bench.model.prepare(torch.from_numpy(batch.pixels)), torch_rng)
        optimizer.zero_grad()
        functional.cross_entropy(module(images), torch.from_numpy(batch.labels)).backward()
        optimizer.step()
    module.eval()


def augmented(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return images (N, C, H, W) moved by up to four pixels, half of them mirrored."""
    side, padded = images.shape[-1], functional.pad(images, (PADDING,) * 4)
    moves = torch.randint(0, 2 * PADDING + 1, (len(images), 2), generator=rng).tolist()
    moved = torch.stack([one[:, y : y + side, x : x + side] for one, (y, x) in zip(padded, moves)])
    mirrored = torch.rand(len(images), generator=rng) < 0.5
    return torch.where(mirrored[:, None, None, None], moved.flip(3), moved)


def write_table() -> None:
    """Write the table of the page."""
    rows = ROWS.read()
    lines = ["| network | steps | pruned by | criterion | before | test accuracy |", "|---|---|---|---|---|---|"]
    for network, steps, tool in dict.fromkeys((row["network"], row["steps"], row["tool"]) for row in rows):
        own = [row for row in rows if (row["network"], row["steps"], row["tool"]) == (network, steps, tool)]
        before = f"{100 * statistics.mean(row['before'] for row in own):.1f} %"
        lines.append(f"| {network} | {steps} | {tool} | {named(own[0])} | {before} | {spread(own)} |")
    fill(PAGE, **{"fine-tuning": "\n".join(lines)})


if __name__ == "__main__":
    main()
