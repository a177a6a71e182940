"""Heads: the parameters whose shape follows from the number of classes, and how they start where none are loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from shoestring.models.layers import tensors

log = logging.getLogger(__name__)

# Standard deviation of fresh logits over the root mean square of the features that they are made from. Not exactly
# zero: behind a ReLU, as in SqueezeNet, a zero head would never get a gradient; and at a thousandth Muon, whose steps
# are as large for the smallest gradients, first moves the other layers at random: ResNet-20 then has 51 to 68 % of the
# digits' validation images after three passes, and 84 to 93 % at a tenth (three seeds).
_SMALL = 0.1


def find_heads(module: nn.Module, create: Callable[[int], nn.Module], count: int) -> tuple[str, ...]:
    """The names of the tensors of a network for `count` classes that have another shape with one class more.

    `create` makes the network for a number of classes. It is made on the meta device, where tensors hold no values, or
    on the processor where its code reads values; the state of torch's random numbers is left as it is.
    """
    try:
        with torch.device("meta"):
            other = tensors(create(count + 1))
    except Exception:  # networks raise a dozen kinds where a tensor holds no values
        with torch.random.fork_rng(devices=[]):
            other = tensors(create(count + 1))
    return tuple(name for name, own in tensors(module).items() if own.shape != other[name].shape)


@torch.no_grad()
def start_small(module: nn.Module, heads: Collection[str], count: int) -> None:
    """Scale the named parameters of a fresh head for `count` classes down in place: all logits start near zero.

    The loss starts at ln(count) then, whatever the initialization of the network makes of its last layer. A network
    that scales its logits itself has the attribute `head_scale`, and its head is scaled down by so much less.
    """
    for name, weight in module.named_parameters():
        if name not in heads:
            continue
        owner, _, kind = name.rpartition(".")
        if kind == "bias":  # all alike, which changes no probability; but a ReLU may follow a convolution
            weight.fill_(1.0 if isinstance(module.get_submodule(owner), nn.Conv2d) else 0.0)
            continue
        inputs, found = weight.numel() / count, weight.square().mean().sqrt()
        wanted = _SMALL / (inputs**0.5 * getattr(module, "head_scale", 1.0))
        weight.mul_(min(1.0, wanted / float(found)) if found > 0 else 1.0)


def head_weights(module: nn.Module, heads: Collection[str]) -> list[Tensor]:
    """The weights that make the logits: those named, or of a network that has none of them, its last linear layer's."""
    named: list[Tensor] = [weight for name, weight in module.named_parameters() if name in heads and weight.ndim > 1]
    return named or [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)][-1:]


def last_layer(module: nn.Module, heads: Collection[str] = ()) -> nn.Module:
    """The layer that makes the logits, the last one where there are several."""
    weight = head_weights(module, heads)[-1]
    return next(layer for layer in module.modules() if any(weight is own for own in layer.parameters(recurse=False)))


def features_into(layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What a last layer makes logits of (B, D), float32: its inputs, averaged over the image before a convolution."""
    found = inputs[0].detach().float()
    return found.mean((2, 3)) if isinstance(layer, nn.Conv2d) else found.flatten(1)


def with_fresh_heads(
    module: nn.Module, heads: Collection[str], state: dict[str, Tensor], *, source: Path
) -> dict[str, Tensor]:
    """A state for the network, with the network's own heads where those of the state are for other classes.

    A head may have lost inputs in the state. A warning names what is left out; a state of another network is returned
    as it is.
    """
    own = tensors(module)
    alike = [name for name in heads if name in state and state[name].ndim == own[name].ndim]
    differing = [name for name in alike if own[name].shape[0] != state[name].shape[0]]
    if not differing:
        return state
    layers = [f"'{name}'" for name in dict.fromkeys(name.rpartition(".")[0] for name in differing)]
    what = f"last layer {layers[0]} is" if len(layers) == 1 else f"last layers {' and '.join(layers)} are"
    log.warning("%s is for another number of classes: its %s left out.", source, what)
    fresh = {name: own[name].detach()[(..., *map(slice, state[name].shape[1:]))] for name in differing}
    return state | fresh
