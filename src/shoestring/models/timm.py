"""Networks of timm by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from shoestring.config.paths import TIMM
from shoestring.config.values import check_range, coerce
from shoestring.errors import UserError, no_option, unknown
from shoestring.models.preprocessing import INTERPOLATIONS
from shoestring.runtime.network import hub_unreachable, unreachable

PREFIX = TIMM
# Options of timm networks. None of them names a file or URL, as `checkpoint_path` does: a `model.json` may come from
# anywhere, and timm's checkpoint loading could run code.
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
_MAX_SIZE = 4096  # of the options in pixels


def bind_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the timm network `name` with their types. Raises `UserError` for unknown options."""
    bound = {}
    for key, value in options.items():
        if key not in OPTIONS:
            raise no_option(f"timm model '{name}'", key, OPTIONS)
        what = f"option '{key}' of timm model '{name}'"
        bound[key] = coerce(value, OPTIONS[key], what)
        if OPTIONS[key] is int:
            check_range(bound[key], what, ge=1, le=_MAX_SIZE)
        elif OPTIONS[key] is float:
            check_range(bound[key], what, ge=0, lt=1)
    return bound


def create(
    name: str, *, classes: int, channels: int = 3, dropout: float = 0.0, pretrained: bool = False, **options: Any
) -> nn.Module:
    """Create the timm network `name` (`resnet18`, `mobilenetv2_100.ra_in1k`, ...) with a new head for these classes.

    Further options are those of `OPTIONS` that the network has (`img_size=32` for a transformer). Raises `UserError`
    for a name, tag or option that timm does not know, and for pretrained weights that are not available.
    """
    import timm

    check_name(name)
    options = bind_options(name, options)
    kwargs = {"num_classes": classes, "in_chans": channels, "drop_rate": dropout, **options}
    if pretrained:
        kwargs |= _weights_source(name)
    try:
        return timm.create_model(name, pretrained=pretrained, **kwargs)
    except TypeError as error:
        raise UserError(f"timm model '{name}' does not take these options: {error}.") from None
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise _cannot_create(name, options, error) from None
        raise _no_weights(name, str(error).strip().splitlines()[0]) from None
    except Exception as error:  # networks raise a dozen kinds for invalid options
        raise _cannot_create(name, options, error) from None


def _cannot_create(name: str, options: Mapping[str, Any], error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [""])[0]
    with_options = f" with the options {dict(options)}" if options else ""
    return UserError(f"timm model '{name}' cannot be built{with_options}: {type(error).__name__} {reason}".rstrip())


def _weights_source(name: str) -> dict[str, Any]:
    """Return arguments for weights on this machine. Raises `UserError` if there are none and no download is possible.

    The Hub is not asked for newer weights: timm publishes those under another name.
    """
    import timm

    from shoestring.models.backbones import packaged_weights

    if (state := packaged_weights(name)) is not None:
        return {"pretrained_cfg_overlay": {"state_dict": dict(state), "custom_load": False}}
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        return {}  # timm raises the error
    file = _cached_file(config)
    if file is not None and config.hf_hub_id:
        return {"pretrained_cfg_overlay": {"file": str(file), "custom_load": False}}
    if file is None:
        reason = hub_unreachable() if config.hf_hub_id else unreachable(str(config.url))
        if reason is not None:
            raise _no_weights(name, f"{reason}.")
    return {}


def has_pretrained(name: str) -> bool:
    """Whether there are pretrained weights of a timm network."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.hf_hub_id or config.url)


def pretrained_input(name: str) -> tuple[tuple[float, ...], tuple[float, ...], str, int | None]:
    """Return mean, standard deviation and interpolation of a pretrained timm network, and its side if that is fixed."""
    import timm

    config = timm.get_pretrained_cfg(name)
    assert config is not None
    interpolation = config.interpolation if config.interpolation in INTERPOLATIONS else "bilinear"
    side = config.input_size[1] if config.fixed_input_size else None
    return tuple(config.mean), tuple(config.std), interpolation, side


def is_cached(name: str) -> bool:
    """Whether the pretrained weights of a timm network have been downloaded."""
    import timm

    config = timm.get_pretrained_cfg(name)
    return config is not None and _cached_file(config) is not None


def _cached_file(config: Any) -> Path | None:
    """Return the downloaded weights of a timm configuration, or None."""
    if config.hf_hub_id:
        if config.hf_hub_filename:
            return None
        from huggingface_hub import try_to_load_from_cache

        name, _, revision = config.hf_hub_id.partition("@")
        file = try_to_load_from_cache(name, "model.safetensors", revision=revision or None)
        return Path(file) if isinstance(file, str) else None
    if not config.url:
        return None
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(str(config.url)).path).name
    return file if file.is_file() else None


def _no_weights(name: str, reason: str) -> UserError:
    return UserError(
        f"cannot get pretrained weights of timm model '{name}': {reason} Check the network connection, give a file "
        "(--weights FILE for training, --features timm:NAME@FILE for selection), train from scratch (--weights none), "
        "or use timm:tf_efficientnet_lite0, whose weights are installed."
    )


def head_is_loaded(module: nn.Module, classes: int) -> bool:
    """Whether a timm network's pretrained weights have a head for so many classes; timm loads no other head."""
    return getattr(module, "pretrained_cfg", {}).get("num_classes") == classes


def check_name(name: str) -> None:
    """Raise `UserError` for a name that timm does not know, or a tag after the dot that names no weights."""
    import timm

    plain, dot, tag = name.partition(".")
    if not timm.is_model(plain):
        raise unknown("timm model", plain, _similar_names(plain), hint="All names: timm.list_models().")
    if dot:
        tags = [full_name.partition(".")[2] for full_name in timm.list_models(f"{plain}.*", pretrained=True)]
        if tag not in tags:
            raise unknown(f"weights of timm model '{plain}'", tag, tags, hint="" if tags else "It has none.")


def _similar_names(name: str) -> list[str]:
    """Return the few timm names most similar to this one: all thousand would not fit a line."""
    import difflib

    import timm

    return difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.0)
