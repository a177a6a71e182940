"""Estimated overhead of evaluation, in seconds, besides forward passes: a run reserves it before it trains.

The constants are CPU seconds, measured on one thread by `benchmarks/evaluation_costs.py` (results in
`benchmarks/results/evaluation_costs.json`), and doubled because other processes may take half of the CPU.
"""

from __future__ import annotations

from shoestring.evaluation.calibration import images_to_fit

_SAFETY = 2.0
_IMAGE, _VALUE, _CLASS = 2e-6, 1e-8, 1e-8  # prediction: per image, per pixel value, per class
_FIT_VALUE = 3e-7  # temperature: per log-probability
_IMAGE_ROW, _CLASS_ROW = 5e-6, 4e-5  # files: per image, per class


def seconds_to_predict(images: int, *, classes: int, values: int, passes: float) -> float:
    """Estimate preprocessing of images of `values` pixel values, and log-probabilities of `passes` passes per image."""
    return _SAFETY * images * (_IMAGE + _VALUE * values + _CLASS * classes * passes)


def seconds_to_fit(images: int, *, classes: int) -> float:
    """Estimate fitting the temperature."""
    return _SAFETY * _FIT_VALUE * min(images, images_to_fit(classes)) * classes


def seconds_to_write(images: int, classes: int) -> float:
    """Estimate computing metrics and writing their files."""
    return _SAFETY * (_IMAGE_ROW * images + _CLASS_ROW * classes)
