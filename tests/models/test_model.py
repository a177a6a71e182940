from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from shoestring.channels import drop, trace
from shoestring.errors import UserError
from shoestring.models import Model, Preprocessing, build
from shoestring.models.description import read_network
from shoestring.models.inference import log_probabilities

COLOR = Preprocessing(16, 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
GREY = Preprocessing(16, 1, (0.5,), (0.25,))
CLASSES = ("ant", "bee", "cat")
BUILT = {
    "convnet": {"width": 0.125},
    "resnet20": {"shortcut": "A"},
    "resnet56": {"width": 0.25, "shortcut": "B"},
    "resnet18": {"width": 0.125},
    "vgg8": {"width": 0.125, "norm": False},
    "vgg16": {"width": 0.125},
    "simplecnn": {"dropout": 0.5},
    "timm:mobilenetv3_small_050": {},
}


def _model(name: str = "simplecnn", **options) -> Model:
    torch.manual_seed(0)
    return build(name, classes=CLASSES, preprocessing=COLOR, options=options)


def _pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_prepare_normalizes_and_permutes():
    pixels = _pixels(2, 16, 16, 3)
    prepared = _model().prepare(pixels)
    mean, std = torch.tensor(COLOR.mean).view(3, 1, 1), torch.tensor(COLOR.std).view(3, 1, 1)
    assert torch.allclose(prepared, (pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
    assert prepared.dtype == torch.float32
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_prepare_does_not_change_the_pixels():
    pixels = _pixels(2, 16, 16, 3)
    before = pixels.clone()
    _model().prepare(pixels)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(("size", "wanted"), [(32, None), (8, None), (16, 12)])
def test_prepare_resizes_only_when_sizes_differ(size, wanted):
    flat = torch.full((1, size, size, 3), 51, dtype=torch.uint8)
    prepared = _model().prepare(flat, resolution=wanted)
    assert prepared.shape == (1, 3, wanted or 16, wanted or 16)
    assert torch.allclose(prepared[0, :, 0, 0], torch.tensor([-1.5, -0.8, -1 / 3]), atol=1e-5)
    assert torch.allclose(prepared, prepared[:, :, :1, :1].expand_as(prepared), atol=1e-5)


def test_prepare_averages_when_it_shrinks():
    stripes = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    inner = build("simplecnn", classes=CLASSES, preprocessing=COLOR).prepare(stripes)[0, 0, 4:-4, 4:-4]
    assert torch.allclose(inner, inner.mean().expand_as(inner), atol=0.02)
    assert abs(inner.mean()) < 0.02


def test_prepare_converts_between_grayscale_and_color():
    grey, color = _pixels(2, 16, 16, 1), _pixels(2, 16, 16, 3)
    assert torch.allclose(_model().prepare(grey), _model().prepare(grey.expand(-1, -1, -1, 3)))
    model = build("simplecnn", classes=CLASSES, preprocessing=GREY)
    brightness = color.float() @ torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(model.prepare(color)[:, 0], (brightness / 255 - 0.5) / 0.25, atol=1e-5)


def test_prepare_rejects_inputs_other_than_pixels():
    with pytest.raises(ValueError, match="uint8"):
        _model().prepare(torch.rand(2, 3, 16, 16))


def test_number_of_means_must_match_channels():
    with pytest.raises(ValueError, match="3 channels"):
        Preprocessing(16, 3, (0.5,), (0.5,))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", BUILT)
def test_saved_models_load_bit_for_bit(name, cut, tmp_path):
    model = _model(name, **BUILT[name])
    images = model.prepare(_pixels(4, 16, 16, 3))
    model.module.train()(images)  # running statistics other than those of a new network
    if cut:
        table = trace(model.module, images, verify=False)
        kept = {group: torch.arange(0, own.size, 2) for group, own in table.groups.items()}
        module = drop(model.module, table, kept).to(memory_format=torch.channels_last)
        model = Model(module, model.name, model.options, model.classes, model.preprocessing)
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"model.safetensors", "model.json"}
    assert (loaded.name, loaded.options, loaded.classes) == (model.name, model.options, CLASSES)
    assert loaded.preprocessing == COLOR
    with torch.inference_mode():
        assert torch.equal(loaded.module.eval()(images), model.module.eval()(images))
    assert [p.requires_grad for p in loaded.module.parameters()] == [p.requires_grad for p in model.module.parameters()]


def test_temperature_is_saved_and_softens_predictions(images, make_model, tmp_path):
    model = make_model(images)
    before = log_probabilities(model, images)
    replace(model, temperature=2.0).save(tmp_path)
    loaded = Model.load(tmp_path)
    assert loaded.temperature == 2.0
    expected = torch.from_numpy(before / 2).log_softmax(1).numpy()
    assert log_probabilities(loaded, images) == pytest.approx(expected, abs=1e-5)


def test_errors_name_broken_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match=r"model\.json"):
        Model.load(tmp_path)
    _model().save(tmp_path)
    tensors = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(tensors[: len(tensors) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is not a readable"):
        Model.load(tmp_path)
    save_file({"other": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the model"):
        Model.load(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"name": "simplecnn"}))
    with pytest.raises(UserError, match=r"model\.json does not describe a model"):
        Model.load(tmp_path)


def test_tensors_of_another_rank_raise_an_error(tmp_path):
    _model().save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(state | {"conv1.weight": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors"):
        Model.load(tmp_path)


def test_weights_load_from_a_file_a_model_folder_or_a_run(tmp_path):
    saved = _model()
    saved.save(tmp_path / "run" / "train")
    for path in ["run", "run/train", "run/train/model.safetensors"]:
        torch.manual_seed(1)
        model = build("simplecnn", classes=CLASSES, preprocessing=COLOR, weights=str(tmp_path / path))
        assert torch.equal(model.module.state_dict()["head.weight"], saved.module.state_dict()["head.weight"])
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "model.json").write_text('{"format": "tfjs"}')
    with pytest.raises(UserError, match="does not describe a model"):
        read_network(tmp_path / "foreign")
    with pytest.raises(UserError, match="no weights at"):
        build("simplecnn", classes=CLASSES, preprocessing=COLOR, weights=str(tmp_path))


@pytest.mark.parametrize("classes", [CLASSES, ("yes", "no")])
def test_pruned_network_can_be_loaded_as_initial_weights(tmp_path, classes):
    saved = _model("convnet", width=0.25)
    table = trace(saved.module.eval(), torch.rand(2, 3, 16, 16))
    small = drop(saved.module, table, {name: torch.arange(0, g.size, 2) for name, g in table.groups.items()})
    replace(saved, module=small).save(tmp_path)
    options = {"width": 0.25}
    model = build("convnet", classes=classes, preprocessing=COLOR, options=options, weights=str(tmp_path))
    state, other = small.state_dict(), model.module.state_dict()
    assert all(torch.equal(other[key], state[key]) for key in state if key != "head.weight")
    assert torch.equal(other["head.weight"], state["head.weight"]) == (classes == CLASSES)
    assert model.module(torch.rand(2, 3, 16, 16)).shape == (2, len(classes))


def test_grayscale_conversion_matches_that_of_image_files():
    model = replace(_model(), preprocessing=GREY)
    colors = _pixels(5, 16, 16, 3)
    grey = np.stack([np.asarray(Image.fromarray(image.numpy()).convert("L")) for image in colors])
    expected = model.prepare(torch.from_numpy(grey)[..., None])
    assert (model.prepare(colors) - expected).abs().max() <= 1.01 / 255 / 0.25


def test_head_for_other_classes_is_not_loaded(tmp_path, caplog):
    saved = _model()
    saved.save(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = build("simplecnn", classes=("yes", "no"), preprocessing=COLOR, weights=str(tmp_path))
    assert "'head' is not loaded" in caplog.text
    assert model.module(torch.rand(1, 3, 16, 16)).shape == (1, 2)
    assert torch.equal(model.module.state_dict()["conv1.weight"], saved.module.state_dict()["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "options", "weights", "message"),
    [
        ("resnet21", {}, None, "Did you mean 'resnet20'"),
        ("timm:resnet19", {}, None, "Did you mean 'resnet18'"),
        ("simplecnn", {"widht": 1.0}, None, "Did you mean 'width'"),
        ("resnet20", {"shortcut": "C"}, None, "shortcut"),
        ("timm:resnet18", {"widht": 1.0}, None, "widht"),
        ("simplecnn", {}, "pretrained", "no pretrained weights"),
        ("simplecnn", {}, "nowhere.safetensors", "no file nowhere"),
    ],
)
def test_invalid_arguments_raise_one_line_errors(name, options, weights, message):
    with pytest.raises(UserError, match=message) as caught:
        build(name, classes=CLASSES, preprocessing=COLOR, options=options, weights=weights)
    assert "\n" not in str(caught.value)


def test_weights_of_another_width_raise_an_error(tmp_path):
    _model().save(tmp_path)
    with pytest.raises(UserError, match="does not fit the model"):
        build("simplecnn", classes=CLASSES, preprocessing=COLOR, options={"width": 0.5}, weights=str(tmp_path))


def test_unavailable_pretrained_weights_raise_a_one_line_error(monkeypatch):
    import timm

    def offline(*args, **kwargs):
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"cannot get pretrained weights|no network") as caught:
        build("timm:resnet18", classes=CLASSES, preprocessing=COLOR, weights="pretrained")
    assert "\n" not in str(caught.value)


def test_timm_networks_take_classes_channels_and_dropout():
    model = build("timm:resnet18", classes=CLASSES, preprocessing=GREY, options={"dropout": 0.3})
    assert model.module.conv1.in_channels == 1
    assert model.module.fc.out_features == 3
    assert model.module.drop_rate == 0.3


def test_invalid_temperature_raises_an_error(images, make_model):
    with pytest.raises(ValueError, match="temperature"):
        replace(make_model(images), temperature=0.0)
