"""Growing width: a narrow network first."""

from __future__ import annotations

from shoestring.growth import Stage


def width(spent: float, *, narrowest: float = 0.5, until: float = 0.35) -> Stage:
    """Train a fraction `narrowest` of all channels until the fraction `until` is spent, then the whole network.

    Widening does not change the function (Net2Net, Chen et al. 2016). It happens early, because a network that is not
    trained to convergence afterwards suffers from growing late ("When to Grow", 2024).
    """
    return Stage(width=narrowest if spent < until else 1.0)
