"""CPU seconds of tracing, pruning, saving and loading a ResNet-50 at 224 x 224 pixels.

    python benchmarks/channels_speed.py [--repeat N]

Each repetition runs in its own process. Writes results/channels_speed.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

RESULTS = Path(__file__).parent / "results" / "channels_speed.json"
PARTS = ("trace", "cut", "save", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--one", action="store_true", help="measure once, in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one()))
        return
    hardware = machine()
    command = [sys.executable, __file__, "--one"]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(args.repeat)
    ]
    times = {
        part: {
            "median": round(statistics.median(run[part] for run in runs), 3),
            "range": [round(min(run[part] for run in runs), 3), round(max(run[part] for run in runs), 3)],
        }
        for part in PARTS
    }
    result = {
        "network": "timm:resnet50",
        "side": 224,
        "cpu_seconds": times,
        "repeats": args.repeat,
        "machine": hardware,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def one() -> dict[str, float]:
    import torch

    from shoestring.channels import drop, trace
    from shoestring.models import Model, Preprocessing, build

    size = Preprocessing(224, 3, (0.5,) * 3, (0.25,) * 3)
    model = build("timm:resnet50", classes=[str(index) for index in range(1000)], preprocessing=size)
    example = torch.randn(1, 3, 224, 224)
    model.module.eval()(example)  # warm up: the first pass of a process is slower
    times = [time.process_time()]
    table = trace(model.module, example)
    times.append(time.process_time())
    module = drop(model.module, table, {name: torch.arange(0, own.size, 2) for name, own in table.groups.items()})
    times.append(time.process_time())
    with tempfile.TemporaryDirectory() as folder:
        Model(module, model.name, model.options, model.classes, model.preprocessing).save(Path(folder))
        times.append(time.process_time())
        Model.load(Path(folder))
        times.append(time.process_time())
    return {part: after - before for part, before, after in zip(PARTS, times, times[1:])}


if __name__ == "__main__":
    main()
