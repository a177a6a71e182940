from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from shoestring.errors import UserError
from shoestring.models.inference import log_probabilities


@pytest.fixture(params=[1, 3], ids=["grayscale", "color"])
def photos(request, make_images):
    return make_images(12, channels=request.param)


@pytest.fixture
def model(photos, make_model):
    model = make_model(photos)
    return replace(model, temperature=2.5, preprocessing=replace(model.preprocessing, mirror=True))


def _pictures(photos) -> list[Image.Image]:
    return [Image.fromarray(pixels.squeeze()) for pixels in photos.pixels]


def test_predictions_do_not_depend_on_the_kind_of_input(photos, model, tmp_path):
    expected = np.exp(log_probabilities(model, photos))
    pictures, files = _pictures(photos), []
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
        files.append(tmp_path / f"{number}.png")
    squeezed = photos.pixels[..., 0] if photos.shape[2] == 1 else photos.pixels
    for form in (photos, photos.pixels, squeezed, photos.pixels / 255, list(photos.pixels), files, pictures):
        probabilities = model.predict_proba(form)
        assert (probabilities.dtype, probabilities.shape) == (np.float32, (12, 3))
        assert np.array_equal(probabilities, expected)
        assert model.predict(form).tolist() == [model.classes[index] for index in expected.argmax(1)]
    assert np.array_equal(model.predict_proba([str(file) for file in files]), expected)
    assert np.allclose(expected.sum(1), 1, atol=1e-5)


def test_temperature_and_tta_affect_probabilities(photos, model):
    expected = model.predict_proba(photos)
    assert not np.allclose(replace(model, temperature=1.0).predict_proba(photos), expected)
    plain = replace(model, preprocessing=replace(model.preprocessing, mirror=False))
    assert not np.array_equal(plain.predict_proba(photos), expected)


def test_color_and_size_are_converted(photos, model, make_images):
    other = make_images(12, side=20, channels=4 - photos.shape[2])
    expected = np.exp(log_probabilities(model, other.resized(8)))
    assert np.allclose(model.predict_proba(other.pixels), expected, atol=0.02)
    assert np.allclose(model.predict_proba(_pictures(other)), expected, atol=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "there are no images"),
        (None, "X is a NoneType"),
        ("a.png", "X is a str"),
        (np.zeros((8, 8), np.uint8), r"X has shape \(8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), "Channels come last"),
        (np.zeros((2, 8, 8), int), "expected uint8"),
        (np.full((2, 8, 8), 7.0), "expected 0..1"),
        (["nowhere.png"], "cannot read nowhere.png"),
        (["nowhere.png", Image.new("L", (8, 8))], "mixes images and paths"),
    ],
)
def test_wrong_input_raises_one_clear_error(model, wrong, message):
    for method in (model.predict, model.predict_proba):
        with pytest.raises(UserError, match=message) as caught:
            method(wrong)
        assert "\n" not in str(caught.value)
