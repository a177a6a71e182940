"""A narrower network first: cheap steps early, all channels for the rest."""

from __future__ import annotations

from shoestring.growth import Stage


def width(spent: float, *, narrowest: float = 0.5, until: float = 0.35) -> Stage:
    """Train a share `narrowest` of all channels until the fraction `until` is spent, then the whole network.

    It widens without a jump (Net2Net, Chen et al. 2016). Early, because what is not trained to its end yet suffers from
    growing late ("When to Grow", 2024).
    """
    return Stage(width=narrowest if spent < until else 1.0)
