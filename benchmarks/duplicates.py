"""Near duplicates in a data set, and test images that have a copy in training: how many, and what finding them costs.

    python benchmarks/duplicates.py DATA ...

writes results/duplicates.json, one entry for each source.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from machine import machine
from shoestring import load
from shoestring.selection.near_duplicates import find_duplicates, find_leaked

RESULTS = Path(__file__).parent / "results" / "duplicates.json"


def main() -> None:
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for source in sys.argv[1:]:
        data = load(source)
        load_before = round(os.getloadavg()[0], 2)
        began = time.process_time()
        copies = find_duplicates(data.train)
        middle = time.process_time()
        across = find_leaked(data.train, data.test)
        found[data.name] = {
            "train": len(data.train),
            "test": len(data.test),
            "side": data.train.shape[0],
            "left_out": len(copies),
            "test_images_in_training": len(across),
            "cpu_seconds": [round(middle - began, 2), round(time.process_time() - middle, 2)],
            "load_before": load_before,
            "machine": machine(),
        }
        print(data.name, found[data.name])
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
