from __future__ import annotations

import ast
import io
import json
import shlex
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.errors import UserError
from shoestring.exporting import onnx
from shoestring.exporting.formats import Target, describe, pipeline, write_onnx, write_torch
from shoestring.exporting.metadata import from_properties
from shoestring.exporting.parity import compare, with_tta
from shoestring.models.model import Model
from shoestring.tasks import MULTI_LABEL

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def model(pixels) -> Model:
    """A network whose predictions are ambiguous for some images, with every kind of test-time augmentation."""
    from shoestring.models.model import build
    from shoestring.models.preprocessing import Preprocessing

    torch.manual_seed(0)
    size = Preprocessing(12, 1, (0.3,), (0.25,), mirror=True, shift=2, fit="pad")
    model = build("simplecnn", classes=("cat", "dog", "owl"), preprocessing=size, options={"width": 0.125})
    head = [layer for layer in model.module.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():  # logits of every class with mean 0 and deviation 1
        nn.init.normal_(head.weight)
        logits = model.module.eval()(model.prepare(torch.from_numpy(pixels)))
        head.bias -= logits.mean(0)
        for parameter in (head.weight, head.bias):
            parameter /= (logits - logits.mean(0)).std()
    return replace(model, temperature=1.5)


@pytest.fixture(scope="module")
def pixels(make_images) -> np.ndarray:
    return make_images(30, side=12).pixels


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    """An ONNX file of the model in a folder, and what it predicts."""
    folder = tmp_path_factory.mktemp("onnx")
    target = Target("onnx", "float32", folder / "model.onnx", "model")
    proto = onnx.to_onnx(onnx.trace(pipeline(model, "float32")))
    accuracy = {"split": "test", "images": 3, "accuracy": 0.5, "interval": [0.1, 0.9], "tta": "crops"}
    return folder, write_onnx(proto, target, folder, describe(model, precision="float32", accuracy=accuracy))


def test_several_labels_have_independent_probabilities(model, pixels, tmp_path):
    several = replace(with_tta(model, "none"), task=MULTI_LABEL)
    proto = onnx.to_onnx(onnx.trace(pipeline(several, "float32")))
    target = Target("onnx", "float32", tmp_path / "model.onnx", "model")
    description = describe(several, precision="float32", accuracy=None)
    probabilities = write_onnx(proto, target, tmp_path, description)(pixels)
    assert np.abs(probabilities - several.predict_proba(pixels)).max() < 1e-5
    assert np.abs(probabilities.sum(1) - 1).max() > 0.1 and description.task == "multi-label"


def test_predictions_are_those_of_the_model(model, pixels, written):
    _, predict = written
    plain, probabilities = with_tta(model, "flip").predict_proba(pixels), model.predict_proba(pixels)
    assert 0 < (np.abs(plain - probabilities).max(1) > 1e-5).sum() < len(pixels)  # some of them are ambiguous
    for count in (1, 2, 30):
        assert np.abs(predict(pixels[:count]) - probabilities[:count]).max() < 1e-5
    parity = compare(model, predict, pixels)
    assert parity.difference < 1e-5 and parity.resized_difference < 0.01 and parity.same_class > 0.9


def test_images_of_the_trained_size_are_not_resized(model, pixels):
    plain = with_tta(model, "none")
    proto = onnx.to_onnx(onnx.trace(pipeline(plain, "float32")))
    (branch,) = (node for node in proto.graph.node if node.op_type == "If")
    kinds = {part.name: {node.op_type for node in part.g.node} for part in branch.attribute}
    assert {"MatMul", "Floor"} <= kinds["else_branch"] and not {"MatMul", "Mul", "Floor"} & kinds["then_branch"]
    assert "Floor" not in {node.op_type for node in proto.graph.node}
    session = onnx.Session(proto)
    for axis in (1, 2):  # one side of two is that of the network
        images = np.concatenate([pixels, pixels[:, :6] if axis == 1 else pixels[:, :, :6]], axis)
        assert np.abs(session(images) - plain.predict_proba(images)).max() < 0.01


def test_the_file_says_what_it_is(model, written):
    _, predict = written
    metadata = from_properties(predict.properties)
    assert metadata == describe(model, precision="float32", accuracy=metadata.accuracy)
    assert metadata.classes == model.classes and metadata.tta == "crops" and metadata.accuracy["accuracy"] == 0.5


def test_the_script_predicts_without_other_packages(model, pixels, written):
    folder, _ = written
    np.save(folder / "images.npy", pixels[:4])
    script = folder / "predict_model.py"
    assert len(script.read_text().splitlines()) == 6  # with its docstring
    code = f"import runpy, sys; sys.argv[1:] = [{str(folder / 'images.npy')!r}]; runpy.run_path({str(script)!r})"
    code += "; assert not any(name in sys.modules for name in ('torch', 'PIL', 'shoestring'))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in output.splitlines()]
    assert [line[0] for line in lines] == model.predict(pixels[:4]).tolist()
    assert np.allclose([float(line[1]) for line in lines], model.predict_proba(pixels[:4]).max(1), atol=1e-4)


def test_the_script_reads_a_file_with_any_name(metadata, tmp_path):
    file = tmp_path / """it's "new" {x} \\ gr\u00fcn.onnx"""
    script = onnx.write_script(file, metadata)
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert script.name in shlex.split(ast.get_docstring(tree))
    assert file.name in {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant)}


def test_float16_is_close(model, pixels):
    plain = with_tta(model, "none")
    session = onnx.Session(onnx.to_onnx(onnx.trace(pipeline(plain, "float16"))))
    assert 1e-7 < compare(plain, session, pixels).difference < 0.01


def test_programs_of_torch_predict_the_same(model, pixels, tmp_path):
    target = Target("torch-export", "float32", tmp_path / "model.pt2", "model")
    metadata = describe(model, precision="float32", accuracy=None)
    program = onnx.trace(pipeline(model, "float32"))
    parity = compare(model, write_torch(program, target, tmp_path, metadata), pixels)
    assert parity.difference < 1e-5 and parity.resized_difference < 0.01
    content = {"metadata.json": ""}
    torch.export.load(io.BytesIO((tmp_path / "model.pt2").read_bytes()), extra_files=content)
    assert from_properties(json.loads(content["metadata.json"])) == metadata


def test_a_network_that_depends_on_values_is_refused(model):
    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2, 3))[:, None] * (2 if images.sum() > 0 else 3) * torch.ones(3)

    with pytest.raises(UserError, match=r"this network cannot be exported: .*data-dependent") as raised:
        onnx.trace(pipeline(replace(model, module=Odd()), "float32"))
    assert "\n" not in str(raised.value)
