from __future__ import annotations

import numpy as np
import pytest

from shoestring.errors import UserError
from shoestring.exporting.parity import Parity, check, compare


def test_the_largest_differences_are_found(make_model, make_images):
    images = make_images(20)
    model = make_model(images)

    def shifted(pixels: np.ndarray) -> np.ndarray:
        found = model.predict_proba(pixels)
        found[0] += 0.1 if pixels.shape[1] == 8 else 0.3
        return found

    parity = compare(model, shifted, images.pixels)
    assert parity.difference == pytest.approx(0.1, abs=1e-6) and parity.images == 20
    assert parity.resized_difference == pytest.approx(0.3, abs=1e-6)
    exact = compare(model, model.predict_proba, images.pixels)
    assert (exact.difference, exact.resized_difference, exact.same_class) == (0, 0, 1)


@pytest.mark.parametrize(
    ("difference", "resized", "precision", "reason"),
    [
        (2e-4, 0.0, "float32", "trained size, probabilities differ by up to 0.0002"),
        (0.0, 0.04, "float32", "other sizes, probabilities differ by up to 0.04"),
        (float("nan"), 0.0, "float16", "up to nan.*Export it without"),
        (0.01, 0.06, "float16", "up to 0.06.*Export it without"),
    ],
)
def test_models_that_predict_something_else_are_refused(difference, resized, precision, reason):
    with pytest.raises(UserError, match=reason):
        check(Parity(64, difference, resized, 1.0), precision=precision)
    check(Parity(64, 1e-5, 0.01, 1.0), precision=precision)
