from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import shoestring
from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.exporting import parity, requirements
from shoestring.exporting.metadata import from_properties
from shoestring.models.model import Model
from shoestring.runs import export as runs_export


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small digits"
    words = ["train", "digits", "--model", "simplecnn", "--width", "0.125", "--epochs", "3"]
    assert main([*words, "--quiet", "--out", str(out)]) == 0
    return out


def test_a_run_is_exported_with_its_accuracy(run, capsys):
    pytest.importorskip("onnxscript")
    from shoestring.exporting.onnx import Session

    capsys.readouterr()
    assert main(["export", str(run)]) == 0
    file, script = run / "export" / "model.onnx", run / "export" / "predict_model.py"
    assert sorted(file.parent.iterdir()) == [file, script]
    output = capsys.readouterr().out
    assert str(file) in output and "images of the run of 8 x 8 pixels" in output
    session, result = Session(file), json.loads((run / "run.json").read_text())["result"]
    metadata = from_properties(session.properties)
    assert metadata.accuracy["accuracy"] == result["accuracy"] and metadata.precision == "float32"
    pixels = shoestring.load("digits").test.pixels
    assert np.abs(session(pixels) - Model.load(run).predict_proba(pixels)).max() < 1e-5
    assert main(["export", str(run)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_int8_measures_its_accuracy_on_other_images_than_those_of_calibration(run, call):
    pytest.importorskip("onnxscript")
    result = call("export", run, "--format", "triton", "--int8")
    figures, images = result["quantization"], len(shoestring.load("digits").validation)
    assert figures["calibration_images"] + figures["images"] == images
    assert figures["calibration_images"] == images // 2
    assert abs(figures["accuracy"] - figures["float_accuracy"]) < 0.1
    assert {"accuracy", "milliseconds", "float_milliseconds"} <= figures.keys()
    assert (run / "export" / "triton-int8" / "small-digits" / "1" / "model.onnx").is_file()


def test_safetensors_are_loaded_by_shoestring(run, tmp_path, call):
    model, pixels = Model.load(run), shoestring.load("digits").validation.pixels
    result = call("export", run, "--format", "safetensors", "--fp16", "--out", tmp_path / "half")
    halved = Model.load(tmp_path / "half")
    assert 0 < np.abs(halved.predict_proba(pixels) - model.predict_proba(pixels)).max() < 0.01
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "half", run / "train")]
    assert sizes[0] < 0.7 * sizes[1] and result["precision"] == "float16"


def test_models_in_memory_are_exported_too(make_images, make_model, tmp_path):
    images = make_images(20, channels=3)
    model = make_model(images)
    result = shoestring.export(model, tmp_path / "new" / "model", format="safetensors")
    assert result["images"] == "generated" and result["parity"]["difference"] == 0 and result["accuracy"] is None
    mirrored = replace(model, preprocessing=replace(model.preprocessing, mirror=True))
    result = shoestring.export(mirrored, tmp_path / "plain", format="safetensors", tta="none", images=images)
    assert (result["tta"], result["images"], result["parity"]["images"]) == ("none", "given", 20)
    assert not Model.load(tmp_path / "plain").preprocessing.mirror and mirrored.preprocessing.mirror


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "onx"), "unknown format 'onx'. Did you mean 'onnx'?"),
        (("--fp16", "--int8"), "choose one"),
        (("--int8", "--format", "safetensors"), "--format onnx or triton"),
        (("--int8", "--format", "torch-export"), "quantizes ONNX files, not torch-export"),
        (("--int8", "--tta", "crops", "--out", "new.onnx"), "--tta crops is not possible with --int8"),
        (("--out", "model.bin"), "ends in .onnx"),
        (("--tta", "flip", "--out", "new.onnx"), "this model predicts with none"),
    ],
)
def test_impossible_exports_are_refused(run, refused, words, message):
    assert message in refused("export", run, *words)


def test_folders_without_a_model_are_refused(tmp_path, refused):
    assert "holds no model" in refused("export", tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert "run.json" in refused("export", tmp_path)
    assert not (tmp_path / "export").exists()


def test_missing_packages_are_named_with_the_command_that_installs_them(run, refused, monkeypatch):
    monkeypatch.setitem(requirements.FORMATS, "onnx", ("package_that_is_not_installed",))
    assert 'pip install "shoestring[export]"' in refused("export", run, "--out", "model.onnx")
    with pytest.raises(UserError, match="another package, absent: pip install"):
        requirements.require("absent.part")


def test_int8_needs_labeled_images(make_images, make_model, tmp_path):
    pytest.importorskip("onnxscript")
    images = make_images(20)
    with pytest.raises(UserError, match="labeled images"):
        shoestring.export(make_model(images), tmp_path / "model.onnx", int8=True)
    with pytest.raises(UserError, match="at least two labeled images"):
        shoestring.export(make_model(images), tmp_path / "model.onnx", int8=True, images=images[:1])
    with pytest.raises(UserError, match="no labels"):
        images._labels = None
        shoestring.export(make_model(images), tmp_path / "model.onnx", int8=True, images=images)


def test_files_that_predict_something_else_are_not_written(make_images, make_model, tmp_path, monkeypatch):
    monkeypatch.setitem(parity._LIMITS, "float16", 1e-12)
    with pytest.raises(UserError, match=r"probabilities differ by up to .* Export it without"):
        shoestring.export(make_model(make_images(20)), tmp_path / "out", format="safetensors", fp16=True)
    assert not list((tmp_path / "out").iterdir())


def test_float16_is_refused_for_a_network_that_exceeds_its_range(make_images, make_model, tmp_path):
    images = make_images(20)
    model = make_model(images)
    first, second = [layer for layer in model.module.modules() if isinstance(layer, torch.nn.Conv2d)][:2]
    with torch.no_grad():
        first.weight *= 1e6
        second.weight /= 1e6
    with pytest.raises(UserError, match=r"does not predict what the model does: .* Export it without") as raised:
        shoestring.export(model, tmp_path / "model.pt2", format="torch-export", fp16=True, images=images)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [0.0, -0.5])  # with the second one, any loss is too much
def test_the_accuracy_of_float16_is_measured(make_images, make_model, tmp_path, monkeypatch, limit):
    images, messages = make_images(20), []
    monkeypatch.setattr(runs_export, "_MAX_LOSS", limit)
    model = make_model(images)
    result = shoestring.export(
        model, tmp_path / "half", format="safetensors", fp16=True, images=images, log=messages.append
    )
    accuracy = float((model.predict(images) == np.array(images.classes)[images.targets]).mean())
    assert result["quantization"]["images"] == 20
    assert result["quantization"]["float_accuracy"] == accuracy == result["quantization"]["accuracy"]
    assert any("float16 predicts" in message for message in messages) == (limit < 0)


def test_without_the_images_of_the_run_others_are_generated(run, tmp_path):
    messages: list[str] = []
    model = Model.load(run)
    model.save(tmp_path / "alone")
    result = shoestring.export(tmp_path / "alone", format="safetensors", log=messages.append)
    assert result["images"] == "generated" and result["out"] == str(tmp_path / "alone" / "export" / "safetensors")
