from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.budget import Budget
from shoestring.config import registry
from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Train
from shoestring.data.images import Images
from shoestring.data.memory import in_memory
from shoestring.growth.widening import GrowableChannels
from shoestring.models import Model, Preprocessing, build, timm
from shoestring.models.inference import embed
from shoestring.training.optimizer import make_optimizer
from trainings import fit

CLASSES = ("ant", "bee", "cat", "dog", "elk")
OWN = ["convnet", "resnet20", "resnet18", "vgg8", "vgg16", "simplecnn"]
# a small network of each timm family that is built quickly: of any image size, and of a fixed one (SIZED)
FAMILIES = [
    "test_byobnet",
    "test_convnext",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_resnet",
    "mobilenetv2_100",
    "mnasnet_small",
    "mobilenetv3_small_050",
    "lcnet_050",
    "efficientnet_lite0",
    "ghostnet_050",
    "repghostnet_050",
    "fasternet_t0",
    "edgenext_xx_small",
    "mobilevit_xxs",
    "efficientvit_b0",
    "regnetx_002",
    "dla46_c",
    "resnet18",
    "starnet_s050",
    "ese_vovnet19b_slim_dw",
    "rexnet_100",
    "hgnetv2_b0",
    "repvit_m0_9",
    "inception_next_atto",
    "skresnet18",
    "legacy_seresnet18",
    "res2net50_14w_8s",
    "swiftformer_xs",
    "shvit_s1",
    "pvt_v2_b0",
    "crossvit_tiny_240",
    "lcnetv2_small",
    "cpubone_nano",
]
SIZED = ["test_vit", "test_vit_relpos", "deit_tiny_distilled_patch16_224", "xcit_nano_12_p16_224", "visformer_tiny"]


def _size(side: int, channels: int = 3) -> Preprocessing:
    return Preprocessing(side, channels, (0.5,) * channels, (0.25,) * channels)


def _first_loss(model: Model) -> float:
    size = model.preprocessing
    images = torch.randn(6, size.channels, size.resolution, size.resolution)
    with torch.no_grad():
        logits = model.module.train()(images)
    assert logits.shape == (6, len(model.classes))
    return functional.cross_entropy(logits, torch.arange(6) % len(model.classes)).item()


@pytest.mark.parametrize("name", OWN)
def test_own_networks_start_at_uniform_probabilities(name):
    torch.manual_seed(0)
    model = build(name, classes=CLASSES, preprocessing=_size(32), options={"width": 0.25})
    assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)


@pytest.mark.parametrize("name", [*FAMILIES, *SIZED])
def test_timm_networks_start_at_uniform_probabilities(name):
    torch.manual_seed(0)
    options = {"img_size": 64} if name in SIZED else {}
    model = build(f"timm:{name}", classes=CLASSES, preprocessing=_size(64), options=options)
    assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)


def test_heads_are_found_by_number_of_classes_not_by_size():
    sixteen = [f"class{index}" for index in range(16)]
    model = build("resnet20", classes=sixteen, preprocessing=_size(16))
    assert model.heads == ("linear.weight", "linear.bias")
    assert model.module.layer1[0].conv1.weight.shape[0] == 16
    assert model.module.layer1[0].conv1.weight.std() > 0.05
    distilled = build(
        "timm:deit_tiny_distilled_patch16_224", classes=CLASSES, preprocessing=_size(32), options={"img_size": 32}
    )
    assert distilled.heads == ("head.weight", "head.bias", "head_dist.weight", "head_dist.bias")


def test_finding_heads_changes_neither_weights_nor_random_state():
    torch.manual_seed(0)
    model = build("simplecnn", classes=CLASSES, preprocessing=_size(8))
    after = torch.rand(1)
    torch.manual_seed(0)
    plain = registry.find("models", "simplecnn")(5, channels=3)
    assert torch.equal(after, torch.rand(1))
    same = [
        torch.equal(one, other) for one, other in zip(model.module.state_dict().values(), plain.state_dict().values())
    ]
    assert same == [True] * 6 + [False, True]  # zero biases are zero in both


class Squeezed(nn.Module):
    """A convolution produces the logits, followed by a ReLU without norms, as in SqueezeNet."""

    def __init__(self, classes: int, channels: int, norm: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1, bias=not norm), nn.ReLU())
        if norm:
            self.trunk.insert(1, nn.BatchNorm2d(16))
        self.final = nn.Conv2d(16, classes, 1, bias=not norm)
        if not norm:
            nn.init.constant_(self.final.bias, 3.0)
            self.final.bias.data[0] = 9.0

    def forward(self, images: Tensor) -> Tensor:
        maps = self.final(self.trunk(images))
        return (maps if self.final.bias is None else functional.relu(maps)).mean((2, 3))


@pytest.fixture
def squeezed(monkeypatch):
    """Build a network with a convolutional head, as a third-party package may: squeezed(images, norm=True)."""
    find = registry.find

    def found(kind: str, name: str):
        if name != "squeezed":
            return find(kind, name)
        return lambda classes, *, channels=3, norm=False: Squeezed(classes, channels, norm)

    monkeypatch.setattr(registry, "find", found)
    monkeypatch.setattr(registry, "bind", lambda kind, name, options: options)

    def made(images, **options) -> Model:
        torch.manual_seed(0)
        size = _size(*images.shape[::2])
        return build("squeezed", classes=images.classes, preprocessing=size, options=options)

    return made


@pytest.fixture
def dark_and_light() -> Images:
    """Sixty grayscale images in three classes that differ in brightness everywhere."""
    labels = np.arange(60) % 3
    pixels = np.random.default_rng(0).integers(0, 80, (60, 8, 8, 1), dtype=np.uint8) + 80 * labels[:, None, None, None]
    return in_memory(pixels.astype(np.uint8), labels, classes=["dark", "grey", "light"], resolution=8)


@pytest.mark.parametrize("norm", [False, True])
def test_convolution_that_produces_logits_is_a_head(dark_and_light, squeezed, context, norm):
    images = dark_and_light
    model = squeezed(images, norm=norm)
    assert model.heads == (("final.weight",) if norm else ("final.weight", "final.bias"))
    assert _first_loss(model) == pytest.approx(math.log(3), rel=0.1)
    muon = make_optimizer(model, TrainPlan(32, "float32", "muon", 0.2, 0.0)).parts[0]
    assert [id(weight) for group in muon.param_groups for weight in group["params"]] == [
        id(model.module.trunk[0].weight)
    ]
    window = Budget(epochs=20, steps=("train",)).window("train")
    fit(model, images, window, settings=Train(batch_size=10, label_smoothing=0.0), context=context)
    features, logits = embed(model, images)
    assert features.shape == (60, 16)
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert (logits.argmax(1) == images.targets).mean() > 0.8  # it learns in spite of the ReLU


def test_narrow_and_widened_networks_start_at_uniform_probabilities():
    torch.manual_seed(0)
    model = build("timm:test_resnet", classes=CLASSES, preprocessing=_size(32))
    growing = GrowableChannels(model.module, torch.randn(2, 3, 32, 32))
    growing.narrow(model.module, 0.5)
    assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)
    growing.widen(model.module, 0.5, 1.0)
    assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)


def test_heads_for_other_classes_are_initialized_near_zero(tmp_path, caplog):
    about = {"preprocessing": _size(32), "options": {"img_size": 32}}
    torch.manual_seed(0)
    saved = build("timm:deit_tiny_distilled_patch16_224", classes=("yes", "no"), **about)
    with torch.no_grad():
        saved.module.head.weight.normal_()
    saved.save(tmp_path)
    for weights in (tmp_path, tmp_path / "model.safetensors"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            model = build("timm:deit_tiny_distilled_patch16_224", classes=CLASSES, weights=str(weights), **about)
        assert "its last layers 'head' and 'head_dist' are not loaded" in caplog.text
        assert torch.equal(model.module.cls_token, saved.module.cls_token)
        assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)
    again = build("timm:deit_tiny_distilled_patch16_224", classes=("yes", "no"), weights=str(tmp_path), **about)
    assert torch.equal(again.module.head.weight, saved.module.head.weight)


@pytest.mark.parametrize(("classes", "loaded"), [(CLASSES, True), (("yes", "no"), False)])
def test_pretrained_head_is_kept_for_the_same_number_of_classes(monkeypatch, classes, loaded):
    create = timm.create

    def pretrained(name: str, **about) -> nn.Module:
        module = create(name, **{**about, "pretrained": False})
        module.pretrained_cfg = {"num_classes": 5}
        with torch.no_grad():
            module.fc.weight.fill_(0.5)
        return module

    monkeypatch.setattr(timm, "create", pretrained)
    model = build("timm:test_resnet", classes=classes, preprocessing=_size(32), weights="pretrained")
    assert bool((model.module.fc.weight == 0.5).all()) == loaded


def test_saved_model_keeps_its_heads(tmp_path, images, make_model):
    model = make_model(images, "convnet")
    model.save(tmp_path)
    assert Model.load(tmp_path).heads == model.heads == ("head.weight",)
    assert replace(model, temperature=2.0).heads == model.heads


def test_network_that_scales_its_logits_keeps_its_head():
    torch.manual_seed(0)
    model = build("convnet", classes=CLASSES, preprocessing=_size(32))
    assert model.module.head.weight.std().item() == pytest.approx(
        (3 * 256) ** -0.5, rel=0.1
    )  # uniform, the default of linear layers
    assert _first_loss(model) == pytest.approx(math.log(5), rel=0.1)
