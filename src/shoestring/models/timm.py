"""Any network of timm by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from shoestring.errors import UserError, unknown

PREFIX = "timm:"


def create(
    name: str, *, classes: int, channels: int = 3, dropout: float = 0.0, pretrained: bool = False, **options: Any
) -> nn.Module:
    """The timm network `name` (`resnet18`, `mobilenetv2_100.ra_in1k`, ...) with a new head for these classes.

    Further options go to timm as they are (`img_size=32` for a transformer). `UserError` for a name or an option that
    timm does not know and for pretrained weights that cannot be had.
    """
    import timm

    check_name(name)
    try:
        return timm.create_model(
            name, num_classes=classes, in_chans=channels, drop_rate=dropout, pretrained=pretrained, **options
        )
    except TypeError as error:
        raise UserError(f"timm model '{name}' does not take these options: {error}.") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot get pretrained weights of timm model '{name}': {reason} "
            "Check the network, or give a file: --weights FILE to train, --features timm:NAME@FILE to compare images."
        ) from None


def check_name(name: str) -> None:
    """Raise `UserError` for a name that timm does not know."""
    import timm

    if not timm.is_model(name):
        raise unknown("timm model", name, _near(name), hint="All names: timm.list_models().")


def _near(name: str) -> list[str]:
    """The few timm names most like this one: all thousand would not fit a line."""
    import difflib

    import timm

    return difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.0)
