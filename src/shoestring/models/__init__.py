"""Networks, and the model that carries one with its classes and preprocessing."""

from __future__ import annotations

from shoestring.models.model import Model, Preprocessing, build

__all__ = ["Model", "Preprocessing", "build"]
