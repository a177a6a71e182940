"""Building blocks shared by several networks, and the sizes that modules store beside their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function


def scale_width(filters: int, width: float) -> int:
    """Return the number of filters at this width factor, at least one."""
    return max(1, round(filters * width))


def max_pool_if_possible(maps: Tensor) -> Tensor:
    """2x2 max-pooling of (N, C, H, W); maps that are one pixel high or wide are returned unchanged."""
    return F.max_pool2d(maps, 2) if min(maps.shape[-2:]) > 1 else maps


def init_weights(network: nn.Module) -> None:
    """Initialize all convolutions and linear layers: Kaiming-normal weights (He et al. 2015), zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PadChannels(nn.Module):
    """Pad the channel axis of (N, C, H, W) with zeros to (N, before + C + after, H, W).

    The zeros are buffers with one value per channel, so that channel surgery resizes them like any other tensor. State
    dicts without them, such as published ones, can be loaded.
    """

    before: Tensor
    after: Tensor

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(before))
        self.register_buffer("after", torch.zeros(after))
        self.register_load_state_dict_pre_hook(_add_zeros)

    def forward(self, maps: Tensor) -> Tensor:
        """Pad the channel axis of (N, C, H, W)."""
        return pad_channels(maps, self.before, self.after)


def pad_channels(maps: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Pad the channel axis of (N, C, H, W) with as many zeros as the vectors are long; one operation for the tracer."""
    if has_torch_function((maps, before, after)):
        return handle_torch_function(pad_channels, (maps, before, after), maps, before, after)
    return F.pad(maps, (0, 0, 0, 0, len(before), len(after)))


def _add_zeros(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    for name, zeros in module.named_buffers():
        state.setdefault(prefix + name, zeros)


def resize_tensors(module: nn.Module, shapes: Mapping[str, torch.Size], sizes: Mapping[str, Any]) -> None:
    """Resize the named parameters and buffers (contents undefined), and update the sizes that their layers store.

    `sizes` are further sizes by the qualified names of the attributes that hold them, as surgery records them in the
    module's attribute `sizes_changed`. Raises `ValueError` for a name that holds no such sizes.
    """
    for name, tensor in tensors(module).items():
        if name in shapes and tensor.shape != shapes[name] and tensor.ndim == len(shapes[name]):
            tensor.data = tensor.data.new_empty(shapes[name])
    for name, value in sizes.items():
        owner, _, attribute = name.rpartition(".")
        inner = module.get_submodule(owner)
        current = vars(inner).get(attribute)
        if not (_is_integral(current) and _is_integral(value) and isinstance(current, int) == isinstance(value, int)):
            raise ValueError(f"'{name}' cannot be set to {value!r}")
        setattr(inner, attribute, tuple(value) if isinstance(current, tuple) else value)
    if sizes:
        module.sizes_changed = dict(sizes)  # type: ignore[assignment]
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sync_layer_sizes(module)


def _is_integral(value: Any) -> bool:
    """Whether this is an integer or a sequence of integers."""
    return type(value) is int or (isinstance(value, tuple | list) and all(type(entry) is int for entry in value))


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and persistent buffers by their names in the state dict."""
    return module.state_dict(keep_vars=True)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PLAIN_LAYERS = (*_CONVOLUTIONS, nn.Linear)
# Layers whose sizes follow from their tensors.
SIZED_LAYERS = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def sync_layer_sizes(module: nn.Module) -> None:
    """Set the sizes that layers store beside their tensors (in_channels, groups, ...) to those of the tensors."""
    for layer in module.modules():
        if isinstance(layer, _CONVOLUTIONS):
            if 1 < layer.groups == layer.in_channels:  # depthwise, possibly with several filters per channel
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
