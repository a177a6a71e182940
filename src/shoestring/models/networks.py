"""Networks by name: shoestring's own (`resnet20`) and timm's (`timm:resnet18`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from shoestring.config import registry
from shoestring.config.head import HeadKind
from shoestring.config.values import coerce
from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.models.heads import find_heads, replace_head
from shoestring.models.meta import on_meta

_MAX_PARAMETERS = 2**31  # 8 GB; a mistyped width could ask for more memory than there is


def bind_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with the types that the network takes; `head` is one of every network, unset if linear.

    Raises `UserError` for unknown names and options.
    """
    body = {key: value for key, value in options.items() if key != "head"}
    head = HeadKind.parse(coerce(options.get("head", "linear"), str, "option 'head'"))
    if name.startswith(timm.PREFIX):
        bound = timm.bind_options(name.removeprefix(timm.PREFIX), body)
    else:
        bound = registry.bind("models", name, body)
    return bound if head.kind == "linear" else {**bound, "head": str(head)}


def create_network(
    name: str, classes: int, channels: int, options: Mapping[str, Any], *, pretrained: bool
) -> nn.Module:
    """Create a network.

    Raises `UserError` if these options make none, or one of more than 2**31 parameters, and for a head other than
    linear if it does not end with one linear layer.
    """
    body = {key: value for key, value in options.items() if key != "head"}
    create = partial(_create_linear, name, channels=channels, options=body)
    module = create(classes, pretrained=pretrained)
    if "head" in options:
        heads = find_heads(module, partial(create, pretrained=False), classes)
        kind, dropout = HeadKind.parse(options["head"]), options.get("dropout")
        replace_head(module, heads, kind, classes, name=name, dropout=dropout)
    return module


def _create_linear(
    name: str, classes: int, *, channels: int, options: Mapping[str, Any], pretrained: bool
) -> nn.Module:
    """Create a network with its own head."""
    if name.startswith(timm.PREFIX):
        timm_name = name.removeprefix(timm.PREFIX)
        return timm.create(timm_name, classes=classes, channels=channels, pretrained=pretrained, **options)
    create = partial(registry.find("models", name), classes, channels=channels, **options)
    try:
        with on_meta():  # allocates nothing
            count = sum(weight.numel() for weight in create().parameters())
        if count > _MAX_PARAMETERS:
            raise ValueError(f"it would have {count:,} parameters")
        return create()
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model '{name}' cannot be built with the options {dict(options)}: {reason}.") from None
