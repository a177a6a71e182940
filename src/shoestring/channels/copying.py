"""Copies of modules: exact ones, and ones whose weights all affect the output."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_module(module: Network) -> Network:
    """Return a deep copy. Raises `ValueError`, with a remedy, if the module cannot be copied."""
    try:
        return copy.deepcopy(module)
    except Exception as error:
        message = f"the network cannot be copied ({type(error).__name__})"
        raise ValueError(f"{message}: {_remedy(module) or str(error).splitlines()[0]}") from error


def _remedy(module: nn.Module) -> str:
    """Explain how to remove a hook that recomputes a weight before each forward pass, which prevents copying."""
    for name, layer in module.named_modules():
        for hook in layer._forward_pre_hooks.values():
            weight = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
            kind = type(hook).__name__
            if weight is None or not isinstance(getattr(layer, weight, None), Tensor):
                continue
            calls = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}
            call = f"torch.nn.utils.{calls[kind]}" if kind in calls else "torch.nn.utils.prune.remove"
            call = f"{call}(layer, '{weight}')"
            return f"'{name}' recomputes its {weight} before each forward pass; make it a plain parameter with {call}."
    return ""


def nondegenerate_copy(module: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode in which no weight is degenerate: zero-initialized weights hide mistakes.

    Vectors and batch-norm statistics, and weights that are close to zero everywhere, are replaced by random values.
    """
    generator = torch.Generator().manual_seed(0)
    copied = copy_module(module).eval()

    def uniform(tensor: Tensor, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(tensor.shape, generator=generator)).to(tensor)

    for parameter in copied.parameters():
        if not parameter.is_floating_point() or not parameter.numel():
            continue
        if parameter.numel() == max(parameter.shape, default=1):  # one number per channel
            parameter.data = uniform(parameter, 0.5, 1.5)
        elif bool((parameter.abs() < 1e-3).all()):
            values = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
            parameter.data = values.to(parameter)
    for name, buffer in copied.named_buffers():
        if name.endswith("running_mean"):
            buffer.data = uniform(buffer, -0.2, 0.2)
        if name.endswith("running_var"):
            buffer.data = uniform(buffer, 0.5, 1.5)
    return copied
