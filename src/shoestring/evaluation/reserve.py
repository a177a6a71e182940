"""Seconds that evaluation takes besides the forward passes of the network: a run keeps them before it trains.

The constants are seconds of processor time as `benchmarks/evaluation_costs.py` measures them on one thread (its results
are in `benchmarks/results/evaluation_costs.json`); they are doubled, because other processes may take half of it.
"""

from __future__ import annotations

from shoestring.evaluation.calibration import images_to_fit

_SLOWER = 2.0
_IMAGE, _VALUE, _CLASS = 2e-6, 1e-8, 1e-8  # to predict an image, for each value of its pixels, and for each class
_FITTED = 3e-7  # to fit a temperature, for each log-probability
_ROW, _ROW_OF_CLASS = 5e-6, 4e-5  # to write the rows of an image, and of a class, into files


def seconds_to_predict(images: int, *, classes: int, values: int, passes: float) -> float:
    """Around the network: preparing images of so many values, and log-probabilities of so many forward passes each."""
    return _SLOWER * images * (_IMAGE + _VALUE * values + _CLASS * classes * passes)


def seconds_to_fit(images: int, *, classes: int) -> float:
    """For the temperature."""
    return _SLOWER * _FITTED * min(images, images_to_fit(classes)) * classes


def seconds_to_write(images: int, classes: int) -> float:
    """For metrics and their files."""
    return _SLOWER * (_ROW * images + _ROW_OF_CLASS * classes)
