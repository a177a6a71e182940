"""What each known operation does to channel labels; an operation without a rule freezes the labels it meets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.labels import Labelled
from shoestring.channels.tracer import Rule, Tracer, Unknown


def _convolution(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Consumes and creates channels; depthwise it passes them on. Other groups of channels cannot be cut yet."""
    maps, weight, bias, groups = _conv2d(*args, **kwargs)
    inputs = tracer.channels(maps, 1)
    if groups == 1:
        tracer.bind(weight, 1, inputs)
        outputs = tracer.produce(weight, bias)
    elif groups == len(inputs) == len(weight) and isinstance(tracer.owner(weight), nn.Conv2d):
        tracer.bind(weight, 0, inputs)
        tracer.bind(bias, 0, inputs)
        outputs = inputs
    else:
        raise Unknown
    return _spread(outputs, result)


def _conv2d(maps, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return maps, weight, bias, groups


def _linear(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    features, weight, bias = _features(*args, **kwargs)
    tracer.bind(weight, 1, tracer.channels(features, -1))
    return tracer.produce(weight, bias).expand(result.shape)


def _features(features, weight, bias=None):
    return features, weight, bias


def _batch_norm(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, parameters = _statistics(*args, **kwargs)
    for parameter in parameters:
        tracer.bind(parameter, 0, tracer.channels(maps, 1))
    return tracer.of(maps)


def _statistics(maps, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, cudnn=True):
    if mean is None:  # statistics of the batch itself
        raise Unknown
    return maps, (mean, var, weight, bias)


def _spatial(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Pooling, resizing and padding of maps: channels stay, positions change."""
    maps = args[0]
    if func.__name__ == "pad" and len(args[1] if len(args) > 1 else kwargs["pad"]) > 2 * (maps.ndim - 2):
        raise Unknown
    return _spread(tracer.channels(maps, 1), result)


def _pad_channels(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, before, after = args
    return _spread(torch.cat([tracer.of(before), tracer.channels(maps, 1), tracer.of(after)]), result)


def _reduce(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Mean, sum or maximum over axes along which the channel does not change."""
    values, (dims, keep) = args[0], _reduced(*args[1:], **kwargs)
    labels = tracer.of(values)
    for dim in sorted((dim % labels.ndim for dim in dims), reverse=True):
        if tracer.labels.varies(labels, dim):
            raise Unknown
        labels = labels.narrow(dim, 0, 1) if keep else labels.select(dim, 0)
    return labels


def _reduced(dim, keepdim=False, dtype=None):
    return (dim,) if isinstance(dim, int) else dim, keepdim


def _same(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Every element by itself."""
    return tracer.of(args[0])


def _both(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Two operands element by element: channels that meet must agree.

    A single channel that is spread over many others keeps its own label and can no longer be cut.
    """
    operands = [tracer.of(t) for t in args[:2] if isinstance(t, Labelled) or (isinstance(t, Tensor) and t.numel() > 1)]
    wide = [_aligned(labels, result.ndim) for labels in operands]
    meeting = []
    for labels in wide:
        spread = [dim for dim in range(result.ndim) if labels.shape[dim] < result.shape[dim]]
        if any(tracer.labels.varies(other, dim) for dim in spread for other in wide if other is not labels):
            tracer.labels.freeze(labels)
        else:
            meeting.append(labels.expand(result.shape))
    if not meeting:
        raise Unknown
    if len(meeting) == 2:
        tracer.labels.join(*meeting)
    return meeting[0]


def _aligned(labels: Tensor, ndim: int) -> Tensor:
    return labels[(None,) * (ndim - labels.ndim)]


def _rearrange(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """What moves elements about does the same to their labels."""
    return func(tracer.of(args[0]), *args[1:], **kwargs)


def _reshape(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Known where the channels end up in the one axis whose size is left open (-1): fixed sizes survive no cut."""
    shape = args[1] if isinstance(args[1], tuple | list) else args[1:]
    labels = tracer.of(args[0])
    labels = labels.expand(result.shape) if func.__name__ == "expand" else labels.reshape(result.shape)
    if any(size != -1 and tracer.labels.varies(labels, dim) for dim, size in enumerate(shape)):
        raise Unknown
    return labels


def _select(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Slices of space are fine; slices of channels have fixed bounds, which survive no cut."""
    before = tracer.of(args[0])
    after = func(before, *args[1:], **kwargs)
    sets = [tracer.labels.find(labels).unique() for labels in (before, after)]
    if not torch.equal(*sets):
        raise Unknown
    return after


def _concatenate(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    return func([tracer.of(part) for part in args[0]], *args[1:], **kwargs)


def _spread(channels: Tensor, maps: Tensor) -> Tensor:
    """Labels (C,) as those of maps (N, C, ...)."""
    return channels.view(1, -1, *[1] * (maps.ndim - 2)).expand(maps.shape)


_NAMES: dict[Rule, str] = {
    _convolution: "conv2d",
    _linear: "linear",
    _batch_norm: "batch_norm",
    _spatial: "max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d interpolate pad",
    _pad_channels: "pad_channels",
    _reduce: "mean sum amax amin",
    _same: "relu relu_ relu6 leaky_relu leaky_relu_ elu gelu silu silu_ mish hardswish hardswish_ hardsigmoid "
    "hardtanh softplus sigmoid sigmoid_ tanh tanh_ clamp clamp_ abs neg exp sqrt square "
    "dropout dropout_ dropout2d feature_dropout clone contiguous detach to float half bfloat16",
    _both: "add add_ sub sub_ mul mul_ div div_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ "
    "__imul__ __truediv__ __rtruediv__ __itruediv__ rsub",
    _rearrange: "flatten permute transpose movedim unsqueeze",
    _reshape: "reshape view expand",
    _select: "__getitem__",
    _concatenate: "cat concat",
}
RULES: dict[str, Rule] = {name: rule for rule, names in _NAMES.items() for name in names.split()}
