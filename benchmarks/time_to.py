"""The least time that is enough for an accuracy: `shoestring train` with ever more seconds until the mean reaches it.

    python benchmarks/time_to.py DATA [--accuracy 94] [--seconds 5 6 8 10 12 15] [--seeds 20]
    python benchmarks/time_to.py --table

DATA is a folder of CIFAR-10 as Parquet, or any other name that `shoestring train` takes. Seconds count from process
start to the saved model. Each run is a process of its own; its row is added to results/time_to.json at once, so it can
be stopped and gone on with. Times that were measured on another device are others: rows name it.
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
    parser.add_argument("--accuracy", type=float, default=94.0, help="of the test images, in %%")
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 6, 8, 10, 12, 15], help="times to try")
    parser.add_argument("--seeds", type=int, default=20, help="runs at each time")
    parser.add_argument("--table", action="store_true", help="print what has been measured")
    given = parser.parse_args()
    if given.table:
        print(table(ROWS.read()))
    elif given.data is None:
        parser.error("DATA is needed to measure")
    else:
        for seconds in sorted(given.seconds):
            if reached(given.data, seconds, given.seeds) >= given.accuracy:
                break


def reached(data: str, seconds: int, seeds: int) -> float:
    """The mean accuracy in % of so many runs of so many seconds, measured where they are missing."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    found = []
    for seed in range(seeds):
        place = dict(zip(ROWS.key, (Path(data).name, device, seconds, seed)))
        if not ROWS.have(place):
            ROWS.put(place | measure(Case((data,), seconds, verb="train"), seed))
        found += [row for row in ROWS.read() if all(row[name] == value for name, value in place.items())]
        print(*place.values(), f"{100 * found[-1]['accuracy']:.2f} %", f"{found[-1]['wall_seconds']} s", flush=True)
    return 100 * statistics.mean(row["accuracy"] for row in found)


def table(rows: list[Row]) -> str:
    """A line for each device and time."""
    lines = ["| device | time asked | runs | test accuracy | seconds taken |", "|---|---|---|---|---|"]
    for device, seconds in sorted({(row["device"], row["seconds"]) for row in rows}):
        mine = [row for row in rows if (row["device"], row["seconds"]) == (device, seconds)]
        values, took = [100 * row["accuracy"] for row in mine], [row["wall_seconds"] for row in mine]
        spread = f" ± {half_interval(values):.2f}" if len(values) > 1 else ""
        between = f"{min(took):.1f} to {max(took):.1f}"
        lines.append(f"| {device} | {seconds} s | {len(mine)} | {statistics.mean(values):.2f}{spread} | {between} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
