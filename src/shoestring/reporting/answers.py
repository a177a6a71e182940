"""The answers of a plan as rows of a table, for the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shoestring.reporting.markdown import describe_class_weights

_ORDER = (
    "resolution",
    "select",
    "features",
    "proxy",
    "model",
    "weights",
    "fine_tune",
    "grow",
    "batch_size",
    "optimizer",
)
_ORDER += ("precision", "augment", "class_weights", "tta", "prune", "recovery", "unlabeled")


def answers(plan: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield the rows of a plan, as `config.plan.to_dict` returns it: what was answered, how, and why."""
    train: Mapping[str, Any] | None = plan["train"] or plan["recovery"]
    reasons: Mapping[str, str] = plan["reasons"]
    values = {"select": plan["select"], "features": plan["features"], "tta": plan["tta"], "prune": plan["prune"]}
    if side := plan["resolution"]:  # 0 in run folders of earlier versions
        own = None if train is None else train["side"]
        resized = "" if own in (None, side) else f", resized to {own} for the network"
        values["resolution"] = f"{side} x {side} pixels{resized}"
    if plan["model"] is not None:
        options = "".join(f", {name} {value}" for name, value in plan["options"].items())
        values |= {"model": f"{plan['model']}{options}", "weights": plan["weights"] or "none"}
    if train is not None:
        values |= _training(train)
    if plan["proxy"] is not None:
        values["proxy"] = _summary(plan["proxy"])
    if plan["train"] is not None and plan["recovery"] is not None:
        values["recovery"] = _summary(plan["recovery"])
    if plan.get("unlabeled"):
        values["unlabeled"] = _unlabeled(plan["unlabeled"])
    for name in _ORDER:
        if values.get(name) is not None:
            yield name.replace("_", " "), str(values[name]), reasons.get(name, "")


def _training(train: Mapping[str, Any]) -> dict[str, Any]:
    tuned = train["fine_tune"]
    return {
        "fine_tune": tuned and tuned["tune"] + _views(tuned.get("views")),
        "grow": train["grow"],
        "batch_size": train["batch_size"],
        "optimizer": _optimizer(train),
        "precision": train["precision"],
        "augment": _augmentation(train["augment"]),
        "class_weights": train["class_weights"] and describe_class_weights(train["class_weights"]),
    }


def _summary(train: Mapping[str, Any]) -> str:
    """Describe another training than that of the network: "muon, peak learning rate 0.2, batch size 128"."""
    return f"{_optimizer(train)}, batch size {train['batch_size']}"


def _optimizer(train: Mapping[str, Any]) -> str:
    return f"{train['optimizer']}, peak learning rate {train['learning_rate']:.3g}"


def _views(count: int | None) -> str:
    """Describe how often the frozen part of a network is run."""
    return f", the frozen part once for {count} view{'s' * (count > 1)} of each image" if count else ""


def _unlabeled(plan: Mapping[str, Any]) -> str:
    """Describe how images without labels are used."""
    least = plan["confidence"]
    confident = "those that it is sure of" if least is None else f"those with a probability of at least {least:g}"
    return f"after {100 * plan['first']:.0f} % of the training, the network labels {confident}"


def _augmentation(augment: Mapping[str, Any]) -> str:
    """Describe the augmentation: "flip, shift 0.125, strength 0.5,1"."""
    parts = [
        name if value is True else f"{name} {value:g}"
        for name, value in augment.items()
        if value and name != "strength"
    ]
    strength = augment.get("strength", ())
    if parts and any(factor != 1 for factor in strength):
        parts.append(f"strength {','.join(f'{factor:g}' for factor in strength)}")
    return ", ".join(parts) or "none"
