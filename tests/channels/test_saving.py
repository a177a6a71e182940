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
torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[tuple[str, str], tuple[Path, torch.Tensor]]:
    """Folders of all networks, pruned and widened, which another process has loaded, and the outputs before saving."""
    saved = {}
    for name, options in MODELS:
        for how in ("pruned", "widened"):
            model, images = _model(name, options)
            changed, folder = _edited(model, images, how), tmp_path_factory.mktemp("saved")
            changed.save(folder)
            torch.save(images, folder / "images.pt")
            with torch.inference_mode():
                saved[name, how] = folder, changed.module(images)
    subprocess.run([sys.executable, "-c", LOAD, *(str(folder) for folder, _ in saved.values())], check=True)
    return saved


@EVERY
@pytest.mark.parametrize("how", ["pruned", "widened"])
def test_outputs_are_bitwise_equal_in_a_new_process(name, options, how, saved):
    folder, expected = saved[name, how]
    assert torch.equal(torch.load(folder / "outputs.pt"), expected)
    again = _edited(Model.load(folder), torch.load(folder / "images.pt"), "pruned")  # surgery works on it as well
    assert again.module(torch.load(folder / "images.pt")).shape == expected.shape


@EVERY
@pytest.mark.filterwarnings("ignore")  # of the exporter
def test_exported_networks_give_the_same_outputs(name, options, tmp_path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, images = _model(name, options)
    pruned = _edited(model, images, "pruned")
    file = tmp_path / "model.onnx"
    dynamo = name in ("resnet20", "timm:test_vit")  # the other exporter takes less time
    torch.onnx.export(
        pruned.module.to(memory_format=torch.contiguous_format), (images.contiguous(),), str(file), dynamo=dynamo
    )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: images.contiguous().numpy()})
    with torch.inference_mode():
        assert difference(torch.from_numpy(output), pruned.module(images)) < 1e-4
