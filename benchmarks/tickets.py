"""Lottery tickets of conv2 on CIFAR-10, with all controls and three seeds, on a shortened schedule.

    python benchmarks/tickets.py CIFAR10 [--out DIR] [FLAGS OF shoestring tickets]

Runs `shoestring tickets`, so an interrupted benchmark is resumed by repeating the command. Writes results/tickets.json:
the summary over seeds and all rows. The paper trains for 20,000 steps of 60 images, 24 epochs; the default here is five
epochs of each of the 168 trainings. Further flags change that: --epochs 1 --levels 3 --seeds 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from machine import machine

RESULTS = Path(__file__).parent / "results" / "tickets.json"
FLAGS = ["--model", "conv2", "--levels", "11", "--conv-rate", "0.1", "--epochs", "5", "--seeds", "3"]
SETTINGS = ["--optimizer", "adamw", "--learning-rate", "2e-4", "--batch-size", "60", "--weight-decay", "0", "--no-ema"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--out", default="runs/tickets-conv2")
    args, more = parser.parse_known_args()
    from shoestring.cli.main import main as shoestring

    hardware = machine()
    words = ["tickets", args.data, *FLAGS, *SETTINGS, *more, "--out", args.out]
    if code := shoestring(words):
        sys.exit(code)
    result = json.loads((Path(args.out) / "run.json").read_text())["result"]
    kept = {
        name: result[name] for name in ("model", "examples", "test_images", "tickets", "summary", "rows", "seconds")
    }
    content = {"data": Path(args.data).name, "flags": [*FLAGS, *SETTINGS, *more], **kept, "machine": hardware}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
