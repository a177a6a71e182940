"""Pieces that several networks share, and the sizes that a module keeps beside its tensors."""

from __future__ import annotations

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


def resize(module: nn.Module, sizes: dict[str, torch.Size]) -> None:
    """Give the named parameters and buffers these shapes (contents undefined), and their layers numbers to match."""
    for name, tensor in tensors(module).items():
        if name in sizes and tensor.shape != sizes[name] and tensor.ndim == len(sizes[name]):
            tensor.data = tensor.data.new_empty(sizes[name])
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit(module)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and saved buffers by the names they have in the state dict."""
    return module.state_dict(keep_vars=True)


def fit(module: nn.Module) -> None:
    """Set the numbers that layers keep beside their tensors (in_channels, groups, ...) to what the tensors say."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            depthwise = 1 < layer.groups == layer.in_channels == layer.out_channels
            layer.out_channels = len(layer.weight)
            layer.groups = layer.out_channels if depthwise else layer.groups
            layer.in_channels = layer.weight.shape[1] * layer.groups
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d) and layer.running_mean is not None:
            layer.num_features = len(layer.running_mean)
