"""Altered, damaged or malicious model files: a one-line error that names the file, and no code is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.models import Model, Preprocessing, build
from shoestring.models.description import read_network
from shoestring.models.timm import OPTIONS

CLASSES = ("ant", "bee", "cat")
GREY = {"resolution": 8, "channels": 1, "mean": [0.5], "std": [0.25], "mirror": False, "shift": 0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "saved"
    size = Preprocessing(8, 1, (0.5,), (0.25,))
    build("convnet", classes=CLASSES, preprocessing=size, options={"width": 0.125}).save(folder)
    return folder


@pytest.fixture
def altered(saved: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copy the saved model with an altered description."""

    def alter(**values: Any) -> Path:
        about = json.loads((saved / "model.json").read_text()) | values
        about = {key: value for key, value in about.items() if value is not ...}
        (tmp_path / "model.json").write_text(json.dumps(about))
        (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
        return tmp_path

    return alter


def refused(folder: Path, *told: str) -> None:
    with pytest.raises(UserError) as caught:
        Model.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(folder), *told):
        assert part in message


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"temperature": 0}, "temperature must be a finite number above 0, not 0"),
        ({"temperature": -1.0}, "not -1.0"),
        ({"temperature": float("nan")}, "not nan"),
        ({"temperature": float("inf")}, "not inf"),
        ({"temperature": "warm"}, "not 'warm'"),
        ({"temperature": True}, "temperature"),
        ({"temperature": ...}, "'temperature' is missing"),
        ({"preprocessing": ...}, "'preprocessing' is missing"),
        ({"preprocessing": "none"}, "preprocessing must be a mapping"),
        ({"preprocessing": {**GREY, "resolution": 0}}, "resolution"),
        ({"preprocessing": {**GREY, "resolution": 10**9}}, "resolution"),
        ({"preprocessing": {**GREY, "resolution": 8.5}}, "resolution"),
        ({"preprocessing": {**GREY, "resolution": "8"}}, "resolution"),
        ({"preprocessing": {**GREY, "channels": 0, "mean": [], "std": []}}, "channels"),
        ({"preprocessing": {**GREY, "std": [0]}}, "std must be finite numbers above 0"),
        ({"preprocessing": {**GREY, "std": ["wide"]}}, "std"),
        ({"preprocessing": {**GREY, "mean": [float("nan")]}}, "mean must be finite"),
        ({"preprocessing": {**GREY, "mean": [0.5, 0.5]}}, "as many means"),
        ({"preprocessing": {**GREY, "mean": 0.5}}, "mean must be a list"),
        ({"preprocessing": {**GREY, "mirror": "yes"}}, "mirror"),
        ({"preprocessing": {**GREY, "shift": 8}}, "shift"),
        ({"preprocessing": {**GREY, "shift": -1}}, "shift"),
        ({"preprocessing": {**GREY, "fit": "stretch"}}, "fit must be one of crop, squash, pad, not 'stretch'"),
        ({"preprocessing": {**GREY, "fit": ["pad"]}}, "fit must be one of"),
        ({"classes": ["ant", "bee", "ant"]}, "class 'ant' is listed more than once"),
        ({"classes": [1, 2, 3]}, "classes must be a list of names"),
        ({"classes": "abc"}, "classes must be a list"),
        ({"classes": []}, "at least two classes"),
        ({"classes": ["ant"]}, "at least two classes"),
        ({"name": 7}, "name must be text"),
        ({"name": "convnt"}, "Did you mean 'convnet'"),
        ({"name": "timm:local-dir:/tmp", "options": {}}, "unknown timm model"),
        ({"options": []}, "options must be a mapping"),
        ({"options": {"width": "wide"}}, "width"),
        ({"options": {"width": [1]}}, "width"),
        ({"options": {"width": float("nan")}}, "cannot be built"),
        ({"options": {"width": 1e9}}, "cannot be built"),
        ({"options": {"width": 1000}}, "parameters"),
        ({"options": {"dropout": 7}}, "cannot be built"),
        ({"options": {"widht": 1}}, "Did you mean 'width'"),
        ({"options": {"channels": 3}}, "channels"),
        ({"sizes": []}, "sizes must be a mapping"),
    ],
)
def test_altered_descriptions_raise_errors(altered, values, told):
    refused(altered(**values), "model.json", told)


@pytest.mark.parametrize(
    "values",
    [
        {"classes": ["ant", "bee"]},
        {"preprocessing": {**GREY, "channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3}},
        {"name": "simplecnn"},
        {"sizes": {"nothing.there": 3}},
        {"sizes": {"forward": 3}},
        {"sizes": {"head.weight": 3}},
        {"sizes": {"blocks.0.conv1.groups": 5}},
        {"sizes": {"blocks.0.conv1.stride": "wide"}},
        {"sizes": {"blocks.0.conv1.__class__": 3}},
        {"sizes": {"blocks.0.conv1.stride": [0, 0]}},
    ],
)
def test_descriptions_of_another_network_do_not_fit_the_tensors(altered, values):
    refused(altered(**values), "model.safetensors does not fit the model", "model.json")


def test_descriptions_of_earlier_versions_mean_the_center_square(altered):
    assert Model.load(altered(preprocessing=GREY)).preprocessing.fit == "crop"
    assert Model.load(altered(preprocessing={**GREY, "fit": "pad"})).preprocessing.fit == "pad"


def test_invalid_json_raises_an_error(altered):
    folder = altered()
    for content in (b"", b"[]", b"\xff\xfe", b"{" * 9, b"[" * 5000, b'{"temperature": ' + b"1" * 5000 + b"}"):
        (folder / "model.json").write_bytes(content)
        refused(folder, "model.json")


def _cut(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {**state, name: state[name][:1].contiguous()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: {**state, "head.weight": state["head.weight"] * torch.nan}, "'head.weight' holds NaN"),
        (lambda state: {**state, "head.weight": state["head.weight"] + torch.inf}, "not finite"),
        (lambda state: _cut(state, "blocks.0.conv1.weight"), "does not fit"),
        (lambda state: _cut(state, "head.weight"), "does not fit"),
        (lambda state: {**state, "blocks.0.conv1.weight": torch.zeros(0, 8, 3, 3)}, "does not fit"),
        (lambda state: {**state, "more": torch.zeros(3)}, "does not fit"),
        (lambda state: {}, "does not fit"),
    ],
)
def test_mismatched_tensors_raise_errors(altered, change, told):
    folder = altered()
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    refused(folder, "model.safetensors", told)


def test_truncated_tensors_raise_errors(altered):
    folder = altered()
    whole = (folder / "model.safetensors").read_bytes()
    for size in (0, 7, 100, len(whole) - 1):
        (folder / "model.safetensors").write_bytes(whole[:size])
        refused(folder, "model.safetensors is not a readable")


class _Trap:
    """An object whose unpickling creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A pickle, and the file that exists once it was loaded."""
    sprung = tmp_path / "sprung"
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(_Trap(sprung)))
    return tmp_path / "trap.pth", sprung


@pytest.mark.parametrize(
    "key", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "pretrained"]
)
def test_no_option_of_a_description_can_load_files(altered, trap, key):
    file, sprung = trap
    value = {"file": str(file)} if key.startswith("pretrained_cfg") else str(file)
    folder = altered(name="timm:test_efficientnet", options={key: value})
    refused(folder, "model.json", f"timm model 'test_efficientnet' has no option '{key}'")
    with pytest.raises(UserError, match=key):
        read_network(folder)
    size = Preprocessing(8, 1, (0.5,), (0.25,))
    with pytest.raises(UserError, match=key):
        build("timm:test_efficientnet", classes=CLASSES, preprocessing=size, options={key: value})
    assert not sprung.exists()


def test_known_options_of_timm_name_no_files():
    assert (
        not {"checkpoint_path", "cache_dir", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"} & OPTIONS.keys()
    )


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("timm:resnet18.evil", {}, "Did you mean|Known: "),
        ("timm:resnet18.", {}, "weights of timm model 'resnet18'"),
        ("timm:test_vit", {"img_size": 0}, "at least 1"),
        ("timm:test_vit", {"img_size": 10**9}, "at most"),
        ("timm:test_vit", {"img_size": "big"}, "integer"),
        ("timm:test_vit", {"global_pool": "nothing"}, "cannot be built"),
        ("timm:test_vit", {"act_layer": "nothing"}, "cannot be built"),
        ("timm:test_resnet", {"img_size": 32}, "does not take these options"),
        ("timm:test_resnet", {"drop_path_rate": 2}, "below 1"),
    ],
)
def test_invalid_timm_names_and_options_raise_one_line_errors(name, options, told):
    size = Preprocessing(32, 3, (0.5,) * 3, (0.25,) * 3)
    with pytest.raises(UserError, match=told) as caught:
        build(name, classes=CLASSES, preprocessing=size, options=options)
    assert "\n" not in str(caught.value)


def test_command_line_prints_one_line_errors(altered, capsys, tmp_path):
    folder = altered(temperature=0)
    for words in (["predict", str(folder), "a.png"], ["evaluate", str(folder), "--on", "digits"]):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1 and "model.json" in err
    assert main(["run", "digits", "--epochs", "1", "--model", "timm:resnet18.evil", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.startswith("error: unknown weights of timm model 'resnet18' 'evil'.")


def test_models_load_from_strings_paths_and_runs(saved, tmp_path):
    model = Model.load(str(saved))
    model.save(str(tmp_path / "run" / "train"))
    for place in (str(tmp_path / "run"), tmp_path / "run", str(tmp_path / "run" / "train")):
        assert Model.load(place).classes == CLASSES
    for place in (tmp_path, tmp_path / "nowhere", saved / "model.json"):
        with pytest.raises(UserError, match=r"model\.json"):
            Model.load(place)
