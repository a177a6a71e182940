"""Accuracy and deadlines of `shoestring run`, from process start to exit.

    python benchmarks/main_job.py --cifar10 DIR [--only CASE ...] [--repeat N]
    python benchmarks/main_job.py --page docs/benchmarks.md

Each run is a separate process, timed from outside; its row is saved to results/main_job.json at once, so the benchmark
can be interrupted and resumed. With `--page` the table of that page is written and nothing is run.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from commands import Case, measure
from measured import Row, Rows, fill

ROWS = Rows("main_job.json", ("case", "seed"))
SCRATCH = ("--weights", "none")


def cases(cifar10: str) -> dict[str, Case]:
    """Return all commands by name."""
    return {
        "digits": Case(("digits", "--examples", "300"), 60, repeat=20),
        "digits_30s": Case(("digits",), 30, repeat=10),
        "digits_30s_hog": Case(("digits",), 30, repeat=10, hog=True),
        "cifar10": Case((cifar10,), 300, repeat=3),
        "cifar10_random_1000": Case((cifar10, "--examples", "1000", "--select", "random", *SCRATCH), 300, repeat=2),
        "cifar10_random_1000_30m": Case((cifar10, "--examples", "1000", "--select", "random", *SCRATCH), 1800),
        "cifar10_chosen_1000": Case((cifar10, "--examples", "1000", *SCRATCH), 600, repeat=2),
        "cifar10_half_macs": Case((cifar10, "--macs", "0.5"), 300, repeat=2),
        "cifar10_1m": Case((cifar10,), 60, repeat=3),
        "cifar10_1m_hog": Case((cifar10,), 60, repeat=3, hog=True),
        "cifar10_5m_hog": Case((cifar10,), 300, repeat=2, hog=True),
        "cifar10_15m": Case((cifar10,), 900),
        "cifar10_15m_hog": Case((cifar10,), 900, hog=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar10", help="folder of CIFAR-10 as Parquet, or any other name `shoestring run` takes")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--repeat", type=int, help="runs of each case, instead of the usual number")
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, main_job=table(ROWS.read()))
        return
    for name, case in cases(args.cifar10 or "cifar10").items():
        if args.only and name not in args.only:
            continue
        done = [row for row in ROWS.read() if row["case"] == name]
        for seed in range(len(done), args.repeat or case.repeat):
            row = {"case": name, "seed": seed, **measure(case, seed)}
            ROWS.put(row)
            print(name, seed, row["wall_seconds"], row["accuracy"], flush=True)


def table(found: list[Row]) -> str:
    """One line a case: mean accuracy with the range over seeds, and the range of seconds used of those asked for."""
    lines = ["| command | runs | test accuracy | seconds, of the budget |", "|---|---|---|---|"]
    for name in dict.fromkeys(row["case"] for row in found):
        group = [row for row in found if row["case"] == name]
        accuracy = [100 * row["accuracy"] for row in group]
        wall = [row["wall_seconds"] for row in group]
        command = (
            "`" + " ".join(group[0]["command"]) + "`" + (", one core busy from halfway" if group[0]["hog"] else "")
        )
        spread = f" ({min(accuracy):.2f} to {max(accuracy):.2f})" if len(group) > 1 else ""
        used = f"{min(wall):.1f} to {max(wall):.1f}" if len(group) > 1 else f"{wall[0]:.1f}"
        share = (
            f"{100 * min(wall) / group[0]['asked_seconds']:.1f} to {100 * max(wall) / group[0]['asked_seconds']:.1f} %"
        )
        lines.append(f"| {command} | {len(group)} | {statistics.mean(accuracy):.2f} %{spread} | {used} ({share}) |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
