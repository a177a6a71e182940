"""Features of a pretrained network: images per second of shoestring and of a plain loop over timm's network.

    python benchmarks/features.py --cifar10 DIR [--images N] [--side N] [--rounds N]

Both enlarge the same images to the same side and run on the same threads, in turns; the plain loop uses bfloat16 where
the processor multiplies faster in it. The differences of the features are recorded, too.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from machine import machine
from measured import Rows
from shoestring.data import Images, load
from shoestring.models.inference import autocast, embed
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runtime.precision import low_precisions

ROWS = Rows("features.json", ("images", "side", "precision"))
NETWORK = "timm:tf_efficientnet_lite0"
BATCH = 100
HALF = (0.5, 0.5, 0.5)


def plain(module: torch.nn.Module, images: Images, side: int, precision: str) -> np.ndarray:
    """Return features (N, D) by the loop that the documentation of timm shows."""
    parts = []
    with torch.inference_mode(), autocast("cpu", precision):
        for start in range(0, len(images), BATCH):
            pixels = torch.from_numpy(images.pixels[start : start + BATCH]).permute(0, 3, 1, 2).float() / 127.5 - 1
            batch = torch.nn.functional.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True).clamp(
                -1, 1
            )
            batch = batch.contiguous(memory_format=torch.channels_last)
            parts.append(module.forward_head(module.forward_features(batch), pre_logits=True).float())  # type: ignore[operator]
    return torch.cat(parts).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", required=True, help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--images", type=int, default=2000, help="number of images (default: 2000)")
    parser.add_argument("--side", type=int, default=128, help="side of the input in pixels (default: 128)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    args = parser.parse_args()
    hardware = machine()
    images = load(args.cifar10).train[np.arange(args.images)]
    size = Preprocessing(args.side, 3, HALF, HALF, interpolation="bicubic")
    model: Model = build(NETWORK, classes=images.classes, preprocessing=size, weights="pretrained")
    model.module.eval()
    precision = [*low_precisions("cpu"), "float32"][0]
    seconds: dict[str, list[float]] = {"shoestring": [], "plain": []}
    for _ in range(args.rounds):
        for name, run in (
            ("shoestring", lambda: embed(model, images, precision=precision, normalize=False)[0]),
            ("plain", lambda: plain(model.module, images, args.side, precision)),
        ):
            start = time.monotonic()
            features = run()
            seconds[name].append(time.monotonic() - start)
            if name == "shoestring":
                ours = features
    difference = float(np.abs(ours - features).max() / np.abs(features).max())
    ratios = [other / own for own, other in zip(seconds["shoestring"], seconds["plain"])]
    row = {
        "images": args.images,
        "side": args.side,
        "precision": precision,
        "per_second": {name: round(args.images / min(times), 1) for name, times in seconds.items()},
        "ratio": {"median": round(statistics.median(ratios), 3), "least": round(min(ratios), 3)},
        "largest_relative_difference": difference,
        "machine": hardware,
    }
    ROWS.put(row)
    print(row)


if __name__ == "__main__":
    main()
