"""Write an export, compare its predictions with those of the model, and measure what int8 costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data.decode import resize
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.exporting import formats, int8, onnx
from shoestring.exporting.formats import Target
from shoestring.exporting.metadata import Metadata
from shoestring.exporting.parity import Parity, Predict, check, compare
from shoestring.models.model import Model

_PARITY_IMAGES = 64
_MAX_TEST_IMAGES = 1000  # on which the accuracy of int8 and float16 is measured


def write(
    model: Model, target: Target, folder: Path, metadata: Metadata, images: Images | None
) -> tuple[Parity, Metadata]:
    """Write the files of the target into a folder; return how close their predictions are, and their metadata.

    Predictions are compared on up to 64 of the images, or on generated ones. Raises `UserError` if they differ, for a
    network that cannot be exported, and if there are fewer than two images for int8.
    """
    pixels = _generated(model) if images is None else _evenly(images, _PARITY_IMAGES).pixels
    if target.format == "safetensors":
        predict = formats.write_safetensors(model, target, folder)
        metadata = _with_costs(metadata, model, predict, images)
    elif target.format == "torch-export":
        program = onnx.trace(formats.pipeline(model, target.precision))
        metadata = _with_costs(metadata, model, formats.predictor(program), images)
        predict = formats.write_torch(program, target, folder, metadata)
    else:
        proto = onnx.to_onnx(onnx.trace(formats.pipeline(model, target.precision)))
        if target.precision == "int8":
            assert images is not None, "which the caller has checked"
            check(compare(model, onnx.Session(proto), pixels), precision="float32")
            proto, figures = _quantize(model, proto, images)
            metadata = replace(metadata, quantization=figures)
        else:
            metadata = _with_costs(metadata, model, onnx.Session(proto), images)
        predict = formats.write_onnx(proto, target, folder, metadata)
    parity = compare(model, predict, pixels)
    if target.precision != "int8":
        check(parity, precision=target.precision)
    return parity, metadata


def _quantize(model: Model, proto: Any, images: Images) -> tuple[Any, dict[str, Any]]:
    """Return the quantized network, calibrated on at most half of the images, and its figures on others."""
    if len(images) < 2:
        raise UserError("--int8 needs at least two labeled images: to find the ranges of activations, and to measure.")
    count = min(int8.MAX_CALIBRATION_IMAGES, len(images) // 2)
    used = images[np.random.default_rng(0).permutation(len(images))[: count + _MAX_TEST_IMAGES]]
    pixels = _squares(model, used)
    quantized = int8.quantize(proto, pixels[:count])
    sessions = [onnx.Session(proto), onnx.Session(quantized)]
    before, after = (int8.accuracy(session, pixels[count:], used.targets[count:]) for session in sessions)
    milliseconds = int8.latencies(sessions, pixels[:1])
    return quantized, {
        "calibration_images": count,
        "images": len(pixels) - count,
        "accuracy": after,
        "float_accuracy": before,
        "milliseconds": milliseconds[1],
        "float_milliseconds": milliseconds[0],
    }


def _with_costs(metadata: Metadata, model: Model, predict: Predict, images: Images | None) -> Metadata:
    """Return the metadata with the accuracy of float16, if it is that and there are labeled images to measure it on."""
    if metadata.precision != "float16" or images is None or images.labels is None:
        return metadata
    used = _evenly(images, _MAX_TEST_IMAGES)
    pixels = _squares(model, used)
    before, after = (int8.accuracy(one, pixels, used.targets) for one in (model.predict_proba, predict))
    return replace(metadata, quantization={"images": len(used), "accuracy": after, "float_accuracy": before})


def _squares(model: Model, images: Images) -> NDArray[np.uint8]:
    """Return the pixels of images as the model takes them."""
    size = model.preprocessing
    return resize(images.pixels, resolution=size.resolution, channels=size.channels, fit=size.fit)


def _evenly(images: Images, count: int) -> Images:
    """Return up to so many images, evenly spaced."""
    return images[np.unique(np.linspace(0, len(images) - 1, count).round().astype(np.int64))]


def _generated(model: Model, count: int = 16) -> NDArray[np.uint8]:
    """Return noise of blocks as images of the trained size, uint8 (count, R, R, C)."""
    side, channels = model.preprocessing.resolution, model.preprocessing.channels
    noise = np.random.default_rng(0).integers(0, 256, (count, -(-side // 4), -(-side // 4), channels), dtype=np.uint8)
    return noise.repeat(4, axis=1).repeat(4, axis=2)[:, :side, :side]
