"""A network that knows three colors: the class of an image is the channel with the largest mean."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.exporting.metadata import INPUT, OUTPUT, Metadata

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def write_network(
    file: Path, *, classes: tuple[str, ...] = tuple(COLORS), scale: float = 0.02, task: str = "single-label", **more
) -> Path:
    """Write an ONNX file; with `metadata=False` without any, with `shape` for images of one size."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    last = [helper.make_node("Softmax", ["scaled"], [OUTPUT], axis=1)]
    if task == "multi-label":
        half = helper.make_node("Constant", [], ["half"], value_float=100 * scale)
        last = [half, helper.make_node("Sub", ["scaled", "half"], ["shifted"])]
        last.append(helper.make_node("Sigmoid", ["shifted"], [OUTPUT]))
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Constant", [], ["scale"], value_float=scale),
        helper.make_node("Mul", ["means", "scale"], ["scaled"]),
        *more.pop("last", last),
    ]
    shape = more.pop("shape", ("batch", "height", "width", 3))
    inputs = [helper.make_tensor_value_info(INPUT, more.pop("kind", kinds.UINT8), shape)]
    outputs = [helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, ("batch", 3))]
    model = helper.make_model(
        helper.make_graph(nodes, "colors", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    if more.pop("metadata", True):
        about = {"resolution": 16, "channels": 3, "fit": "crop", "mean": (0.5,) * 3, "std": (0.25,) * 3, **more}
        values = {"temperature": 1.0, "tta": "none", "precision": "float32", "model": "colors", "parameters": 1}
        metadata = Metadata(classes=classes, version="1.0", task=task, **{**values, **about})
        helper.set_model_props(model, metadata.properties())
    temporary = file.with_suffix(".new")
    temporary.write_bytes(model.SerializeToString())
    temporary.replace(file)
    return file


def picture(color: str = "red", format: str = "PNG", size: tuple[int, int] = (20, 24), **options) -> bytes:
    """Return an image file of one color."""
    out = io.BytesIO()
    Image.new("RGB", size, COLORS[color]).save(out, format, **options)
    return out.getvalue()


def pixels(*colors: str, side: int = 16) -> np.ndarray:
    """Return images (N, side, side, 3)."""
    return np.stack([np.full((side, side, 3), COLORS[color], dtype=np.uint8) for color in colors])
