"""Growing depth: a shallow network first."""

from __future__ import annotations

from shoestring.growth import Stage


def depth(spent: float, *, shallowest: float = 0.5, until: float = 0.35) -> Stage:
    """Train a fraction `shallowest` of all residual blocks until the fraction `until` is spent, then the whole network.

    From shallow to deep as in "Multi-level Residual Networks from Dynamical Systems View" (Chang et al. 2018) and
    "AutoGrow" (Wen et al. 2020), but blocks are added as the identity, so the function does not change.
    """
    return Stage(depth=shallowest if spent < until else 1.0)
