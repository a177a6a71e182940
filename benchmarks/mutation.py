"""Mutation testing of the core: how many small changes of its code do the tests notice?

    python benchmarks/mutation.py [--jobs N]

mutmut (`pip install mutmut`) changes the files that pyproject.toml names, one place at a time, and runs their tests on
each change. It works in a copy of the committed files; the score of each file, and the changes that no test noticed, go
to results/mutation.json.
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
NOTICED = ("killed", "timeout", "segfault")


def copied(place: Path) -> Path:
    """The committed files, in a folder of their own."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    return place


def statuses(listed: str) -> dict[str, str]:
    """Status by mutant, from `mutmut results --all true`."""
    return dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+?)\s*$", listed, flags=re.MULTILINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1, help="processes that test")
    given = parser.parse_args()
    around = machine()
    with tempfile.TemporaryDirectory(prefix="shoestring-mutation-") as place:
        work = copied(Path(place))
        mutmut = [sys.executable, "-m", "mutmut"]
        subprocess.run([*mutmut, "run", "--max-children", str(given.jobs)], cwd=work, check=True)
        listed = subprocess.run(
            [*mutmut, "results", "--all", "true"], cwd=work, capture_output=True, text=True, check=True
        )
    report(statuses(listed.stdout), around)


def report(found: dict[str, str], around: dict[str, object]) -> None:
    """Write the score of each file, and the mutants that survived, to the results."""
    checked = {name: status for name, status in found.items() if status != "not checked"}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, status in found.items():
        counts[name.partition(".x")[0]][status] += 1
    survived = sorted(name for name, status in checked.items() if status not in NOTICED)
    files = {name: dict(count) for name, count in sorted(counts.items())}
    score = round(1 - len(survived) / len(checked), 4)
    numbers = {"score": score, "checked": len(checked), "mutants": len(found)}
    OUT.write_text(json.dumps({"machine": around, **numbers, "files": files, "survived": survived}, indent=1) + "\n")
    print(f"{score:.1%} of {len(checked):,} changes noticed")


if __name__ == "__main__":
    main()
