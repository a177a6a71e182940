"""What int8 costs in accuracy and saves in time: exported models with published weights, and models of runs.

    python benchmarks/int8.py CIFAR10 WEIGHTS_FOLDER
    python benchmarks/int8.py DATA --run RUN
    python benchmarks/int8.py --page docs/export.md

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors and resnet56_cifar10.safetensors; RUN is a run on DATA. 256 images of
the train split determine the ranges; accuracies are those on at most `--images` random test images, on which each model
is evaluated once. Times are medians of one image on one thread. Rows are saved to results/int8.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from machine import machine
from measured import Row, Rows, fill
from shoestring import Model, load
from shoestring.data import Dataset, Images
from shoestring.data.decode import resize
from shoestring.exporting import int8, onnx
from shoestring.exporting.formats import pipeline
from shoestring.models import Preprocessing, build

ROWS = Rows("int8.json", ("network", "data", "images"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("weights", nargs="?", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, int8=table(ROWS.read()))
        return
    if args.data is None or (args.weights is None) == (args.run is None):
        parser.error("give DATA, and either WEIGHTS_FOLDER or --run RUN")
    data = load(args.data)
    for name, model in models(args.weights, args.run, data).items():
        row = {"network": name, "data": Path(args.data).name, **measure(model, data, args.images)}
        ROWS.put(row | {"machine": machine()})
        print(row, flush=True)


def models(weights: Path | None, run: Path | None, data: Dataset) -> dict[str, Model]:
    """Return the models to measure by the names of their networks."""
    if run is not None:
        model = Model.load(run)
        return {model.name: model}
    size = Preprocessing(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return {
        name: build(
            name, classes=data.train.classes, preprocessing=size, weights=f"{weights}/{name}_cifar10.safetensors"
        )
        for name in ("resnet20", "resnet56")
    }


def measure(model: Model, data: Dataset, count: int) -> Row:
    """Return accuracies in float32 and int8, the fraction of equal classes, and milliseconds of each."""
    order = np.random.default_rng(0)
    calibration = data.train[order.permutation(len(data.train))[: int8.MAX_CALIBRATION_IMAGES]]
    test = data.test[order.permutation(len(data.test))[:count]]
    pixels = squares(model, test)
    proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    quantized = int8.quantize(proto, squares(model, calibration))
    sessions = [onnx.Session(proto, threads=1), onnx.Session(quantized, threads=1)]
    before, after = (classes(session, pixels) for session in sessions)
    milliseconds = int8.latencies(sessions, pixels[:1])
    return {
        "images": len(test),
        "resolution": model.preprocessing.resolution,
        "float32": float((before == test.labels).mean()),
        "int8": float((after == test.labels).mean()),
        "same_class": float((before == after).mean()),
        "milliseconds": {name: round(value, 3) for name, value in zip(("float32", "int8"), milliseconds)},
        "bytes": {"float32": proto.ByteSize(), "int8": quantized.ByteSize()},
    }


def squares(model: Model, images: Images) -> NDArray[np.uint8]:
    size = model.preprocessing
    return resize(images.pixels, resolution=size.resolution, channels=size.channels, fit=size.fit)


def classes(session: onnx.Session, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.int64]:
    return np.concatenate([session(pixels[start : start + batch]).argmax(1) for start in range(0, len(pixels), batch)])


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each model."""
    lines = [
        "| network | data | test images | accuracy float32 | int8 | same class | time of int8 | file |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        time, size = (row[name]["int8"] / row[name]["float32"] for name in ("milliseconds", "bytes"))
        lines.append(
            f"| {row['network']}, {row['resolution']} px | {row['data']} | {row['images']:,} | {row['float32']:.1%} | "
            f"{row['int8']:.1%} | {row['same_class']:.1%} | {time:.2f} | {size:.2f} |".replace("%", " %")
        )
    machines = {row["machine"]["cpu"] for row in rows}
    note = (
        "Accuracy of exported models with published weights or trained by a run, measured by `benchmarks/int8.py`; "
        "time of one image on one thread and size of the file as fractions of those of float32 "
        f"({', '.join(sorted(machines))})."
    )
    return "\n".join([note, "", *lines])


if __name__ == "__main__":
    main()
