"""How a rectangle becomes a square: the names of the ways."""

from __future__ import annotations

from typing import Literal, get_args

from shoestring.errors import unknown

Fit = Literal["crop", "squash", "pad"]
FITS: tuple[str, ...] = get_args(Fit)
DEFAULT_FIT: Fit = "crop"
EARLIER_FIT: Fit = "crop"  # of models and runs of earlier versions, which do not say


def check_fit(fit: str) -> None:
    """Raise `UserError` unless this is the name of a fit."""
    if fit not in FITS:
        raise unknown("fit", fit, FITS)
