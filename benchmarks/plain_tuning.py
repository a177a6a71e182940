"""Plain fine-tuning of a timm network in a given time, to compare with `shoestring run` (benchmarks/transfer.py).

    python benchmarks/plain_tuning.py DATA [--examples 1000] [--seconds 300] [--seeds 3] [--side 128]
    python benchmarks/plain_tuning.py --page docs/benchmarks.md

EfficientNet-Lite0 with its ImageNet weights and a new linear head is trained as a whole, as tutorials do: AdamW at 1e-3
(one cycle), batches of 32 images, random crops and mirror images, label smoothing of 0.1, batch norms in training mode.
`--side` is that of its input in pixels. Training stops after `--seconds`, and the schedule with it; loading the images
and evaluating the test split, once and without test-time augmentation, are not counted, unlike in rows of shoestring.
Each row is saved at once to results/plain_tuning.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from machine import machine
from measured import Row, Rows, fill

ROWS = Rows("plain_tuning.json", ("data", "examples", "seconds", "side", "seed"))
NETWORK = "timm:tf_efficientnet_lite0"
BATCH, RATE, DECAY, SMOOTHING, WARM_UP = 32, 1e-3, 0.01, 0.1, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, **{"plain-tuning": table(ROWS.read())})
        return
    from shoestring import evaluate, load

    data, hardware = load(args.data, resolution=None), machine()
    for seed in range(args.seeds):
        name = Path(args.data).name
        row: Row = {"data": name, "examples": args.examples, "seconds": args.seconds, "side": args.side, "seed": seed}
        if ROWS.have(row):
            continue
        images = balanced(data.train, args.examples, seed)
        model = network(data.classes, args.side, seed)
        epochs = fine_tune(model, images, args.seconds, seed)
        row |= {"epochs": epochs, "accuracy": evaluate(model, data.test).accuracy, "machine": hardware}
        ROWS.put(row)
        print(*row.values(), flush=True)


def balanced(images: Any, count: int, seed: int) -> Any:
    """Return random images, equally many of each class."""
    order, classes = np.random.default_rng(seed).permutation(len(images)), len(images.classes)
    own = [order[images.targets[order] == label][: count // classes] for label in range(classes)]
    return images[np.sort(np.concatenate(own))]


def network(classes: tuple[str, ...], side: int, seed: int) -> Any:
    from shoestring.models import Preprocessing, build

    torch.manual_seed(seed)
    return build(
        NETWORK, classes=classes, preprocessing=Preprocessing(side, 3, (0.5,) * 3, (0.5,) * 3), weights="pretrained"
    )


def fine_tune(model: Any, images: Any, seconds: float, seed: int) -> float:
    """Train a network in place; return the number of epochs."""
    rng, module = np.random.default_rng(seed), model.module.train()
    optimizer = torch.optim.AdamW(module.parameters(), RATE, weight_decay=DECAY)
    start, seen, order = time.monotonic(), 0, np.arange(0)
    while (fraction := (time.monotonic() - start) / seconds) < 1:
        rising, falling = fraction / WARM_UP, (1 - fraction) / (1 - WARM_UP)
        optimizer.param_groups[0]["lr"] = RATE * min(rising, falling)
        order = rng.permutation(len(images)) if len(order) < BATCH else order
        batch, order = images[order[:BATCH]], order[BATCH:]
        pixels = augmented(batch.pixels, rng)
        optimizer.zero_grad()
        scores = module(model.prepare(torch.from_numpy(pixels)))
        functional.cross_entropy(scores, torch.from_numpy(batch.labels), label_smoothing=SMOOTHING).backward()
        optimizer.step()
        seen += len(batch)
    module.eval()
    return round(seen / len(images), 2)


def augmented(pixels: Any, rng: np.random.Generator) -> Any:
    """Return images (N, H, W, C) moved by up to an eighth of their side, half of them mirrored."""
    side = pixels.shape[1]
    most = side // 8
    padded = np.pad(pixels, ((0, 0), (most, most), (most, most), (0, 0)), mode="reflect")
    moves = rng.integers(0, 2 * most + 1, (len(pixels), 2))
    moved = [image[y : y + side, x : x + side] for image, (y, x) in zip(padded, moves)]
    return np.stack([image[:, ::-1] if rng.random() < 0.5 else image for image in moved])


def table(rows: list[Row]) -> str:
    """Return a Markdown table of the mean accuracy over seeds."""
    lines = ["| images | time for training | input | epochs | seeds | test accuracy |", "|---|--:|--:|--:|--:|--:|"]
    for case in dict.fromkeys(tuple(row[name] for name in ROWS.key[:4]) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in ROWS.key[:4]) == case]
        data, examples, seconds, side = case
        cells = [f"{examples:,} of {data}", f"{seconds} s", f"{side} px"]
        cells += [f"{statistics.mean(row['epochs'] for row in own):.1f}", f"{len(own)}"]
        lines.append(f"| {' | '.join(cells)} | {100 * statistics.mean(row['accuracy'] for row in own):.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
