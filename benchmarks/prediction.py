"""Images per second of `shoestring predict` on small JPEG files, beside decoding alone.

    python benchmarks/prediction.py DATA [--images 10000] [--side 96] [--rounds 3]
    python benchmarks/prediction.py --page docs/export.md

Test images of DATA are resized to squares of `--side` pixels and saved as JPEG files in a temporary folder, whose files
are in the file cache when they are read. Decoding alone uses the same threads. The fastest of the rounds counts, in
which both take turns. Networks have random weights and no test-time augmentation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image

from machine import machine
from measured import Row, Rows, fill
from shoestring import load, predict
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runs.prediction import _GROUP, _decode_group

ROWS = Rows("prediction.json", ("network", "resolution", "images", "side"))
_NOTE = (
    "Images per second, measured by `benchmarks/prediction.py` on 10,000 small JPEG files. Network and decoder share "
    "the processor, so that `predict` comes near decoding alone only where the network is much faster, as on a GPU: "
    "the last column compares it with both rates one after the other."
)
NETWORKS = (("simplecnn", 32), ("resnet20", 32), ("timm:tf_efficientnet_lite0", 96))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=96, help="of the files, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, prediction=table(ROWS.read()))
        return
    if args.data is None:
        parser.error("DATA is missing: a folder of CIFAR-10 as Parquet, or other photos")
    images = load(args.data).test[: args.images]
    with tempfile.TemporaryDirectory(prefix="shoestring-benchmark-") as folder:
        for index, pixels in enumerate(images.pixels):
            image = Image.fromarray(pixels).resize((args.side, args.side), Image.Resampling.BICUBIC)
            image.save(Path(folder) / f"{index:05d}.jpg", quality=90)
        for name, resolution in NETWORKS:
            key = {"network": name, "resolution": resolution, "images": len(images), "side": args.side}
            if not ROWS.have(key):
                model = make(name, resolution, images.classes)
                row = key | measure(model, folder, args.rounds) | {"machine": machine()}
                ROWS.put(row)
                print(*(f"{field} {value}" for field, value in row.items() if field != "machine"), flush=True)


def make(name: str, resolution: int, classes: tuple[str, ...]) -> Model:
    torch.manual_seed(0)
    return build(name, classes=classes, preprocessing=Preprocessing(resolution, 3, (0.5,) * 3, (0.25,) * 3))


def measure(model: Model, folder: str, rounds: int) -> Row:
    """Return images per second of decoding alone, of prediction, and of the network alone."""
    decoding, prediction = 0.0, 0.0
    for _ in range(rounds):
        decoding = max(decoding, decoding_rate(model, folder))
        prediction = max(prediction, predict(model, [folder], on_row=lambda row: None)["images_per_second"])
    rates = {"decoding": decoding, "forward": network_rate(model), "prediction": prediction}
    return {name: round(rate) for name, rate in rates.items()}


def decoding_rate(model: Model, folder: str) -> float:
    files = sorted(map(str, Path(folder).iterdir()))
    start = time.monotonic()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        groups = [files[start : start + _GROUP] for start in range(0, len(files), _GROUP)]
        for _ in pool.map(lambda group: _decode_group(model, group), groups):
            pass
    return len(files) / (time.monotonic() - start)


def network_rate(model: Model, count: int = 512) -> float:
    pixels = torch.zeros(count, model.preprocessing.resolution, model.preprocessing.resolution, 3, dtype=torch.uint8)
    model.predict_proba(pixels[:64].numpy())
    start = time.monotonic()
    model.predict_proba(pixels.numpy())
    return count / (time.monotonic() - start)


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each network."""
    lines = [
        "| network | pixels | decoding alone | network alone | `predict` | of decoding | of both in turn |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        decoding, forward, prediction = (row[name] for name in ("decoding", "forward", "prediction"))
        both = 1 / (1 / decoding + 1 / forward)
        percents = [f"{100 * prediction / rate:.0f} %" for rate in (decoding, both)]
        cells = [row["network"], row["resolution"], f"{decoding:,}", f"{forward:,}", f"{prediction:,}", *percents]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", _NOTE]) if rows else ""


if __name__ == "__main__":
    main()
