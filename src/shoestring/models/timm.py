"""Any network of timm by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from shoestring.config.values import check_range, coerce
from shoestring.errors import UserError, unknown
from shoestring.runtime.network import hub_unreachable, unreachable

PREFIX = "timm:"
# What may be set of a timm network. Nothing here names a file or an address, as `checkpoint_path` does: descriptions of
# models come from anywhere, and timm's own loading of checkpoints could run code.
OPTIONS: dict[str, Any] = {
    "dropout": float,
    "img_size": int,
    "patch_size": int,
    "window_size": int,
    "output_stride": int,
    "dynamic_img_size": bool,
    "class_token": bool,
    "global_pool": str,
    "act_layer": str,
    "norm_layer": str,
    "drop_path_rate": float,
    "attn_drop_rate": float,
    "proj_drop_rate": float,
    "init_values": float,
}
_LARGEST = 4096  # of the options that are pixels or numbers of them


def bind(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the timm network `name` with their types; `UserError` for one that is not in `OPTIONS`."""
    bound = {}
    for key, value in options.items():
        if key not in OPTIONS:
            raise unknown(f"option of timm model '{name}'", key, OPTIONS)
        what = f"option '{key}' of timm model '{name}'"
        bound[key] = coerce(value, OPTIONS[key], what)
        if OPTIONS[key] is int:
            check_range(bound[key], what, ge=1, le=_LARGEST)
        elif OPTIONS[key] is float:
            check_range(bound[key], what, ge=0, lt=1)
    return bound


def create(
    name: str, *, classes: int, channels: int = 3, dropout: float = 0.0, pretrained: bool = False, **options: Any
) -> nn.Module:
    """The timm network `name` (`resnet18`, `mobilenetv2_100.ra_in1k`, ...) with a new head for these classes.

    Further options are those of `OPTIONS` that the network has (`img_size=32` for a transformer). `UserError` for a
    name, a tag or an option that timm does not know, and for pretrained weights that cannot be had.
    """
    import timm

    check_name(name)
    options = bind(name, options)
    make = {"num_classes": classes, "in_chans": channels, "drop_rate": dropout, **options}
    if pretrained:
        make |= _found(name)
    try:
        return timm.create_model(name, pretrained=pretrained, **make)
    except TypeError as error:
        raise UserError(f"timm model '{name}' does not take these options: {error}.") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise _not_made(name, options, error) from None
        raise _no_weights(name, str(error).strip().splitlines()[0]) from None
    except Exception as error:  # networks raise a dozen kinds for an option that cannot be
        raise _not_made(name, options, error) from None


def _not_made(name: str, options: Mapping[str, Any], error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [""])[0]
    with_options = f" with the options {dict(options)}" if options else ""
    return UserError(f"timm model '{name}' cannot be made{with_options}: {type(error).__name__} {reason}".rstrip())


def _found(name: str) -> dict[str, Any]:
    """Where the weights are when they were downloaded before; `UserError` when there is no way to download them.

    Nobody is asked whether there are newer weights: timm publishes those under another name.
    """
    import timm

    about = timm.get_pretrained_cfg(name)
    if about is None or not (about.hf_hub_id or about.url):
        return {}  # timm says what is wrong
    if about.hf_hub_id:
        file = None if about.hf_hub_filename else _downloaded(about.hf_hub_id)
        if file is not None:
            return {"pretrained_cfg_overlay": {"file": file, "custom_load": False}}
        reason = hub_unreachable()
    else:
        url = str(about.url)
        kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
        reason = None if kept.is_file() else unreachable(url)
    if reason is not None:
        raise _no_weights(name, f"{reason}.")
    return {}


def _downloaded(repository: str) -> str | None:
    """The file of weights that the cache of the Hub has of a repository, or None."""
    from huggingface_hub import try_to_load_from_cache

    name, _, revision = repository.partition("@")
    file = try_to_load_from_cache(name, "model.safetensors", revision=revision or None)
    return file if isinstance(file, str) else None


def _no_weights(name: str, reason: str) -> UserError:
    return UserError(
        f"cannot get pretrained weights of timm model '{name}': {reason} "
        "Check the network, or give a file: --weights FILE to train, --features timm:NAME@FILE to compare images."
    )


def head_is_loaded(module: nn.Module, classes: int) -> bool:
    """Whether the pretrained weights of a timm network have a head for so many classes; timm leaves out any other."""
    return getattr(module, "pretrained_cfg", {}).get("num_classes") == classes


def check_name(name: str) -> None:
    """Raise `UserError` for a name that timm does not know, or a tag behind its dot that names no weights."""
    import timm

    plain, dot, tag = name.partition(".")
    if not timm.is_model(plain):
        raise unknown("timm model", plain, _near(plain), hint="All names: timm.list_models().")
    if dot:
        tags = [one.partition(".")[2] for one in timm.list_models(f"{plain}.*", pretrained=True)]
        if tag not in tags:
            raise unknown(f"weights of timm model '{plain}'", tag, tags, hint="" if tags else "It has none.")


def _near(name: str) -> list[str]:
    """The few timm names most like this one: all thousand would not fit a line."""
    import difflib

    import timm

    return difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.0)
