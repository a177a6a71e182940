"""What the report says about training on images without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.config.units import format_percent


def unlabeled_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on images without labels; none if the run does not use them."""
    if "unlabeled" not in result:
        return []
    use = result["unlabeled"]
    if use is None:
        return [("images without labels", "none, as all were selected")]
    if not use["predicted"]:
        return [("images without labels", f"none of {use['images']:,} used, for lack of time")]
    right = "" if use["accuracy"] is None else f", {format_percent(use['accuracy'])} of them right"
    where = (
        f"{use['used']:,} of {use['predicted']:,} predicted ones with a probability of {use['confidence']:.2f} or more"
    )
    return [("images without labels", f"{where}{right}"), ("their effect", _effect(use))]


def _effect(use: Mapping[str, Any]) -> str:
    before, after = use["before"], use["after"]
    if not use["used"]:
        return "none, as no prediction was confident enough"
    if before is None or after is None:
        return "kept" if use["kept"] else "not used, for lack of time"
    change = f"validation accuracy {format_percent(before)} before, {format_percent(after)} after"
    return change if use["kept"] else f"not used, as it made the network worse: {change}"
