"""Layers read channels and make new ones; norms pass them on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shoestring.channels.tracer import Rules, Tracer, Unknown, name_of

rule = Rules()


@rule("conv1d conv2d conv3d")
def _convolution(tracer: Tracer, func, result, maps, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    dim = maps.ndim - weight.ndim + 1
    if (passed := _past(tracer, maps, weight, dim, result)) is not None:
        tracer.mixed.append(passed)
        tracer.fix(weight)
        return passed
    tracer.count(weight, result, len(weight))
    inputs = tracer.channels(maps, dim)
    if getattr(weight, "parameter", None) is None:
        tracer.multiply(result.numel() * weight[0].numel(), [(inputs, 0)])
    if groups == 1:
        tracer.bind(weight, 1, inputs, reads=True)
        outputs = tracer.produce(weight, bias)
    elif groups == len(inputs):
        outputs = _depthwise(tracer, weight, bias, inputs, groups)
    else:
        blocks = tracer.labels.couple(inputs.view(groups, -1), 0).flatten()
        tracer.bind(weight, 1, blocks, reads=True)
        outputs = tracer.produce(weight, bias)
        tracer.labels.couple(outputs.view(groups, -1), 0)
    return spread(outputs, result, dim)


def _depthwise(tracer: Tracer, weight: Any, bias: Any, inputs: Tensor, groups: int) -> Tensor:
    """Each channel by itself, as one output or as several that go together."""
    outputs = inputs.repeat_interleave(len(weight) // len(inputs))
    if getattr(weight, "parameter", None) is None and not tracer.labels.varies(tracer.of(weight), 0):
        return outputs  # one filter for all, repeated
    tracer.bind(weight, 0, outputs)
    tracer.bind(bias, 0, outputs)
    tracer.rely_on(inputs, {0: groups})
    return outputs


@rule("conv_transpose1d conv_transpose2d conv_transpose3d")
def _transposed(
    tracer: Tracer, func, result, maps, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    tracer.count(weight, maps, len(weight))
    dim = maps.ndim - weight.ndim + 1
    inputs = tracer.channels(maps, dim)
    if groups == len(inputs) > 1 and weight.shape[1] == 1:
        return spread(_depthwise(tracer, weight, bias, inputs, groups), result, dim)
    if groups > 1:
        tracer.labels.couple(inputs.view(groups, -1), 0)
    tracer.bind(weight, 0, inputs, reads=True)
    outputs = tracer.produce(weight, bias if groups == 1 else None, 1).repeat(groups)
    if groups > 1:
        tracer.bind(bias, 0, outputs)
    return spread(outputs, result, dim)


@rule("linear")
def _linear(tracer: Tracer, func, result, features, weight, bias=None):
    if (passed := _past(tracer, features, weight, features.ndim - 1, result)) is not None:
        tracer.fix(weight)
        tracer.fix(bias)
        return passed
    tracer.count(weight, result, len(weight))
    tracer.bind(weight, 1, tracer.channels(features, -1), reads=True)
    return tracer.produce(weight, bias).expand(result.shape)


@rule("embedding")
def _embedding(tracer: Tracer, func, result, numbers, weight, *more, **options):
    tracer.labels.freeze(tracer.of(numbers), "they are looked up by their positions")
    return tracer.produce(weight, None, 1).expand(result.shape)


def _past(tracer: Tracer, values: Any, weight: Tensor, dim: int, result: Tensor) -> Tensor | None:
    """The labels behind a layer that works along an axis without channels while they lie along others, else None."""
    labels = tracer.of(values)
    along = tracer.varying(labels)
    if dim in along or not along:
        return None
    if any(result.shape[other] != labels.shape[other] for other in along):
        raise Unknown
    tracer.bent.append(labels)
    tracer.multiply(result.numel() * weight[0].numel(), [(labels, other) for other in along])
    for other in range(labels.ndim):
        if other not in along:
            labels = labels.narrow(other, 0, 1)
    return labels.expand(result.shape)


@rule("batch_norm")
def _batch_norm(
    tracer: Tracer, func, result, maps, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *more
):
    if mean is None:  # statistics of the batch itself
        raise Unknown
    channels = tracer.channels(maps, 1)
    for parameter in (mean, var, weight, bias):
        tracer.bind(parameter, 0, channels)
    return tracer.of(maps)


@rule("layer_norm")
def _layer_norm(tracer: Tracer, func, result, maps, shape, weight=None, bias=None, *more, **options):
    if len(shape) != 1:
        raise Unknown
    return _over_channels(tracer, maps, -1, (weight, bias), size=shape[0])


@rule("rms_norm")
def _rms_norm(tracer: Tracer, func, result, maps, shape, weight=None, *more, **options):
    return _layer_norm(tracer, func, result, maps, shape, weight)


@rule("group_norm")
def _group_norm(tracer: Tracer, func, result, maps, groups, weight=None, bias=None, *more, **options):
    tracer.labels.couple(tracer.channels(maps, 1).view(groups, -1), 0)
    return _over_channels(tracer, maps, 1, (weight, bias))


def _over_channels(tracer: Tracer, maps: Any, dim: int, parameters: Any, *, size: int = -1) -> Tensor:
    """A norm whose statistics are over channels."""
    channels = tracer.channels(maps, dim)
    for parameter in parameters:
        tracer.bind(parameter, 0, channels)
    tracer.mixed.append(channels)
    tracer.rely_on(channels, {0: size})
    return tracer.of(maps)


@rule("prelu")
def _prelu(tracer: Tracer, func, result, maps, weight):
    if len(weight) > 1:
        tracer.bind(weight, 0, tracer.channels(maps, 1))
    return tracer.of(maps)


@rule("pad_channels")
def _pad_channels(tracer: Tracer, func, result, maps, before, after):
    """Zeros around the channels, one number of a buffer for each."""
    return spread(torch.cat([tracer.of(before), tracer.channels(maps, 1), tracer.of(after)]), result, 1)


@rule("matmul __matmul__ bmm mm")
def _matmul(tracer: Tracer, func, result, left, right):
    if min(left.ndim, right.ndim) < 2:
        raise Unknown
    if getattr(right, "parameter", None) and right.ndim == 2:
        name_of(right)
        tracer.bind(right, 0, tracer.channels(left, -1), reads=True)
        tracer.count(right, result, right.shape[1])
        return tracer.produce(right, None, 1).expand(result.shape)
    return _product(tracer, tracer.of(left), tracer.of(right), result.shape)


@rule("scaled_dot_product_attention")
def _attention(tracer: Tracer, func, result, query, key, value, attn_mask=None, *more, **options):
    """Heads (N, heads, L, D) go as a whole: the size of a head sets the scale of the products."""
    scores = torch.Size((*result.shape[:-1], key.shape[-2]))
    weights = _product(tracer, tracer.of(query), tracer.of(key).transpose(-1, -2), scores)
    return _product(tracer, weights, tracer.of(value), result.shape)


def _product(tracer: Tracer, left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
    """Labels of a batched product (..., M, K) x (..., K, N): what is summed over must agree, and so must the batch."""
    find = tracer.labels
    left, right = (labels[(None,) * (len(shape) - labels.ndim)] for labels in (left, right))
    tracer.bent += [left, right]
    batches = [(left if left.shape[dim] > 1 else right, dim) for dim in range(len(shape) - 2)]
    axes = [*batches, (left, len(shape) - 2), (left, len(shape) - 1), (right, len(shape) - 1)]
    tracer.multiply(shape.numel() * left.shape[-1], axes)
    if find.varies(left, -1) or find.varies(right, -2):
        rows, columns = find.couple(left, left.ndim - 2), find.couple(right, right.ndim - 1).transpose(-1, -2)
        find.join(rows, columns)
        if any(dim < rows.ndim - 2 for dim in tracer.varying(rows)):  # heads: each is kept or goes as a whole
            return find.couple(rows, rows.ndim - 1).expand(shape)
        tracer.mixed.append(rows)
        return tracer.labels.because("they are summed over in a product of activations").expand(shape)
    left, right = left.narrow(-1, 0, 1), right.narrow(-2, 0, 1)
    if find.varies(left, -2) and find.varies(right, -1):
        raise Unknown
    lead, other = (left, right) if find.varies(left, -2) else (right, left)
    batch = [dim for dim in range(len(shape) - 2) if shape[dim] > 1]
    if any(find.varies(one, dim) for one in (lead, other) for dim in batch):
        find.join(lead, other)
    return lead.expand(shape)


def spread(channels: Tensor, maps: Tensor, dim: int) -> Tensor:
    """Labels (C,) as those of maps whose channels lie along an axis."""
    assert len(channels) == maps.shape[dim]
    return channels.view(-1, *[1] * (maps.ndim - dim - 1)).expand(maps.shape)
