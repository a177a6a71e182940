"""The pruning criterion "auto"."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config.recipe import Prune

_DEFAULT = "greedy"


def choose_criterion(settings: Prune) -> tuple[Prune, str]:
    """Return the settings with a pruning method in place of "auto", and the reason."""
    if settings.method != "auto" or settings.clusters is not None:
        return settings, "as requested"
    return replace(settings, method=_DEFAULT), "the default criterion"
