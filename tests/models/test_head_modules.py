from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from shoestring.channels import drop, trace
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.models import Model, Preprocessing, build
from shoestring.models.blocks import HEAD, find_blocks
from shoestring.models.features import are_cached, cached_features
from shoestring.models.head_modules import CosineHead, TwoOutputs, class_scores
from shoestring.models.heads import head_module
from shoestring.models.inference import embed
from shoestring.models.networks import bind_options
from shoestring.pruning import shrink
from shoestring.training.optimizer import partition

CLASSES = ("ant", "bee", "cat", "dog", "elk")
SIZE = Preprocessing(16, 3, (0.5,) * 3, (0.25,) * 3)
NETWORKS = {"convnet": {"width": 0.25}, "timm:test_resnet": {}}
OTHERS = ["mlp:32,16", "cosine", "prototype", "dual"]


def _build(head: str, name: str = "convnet", *, classes=CLASSES, **more) -> Model:
    torch.manual_seed(0)
    return build(name, classes=classes, preprocessing=SIZE, options={**NETWORKS[name], "head": head}, **more)


def _images(count: int = 6) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _logits(model: Model) -> torch.Tensor:
    with torch.no_grad():
        return class_scores(model.module.eval()(_images()))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("head", OTHERS)
def test_networks_start_at_uniform_probabilities(head, name):
    model = _build(head, name)
    with torch.no_grad():
        logits = class_scores(model.module.train()(_images(32)))
    loss = functional.cross_entropy(logits, torch.arange(32) % 5).item()
    assert loss == pytest.approx(math.log(5), rel=0.15)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("head", OTHERS)
def test_pruned_networks_are_saved_and_loaded(head, name, tmp_path):
    model = _build(head, name)
    smaller = shrink(model, [_images(16)], macs=0.5)
    assert count_macs(smaller) <= 0.5 * count_macs(model)
    smaller.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["options"]["head"] == head
    assert torch.equal(_logits(loaded), _logits(smaller))
    assert (loaded.options, loaded.heads) == (model.options, model.heads)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    assert set(loaded.predict(pixels)) <= set(CLASSES)


def test_hidden_layers_of_a_head_are_pruned():
    model = _build("mlp:32,16")
    table = trace(model.module, _images(1))
    assert {name: group.size for name, group in table.groups.items() if "hidden" in name} == {
        "head.hidden.0": 32,
        "head.hidden.1": 16,
    }
    smaller = drop(model.module, table, {"head.hidden.0": torch.arange(8)})
    assert smaller.head.hidden[0].weight.shape[0] == smaller.head.hidden[1].weight.shape[1] == 8


def test_features_behind_a_cosine_head_are_pruned_with_its_center():
    model = _build("cosine")
    smaller = shrink(model, [], macs=0.3)
    head = head_module(smaller.module)
    assert isinstance(head, CosineHead)
    assert len(head.center) == head.cosine.in_features < head_module(model.module).cosine.in_features


def test_a_linear_head_is_the_default_and_not_an_option():
    plain, linear = build("convnet", classes=CLASSES, preprocessing=SIZE), bind_options("convnet", {"head": "linear"})
    assert plain.options == linear == {}
    assert plain.heads == ("head.weight",)


@pytest.mark.parametrize("head", ["mlp", "cosine"])
def test_a_cosine_depends_on_directions_only(head):
    layer = head_module(_build(head).module).eval()
    features = torch.randn(4, 64)
    same = torch.allclose(layer(features), layer(3 * features), atol=1e-4)
    assert same == (head == "cosine")


def test_logits_of_cosines_are_limited_by_the_scale():
    for name in NETWORKS:
        assert _logits(_build("prototype", name)).abs().max() <= 10.001


def test_dropout_of_an_mlp_is_that_of_the_network_or_its_own():
    assert head_module(_build("mlp").module).dropout.p == 0.2
    options = {**NETWORKS["convnet"], "head": "mlp", "dropout": 0.5}
    model = build("convnet", classes=CLASSES, preprocessing=SIZE, options=options)
    assert head_module(model.module).dropout.p == model.module.dropout.p == 0.5


def test_a_dual_network_has_a_second_output_of_ones():
    model, linear = _build("dual"), _build("linear")
    outputs = model.module.eval()(_images())
    assert isinstance(outputs, TwoOutputs)
    assert torch.equal(outputs.ones, torch.ones(6, 5)) and not outputs.ones.requires_grad
    assert torch.equal(outputs.scores, linear.module.eval()(_images()))
    assert dict(model.module.named_parameters()).keys() == dict(linear.module.named_parameters()).keys()


@pytest.mark.parametrize("head", OTHERS)
def test_all_weights_of_a_head_are_one_block_and_not_updated_by_muon(head):
    model = _build(head, "timm:test_resnet")
    blocks = find_blocks(model.module, model.heads)
    assert list(blocks)[-1] == HEAD
    assert all(name.startswith("fc.") for name in blocks[HEAD])
    assert {name for name, _ in model.module.named_parameters()} == {name for own in blocks.values() for name in own}
    assert not {name for block in list(blocks)[:-1] for name in blocks[block] if name.startswith("fc.")}
    last = dict(model.module.named_parameters())[model.heads[0]]
    assert not any(weight is last for weight in partition(model)[0])


def test_features_are_those_before_the_head_and_are_shared_by_all_heads(make_images):
    images = make_images(8, classes=5, side=16, channels=3)
    expected = embed(_build("linear"), images)[0]
    cached_features(_build("linear"), images, lambda: expected)
    for head in OTHERS:
        model = _build(head)
        model.module.load_state_dict(
            {**model.module.state_dict(), **_body(_build("linear"))}
        )  # as weights of pretrained networks do
        assert np.allclose(embed(model, images)[0], expected, atol=1e-6)
        assert are_cached(model, images)


def _body(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.module.state_dict().items() if not name.startswith("head.")}


@pytest.mark.parametrize("head", [*OTHERS, "linear"])
def test_weights_with_another_head_are_loaded_without_it(head, tmp_path, caplog):
    saved = _build("mlp:8")
    saved.save(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = _build(head, weights=str(tmp_path))
    assert "has another kind of head: its 'head' is not loaded" in caplog.text
    body = _body(saved)
    assert body and all(torch.equal(tensor, body[name]) for name, tensor in _body(model).items())
    assert torch.equal(head_module(model.module).state_dict()[_last(model)], _initial(head, _last(model)))


def _last(model: Model) -> str:
    return model.heads[0].removeprefix("head.")


def _initial(head: str, name: str) -> torch.Tensor:
    return head_module(_build(head).module).state_dict()[name]


def test_weights_with_the_same_head_for_other_classes_keep_its_hidden_layers(tmp_path, caplog):
    saved = shrink(_build("mlp:32,16"), [], macs=0.5)
    saved.save(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = _build("mlp:32,16", classes=("yes", "no"), weights=str(tmp_path))
    assert "its last layer 'head.last' is not loaded" in caplog.text
    assert torch.equal(model.module.head.hidden[1].weight, saved.module.head.hidden[1].weight)
    assert _logits(model).shape == (6, 2)


def test_a_head_needs_one_last_linear_layer():
    name = "timm:deit_tiny_distilled_patch16_224"
    with pytest.raises(UserError, match=f"--head mlp:256,64 needs a network with one last linear layer, and {name}"):
        build(name, classes=CLASSES, preprocessing=SIZE, options={"img_size": 16, "head": "mlp"})


@pytest.mark.parametrize(
    ("value", "message"),
    [("softmax", "unknown head 'softmax'"), (3, "unknown head '3'"), (["mlp"], "option 'head' must be text")],
)
def test_unknown_heads_of_a_file_are_refused(value, message, tmp_path):
    _build("mlp").save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**content, "options": {**content["options"], "head": value}}))
    with pytest.raises(UserError, match=message):
        Model.load(tmp_path)


def test_a_model_with_two_outputs_has_temperature_and_probabilities(make_images):
    images = make_images(6, classes=5, side=16, channels=3)
    model = replace(_build("dual"), temperature=2.0)
    assert np.allclose(model.predict_proba(images).sum(1), 1, atol=1e-5)
