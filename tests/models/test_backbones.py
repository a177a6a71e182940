from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.nn import functional

from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.models import Preprocessing, build
from shoestring.models.backbones import BACKBONES, in_order_of, package_file, packaged_weights
from shoestring.models.preprocessing import prepare

HALF = (0.5, 0.5, 0.5)
KNOWN_CLASSES = [818, 885, 644]
KNOWN_PROBABILITIES = [0.0538, 0.0487, 0.0342]


def _picture() -> Image.Image:
    """A colored pattern of 224 pixels that exercises every layer."""
    row, column = np.mgrid[0:224, 0:224] / 224
    waves = [np.sin(9 * row + 3 * column), np.cos(7 * column - 2 * row), row * column * 2 - 1]
    return Image.fromarray(((np.stack(waves, 2) + 1) * 127.5).astype(np.uint8))


@pytest.fixture(scope="module")
def lite0():
    classes = [str(number) for number in range(1000)]
    preprocessing = Preprocessing(224, 3, HALF, HALF)
    return build("timm:tf_efficientnet_lite0", classes=classes, preprocessing=preprocessing, weights="pretrained")


def test_installed_weights_give_known_probabilities(lite0):
    probabilities = lite0.predict_proba([_picture()])[0]
    assert probabilities.argsort()[:-4:-1].tolist() == KNOWN_CLASSES
    assert probabilities[KNOWN_CLASSES] == pytest.approx(KNOWN_PROBABILITIES, abs=2e-3)


def test_installed_weights_agree_with_timm(lite0):
    transform = timm.data.create_transform(input_size=(3, 224, 224), mean=HALF, std=HALF, crop_pct=1.0)
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    model.load_state_dict(packaged_weights("tf_efficientnet_lite0"), strict=False)
    with torch.no_grad():
        expected = functional.softmax(model(transform(_picture())[None]), 1)[0].numpy()
    assert lite0.predict_proba([_picture()])[0] == pytest.approx(expected, abs=1e-5)


def test_a_wrong_mean_changes_the_probabilities(lite0):
    wrong = Preprocessing(224, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    other = build("timm:tf_efficientnet_lite0", classes=lite0.classes, preprocessing=wrong, weights="pretrained")
    assert np.abs(other.predict_proba([_picture()])[0][KNOWN_CLASSES] - KNOWN_PROBABILITIES).max() > 0.02


def test_a_new_head_starts_near_zero_on_pretrained_features():
    size = Preprocessing(64, 3, HALF, HALF)
    model = build("timm:tf_efficientnet_lite0", classes="abcde", preprocessing=size, weights="pretrained")
    assert model.predict_proba([_picture()])[0] == pytest.approx(np.full(5, 0.2), abs=0.1)


def test_tensors_that_do_not_match_are_refused(tmp_path):
    file, state = tmp_path / "weights.pth", dict(packaged_weights("tf_efficientnet_lite0"))
    first = next(iter(state))
    with pytest.raises(UserError, match="has 246 tensors, and timm model 'tf_efficientnet_lite0' has 247"):
        in_order_of("tf_efficientnet_lite0", {name: state[name] for name in list(state)[1:]}, file)
    with pytest.raises(UserError, match=r"'conv_stem.weight' is \(1,\), and 'conv_stem.weight' is \(32, 3, 3, 3\)"):
        in_order_of("tf_efficientnet_lite0", {**state, first: torch.zeros(1)}, file)


def test_weights_of_networks_without_a_package_are_not_installed():
    assert packaged_weights("resnet18") is None
    assert package_file("no_such_package") is None


@pytest.mark.parametrize("backbone", [BACKBONES[-1], BACKBONES[-2], BACKBONES[-4]], ids=lambda backbone: backbone.name)
def test_listed_sizes_are_those_of_the_network(backbone):
    network = timm.create_model(backbone.name, num_classes=0)
    config = timm.get_pretrained_cfg(backbone.name)
    size = SimpleNamespace(resolution=backbone.side, channels=3)
    assert config.input_size[1] == backbone.side
    assert sum(weight.numel() for weight in network.parameters()) == backbone.params
    assert count_macs(SimpleNamespace(module=network, preprocessing=size)) == backbone.macs


def test_backbones_are_listed_with_the_place_of_their_weights(capsys):
    assert main(["list", "backbones"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(BACKBONES) + 1
    columns = next(line for line in lines if "lite0" in line).split()[1:]
    assert columns == ["3.4", "0.38", "224", "Apache-2.0", "installed"]
    assert main(["list", "backbones", "tf_efficientnet_lite0", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["backbones"]
    assert (row["weights"], row["params"]) == ("installed", 3_371_008)
    assert main(["list", "backbones", "tf_efficientnet_lit0"]) == 2
    assert "Did you mean 'tf_efficientnet_lite0'?" in capsys.readouterr().err


def test_bicubic_resizing_is_that_of_pillow_and_stays_in_range():
    small = np.asarray(_picture().resize((48, 48), Image.Resampling.BICUBIC))
    size = Preprocessing(96, 3, (0.0,) * 3, (1.0,) * 3, interpolation="bicubic")
    pixels = prepare(torch.from_numpy(small.copy())[None], size)[0].permute(1, 2, 0).numpy()
    expected = np.asarray(Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC)) / 255
    assert np.abs(pixels - expected).max() < 0.01
    assert 0 <= pixels.min() <= pixels.max() <= 1
