"""Networks after surgery are saved, loaded in another process, and exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from networks import difference
from shoestring.channels import drop, trace, widen
from shoestring.models import Model, Preprocessing, build

MODELS = [
    ("resnet20", {}),
    ("convnet", {"width": 0.25}),
    ("timm:test_efficientnet", {}),
    ("timm:test_vit", {"img_size": 32}),
    ("timm:test_convnext", {}),
]
EVERY = pytest.mark.parametrize(("name", "options"), MODELS, ids=[name for name, _ in MODELS])
LOAD = """
import sys, torch
from pathlib import Path
from shoestring.models import Model
folder = Path(sys.argv[1])
model = Model.load(folder)
with torch.inference_mode():
    torch.save(model.module.eval()(torch.load(folder / "images.pt")), folder / "outputs.pt")
"""


def _model(name: str, options: dict) -> tuple[Model, torch.Tensor]:
    torch.manual_seed(0)
    size = Preprocessing(32, 3, (0.5,) * 3, (0.25,) * 3)
    images = torch.randn(3, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    model = build(name, classes=list("abc"), preprocessing=size, options=options)
    model.module.train()(images)
    return model, images


def _edited(model: Model, images: torch.Tensor, how: str) -> Model:
    table = trace(model.module, images)
    if how == "pruned":
        module = drop(model.module, table, {n: torch.arange(0, g.size, 2) for n, g in table.groups.items()})
    else:
        module = widen(model.module, table, {n: 2 * g.size for n, g in table.groups.items()})
    module.eval().to(memory_format=torch.channels_last)
    return Model(module, model.name, model.options, model.classes, model.preprocessing)


@EVERY
@pytest.mark.parametrize("how", ["pruned", "widened"])
def test_outputs_are_bitwise_equal_in_a_new_process(name, options, how, tmp_path: Path):
    model, images = _model(name, options)
    changed = _edited(model, images, how)
    changed.save(tmp_path)
    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", f"import torch; torch.set_num_threads(1)\n{LOAD}", str(tmp_path)], check=True)
    with torch.inference_mode():
        expected = changed.module(images)
    assert torch.equal(torch.load(tmp_path / "outputs.pt"), expected)
    again = _edited(Model.load(tmp_path), images, "pruned")  # surgery works on a loaded model too
    assert again.module(images).shape == expected.shape


@EVERY
@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_exported_networks_give_the_same_outputs(name, options, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, images = _model(name, options)
    pruned = _edited(model, images, "pruned")
    file = tmp_path / "model.onnx"
    torch.onnx.export(
        pruned.module.to(memory_format=torch.contiguous_format), (images.contiguous(),), str(file), dynamo=True
    )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: images.contiguous().numpy()})
    with torch.inference_mode():
        assert difference(torch.from_numpy(output), pruned.module(images)) < 1e-4
