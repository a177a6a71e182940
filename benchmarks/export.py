"""How close ONNX files are to the models they were exported from, for every network and one of each timm family.

    python benchmarks/export.py DATA [--images 1000] [--timm-images 64] [--only NAME ...]
    python benchmarks/export.py --page docs/export.md

Networks have random weights, with batch-norm statistics and the scale of the head fitted to the images, so that
probabilities are neither equal nor certain; `tf_efficientnet_lite0` has its pretrained ones. DATA is a folder of
CIFAR-10 as Parquet, or other photos. Each row is saved to results/export.json at once, so the benchmark can be resumed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from machine import machine
from measured import Row, Rows, fill
from shoestring import load, prune
from shoestring.config import registry
from shoestring.data import Images, in_memory
from shoestring.exporting import onnx
from shoestring.exporting.formats import describe, pipeline
from shoestring.exporting.int8 import latencies
from shoestring.exporting.parity import compare
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing

ROWS = Rows("export.json", ("network", "resolution"))
TIMM = {  # name -> resolution
    "resnet10t": 64,
    "seresnext26d_32x4d": 64,
    "regnetx_002": 64,
    "densenet121": 64,
    "mobilenetv3_small_050": 64,
    "mobilenetv4_conv_small": 64,
    "efficientnet_b0": 64,
    "ghostnet_050": 64,
    "rexnet_100": 64,
    "repvgg_a0": 64,
    "mobileone_s0": 64,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
    "inception_next_atto": 64,
    "edgenext_xx_small": 64,
    "mobilevit_xxs": 64,
    "fastvit_t8": 64,
    "efficientformerv2_s0": 224,
    "vit_tiny_patch16_224": 64,
    "vit_small_patch16_dinov3": 64,
    "swin_tiny_patch4_window7_224": 112,
    "mixer_s32_224": 224,
    "poolformer_s12": 64,
    "xcit_nano_12_p16_224": 64,
    "tiny_vit_5m_224": 224,
}
_NOTE = (
    "Measured by `benchmarks/export.py` with test images of CIFAR-10, resized to these sizes, and random weights "
    "unless marked; times are of one image of the trained size with its mirror image."
)
RESIZABLE = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "xcit_nano_12_p16_224")  # with the option img_size


@dataclass(frozen=True)
class Case:
    """A network, and what is special about it."""

    name: str
    resolution: int
    pretrained: bool = False
    pruned: bool = False

    @property
    def title(self) -> str:
        return self.name + (", pretrained" if self.pretrained else "") + (", pruned to half" if self.pruned else "")


def cases() -> list[Case]:
    ours = [Case(name, 32) for name in registry.names("models")]
    special = [Case("resnet20", 32, pruned=True), Case("timm:tf_efficientnet_lite0", 160, pretrained=True)]
    return [*ours, *special, *(Case(f"timm:{name}", resolution) for name, resolution in TIMM.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--images", type=int, default=1000, help="for the networks of shoestring")
    parser.add_argument("--timm-images", type=int, default=64)
    parser.add_argument("--only", nargs="+", help="names of networks")
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, export=table(ROWS.read()))
        return
    images = load(args.data).test
    for case in cases():
        key = {"network": case.title, "resolution": case.resolution}
        if ROWS.have(key) or (args.only and case.name not in args.only):
            continue
        count = args.timm_images if case.name.startswith("timm:") else args.images
        row = key | measure(case, images[:count]) | {"machine": machine()}
        ROWS.put(row)
        print(*(f"{name} {value}" for name, value in row.items() if name != "machine"), flush=True)


def measure(case: Case, images: Images) -> Row:
    """Export a network, and compare its predictions on the images and its speed with those of PyTorch."""
    model = make(case, images)
    start = time.monotonic()
    try:
        proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    except ValueError as error:
        return {"error": str(error)[:300]}
    seconds = time.monotonic() - start
    session = onnx.Session(onnx.with_metadata(proto, describe(model, precision="float32", accuracy=None)))
    parity = compare(model, session, images.pixels)
    square = np.zeros((1, case.resolution, case.resolution, 3), np.uint8)
    return {
        "images": parity.images,
        "difference": parity.difference,
        "resized_difference": parity.resized_difference,
        "same_class": parity.same_class,
        "confidence": round(float(session(images.pixels[:64]).max(1).mean()), 3),
        "export_seconds": round(seconds, 1),
        "onnx_ms": round(latencies([session], square)[0], 2),
        "torch_ms": round(torch_ms(model, square), 2),
    }


def make(case: Case, images: Images) -> Model:
    """Return the model of a case, with mirror images as test-time augmentation."""
    torch.manual_seed(0)
    size = Preprocessing(case.resolution, 3, (0.5,) * 3, (0.5,) * 3, mirror=True, interpolation="bicubic")
    options = {"img_size": case.resolution} if case.name.removeprefix("timm:") in RESIZABLE else {}
    weights = "pretrained" if case.pretrained else None
    model = build(case.name, classes=images.classes, preprocessing=size, options=options, weights=weights)
    if case.pruned:
        model = prune(model, images[:64], macs=0.5)
    pixels = in_memory(images.pixels[:64], None, classes=images.classes, resolution=case.resolution).pixels
    batch = model.prepare(torch.from_numpy(pixels))
    if not case.pretrained:
        reestimate_batchnorm(model.module, [batch])
    with torch.no_grad():
        model.module.eval()
        spread = model.module(batch).std()
    return replace(model, temperature=float(spread) / 2)


def torch_ms(model: Model, square: NDArray[np.uint8], *, seconds: float = 1.0) -> float:
    """Return the median milliseconds of `predict_proba` for one image."""
    model.predict_proba(square)
    times, end = [], time.monotonic() + seconds
    while not times or time.monotonic() < end:
        start = time.perf_counter()
        model.predict_proba(square)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each network."""
    lines = [
        "| network | pixels | images | difference | on other sizes | same class | ONNX, 1 image | PyTorch, 1 image |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['network']} | {row['resolution']} | cannot be exported | | | | | |")
            continue
        cells = [
            row["network"],
            row["resolution"],
            f"{row['images']:,}",
            f"{row['difference']:.1e}",
            f"{row['resized_difference']:.1e}",
            f"{100 * row['same_class']:.1f} %",
            f"{row['onnx_ms']:.1f} ms",
            f"{row['torch_ms']:.1f} ms",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", _NOTE]) if rows else ""


if __name__ == "__main__":
    main()
