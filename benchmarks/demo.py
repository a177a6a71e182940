"""The demo of the README with its actual output.

    python benchmarks/demo.py README.md

runs the command in its own process, writes results/demo.json, and inserts the output into the page.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine
from measured import RESULTS, fill

COMMAND = ("shoestring", "run", "digits", "--examples", "300", "--time", "60s")


def main() -> None:
    (page,) = map(Path, sys.argv[1:])
    hardware = machine()
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *COMMAND, "--quiet"], cwd=folder, capture_output=True, text=True, check=True
        )
        wall = time.monotonic() - start
        output = done.stdout.replace(f"{Path(folder).resolve()}/", "")
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    row = {"command": COMMAND, "output": lines, "wall_seconds": round(wall, 2), "machine": hardware}
    (RESULTS / "demo.json").write_text(json.dumps(row, indent=1) + "\n")
    fill(page, demo="\n".join(["```text", *lines, "```"]))


if __name__ == "__main__":
    main()
