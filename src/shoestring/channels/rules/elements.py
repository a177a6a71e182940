"""Functions of single elements, of elements that meet, and of all elements along an axis."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from shoestring.channels.labels import Labelled, frozen
from shoestring.channels.tracer import Rules, Tracer, Unknown, operation

rule = Rules()


@rule(
    "relu relu_ leaky_relu leaky_relu_ abs neg dropout dropout_ dropout2d feature_dropout alpha_dropout clone "
    "contiguous detach to float half bfloat16 type type_as data requires_grad_"
)
def _proportional(tracer: Tracer, func, result, values, *more, **options):
    """Every element by itself, in proportion to it (for factors above zero)."""
    return tracer.of(values)


@rule(
    "relu6 elu elu_ selu celu gelu silu silu_ mish mish_ hardswish hardswish_ hardsigmoid hardsigmoid_ hardtanh "
    "hardtanh_ softplus sigmoid sigmoid_ tanh tanh_ clamp clamp_ clamp_min clip exp log sqrt rsqrt square erf "
    "reciprocal sin cos zeros_like ones_like empty_like rand_like masked_fill masked_fill_ softsign logical_not"
)
def _single(tracer: Tracer, func, result, values, *more, **options):
    """Every element by itself."""
    tracer.bent.append(tracer.of(values))
    return tracer.of(values)


@rule("new_zeros new_ones new_full new_empty new_tensor")
def _constant(tracer: Tracer, func, result, *more, **options):
    return frozen(result)


@rule(
    "add add_ sub sub_ mul mul_ div div_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ "
    "__truediv__ __rtruediv__ __itruediv__ rsub where maximum minimum lerp addcmul eq ne gt ge lt le multiply pow "
    "__pow__ __rpow__ logical_and"
)
def _meet(tracer: Tracer, func, result, *operands, **named):
    """Operands element by element: channels that meet must agree.

    A single channel that is spread over many others keeps its own label and can no longer be cut.
    """
    parts = [one for one in (*operands, *named.values()) if isinstance(one, Tensor)]
    parts = [one for one in parts if isinstance(one, Labelled) or one.numel() > 1]
    wide = [(labels := tracer.of(part))[(None,) * (result.ndim - labels.ndim)] for part in parts]
    meeting = []
    for labels in wide:
        spread = [dim for dim in range(result.ndim) if labels.shape[dim] < result.shape[dim]]
        if any(tracer.labels.varies(other, dim) for dim in spread for other in wide if other is not labels):
            tracer.labels.freeze(labels, "one of them is spread over many others")
        else:
            meeting.append(labels.expand(result.shape))
    if not meeting:
        raise Unknown
    for other in meeting[1:]:
        tracer.labels.join(meeting[0], other)
    tracer.bent.append(meeting[0])
    return meeting[0]


@rule("softmax log_softmax")
def _softmax(tracer: Tracer, func, result, values, dim=None, *more, **options):
    return _along(tracer, values, dim)


@rule("normalize")
def _normalize(tracer: Tracer, func, result, values, p=2.0, dim=1, *more, **options):
    return _along(tracer, values, dim)


def _along(tracer: Tracer, values: Any, dim: Any) -> Tensor:
    """Statistics over one axis that all its elements are set against."""
    labels = tracer.of(values)
    if tracer.labels.varies(labels, dim):
        tracer.mixed.append(labels)
    tracer.bent.append(labels)
    return labels


@rule("mean sum amax amin max min logsumexp prod any all argmax argmin")
def _reduce(tracer: Tracer, func, result, values, dim=None, keepdim=False, *more, **options):
    """Mean, sum, maximum and their like over some axes."""
    dim, keepdim = options.get("axis", dim), options.get("keepdims", keepdim)
    if isinstance(dim, Tensor):  # the larger of two tensors
        return _meet(tracer, func, result, values, dim)
    dims = range(values.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    labels, mixed = tracer.of(values), None
    for one in sorted((one % labels.ndim for one in dims), reverse=True):
        along = tracer.varying(labels)
        if along == [one]:  # all channels become one number
            tracer.mixed.append(labels)
            mixed, shape = labels, labels.narrow(one, 0, 1).shape
            labels = tracer.summary(mixed, shape, positional=operation(func) in ("argmax", "argmin"))
        elif one in along:
            labels = tracer.labels.couple(labels, one)
        labels = labels.narrow(one, 0, 1) if keepdim else labels.select(one, 0)
    tracer.bent += [tracer.of(values), labels]
    if mixed is None or isinstance(result, Tensor) or operation(func) not in ("max", "min"):
        return each(labels, result)
    return [labels, tracer.summary(mixed, labels.shape, positional=True)]  # the index is a channel's


@rule("var std var_mean std_mean")
def _spread(tracer: Tracer, func, result, values, dim=None, unbiased=True, keepdim=False, **options):
    if isinstance(dim, bool):
        dim = None
    return _reduce(tracer, func, result, values, options.get("axis", dim), options.get("keepdims", keepdim))


@rule("norm vector_norm linalg_vector_norm")
def _norm(tracer: Tracer, func, result, values, p=2, dim=None, keepdim=False, **options):
    return _reduce(tracer, func, result, values, dim, keepdim)


@rule(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool2d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate"
)
def _pool(tracer: Tracer, func, result, maps, *more, **options):
    """Pooling and resizing of maps: channels stay, positions change."""
    name = operation(func)
    labels = tracer.of(maps)
    axes = int(name[-2]) if name.endswith("d") else labels.ndim - 2
    for dim in range(labels.ndim - axes, labels.ndim):
        labels = tracer.labels.couple(labels, dim)
    return each(labels, result)


@rule("pad")
def _pad(tracer: Tracer, func, result, maps, pad, mode="constant", value=None):
    """Padding of space spreads the labels, padding of channels adds frozen ones."""
    labels = tracer.of(maps)
    if value:
        tracer.bent.append(labels)
    for index in range(len(pad) // 2):
        dim, (before, after) = labels.ndim - 1 - index, pad[2 * index : 2 * index + 2]
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


def each(labels: Tensor, result: Any) -> Any:
    """Labels spread over a result, or over all tensors of a result (values, indices)."""
    if isinstance(result, Tensor):
        return labels.expand(result.shape)
    return [labels.expand(part.shape) for part in result]
