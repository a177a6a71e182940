"""What each known operation does to channel labels; an operation without a rule freezes the labels it meets.

A rule is `rule(tracer, func, args, kwargs, result) -> labels of the result`. Layers create and read channels, moves
do to the labels what they do to the elements, and operands that meet must agree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shoestring.channels.labels import Labelled, frozen
from shoestring.channels.tracer import Rule, Tracer, Unknown, operation


def _convolution(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, weight, bias, groups = _conv(*args, **kwargs)
    tracer.count(weight, result, len(weight))
    dim = maps.ndim - weight.ndim + 1
    if (passed := _past(tracer, maps, dim, result)) is not None:
        tracer.mixed.append(passed)
        tracer.fix(weight)
        return passed
    inputs = tracer.channels(maps, dim)
    if groups == 1:
        tracer.bind(weight, 1, inputs, reads=True)
        outputs = tracer.produce(weight, bias)
    elif groups == len(inputs):
        outputs = _depthwise(tracer, weight, bias, inputs)
    else:
        blocks = tracer.labels.couple(inputs.view(groups, -1), 0).flatten()
        tracer.bind(weight, 1, blocks, reads=True)
        outputs = tracer.produce(weight, bias)
        tracer.labels.couple(outputs.view(groups, -1), 0)
    return _spread(outputs, result, dim)


def _conv(maps, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return maps, weight, bias, groups


def _depthwise(tracer: Tracer, weight: Any, bias: Any, inputs: Tensor) -> Tensor:
    """Each channel by itself, as one output or as several that go together."""
    outputs = inputs.repeat_interleave(len(weight) // len(inputs))
    if getattr(weight, "parameter", None) is None and not tracer.labels.varies(tracer.of(weight), 0):
        return outputs  # one filter for all, repeated
    tracer.bind(weight, 0, outputs)
    tracer.bind(bias, 0, outputs)
    tracer.rely_on(inputs, {0: len(inputs)})
    return outputs


def _transposed(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, weight, bias, groups = _conv_transpose(*args, **kwargs)
    tracer.count(weight, maps, len(weight))
    dim = maps.ndim - weight.ndim + 1
    inputs = tracer.channels(maps, dim)
    if groups == len(inputs) > 1 and weight.shape[1] == 1:
        return _spread(_depthwise(tracer, weight, bias, inputs), result, dim)
    if groups > 1:
        tracer.labels.couple(inputs.view(groups, -1), 0)
    tracer.bind(weight, 0, inputs, reads=True)
    outputs = tracer.produce(weight, bias, 1).repeat(groups)
    if groups > 1:
        tracer.bind(bias, 0, outputs)
    return _spread(outputs, result, dim)


def _conv_transpose(maps, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    return maps, weight, bias, groups


def _linear(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    features, weight, bias = _features(*args, **kwargs)
    tracer.count(weight, result, len(weight))
    if (passed := _past(tracer, features, features.ndim - 1, result)) is not None:
        tracer.fix(weight)
        tracer.fix(bias)
        return passed
    tracer.bind(weight, 1, tracer.channels(features, -1), reads=True)
    return tracer.produce(weight, bias).expand(result.shape)


def _features(features, weight, bias=None):
    return features, weight, bias


def _past(tracer: Tracer, values: Any, dim: int, result: Tensor) -> Tensor | None:
    """The labels behind a layer that works along an axis without channels while they lie along others, else None."""
    labels = tracer.of(values)
    along = tracer.varying(labels)
    if dim in along or not along:
        return None
    if any(result.shape[other] != labels.shape[other] for other in along):
        raise Unknown
    for other in range(labels.ndim):
        if other not in along:
            labels = labels.narrow(other, 0, 1)
    return labels.expand(result.shape)


def _batch_norm(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, parameters = _statistics(*args, **kwargs)
    channels = tracer.channels(maps, 1)
    for parameter in parameters:
        tracer.bind(parameter, 0, channels)
    return tracer.of(maps)


def _statistics(maps, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, cudnn=True):
    if mean is None:  # statistics of the batch itself
        raise Unknown
    return maps, (mean, var, weight, bias)


def _layer_norm(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, shape, parameters = _layer_norm_of(*args, **kwargs)
    if len(shape) != 1:
        raise Unknown
    return _over_channels(tracer, maps, -1, parameters, size=shape[0])


def _layer_norm_of(maps, shape, weight=None, bias=None, eps=None, cudnn=True):
    return maps, shape, [p for p in (weight, bias) if isinstance(p, Tensor)]  # the fourth of rms_norm is a number


def _group_norm(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, groups, parameters = _group_norm_of(*args, **kwargs)
    tracer.labels.couple(tracer.channels(maps, 1).view(groups, -1), 0)
    return _over_channels(tracer, maps, 1, parameters, size=maps.shape[1])


def _group_norm_of(maps, groups, weight=None, bias=None, eps=1e-5, cudnn=True):
    return maps, groups, (weight, bias)


def _over_channels(tracer: Tracer, maps: Any, dim: int, parameters: Any, *, size: int) -> Tensor:
    """A norm whose statistics are over channels."""
    channels = tracer.channels(maps, dim)
    for parameter in parameters:
        tracer.bind(parameter, 0, channels)
    tracer.mixed.append(channels)
    tracer.rely_on(channels, {0: size})
    return tracer.of(maps)


def _along_axis(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Softmax, scaling to unit length and their like: statistics over one axis."""
    values = args[0]
    dim = kwargs.get("dim", args[1] if len(args) > 1 and operation(func) != "normalize" else 1)
    labels = tracer.of(values)
    if tracer.labels.varies(labels, dim):
        tracer.mixed.append(labels)
    tracer.bent.append(labels)
    return labels


def _spatial(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    """Pooling and resizing of maps: channels stay, positions change."""
    name = operation(func)
    labels = tracer.of(args[0])
    axes = int(name[-2]) if name.endswith("d") else labels.ndim - 2
    for dim in range(labels.ndim - axes, labels.ndim):
        labels = tracer.labels.couple(labels, dim)
    return _each(labels, result)


def _each(labels: Tensor, result: Any) -> Any:
    """Labels spread over a result, or over all tensors of a result (values, indices)."""
    if isinstance(result, Tensor):
        return labels.expand(result.shape)
    return [labels.expand(part.shape) for part in result]


def _pad(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Padding of space spreads the labels, padding of channels adds frozen ones."""
    maps, amounts, mode = _padded(*args, **kwargs)
    labels = tracer.of(maps)
    for index in range(len(amounts) // 2):
        dim, (before, after) = labels.ndim - 1 - index, amounts[2 * index : 2 * index + 2]
        if not (before or after):
            continue
        if not tracer.labels.varies(labels, dim):
            shape = [*labels.shape[:dim], result.shape[dim], *labels.shape[dim + 1 :]]
            labels = labels.narrow(dim, 0, 1).expand(shape)
        elif mode != "constant":
            raise Unknown
        else:
            labels = functional.pad(labels.movedim(dim, -1), (before, after)).movedim(-1, dim)
    return labels


def _padded(maps, pad, mode="constant", value=None):
    return maps, pad, mode


def _pad_channels(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    maps, before, after = args
    return _spread(torch.cat([tracer.of(before), tracer.channels(maps, 1), tracer.of(after)]), result, 1)


def _reduce(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    """Mean, sum, maximum and their like over some axes."""
    values, (dims, keep) = args[0], _reduced(*args[1:], **kwargs)
    labels = tracer.of(values)
    for dim in sorted((dim % labels.ndim for dim in dims or range(labels.ndim)), reverse=True):
        along = tracer.varying(labels)
        if along == [dim]:  # all channels become one number
            tracer.mixed.append(labels)
            labels = frozen(labels.narrow(dim, 0, 1))
        elif dim in along:
            labels = tracer.labels.couple(labels, dim)
        labels = labels.narrow(dim, 0, 1) if keep else labels.select(dim, 0)
    tracer.bent.append(labels)
    return _each(labels, result)


def _reduced(dim=None, keepdim=False, dtype=None, *, unbiased=True, correction=1, keepdims=False, axis=None):
    dim = axis if dim is None else dim
    if isinstance(dim, Tensor):  # the larger of two tensors
        raise Unknown
    return (dim,) if isinstance(dim, int) else dim, keepdim or keepdims


def _homogeneous(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Every element by itself, in proportion to it (for factors above zero)."""
    return tracer.of(args[0])


def _same(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Every element by itself."""
    tracer.bent.append(tracer.of(args[0]))
    return tracer.of(args[0])


def _constant(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    return frozen(result)


def _meet(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Operands element by element: channels that meet must agree.

    A single channel that is spread over many others keeps its own label and can no longer be cut.
    """
    tensors = [part for part in args if isinstance(part, Tensor) and (isinstance(part, Labelled) or part.numel() > 1)]
    wide = [(labels := tracer.of(part))[(None,) * (result.ndim - labels.ndim)] for part in tensors]
    meeting = []
    for labels in wide:
        spread = [dim for dim in range(result.ndim) if labels.shape[dim] < result.shape[dim]]
        if any(tracer.labels.varies(other, dim) for dim in spread for other in wide if other is not labels):
            tracer.labels.freeze(labels)
        else:
            meeting.append(labels.expand(result.shape))
    if not meeting:
        raise Unknown
    for other in meeting[1:]:
        tracer.labels.join(meeting[0], other)
    tracer.bent.append(meeting[0])
    return meeting[0]


def _matmul(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    left, right = args[:2]
    if min(left.ndim, right.ndim) < 2:
        raise Unknown
    if getattr(right, "parameter", None) and right.ndim == 2:
        tracer.bind(right, 0, tracer.channels(left, -1), reads=True)
        return tracer.produce(right, None, 1).expand(result.shape)
    return _product(tracer, tracer.of(left), tracer.of(right), result.shape)


def _product(tracer: Tracer, left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
    """Labels of a batched product (..., M, K) x (..., K, N): what is summed over must agree, and so must the batch."""
    find = tracer.labels
    left, right = (labels[(None,) * (len(shape) - labels.ndim)] for labels in (left, right))
    if find.varies(left, -1) or find.varies(right, -2):
        rows, columns = find.couple(left, left.ndim - 2), find.couple(right, right.ndim - 1).transpose(-1, -2)
        find.join(rows, columns)
        if any(dim < rows.ndim - 2 for dim in tracer.varying(rows)):  # heads: each is kept or goes as a whole
            return find.couple(rows, rows.ndim - 1).expand(shape)
        tracer.mixed.append(rows)
        return torch.zeros((), dtype=torch.int64).expand(shape)
    left, right = left.narrow(-1, 0, 1), right.narrow(-2, 0, 1)
    if find.varies(left, -2) and find.varies(right, -1):
        raise Unknown
    lead, other = (left, right) if find.varies(left, -2) else (right, left)
    batch = [dim for dim in range(len(shape) - 2) if shape[dim] > 1]
    if any(find.varies(one, dim) for one in (lead, other) for dim in batch):
        find.join(lead, other)
    return lead.expand(shape)


def _attention(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Heads (N, heads, L, D) go as a whole; the size of a head sets the scale, so it is never silently changed."""
    query, key, value = (tracer.of(part) for part in args[:3])
    scores = (*result.shape[:-1], key.shape[-2])
    weights = _product(tracer, query, key.transpose(-1, -2), torch.Size(scores))
    return _product(tracer, weights, value, result.shape)


def _move(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """What moves elements about does the same to their labels."""
    return func(tracer.of(args[0]), *args[1:], **kwargs)


def _reshape(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """Labels move with the elements; of the axes that channels come to lie along one may shrink."""
    labels = tracer.of(args[0]).reshape(result.shape)
    given = args[1] if isinstance(args[1], tuple | list) else args[1:]
    tracer.regroup(labels)
    tracer.rely_on(labels, {dim: size for dim, size in enumerate(given) if size != -1})
    return labels


def _unflatten(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    labels = tracer.of(args[0]).reshape(result.shape)
    tracer.regroup(labels)
    tracer.rely_on(labels, dict(enumerate(result.shape)))
    return labels


def _expand(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    return tracer.of(args[0]).expand(result.shape)


def _slice(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    """A part: its bounds stand in the module's code, so it is tried whether channels can be cut."""
    before = tracer.of(args[0])
    labels = func(before, *args[1:], **kwargs)
    if labels.ndim == before.ndim:
        pairs = enumerate(zip(labels.shape, before.shape))
        tracer.rely_on(labels, {dim: size for dim, (size, whole) in pairs if size != whole})
    return labels


def _parts(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    """Parts of equal size must lose the same channels, so that they stay equal."""
    labels = tracer.of(args[0])
    parts = func(labels, *args[1:], **kwargs)
    dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
    if tracer.labels.varies(labels, dim):
        if len({part.shape for part in parts}) == 1:
            for part in parts[1:]:
                tracer.labels.join(parts[0], part)
        for part in (*parts, labels):
            tracer.rely_on(part, {dim % labels.ndim: part.shape[dim]})
    return list(parts)


def _unbind(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
    labels = tracer.of(args[0])
    tracer.regroup(labels)
    return list(func(labels, *args[1:], **kwargs))


def _concatenate(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    labels = func([tracer.of(part) for part in args[0]], *args[1:], **kwargs)
    if operation(func) == "stack":
        tracer.regroup(labels)
    return labels


def _embedding(tracer: Tracer, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
    return tracer.produce(args[1], None, 1).expand(result.shape)


def _spread(channels: Tensor, maps: Tensor, dim: int) -> Tensor:
    """Labels (C,) as those of maps whose channels lie along an axis."""
    assert len(channels) == maps.shape[dim]
    return channels.view(-1, *[1] * (maps.ndim - dim - 1)).expand(maps.shape)


_NAMES: dict[Rule, str] = {
    _convolution: "conv1d conv2d conv3d",
    _transposed: "conv_transpose1d conv_transpose2d conv_transpose3d",
    _linear: "linear",
    _batch_norm: "batch_norm",
    _layer_norm: "layer_norm rms_norm",
    _group_norm: "group_norm",
    _along_axis: "softmax log_softmax normalize",
    _spatial: "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d lp_pool2d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate",
    _pad: "pad",
    _pad_channels: "pad_channels",
    _reduce: "mean sum amax amin max min norm std var logsumexp std_mean var_mean",
    _homogeneous: "relu relu_ leaky_relu leaky_relu_ abs neg dropout dropout_ dropout2d feature_dropout clone "
    "contiguous detach to float half bfloat16 type type_as data alpha_dropout requires_grad_",
    _same: "relu6 elu elu_ selu celu gelu silu silu_ mish mish_ hardswish hardswish_ hardsigmoid hardsigmoid_ hardtanh "
    "hardtanh_ softplus sigmoid sigmoid_ tanh tanh_ clamp clamp_ clamp_min clip exp log sqrt rsqrt square pow __pow__ "
    "erf reciprocal sin cos prelu zeros_like ones_like empty_like rand_like masked_fill masked_fill_ softsign",
    _constant: "new_zeros new_ones new_full new_empty new_tensor",
    _meet: "add add_ sub sub_ mul mul_ div div_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ "
    "__imul__ __truediv__ __rtruediv__ __itruediv__ rsub where maximum minimum lerp addcmul eq ne gt ge lt le multiply",
    _matmul: "matmul __matmul__ bmm mm",
    _attention: "scaled_dot_product_attention",
    _move: "flatten permute transpose movedim moveaxis unsqueeze squeeze t swapaxes swapdims roll flip T mT "
    "repeat_interleave rot90",
    _reshape: "reshape view",
    _unflatten: "unflatten",
    _expand: "expand expand_as",
    _slice: "__getitem__ narrow select index_select",
    _parts: "chunk split tensor_split",
    _unbind: "unbind __iter__",
    _concatenate: "cat concat concatenate stack",
    _embedding: "embedding",
}
RULES: dict[str, Rule] = {name: rule for rule, names in _NAMES.items() for name in names.split()}
