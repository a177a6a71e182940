"""Growing resolution: small images first."""

from __future__ import annotations

from shoestring.growth import Stage


def resolution(spent: float, *, smallest: float = 0.75, until: float = 0.5) -> Stage:
    """Train on images of `smallest` times the side until the fraction `until` is spent, then on full ones.

    Progressive resizing (Howard 2018; Tan & Le 2021, "EfficientNetV2"), as a function of the fraction of the budget.
    """
    return Stage(resolution=smallest if spent < until else 1.0)
