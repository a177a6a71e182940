"""Batch norms folded into the convolutions before them: the same outputs with fewer passes over memory."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from shoestring.models.batchnorm import find_norms
from shoestring.models.head_modules import class_scores
from shoestring.models.model import Model

_TOLERANCE = 1e-3  # on the largest difference of the outputs, relative to the largest output


def folded(model: Model) -> Model:
    """Return a copy of a model for inference on a CPU, whose batch norms are folded into convolutions.

    Networks of small convolutions gain most. The model itself is returned on an accelerator, if there is nothing to
    fold, and if the outputs for an image change: where the result of a convolution is used elsewhere as well.
    """
    module, pairs = _folded(model)
    return replace(model, module=module) if pairs else model


def foldable_pairs(model: Model) -> dict[str, str]:
    """Return the name of the batch norm that can be folded into each convolution; none where `folded` folds none."""
    return _folded(model)[1]


def _folded(model: Model) -> tuple[nn.Module, dict[str, str]]:
    """A copy of a module with folded batch norms, and their names by those of the convolutions; else none of these."""
    on_cpu = next(model.module.parameters()).device.type == "cpu"
    if not on_cpu or not any(map(_is_foldable, model.module.modules())):
        return model.module, {}
    size, generator = model.preprocessing, torch.Generator().manual_seed(0)
    example = torch.randn(1, size.channels, size.resolution, size.resolution, generator=generator)
    try:
        module = copy.deepcopy(model.module).eval()
    except Exception:  # networks raise a dozen kinds if they cannot be copied
        return model.module, {}
    with torch.no_grad():
        norms, outputs = find_norms(module, example)
        pairs = {layer: norm for layer, norm in norms.items() if _is_pair(module, layer, norm)}
        expected = class_scores(outputs)
        for convolution, norm in pairs.items():
            _fold(module, norm, convolution)
        outputs = class_scores(module(example)) if pairs else expected
    same = (outputs - expected).abs().max() <= _TOLERANCE * expected.abs().max()
    return (module, pairs) if bool(same) else (model.module, {})


def activation_of(norm: nn.Module) -> nn.Module:
    """Return what follows in the module of a batch norm, as in timm: its dropout and activation, if there are any."""
    parts = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*parts) if parts else nn.Identity()


def _is_pair(module: nn.Module, layer: str, norm: str) -> bool:
    """Whether a batch norm can be folded into the layer before it."""
    return isinstance(module.get_submodule(layer), nn.Conv2d) and _is_foldable(module.get_submodule(norm))


def _is_foldable(part: nn.Module) -> bool:
    """Whether a module is a batch norm with running statistics, on its own or followed by an activation as in timm."""
    if not isinstance(part, _BatchNorm) or part.running_mean is None:
        return False
    return type(part) is nn.BatchNorm2d or (hasattr(part, "drop") and hasattr(part, "act"))


def _fold(module: nn.Module, norm: str, convolution: str) -> None:
    """Fold a batch norm into a convolution, in place; its activation takes its place."""
    layer, own = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(layer, nn.Conv2d) and isinstance(own, _BatchNorm)
    assert own.running_mean is not None and own.running_var is not None
    scale, shift = (None if value is None else value.detach() for value in (own.weight, own.bias))
    layer.weight, layer.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, own.running_mean, own.running_var, own.eps, scale, shift
    )
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    owner, _, attribute = norm.rpartition(".")
    setattr(module.get_submodule(owner), attribute, activation_of(own))
