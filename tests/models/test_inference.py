from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.data.images import Images
from shoestring.models import inference
from shoestring.models.inference import Predictor, log_probabilities
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.models.tta import expected_passes
from shoestring.planning.model import preprocessing


class Counting(nn.Module):
    """Two logits that weight positions differently; counts the images it has seen."""

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
    return Model(Counting(32), "counting", {}, ("a", "b"), preprocessing(photos, mirror=mirror, tta=views))


def _probabilities(model: Model, photos, moves) -> np.ndarray:
    """Mean probabilities over images shifted by `move` pixels with reflected edges."""
    found = []
    with torch.no_grad():
        for flip, move in moves:
            places = np.abs(np.arange(32) + move)
            places = np.where(places > 31, 62 - places, places)
            moved = np.array(photos.pixels)[:, places][:, :, places]
            moved = moved[:, :, ::-1].copy() if flip else moved
            found.append(model.module(model.prepare(torch.from_numpy(moved))).softmax(1).numpy())
    return np.mean(found, axis=0)


def test_ambiguous_images_take_six_passes_and_others_two(photos):
    model = _model(photos, "crops")
    two = _probabilities(model, photos, [(False, 0), (True, 0)])
    six = _probabilities(model, photos, [(flip, move) for flip in (False, True) for move in (0, -1, 1)])
    model.module.seen = 0
    found = np.exp(log_probabilities(model, photos))
    doubtful = np.abs(two[:, 0] - two[:, 1]) < 0.15
    assert 5 < doubtful.sum() < len(photos) - 5
    assert found == pytest.approx(np.where(doubtful[:, None], six, two), abs=1e-5)
    assert model.module.seen == 2 * len(photos) + 4 * doubtful.sum()


def test_predictions_do_not_depend_on_batches(photos):
    model = _model(photos, "crops")
    together = log_probabilities(model, photos)
    assert log_probabilities(model, photos, batch_size=7) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize(("name", "mirror", "seen"), [("none", True, 1), ("flip", True, 2), ("flip", False, 1)])
def test_tta_modes_determine_forward_passes(photos, name, mirror, seen):
    model = _model(photos, name, mirror)
    log_probabilities(model, photos)
    assert model.module.seen == seen * len(photos) == expected_passes(model.preprocessing) * len(photos)


def test_batch_size_shrinks_when_memory_runs_out(photos):
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


def _clocked(monkeypatch, model: Model, second: float) -> list[float]:
    """Patch the clock so that a forward pass of an image takes `second` seconds; the list holds the time."""
    clock = [0.0]
    monkeypatch.setattr(inference.time, "monotonic", lambda: clock[0])

    def work(_, inputs):
        clock[0] += second * len(inputs[0])

    model.module.register_forward_pre_hook(work)
    return clock


@pytest.mark.parametrize(("seconds", "made"), [(1000, {"crops"}), (190, {"crops", "flip"}), (100, {"flip", "none"})])
def test_cheaper_tta_is_used_to_meet_a_deadline(photos, monkeypatch, seconds, made):
    model = _model(photos, "crops")
    clock = _clocked(monkeypatch, model, 1.0)
    predictor = Predictor(model, remaining=lambda: seconds - clock[0], pending=len(photos), seconds_per_pass=1.0)
    found = np.concatenate(list(predictor(photos)))
    assert predictor.stats.images_by_tta.keys() == made
    assert predictor.stats.images == len(photos)
    assert predictor.stats.passes == model.module.seen
    assert clock[0] <= seconds
    if made == {"crops"}:
        assert found == pytest.approx(log_probabilities(_model(photos, "crops"), photos), abs=1e-5)


def test_slowdown_is_noticed_during_prediction(photos, monkeypatch):
    model = _model(photos, "crops")
    clock = _clocked(monkeypatch, model, 1.0)
    model.module.register_forward_pre_hook(lambda *_: clock.__setitem__(0, clock[0] + 15 * (model.module.seen > 60)))
    predictor = Predictor(model, remaining=lambda: 260 - clock[0], pending=len(photos), seconds_per_pass=0.01)
    list(predictor(photos))
    assert next(iter(predictor.stats.images_by_tta)) == "crops" and predictor.stats.images_by_tta["none"] > 0


def test_pending_images_of_later_calls_are_budgeted(photos, monkeypatch):
    model = _model(photos, "flip")
    clock = _clocked(monkeypatch, model, 1.0)
    predictor = Predictor(model, remaining=lambda: 150 - clock[0], pending=2 * len(photos), seconds_per_pass=1.0)
    list(predictor(photos))
    first = predictor.stats
    list(predictor(photos))
    assert first.images_by_tta["none"] > 0
    assert first.images == predictor.stats.images == len(photos)
    assert clock[0] <= 150


def test_without_time_tta_is_disabled(photos):
    model = _model(photos, "crops")
    predictor = Predictor(model, remaining=lambda: -1.0, pending=len(photos), seconds_per_pass=1.0)
    assert len(np.concatenate(list(predictor(photos)))) == len(photos)
    assert predictor.stats.images_by_tta == {"none": len(photos)}
    assert predictor.stats.passes_per_image == 1.0


def test_no_images_and_one_class_are_supported(photos):
    assert log_probabilities(_model(photos, "crops"), photos[[]]).shape == (0, 2)
    model = _model(photos, "crops")
    model.module.weight = nn.Parameter(model.module.weight[:1].detach())
    one = Model(model.module, "counting", {}, ("a",), model.preprocessing)
    assert log_probabilities(one, photos).tolist() == [[0.0]] * len(photos)


@pytest.mark.parametrize(
    ("side", "classes", "threads", "most"),
    [(8, 2, 1, 500), (32, 2, 1, 65), (32, 2, 4, 260), (224, 2, 1, 16), (1024, 2, 1, 2), (8, 20_000, 1, 400)],
)
def test_batches_are_smaller_for_large_images_and_many_classes(side, classes, threads, most, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    size = Preprocessing(side, 3, (0.5,) * 3, (0.25,) * 3)
    model = Model(Counting(2), "counting", {}, tuple(map(str, range(classes))), size)
    store = np.broadcast_to(np.uint8(0), (10**6, side, side, 3))
    images = Images(store, None, model.classes, np.zeros(0, dtype=np.str_), fingerprint="")
    assert inference.default_batch_size(model, images.shape) == most
    assert inference.default_batch_size(model) == most


def test_tiny_images_are_not_shifted(make_images):
    assert preprocessing(make_images(side=8), mirror=False, tta="crops").shift == 0
