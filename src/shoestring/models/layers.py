"""Pieces that several networks share, and the sizes that a module keeps beside its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function


def scaled(filters: int, width: float) -> int:
    """The number of filters at this width, at least one."""
    return max(1, round(filters * width))


def pool_if_room(maps: Tensor) -> Tensor:
    """2x2 max-pooling of (N, C, H, W); maps already one pixel high or wide stay as they are."""
    return F.max_pool2d(maps, 2) if min(maps.shape[-2:]) > 1 else maps


def initialise(network: nn.Module) -> None:
    """Kaiming-normal weights (He et al. 2015) and zero biases in every convolution and linear layer."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PadChannels(nn.Module):
    """Zero channels `before` and `after` those of (N, C, H, W): (N, before + C + after, H, W).

    The zeros are buffers, one number per channel, so that channel surgery resizes them like any other tensor. State
    dicts from elsewhere lack them and load all the same.
    """

    before: Tensor
    after: Tensor

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(before))
        self.register_buffer("after", torch.zeros(after))
        self.register_load_state_dict_pre_hook(_add_zeros)

    def forward(self, maps: Tensor) -> Tensor:
        """Pad (N, C, H, W) on its channel axis."""
        return pad_channels(maps, self.before, self.after)


def pad_channels(maps: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Zero channels around those of (N, C, H, W), as many as the two vectors have numbers; one step for the tracer."""
    if has_torch_function((maps, before, after)):
        return handle_torch_function(pad_channels, (maps, before, after), maps, before, after)
    return F.pad(maps, (0, 0, 0, 0, len(before), len(after)))


def _add_zeros(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    for name, zeros in module.named_buffers():
        state.setdefault(prefix + name, zeros)


def resize(module: nn.Module, shapes: Mapping[str, torch.Size], sizes: Mapping[str, Any]) -> None:
    """Give the named parameters and buffers these shapes (contents undefined), and their layers numbers to match.

    `sizes` are further numbers by the full names of the attributes that hold them, as surgery leaves them in the
    attribute `sizes_changed` of a module. Raises `ValueError` for a name that holds no such numbers.
    """
    for name, tensor in tensors(module).items():
        if name in shapes and tensor.shape != shapes[name] and tensor.ndim == len(shapes[name]):
            tensor.data = tensor.data.new_empty(shapes[name])
    for name, value in sizes.items():
        owner, _, attribute = name.rpartition(".")
        inner = module.get_submodule(owner)
        before = vars(inner).get(attribute)
        if not (_integers(before) and _integers(value) and isinstance(before, int) == isinstance(value, int)):
            raise ValueError(f"'{name}' cannot be set to {value!r}")
        setattr(inner, attribute, tuple(value) if isinstance(before, tuple) else value)
    if sizes:
        module.sizes_changed = dict(sizes)  # type: ignore[assignment]
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit(module)


def _integers(value: Any) -> bool:
    """Whether this is an integer, or several."""
    return type(value) is int or (isinstance(value, tuple | list) and all(type(entry) is int for entry in value))


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and saved buffers by the names they have in the state dict."""
    return module.state_dict(keep_vars=True)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Layers whose sizes can be told from their tensors alone.
FITTED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def fit(module: nn.Module) -> None:
    """Set the numbers that layers keep beside their tensors (in_channels, groups, ...) to what the tensors say."""
    for layer in module.modules():
        if isinstance(layer, _CONVOLUTIONS):
            if 1 < layer.groups == layer.in_channels:  # depthwise, perhaps with several filters for each channel
                layer.groups = len(layer.weight) // (layer.out_channels // layer.in_channels)
            layer.out_channels, layer.in_channels = len(layer.weight), layer.weight.shape[1] * layer.groups
        elif isinstance(layer, _TRANSPOSED):
            if 1 < layer.groups == layer.in_channels:
                layer.groups = len(layer.weight)
            layer.in_channels, layer.out_channels = len(layer.weight), layer.weight.shape[1] * layer.groups
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            layer.num_features = len(layer.running_mean)
        elif isinstance(layer, nn.LayerNorm) and isinstance(layer.weight, Tensor):
            layer.normalized_shape = tuple(layer.weight.shape)
        elif isinstance(layer, nn.GroupNorm) and isinstance(layer.weight, Tensor):
            layer.num_channels = len(layer.weight)
