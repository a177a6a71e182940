"""Heads: the parameters whose shape depends on the number of classes, and their initialization."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from shoestring.config.head import HeadKind
from shoestring.errors import UserError
from shoestring.models.head_modules import CosineLinear, Head, add_ones, make_head
from shoestring.models.layers import tensors
from shoestring.models.meta import on_meta

log = logging.getLogger(__name__)

# Standard deviation of initial logits relative to the root mean square of the features. Not exactly zero: in front of a
# ReLU, as in SqueezeNet, a zero head would never get a gradient. And at 0.001 Muon, whose steps are as large for tiny
# gradients, first moves the other layers at random: after three epochs ResNet-20 has a validation accuracy of 51 to
# 68 % on digits, and of 84 to 93 % at 0.1 (three seeds).
_INITIAL_SCALE = 0.1


def find_heads(module: nn.Module, create: Callable[[int], nn.Module], count: int) -> tuple[str, ...]:
    """Return the names of a network's tensors whose shape is another for `count` + 1 classes.

    `create` makes the network for a number of classes: on the meta device, or on the CPU if its code reads values of
    tensors. The state of torch's random number generator does not change.
    """
    try:
        with on_meta():
            other = tensors(create(count + 1))
    except Exception:  # networks raise a dozen kinds if they read meta tensors
        with torch.random.fork_rng(devices=[]):
            other = tensors(create(count + 1))
    return tuple(name for name, own in tensors(module).items() if own.shape != other[name].shape)


def replace_head(
    module: nn.Module, heads: Collection[str], kind: HeadKind, classes: int, *, name: str, dropout: float | None
) -> None:
    """Replace the last linear layer of a network by another kind of head, in place; "dual" adds the second output.

    `heads` are the names of the layer's tensors. Raises `UserError` unless exactly one linear layer has them.
    """
    owners = {tensor.rpartition(".")[0] for tensor in heads}
    layer = module.get_submodule(owners.pop()) if len(owners) == 1 else None
    if not isinstance(layer, nn.Linear):
        raise UserError(f"--head {kind} needs a network with one last linear layer, and {name} has none: omit --head.")
    if kind.kind == "dual":
        module.register_forward_hook(add_ones)
        return
    path = next(path for path, part in module.named_modules() if part is layer)
    factor = getattr(module, "head_scale", 1.0)
    with torch.device(layer.weight.device):
        head = make_head(kind, layer.in_features, classes, dropout=dropout, factor=factor)
    owner, _, attribute = path.rpartition(".")
    setattr(module.get_submodule(owner), attribute, head)


@torch.no_grad()
def init_near_zero(module: nn.Module, heads: Collection[str], count: int) -> None:
    """Scale the named parameters of a new head for `count` classes down in place, so that logits start near zero.

    The initial loss is then ln(count), however the network initializes its last layer. A network that multiplies its
    logits by `head_scale` gets a head that is scaled down less, by that factor. Heads of cosines start so themselves.
    """
    for name, weight in module.named_parameters():
        if name not in heads:
            continue
        owner, _, kind = name.rpartition(".")
        if isinstance(module.get_submodule(owner), CosineLinear):  # their lengths do not matter
            continue
        if kind == "bias":  # the same for all classes changes no probability; a ReLU may follow a convolution
            weight.fill_(1.0 if isinstance(module.get_submodule(owner), nn.Conv2d) else 0.0)
            continue
        inputs, scale = weight.numel() / count, weight.square().mean().sqrt()
        target = _INITIAL_SCALE / (inputs**0.5 * getattr(module, "head_scale", 1.0))
        weight.mul_(min(1.0, target / float(scale)) if scale > 0 else 1.0)


def head_weights(module: nn.Module, heads: Collection[str]) -> list[Tensor]:
    """Return the weights that produce the logits: those named in `heads`, else that of the last linear layer."""
    named: list[Tensor] = [weight for name, weight in module.named_parameters() if name in heads and weight.ndim > 1]
    return named or [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)][-1:]


def last_layer(module: nn.Module, heads: Collection[str] = ()) -> nn.Module:
    """Return the layer that produces the logits, the last one if there are several."""
    weight = head_weights(module, heads)[-1]
    return next(layer for layer in module.modules() if any(weight is own for own in layer.parameters(recurse=False)))


def head_module(module: nn.Module, heads: Collection[str] = ()) -> nn.Module:
    """Return the whole head, which maps features to logits: the last layer, unless another kind of head is used."""
    return next((part for part in module.modules() if isinstance(part, Head)), None) or last_layer(module, heads)


def head_inputs(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return the features (B, D), float32, from the inputs of a head; those of a convolution are averaged."""
    features = inputs[0].detach().float()
    return features.mean((2, 3)) if isinstance(layer, nn.Conv2d) else features.flatten(1)


def with_new_heads(
    module: nn.Module, heads: Collection[str], state: dict[str, Tensor], *, source: Path
) -> dict[str, Tensor]:
    """Return the state with the network's own heads in place of those of another kind or number of classes.

    The heads in the state may have fewer inputs, after pruning. Logs a warning that names the replaced layers. The
    state of another network is returned unchanged.
    """
    own = tensors(module)
    state = _with_own_kind(module, heads, state, own, source=source) if heads else state
    comparable = [name for name in heads if name in state and state[name].ndim == own[name].ndim]
    replaced = [name for name in comparable if own[name].shape[0] != state[name].shape[0]]
    if not replaced:
        return state
    layers = [f"'{name}'" for name in dict.fromkeys(name.rpartition(".")[0] for name in replaced)]
    what = f"last layer {layers[0]} is" if len(layers) == 1 else f"last layers {' and '.join(layers)} are"
    log.warning("%s is for another number of classes: its %s not loaded.", source, what)
    return state | {name: own[name].detach()[(..., *map(slice, state[name].shape[1:]))] for name in replaced}


def _with_own_kind(
    module: nn.Module, heads: Collection[str], state: dict[str, Tensor], own: dict[str, Tensor], *, source: Path
) -> dict[str, Tensor]:
    """Return the state with the network's own head in place of one of another kind, by the names of its tensors."""
    head = head_module(module, heads)
    path = next(path for path, part in module.named_modules() if part is head)
    mine, theirs = ({name for name in one if name.startswith(f"{path}.")} for one in (own, state))
    plain = {f"{path}.weight", f"{path}.bias"}
    if not theirs or mine == theirs or mine | theirs <= plain:
        return state
    log.warning("%s has another kind of head: its '%s' is not loaded.", source, path)
    return {name: tensor for name, tensor in state.items() if name not in theirs} | {name: own[name] for name in mine}
