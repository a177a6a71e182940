"""Pretrained networks against networks from scratch: accuracy of `shoestring run` in equal times.

    python benchmarks/transfer.py --cifar10 DIR --intel DIR [--only CASE ...] [--arms ARM ...] [--seeds N]
    python benchmarks/transfer.py --page docs/benchmarks.md

Each run is a separate process, timed from process start to exit, that evaluates the test split once; its row is saved
to results/transfer.json at once. The arms are what `auto` chooses, a network from scratch, a logistic regression on
frozen features, and fine-tuning. What `auto` does was decided by the accuracy on validation images.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from commands import Case, measure
from measured import Row, Rows, fill

ROWS = Rows("transfer.json", ("case", "arm", "seed"))
BACKBONE = "timm:tf_efficientnet_lite0"
ARMS = {
    "auto": (),
    "scratch": ("--weights", "none"),
    "head": ("--model", BACKBONE, "--tune", "head"),
    "tuned": ("--model", BACKBONE),
}
MINUTES = (2, 5, 15)
EXAMPLES = (100, 1000, None)


def cases(folders: dict[str, str]) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return words and seconds of each case by name, such as cifar10-1000-5m; the images are random."""
    result = {}
    for name, folder in folders.items():
        for examples in EXAMPLES:
            words = () if examples is None else ("--examples", str(examples), "--select", "random")
            for minutes in MINUTES:
                result[f"{name}-{examples or 'all'}-{minutes}m"] = ((folder, *words), 60 * minutes)
        result[f"{name}-chosen-5m"] = ((folder, "--examples", "1000"), 300)
    return result


def table(rows: list[Row]) -> str:
    """Return a Markdown table: test accuracy of each arm, mean and range over the seeds."""
    lines = ["| case | " + " | ".join(ARMS) + " |", "|---|" + "---|" * len(ARMS)]
    for case in dict.fromkeys(row["case"] for row in rows):
        cells = []
        for arm in ARMS:
            found = [100 * row["accuracy"] for row in rows if (row["case"], row["arm"]) == (case, arm)]
            spread = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.1f} %{spread}" if found else "-")
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--intel", help="folder of the Intel scenes as Parquet")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS, help="arms to run (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each case and arm (default: 3)")
    parser.add_argument("--page", type=Path, help="page to write the table of results into, instead of running")
    args = parser.parse_args()
    if args.page:
        fill(args.page, transfer=table(ROWS.read()))
        return
    folders = {name: getattr(args, name) for name in ("cifar10", "intel") if getattr(args, name)}
    for name, (words, seconds) in cases(folders).items():
        if args.only and name not in args.only:
            continue
        for arm in args.arms:
            for seed in range(args.seeds):
                key = {"case": name, "arm": arm, "seed": seed}
                if ROWS.have(key):
                    continue
                row = {**key, **measure(Case((*words, *ARMS[arm]), seconds), seed)}
                ROWS.put(row)
                print(name, arm, seed, row["wall_seconds"], row["accuracy"], row.get("validation"), flush=True)


if __name__ == "__main__":
    main()
