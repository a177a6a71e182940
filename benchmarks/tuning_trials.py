"""Which blocks of a pretrained network to train, for how long, and how large its input: validation on CIFAR-10.

    python benchmarks/tuning_trials.py CIFAR10 [--seeds 1]
    python benchmarks/tuning_trials.py --table

EfficientNet-Lite0 is trained on 1,000 random training images of CIFAR-10 and evaluated on another 1,000 of them; test
images are not used. Budgets are epochs, of which the features for the head take one, so that results do not depend
on the load of the machine. `planning/tuning.py` and the batch size of fine-tuning follow from these rows. Each is saved
to results/tuning_trials.json at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from machine import machine
from measured import Row, Rows
from shoestring.cli.main import main as shoestring
from shoestring.planning import pretrained

ROWS = Rows("tuning_trials.json", ("tune", "epochs", "side", "batch_size", "seed"))
IMAGES = 1000
NETWORK = "timm:tf_efficientnet_lite0"
CASES = (  # tune, epochs, side, batch size
    ("all", 2, 96, 112),  # only the head
    ("all", 2.4, 96, 32),
    ("all", 3, 96, 32),
    ("all", 4, 96, 32),
    ("all", 8, 96, 32),
    ("all", 4, 96, 112),
    ("all", 8, 96, 112),
    ("last:3", 4, 96, 32),
    ("last:3", 8, 96, 32),
    ("last:4", 4, 96, 112),
    ("last:4", 8, 96, 112),
    ("last:3", 4, 128, 32),
    ("head", 1, 128, 112),
    ("all", 3, 128, 32),
    ("all", 4, 128, 32),
    ("all", 3, 160, 32),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="folder of CIFAR-10 as Parquet")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print a table of the results")
    args = parser.parse_args()
    if args.table:
        print(table(ROWS.read()))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "trial.npz"
        _write_data(args.data, data)
        for seed in range(args.seeds):
            for case in CASES:
                row = {**dict(zip(("tune", "epochs", "side", "batch_size"), case)), "seed": seed}
                if not ROWS.have(row):
                    row["accuracy"] = _accuracy(data, Path(folder) / "run", row)
                    ROWS.put({**row, "machine": machine()})
                    print(*row.values(), flush=True)


def _write_data(source: Path, file: Path) -> None:
    """Write 1,000 random images of the first training file, and another 1,000 as those to evaluate on."""
    rows = pq.read_table(min(source.glob("train*.parquet")))
    order = np.random.default_rng(0).permutation(len(rows))[: 2 * IMAGES]
    encoded = rows["image"].take(order).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one["bytes"])).convert("RGB")) for one in encoded])
    labels = np.array(rows["label"].take(order).to_pylist())
    parts = {"train": slice(IMAGES), "test": slice(IMAGES, None)}
    arrays = {f"{name}_images": pixels[part] for name, part in parts.items()}
    np.savez(file, **arrays, **{f"{name}_labels": labels[part] for name, part in parts.items()})


def _accuracy(data: Path, out: Path, row: Row) -> float:
    """Run one trial; return its accuracy in percent."""
    words = ["run", str(data), "--model", NETWORK, "--tune", row["tune"], "--epochs", str(row["epochs"])]
    words += ["--batch-size", str(row["batch_size"]), "--seed", str(row["seed"]), "--tta", "none", "--resolution", "32"]
    printed = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(pretrained, "DEFAULT_SIDE", row["side"]),
        patch("shoestring.planning.model.DEFAULT_SIDE", row["side"]),
        contextlib.redirect_stdout(printed),
    ):
        code = shoestring([*words, "--out", str(Path(folder) / out.name), "--json", "--quiet"])
    if code:
        raise SystemExit(code)
    return round(100 * json.loads(printed.getvalue())["accuracy"], 2)


def table(rows: list[Row]) -> str:
    """Return a Markdown table, the most accurate last."""
    lines = ["| blocks | epochs | side | batch size | accuracy |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["accuracy"]):
        cells = [row["tune"], f"{row['epochs']:g}", row["side"], row["batch_size"], f"{row['accuracy']:.1f} %"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
