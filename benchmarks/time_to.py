"""The shortest time to an accuracy: `shoestring train` with increasing budgets until the mean reaches it.

    python benchmarks/time_to.py DATA [--accuracy 94] [--seconds 5 6 8 10 12 15] [--seeds 20]
    python benchmarks/time_to.py --table

DATA is a folder of CIFAR-10 as Parquet, or any other data set that `shoestring train` accepts. Seconds count from
process start to the saved model. Each run is a separate process; its row is saved to results/time_to.json at once, so
the benchmark can be interrupted and resumed. Rows name the device; those of other devices are not reused.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from commands import Case, measure
from intervals import half_interval
from measured import Row, Rows

ROWS = Rows("time_to.json", ("data", "device", "seconds", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--accuracy", type=float, default=94.0, help="target test accuracy in %%")
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 6, 8, 10, 12, 15], help="times to try")
    parser.add_argument("--seeds", type=int, default=20, help="runs at each time")
    parser.add_argument("--table", action="store_true", help="print the results")
    args = parser.parse_args()
    if args.table:
        print(table(ROWS.read()))
    elif args.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seconds in sorted(args.seconds):
            if mean_accuracy(args.data, seconds, args.seeds) >= args.accuracy:
                break


def mean_accuracy(data: str, seconds: int, seeds: int) -> float:
    """Return the mean accuracy in % over the seeds with this time; measure missing runs."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows = []
    for seed in range(seeds):
        key = dict(zip(ROWS.key, (Path(data).name, device, seconds, seed)))
        if not ROWS.have(key):
            ROWS.put(key | measure(Case((data,), seconds, verb="train"), seed))
        rows += [row for row in ROWS.read() if all(row[name] == value for name, value in key.items())]
        print(*key.values(), f"{100 * rows[-1]['accuracy']:.2f} %", f"{rows[-1]['wall_seconds']} s", flush=True)
    return 100 * statistics.mean(row["accuracy"] for row in rows)


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each device and time."""
    lines = ["| device | time budget | runs | test accuracy | seconds taken |", "|---|---|---|---|---|"]
    for device, seconds in sorted({(row["device"], row["seconds"]) for row in rows}):
        group = [row for row in rows if (row["device"], row["seconds"]) == (device, seconds)]
        values, times = [100 * row["accuracy"] for row in group], [row["wall_seconds"] for row in group]
        spread = f" ± {half_interval(values):.2f}" if len(values) > 1 else ""
        between = f"{min(times):.1f} to {max(times):.1f}"
        lines.append(f"| {device} | {seconds} s | {len(group)} | {statistics.mean(values):.2f}{spread} | {between} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
