"""Networks, and the model that combines one with its classes and preprocessing."""

from __future__ import annotations

from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing

__all__ = ["Model", "Preprocessing", "build"]
