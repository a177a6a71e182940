"""Near duplicates within the training images and between training and test images: their number and the search cost.

    python benchmarks/duplicates.py DATA ...

writes results/duplicates.json, one entry for each data set.
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
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for source in sys.argv[1:]:
        data = load(source)
        load_before = round(os.getloadavg()[0], 2)
        start = time.process_time()
        duplicates = find_duplicates(data.train)
        middle = time.process_time()
        leaked = find_leaked(data.train, data.test)
        results[data.name] = {
            "train": len(data.train),
            "test": len(data.test),
            "side": data.train.shape[0],
            "left_out": len(duplicates),
            "test_images_in_training": len(leaked),
            "cpu_seconds": [round(middle - start, 2), round(time.process_time() - middle, 2)],
            "load_before": load_before,
            "machine": machine(),
        }
        print(data.name, results[data.name])
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
