"""Lottery tickets of conv2 on CIFAR-10, with controls and three seeds, on a shortened schedule.

    python benchmarks/tickets.py CIFAR10 [--train 10000] [--test 2000] [--out DIR] [FLAGS OF shoestring tickets]
    python benchmarks/tickets.py --page docs/tickets.md

The paper trains 20,000 steps of 60 images, 24 epochs of all of CIFAR-10, and removes a fifth of the weights at each
level. Here the network has a quarter of its width, and there are fewer images, epochs and levels, each of which removes
more weights; what exactly is in the results. Runs `shoestring tickets`, which is resumed after the last finished
training by repeating the command. `--train` and `--test` are numbers of random images; validation images are part of
the former, and no choice is made by the latter, on which each network is evaluated once, after its last epoch. Further
flags change the schedule: --epochs 1 --levels 3 --seeds 1. Adds the rows to results/tickets.json, so far if not all
trainings are done.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from intervals import half_interval
from machine import machine
from measured import Row, fill

RESULTS = Path(__file__).parent / "results" / "tickets.json"
FLAGS = ["--model", "conv2", "--width", "0.25", "--levels", "3", "--rate", "0.55", "--conv-rate", "0.3"]
FLAGS += ["--epochs", "5", "--seeds", "3", "--controls", "reinit"]
SETTINGS = ["--optimizer", "adamw", "--learning-rate", "1e-3", "--batch-size", "60", "--weight-decay", "0", "--no-ema"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/tickets-conv2"))
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args, more = parser.parse_known_args()
    if args.page:
        fill(args.page, tickets="\n\n".join(map(table, json.loads(RESULTS.read_text()))))
        return
    from shoestring.cli.main import main as shoestring

    hardware, file = machine(), args.out.with_suffix(".npz")
    sample(args.data, file, args.train, args.test)
    words = ["tickets", str(file), *FLAGS, *SETTINGS, *more, "--out", str(args.out)]
    code = shoestring(words)
    rows = json.loads((args.out / "tickets" / "rows.json").read_text())
    content = {"data": Path(args.data).name, "images": args.train, "test_images": args.test}
    content |= {"flags": [*FLAGS, *SETTINGS, *more], "rows": rows, "machine": hardware}
    others = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    same = ("images", "test_images", "flags")
    contents = [one for one in others if any(one[name] != content[name] for name in same)] + [content]
    RESULTS.write_text("[\n" + ",\n".join(map(json.dumps, contents)) + "\n]\n")
    sys.exit(code)


def sample(data: str, file: Path, train: int, test: int) -> None:
    """Write random images to a file, unless it exists: a resumed run needs the same."""
    if file.exists():
        return
    from shoestring import load

    images, parts = load(data, validation=0), dict[str, Any]()
    for prefix, part, count in (("", images.train, train), ("test_", images.test, test)):
        chosen = part[np.random.default_rng(0).permutation(len(part))[:count]]
        parts |= {f"{prefix}images": chosen.pixels, f"{prefix}labels": chosen.labels}
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **parts, classes=np.array(images.classes))


def table(content: dict[str, Any]) -> str:
    """Return one line for each level: mean accuracies, and differences from the dense network of the same seed."""
    rows, flags = content["rows"], content["flags"]
    epochs, levels = (_last(flags, name) for name in ("--epochs", "--levels"))
    networks = [name for name in dict.fromkeys(row["network"] for row in rows) if name != "dense"]
    dense = {row["seed"]: row["accuracy"] for row in rows if row["network"] == "dense"}
    lines = [f"{levels} levels, {epochs} epochs of {content['images']:,} images, {len(dense)} seeds:", ""]
    lines += [f"| weights | dense | {' | '.join(f'{name} | difference' for name in networks)} |"]
    lines.append(f"|---|---|{'---|---|' * len(networks)}")
    for level in sorted({row["level"] for row in rows} - {0}):
        own = [row for row in rows if row["level"] == level]
        seeds = {row["seed"] for row in own}
        cells = [f"{100 * own[0]['weights']:.1f} %", _percent([dense[seed] for seed in seeds])]
        for name in networks:
            found = [row for row in own if row["network"] == name]
            cells += [_percent([row["accuracy"] for row in found]), _difference(found, dense)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _last(flags: list[str], name: str) -> str:
    """The value of a flag, which may be given twice."""
    return flags[len(flags) - flags[::-1].index(name)]


def _percent(values: list[float]) -> str:
    return f"{100 * statistics.mean(values):.1f} %" if values else "-"


def _difference(rows: list[Row], dense: dict[int, float]) -> str:
    """Return the mean difference from the dense network in points, with its 95 % interval over seeds."""
    values = [100 * (row["accuracy"] - dense[row["seed"]]) for row in rows]
    if not values:
        return "-"
    spread = f" ± {half_interval(values):.1f}" if len(values) > 1 else ""
    return f"{round(statistics.mean(values), 1) + 0:+.1f}{spread}"


if __name__ == "__main__":
    main()
