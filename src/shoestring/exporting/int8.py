"""Static quantization of an exported network to int8 by ONNX Runtime, and what it costs and saves."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.exporting.metadata import INPUT
from shoestring.exporting.onnx import Session
from shoestring.exporting.parity import Predict
from shoestring.exporting.requirements import require
from shoestring.runtime.quiet import quiet
from shoestring.tasks import THRESHOLD

MAX_CALIBRATION_IMAGES = 256
_BATCH = 32
_TIMING_SECONDS = 2.0  # for both models together


def quantize(proto: Any, images: NDArray[np.uint8]) -> Any:
    """Return an `onnx.ModelProto` whose network computes in int8, calibrated on images (N, H, W, C).

    Weights are quantized per channel, and activations by their ranges on these images (Jacob et al. 2018). Whatever
    comes before and after the network stays in floating point. Weights take 7 of the 8 bits: processors without VNNI
    instructions add two products in 16 bits, which overflow with 8.
    """
    onnx, quantization = require("onnx"), require("onnxruntime.quantization")
    with quiet(), tempfile.TemporaryDirectory(prefix="shoestring-") as folder:
        fused, file = Path(folder) / "fused.onnx", Path(folder) / "quantized.onnx"
        _fuse(proto, fused)
        inside, nodes = _names_in_network(proto), onnx.load(str(fused)).graph.node
        quantization.quantize_static(
            str(fused),
            str(file),
            _reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # the kernels of unsigned activations are the fastest
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,
            nodes_to_quantize=[node.name for node in nodes if node.name in inside],
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(str(file))


def _fuse(proto: Any, file: Path) -> None:
    """Write the network with each batch norm merged into its convolution, so that no range between them is rounded."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3
    runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def accuracy(predict: Predict, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the fraction of images (N, H, W, C) whose most probable class is the label (N,).

    With several labels per image (N, L), it is the fraction for which all of them are predicted correctly.
    """
    probabilities = np.concatenate([predict(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)])
    if labels.ndim == 1:
        return float((probabilities.argmax(1) == labels).mean())
    return float(((probabilities >= THRESHOLD) == labels).all(1).mean())


def latencies(sessions: list[Session], image: NDArray[np.uint8], *, seconds: float = _TIMING_SECONDS) -> list[float]:
    """Return the median milliseconds that each session takes for one image (1, H, W, C), measured in turns."""
    times: list[list[float]] = [[] for _ in sessions]
    for session in sessions:
        session(image)  # the first call allocates
    end = time.monotonic() + seconds
    while not times[0] or time.monotonic() < end:
        for session, mine in zip(sessions, times):
            start = time.perf_counter()
            session(image)
            mine.append(time.perf_counter() - start)
    return [1000 * statistics.median(mine) for mine in times]


def _reader(images: NDArray[np.uint8]) -> Any:
    """Return a calibration reader of batches of images."""
    quantization = require("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


def _names_in_network(proto: Any) -> set[str]:
    """Return the names of the nodes that are part of the network, and not of what comes before and after it."""
    key = "pkg.torch.onnx.name_scopes"  # written by PyTorch: the modules that a node comes from, as a Python list
    scopes = {node.name: next((p.value for p in node.metadata_props if p.key == key), "") for node in proto.graph.node}
    return {name for name, scope in scopes.items() if "'network'" in scope}
