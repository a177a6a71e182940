from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from shoestring.exporting import int8, onnx
from shoestring.exporting.formats import pipeline
from shoestring.runtime.device import eval_mode

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def trained(make_images):
    """A small network that separates three classes, and its images."""
    from shoestring.models.model import build
    from shoestring.models.preprocessing import Preprocessing

    images = make_images(90, side=8)
    torch.manual_seed(0)
    size = Preprocessing(8, 1, (0.3,), (0.25,), mirror=False)
    model = build("resnet20", classes=images.classes, preprocessing=size, options={"width": 0.25})
    optimizer = torch.optim.Adam(model.module.parameters(), 0.01)
    batch, labels = model.prepare(torch.from_numpy(images.pixels)), torch.from_numpy(images.targets)
    model.module.train()
    for _ in range(20):
        optimizer.zero_grad()
        functional.cross_entropy(model.module(batch), labels).backward()
        optimizer.step()
    with eval_mode(model.module):
        return model, images


def test_quantized_networks_predict_almost_the_same(trained):
    model, images = trained
    to_array = pytest.importorskip("onnx.numpy_helper").to_array
    proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    quantized = int8.quantize(proto, images.pixels[:40])
    kinds = [node.op_type for node in quantized.graph.node]
    assert "QuantizeLinear" in kinds and "BatchNormalization" not in kinds
    weights = {tensor.name: to_array(tensor) for tensor in quantized.graph.initializer}
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    producers = {name: node for node in quantized.graph.node for name in node.output}
    for node in convolutions:
        dequantize = producers[node.input[1]]
        assert dequantize.op_type == "DequantizeLinear"
        values = weights[dequantize.input[0]]
        assert values.dtype == np.int8 and 50 < np.abs(values.astype(int)).max() <= 64  # no sum of two overflows
    sessions = [onnx.Session(proto), onnx.Session(quantized)]
    before, after = (session(images.pixels) for session in sessions)
    assert np.abs(before - after).max() > 0 and (before.argmax(1) == after.argmax(1)).mean() > 0.95
    accuracies = [int8.accuracy(session, images.pixels, images.targets) for session in sessions]
    assert accuracies[0] == (before.argmax(1) == images.targets).mean()
    assert all(time > 0 for time in int8.latencies(sessions, images.pixels[:1], seconds=0.01))
