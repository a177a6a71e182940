"""Mutation testing of the core: the fraction of small code changes that the tests detect.

    python benchmarks/mutation.py [--jobs N]

mutmut (`pip install mutmut`) makes one change at a time in the files listed in pyproject.toml and runs their tests. It
works in a copy of the committed files. The score of each file and the undetected changes are written to
results/mutation.json.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from machine import machine

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(__file__).parent / "results" / "mutation.json"
DETECTED = ("killed", "timeout", "segfault")


def copy_committed(folder: Path) -> Path:
    """Copy the committed files to this folder."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def statuses(listed: str) -> dict[str, str]:
    """Return the status by mutant, from `mutmut results --all true`."""
    return dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+?)\s*$", listed, flags=re.MULTILINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="test processes")
    args = parser.parse_args()
    hardware = machine()
    with tempfile.TemporaryDirectory(prefix="shoestring-mutation-") as folder:
        work = copy_committed(Path(folder))
        mutmut = [sys.executable, "-m", "mutmut"]
        subprocess.run([*mutmut, "run", "--max-children", str(args.jobs)], cwd=work, check=True)
        listed = subprocess.run(
            [*mutmut, "results", "--all", "true"], cwd=work, capture_output=True, text=True, check=True
        )
    report(statuses(listed.stdout), hardware)


def report(results: dict[str, str], hardware: dict[str, object]) -> None:
    """Write the score of each file and the surviving mutants to the results."""
    checked = {name: status for name, status in results.items() if status != "not checked"}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in results.items():
        counts[name.partition(".x")[0]][status] += 1
    survived = sorted(name for name, status in checked.items() if status not in DETECTED)
    files = {name: dict(count) for name, count in sorted(counts.items())}
    score = round(1 - len(survived) / len(checked), 4)
    numbers = {"score": score, "checked": len(checked), "mutants": len(results)}
    OUT.write_text(json.dumps({"machine": hardware, **numbers, "files": files, "survived": survived}, indent=1) + "\n")
    print(f"{score:.1%} of {len(checked):,} changes detected")


if __name__ == "__main__":
    main()
