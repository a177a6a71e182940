"""How close ONNX files are to the models they were exported from, for every network and one of each timm family.

    python benchmarks/export.py DATA [--images 1000] [--only NAME ...]
    python benchmarks/export.py --page docs/export.md

Networks have random weights, with batch-norm statistics and the scale of the head fitted to the images, so that
probabilities are neither equal nor certain; `tf_efficientnet_lite0` has its pretrained ones, except in the head. DATA
is a folder of CIFAR-10 as Parquet, or other photos. Each row is saved to results/export.json at once, so that the
benchmark can be resumed: networks that have a row with as many images are skipped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from machine import machine
from measured import Row, Rows, fill
from shoestring import load, prune
from shoestring.channels import trace, widen
from shoestring.config import registry
from shoestring.data import Images
from shoestring.data.decode import resize
from shoestring.errors import UserError
from shoestring.exporting import onnx
from shoestring.exporting.formats import describe, pipeline
from shoestring.exporting.parity import Predict, compare
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.layers import tensors
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.tasks import MULTI_LABEL, SINGLE_LABEL

ROWS = Rows("export.json", ("network", "resolution", "images"))
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
RESIZABLE = ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "xcit_nano_12_p16_224")  # with the option img_size
_FITTED, _BATCH = 64, 32  # images
LIMIT = 1e-4  # of a difference that needs an explanation
_NOTE = (
    "Largest differences between probabilities, measured by `benchmarks/export.py` on test images of CIFAR-10 that are "
    "resized to these sizes, and on 24 images of three other sizes, with the mirror image, and with random weights "
    "unless marked. In parentheses: between predictions of PyTorch itself, one by one and in batches of 32 images."
)


@dataclass(frozen=True)
class Case:
    """A network, and what is special about it."""

    name: str
    resolution: int
    pretrained: bool = False
    pruned: bool = False
    widened: bool = False
    several_labels: bool = False

    @property
    def title(self) -> str:
        about = {
            "pretrained": self.pretrained,
            "pruned to half": self.pruned,
            "widened by half": self.widened,
            "several labels": self.several_labels,
        }
        return ", ".join([self.name, *(text for text, holds in about.items() if holds)])


def cases() -> list[Case]:
    default = "timm:tf_efficientnet_lite0"
    return [
        *(Case(name, 32) for name in registry.names("models")),
        Case("resnet20", 32, pruned=True),
        Case("resnet20", 32, widened=True),
        Case("resnet20", 32, several_labels=True),
        Case("vgg8", 32, pruned=True),
        Case("convnet", 32, widened=True),
        Case(default, 160, pretrained=True),
        Case(default, 160, pretrained=True, pruned=True),
        Case(default, 160, pretrained=True, several_labels=True),
        *(Case(f"timm:{name}", resolution) for name, resolution in TIMM.items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", nargs="+", help="names of networks")
    parser.add_argument("--page", type=Path, help="write the table into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, export=table(ROWS.read()))
        return
    if args.data is None:
        parser.error("DATA is missing: a folder of CIFAR-10 as Parquet, or other photos")
    images = load(args.data).test[: args.images]
    for case in cases():
        key = {"network": case.title, "resolution": case.resolution, "images": len(images)}
        if ROWS.have(key) or (args.only and case.name not in args.only):
            continue
        row = key | measure(case, images) | {"machine": machine()}
        ROWS.put(row)
        print(*(f"{name} {value}" for name, value in row.items() if name != "machine"), flush=True)


def measure(case: Case, images: Images) -> Row:
    """Export a network, and compare its predictions on the images with those of PyTorch."""
    model = make(case, images)
    start = time.monotonic()
    try:
        proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    except UserError as error:
        return {"error": str(error)[:300]}
    seconds = time.monotonic() - start
    session = onnx.Session(onnx.with_metadata(proto, describe(model, precision="float32", accuracy=None)))
    parity = compare(model, in_batches(session), images.pixels)
    own = {} if parity.difference <= LIMIT else {"rounding": rounding(model, images)}
    return {
        "difference": parity.difference,
        **own,
        "resized_difference": parity.resized_difference,
        "same_class": parity.same_class,
        "confidence": round(float(session(images.pixels[:_FITTED]).max(1).mean()), 3),
        "export_seconds": round(seconds, 1),
    }


def rounding(model: Model, images: Images) -> float:
    """Return the largest difference between PyTorch's own predictions one by one and in batches of 32 images."""
    batched = in_batches(model.predict_proba)(images.pixels)
    alone = np.concatenate([model.predict_proba(images.pixels[index : index + 1]) for index in range(len(images))])
    return float(np.abs(batched - alone).max())


def in_batches(predict: Predict) -> Predict:
    """Return the same predictions with less memory."""

    def batched(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(images), _BATCH)
        return np.concatenate([predict(images[start : start + _BATCH]) for start in starts])

    return batched


def make(case: Case, images: Images) -> Model:
    """Return the model of a case, with mirror images as test-time augmentation."""
    torch.manual_seed(0)
    size = Preprocessing(case.resolution, 3, (0.5,) * 3, (0.5,) * 3, mirror=True, interpolation="bicubic")
    model = build(
        case.name,
        classes=images.classes,
        preprocessing=size,
        options={"img_size": case.resolution} if case.name.removeprefix("timm:") in RESIZABLE else {},
        weights="pretrained" if case.pretrained else None,
        task=MULTI_LABEL if case.several_labels else SINGLE_LABEL,
    )
    pixels = resize(images.pixels[:_FITTED], resolution=case.resolution, channels=3, fit=size.fit)
    batch = model.prepare(torch.from_numpy(pixels))
    if case.pruned:
        model = prune(model, images[:_FITTED], macs=0.5)
    if case.widened:
        channels = trace(model.module, batch[:2])
        sizes = {name: group.size + group.size // 2 for name, group in channels.groups.items()}
        model = replace(model, module=widen(model.module, channels, sizes))
    if not case.pretrained:
        reestimate_batchnorm(model.module, [batch])
    with torch.no_grad():
        for name in model.heads:
            if not (head := tensors(model.module)[name]).any():
                head.normal_()  # some networks begin with zeros
        spread = model.module.eval()(batch).std()
        for name in model.heads:
            tensors(model.module)[name] *= 2 / spread
    return replace(model, temperature=1.5)


def table(rows: list[Row]) -> str:
    """Return a Markdown table with a line for each network."""
    lines = [
        "| network | pixels | images | difference | on other sizes | same class |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['network']} | {row['resolution']} | cannot be exported | | | |")
            continue
        cells = [
            row["network"],
            row["resolution"],
            f"{row['images']:,}",
            f"{row['difference']:.1e}" + (f" ({row['rounding']:.1e})" if "rounding" in row else ""),
            f"{row['resized_difference']:.1e}",
            f"{100 * row['same_class']:.1f} %",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, "", _NOTE]) if rows else ""


if __name__ == "__main__":
    main()
