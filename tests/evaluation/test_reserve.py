from __future__ import annotations

import pytest

from shoestring.evaluation.reserve import seconds_to_fit, seconds_to_predict, seconds_to_write


def test_overhead_grows_with_images_classes_and_passes():
    usual = {"classes": 10, "values": 3072, "passes": 2.0}
    few, many = (seconds_to_predict(1000, **{**usual, "classes": classes}) for classes in (10, 2000))
    assert many > 1.5 * few
    assert seconds_to_predict(200_000, **{**usual, "classes": 2000}) == pytest.approx(200 * many)
    assert seconds_to_predict(1000, **{**usual, "classes": 2000, "passes": 8.0}) > 2 * many
    assert seconds_to_predict(1000, **{**usual, "values": 224 * 224 * 3}) > 10 * few
    assert (
        seconds_to_write(40_000, classes=2000) > seconds_to_write(40_000, classes=10) > seconds_to_write(1, classes=1)
    )


def test_reserve_for_temperature_is_limited_by_its_sample():
    assert seconds_to_fit(1000, classes=2000) > 10 * seconds_to_fit(1000, classes=10)
    assert seconds_to_fit(10**7, classes=2000) == seconds_to_fit(10**6, classes=2000)
