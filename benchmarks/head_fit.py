"""Seconds to fit each head to cached features of a frozen network.

    python benchmarks/head_fit.py CIFAR10 [--images 50000] [--side 48] [--rounds 3]
    python benchmarks/head_fit.py --table

The features are those of a pretrained EfficientNet-Lite0 on training images, at a small side, so that computing them
takes little time: fitting does not depend on the side. Each head is fitted as in training, the logistic regression with
the strength that cross-validation chooses. The accuracy is that on the same images. Rows are saved to
results/head_fit.json at once.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from machine import machine
from measured import Row, Rows
from shoestring.data import Images, load
from shoestring.models.features import cached_features
from shoestring.models.heads import head_module
from shoestring.models.inference import embed
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.training.probe import probe_head

ROWS = Rows("head_fit.json", ("head", "images", "side"))
NETWORK = "timm:tf_efficientnet_lite0"
HEADS = ("linear", "mlp", "cosine", "prototype")
_HALF = (0.5, 0.5, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--images", type=int, default=50_000, help="images to fit to (default: 50000)")
    parser.add_argument("--side", type=int, default=48, help="side of the input in pixels (default: 48)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each head (default: 3)")
    parser.add_argument("--table", action="store_true", help="print a table of the results")
    args = parser.parse_args()
    if args.table:
        print(table(ROWS.read()))
        return
    train = load(args.data).train
    images = train[np.random.default_rng(0).permutation(len(train))[: args.images]]
    for head in HEADS:
        key = {"head": head, "images": len(images), "side": args.side}
        if not ROWS.have(key):
            row = key | measure(head, images, args)
            ROWS.put(row)
            print({name: value for name, value in row.items() if name != "machine"}, flush=True)


def measure(head: str, images: Images, args: argparse.Namespace) -> Row:
    """Return seconds of each round, and the accuracy."""
    hardware, seconds = machine(), []
    probe_head(network(head, images, args.side), images)  # computes and caches the features
    for _ in range(args.rounds):
        model = network(head, images, args.side)
        start = time.monotonic()
        probe_head(model, images)
        seconds.append(round(time.monotonic() - start, 2))
    features = cached_features(model, images, lambda: embed(model, images)[0], variant="float32")
    scores = head_module(model.module, model.heads)(torch.from_numpy(np.array(features)))
    accuracy = float((scores.argmax(1).numpy() == images.targets).mean())
    return {
        "seconds": seconds,
        "accuracy": round(accuracy, 4),
        "machine": hardware,
    }


def network(head: str, images: Images, side: int) -> Model:
    torch.manual_seed(0)
    size = Preprocessing(side, 3, _HALF, _HALF, interpolation="bicubic")
    model = build(NETWORK, classes=images.classes, preprocessing=size, weights="pretrained", options={"head": head})
    model.module.eval()
    return model


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each head."""
    lines = ["| head | images | seconds | accuracy |", "|---|--:|--:|--:|"]
    for row in rows:
        cells = [
            row["head"],
            f"{row['images']:,}",
            f"{statistics.median(row['seconds']):.1f}",
            f"{100 * row['accuracy']:.1f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
