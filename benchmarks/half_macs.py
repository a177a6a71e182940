"""What half of the multiply-accumulates cost in equal time: pruned during the run, or narrow from the start.

    python benchmarks/half_macs.py DATA [--time 300] [--seeds 3] [--arm NAME ...] [FLAGS OF shoestring run]
    python benchmarks/half_macs.py --page docs/pruning.md

Each run is a separate process that has the same time, measured from process start to exit, and evaluates the test split
once; images are decoded before. "pruned" chooses its network itself, with the time in mind that pruning saves. "same,
pruned" has the network that the run without pruning has chosen, and "narrow" that one with 0.71 of its width, which
halves the multiply-accumulates. Arms take turns. Each row is saved at once to results/half_macs.json.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

from commands import Case, measure
from measured import Row, Rows, fill

ROWS = Rows("half_macs.json", ("data", "flags", "asked_seconds", "arm", "seed"))
ARMS = {
    "whole": (),
    "pruned": ("--macs", "0.5"),
    "pruned, distillation": ("--macs", "0.5", "--distil"),
    "same, pruned": ("--macs", "0.5"),
    "narrow": (),
}
WIDTHS = {"same, pruned": 1.0, "narrow": math.sqrt(0.5)}  # of that of the whole network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--time", type=int, default=300, help="seconds of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arm", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args, flags = parser.parse_known_args()
    if args.page:
        fill(args.page, **{"half-macs": table(ROWS.read())})
        return
    if args.data is None:
        parser.error("DATA is missing")
    from shoestring import load

    load(args.data)
    for seed in range(args.seeds):
        for arm in args.arm:
            key = {"data": Path(args.data).name, "flags": " ".join(flags), "asked_seconds": args.time}
            key |= {"arm": arm, "seed": seed}
            if ROWS.have(key):
                continue
            words = (args.data, *flags, *ARMS[arm], *(like_whole(key, WIDTHS[arm]) if arm in WIDTHS else ()))
            row = key | measure(Case(words, args.time), seed)
            ROWS.put(row)
            print(arm, seed, row["wall_seconds"], row["accuracy"], row["macs"], row["options"], flush=True)


def like_whole(key: Row, width: float) -> tuple[str, ...]:
    """Return the flags of the network of the whole arm, which was run before, with a fraction of its width."""
    (whole,) = (row for row in ROWS.read() if all(row[name] == (key | {"arm": "whole"})[name] for name in ROWS.key))
    return "--model", whole["model"], "--width", f"{whole['options']['width'] * width:.3f}"


def table(rows: list[Row]) -> str:
    """Return a Markdown table of the mean accuracy of each arm over seeds, and its distance from the whole network."""
    lines = ["| images, time | network | runs | test accuracy | MACs | change in points |", "|---|---|--:|--:|--:|--:|"]
    for case in dict.fromkeys((row["data"], row["flags"], row["asked_seconds"]) for row in rows):
        own = [row for row in rows if (row["data"], row["flags"], row["asked_seconds"]) == case]
        whole = {row["seed"]: row["accuracy"] for row in own if row["arm"] == "whole"}
        for arm in dict.fromkeys(row["arm"] for row in own):
            found = [row for row in own if row["arm"] == arm]
            changes = [100 * (row["accuracy"] - whole[row["seed"]]) for row in found if row["seed"] in whole]
            cells = [f"{' '.join(filter(None, case[:2]))}, {case[2]} s", arm, len(found)]
            cells.append(f"{100 * statistics.mean(row['accuracy'] for row in found):.1f} %")
            cells.append(f"{statistics.mean(row['macs'] for row in found) / 1e6:.1f} M")
            shown = ", ".join(f"{change:+.1f}" for change in changes)
            lines.append(f"| {' | '.join(map(str, cells))} | {'-' if arm == 'whole' else shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
