from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.models.inference import log_probabilities, views
from shoestring.models.model import Model
from shoestring.train.choose import preprocessing


class Counting(nn.Module):
    """Two logits that weigh the places of an image differently, and how many images were looked at."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.seen = 0
        self.weight = nn.Parameter(torch.randn(2, side, side, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return 0.05 * torch.einsum("nchw,khw->nk", images, self.weight)


@pytest.fixture
def photos(make_images):
    return make_images(side=32, channels=3, classes=2, mirrored=True)


def _model(photos, views: str, mirror: bool = True) -> Model:
    return Model(Counting(32), "counting", {}, ("a", "b"), preprocessing(photos, mirror=mirror, views=views))


def _probabilities(model: Model, photos, moves) -> np.ndarray:
    """The mean over images moved by hand: rows and columns taken `move` pixels away, reflected at the edges."""
    found = []
    with torch.no_grad():
        for flip, move in moves:
            places = np.abs(np.arange(32) + move)
            places = np.where(places > 31, 62 - places, places)
            moved = np.array(photos.pixels)[:, places][:, :, places]
            moved = moved[:, :, ::-1].copy() if flip else moved
            found.append(model.module(model.prepare(torch.from_numpy(moved))).softmax(1).numpy())
    return np.mean(found, axis=0)


def test_images_in_doubt_are_looked_at_from_six_views_and_others_from_two(photos):
    model = _model(photos, "crops")
    two = _probabilities(model, photos, [(False, 0), (True, 0)])
    six = _probabilities(model, photos, [(flip, move) for flip in (False, True) for move in (0, -1, 1)])
    model.module.seen = 0
    found = np.exp(log_probabilities(model, photos))
    doubtful = np.abs(two[:, 0] - two[:, 1]) < 0.15
    assert 5 < doubtful.sum() < len(photos) - 5
    assert found == pytest.approx(np.where(doubtful[:, None], six, two), abs=1e-5)
    assert model.module.seen == 2 * len(photos) + 6 * doubtful.sum()


def test_predictions_do_not_depend_on_which_images_are_together(photos):
    model = _model(photos, "crops")
    together = log_probabilities(model, photos)
    assert log_probabilities(model, photos, batch_size=7) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize(("name", "mirror", "seen"), [("one", True, 1), ("flip", True, 2), ("flip", False, 1)])
def test_fewer_views_are_one_word(photos, name, mirror, seen):
    model = _model(photos, name, mirror)
    log_probabilities(model, photos)
    assert model.module.seen == seen * len(photos) == views(model.preprocessing) * len(photos)


def test_predictions_go_on_in_smaller_chunks_when_memory_runs_out(photos):
    model = _model(photos, "flip")
    expected = log_probabilities(model, photos)
    model.module.register_forward_pre_hook(lambda _, inputs: _room_for(9, inputs[0]))
    assert log_probabilities(model, photos) == pytest.approx(expected, abs=1e-5)
    model.module.register_forward_pre_hook(lambda _, inputs: _room_for(0, inputs[0]))
    with pytest.raises(torch.OutOfMemoryError):
        log_probabilities(model, photos)


def _room_for(most: int, images: torch.Tensor) -> None:
    if len(images) > most:
        raise torch.OutOfMemoryError("no room")


def test_tiny_images_are_not_moved(make_images):
    assert preprocessing(make_images(side=8), mirror=False, views="crops").shift == 0
