"""Images per second of predictions on a CPU by the number of images in a batch.

    python benchmarks/prediction_batches.py [--rounds 3]
    python benchmarks/prediction_batches.py --table

The weights are random, as speed does not depend on them, and batch norms are folded. All sizes take turns, and the
fastest round of each counts. `models/inference.py` takes its batch sizes from these rows, which are saved to
results/prediction_batches.json at once.
"""

from __future__ import annotations

import argparse
import time

import torch

from machine import machine
from measured import Row, Rows
from shoestring.models.folding import folded
from shoestring.models.inference import default_batch_size
from shoestring.models.model import build
from shoestring.models.preprocessing import Preprocessing

ROWS = Rows("prediction_batches.json", ("network", "side", "threads"))
BACKBONE = "timm:tf_efficientnet_lite0"
CASES = (("convnet", 32), ("resnet20", 32), (BACKBONE, 96), (BACKBONE, 160), (BACKBONE, 224), ("timm:resnet18", 128))
SIZES = (4, 16, 32, 64, 128, 256)
IMAGES = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each size (default: 3)")
    parser.add_argument("--table", action="store_true", help="print a table of the results")
    args = parser.parse_args()
    if args.table:
        print(table(ROWS.read()))
        return
    for name, side in CASES:
        key = {"network": name, "side": side, "threads": torch.get_num_threads()}
        row = key | measure(name, side, args.rounds)
        ROWS.put(row)
        print({name: value for name, value in row.items() if name != "machine"}, flush=True)


@torch.inference_mode()
def measure(name: str, side: int, rounds: int) -> Row:
    """Return the images per second by batch size, and the size that predictions use."""
    hardware = machine()
    model = build(name, classes=list("abcdefghij"), preprocessing=Preprocessing(side, 3, (0.5,) * 3, (0.25,) * 3))
    module = folded(model).module.eval()
    images = torch.randn(IMAGES, 3, side, side).contiguous(memory_format=torch.channels_last)
    own = default_batch_size(model)
    seconds = dict.fromkeys((own, *SIZES), float("inf"))
    for _ in range(rounds):
        for size in seconds:
            start = time.monotonic()
            for batch in images.split(size):
                module(batch)
            seconds[size] = min(seconds[size], time.monotonic() - start)
    rates = {str(size): round(IMAGES / seconds[size], 1) for size in sorted(seconds)}
    return {"per_second": rates, "default": own, "machine": hardware}


def table(rows: list[Row]) -> str:
    """Return a Markdown table: the speed of each batch size relative to the largest."""
    lines = [f"| network | pixels | default | {' | '.join(map(str, SIZES))} |", "|---|--:|--:|" + "--:|" * len(SIZES)]
    for row in rows:
        rates, largest = row["per_second"], row["per_second"][str(SIZES[-1])]
        cells = [f"{rates[str(size)] / largest:.2f}" for size in SIZES]
        own = f"{row['default']}: {rates[str(row['default'])] / largest:.2f}"
        lines.append(f"| {row['network']} | {row['side']} | {own} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
