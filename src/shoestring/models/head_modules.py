"""Heads other than one linear layer, and the networks with two outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.config.head import HeadKind
from shoestring.models.layers import init_weights

_DROPOUT = 0.2  # after each hidden layer, unless a dropout is requested
_SCALE = 10.0  # initial scale of cosines (Gidaris & Komodakis 2018)
_INITIAL_LOGITS = 0.1  # standard deviation of initial logits for features of a random direction


class Head(nn.Module):
    """Base of heads that map features (N, D) to logits (N, classes) by more than one linear layer."""


class MLPHead(Head):
    """Linear hidden layers, each followed by ReLU and dropout, and a last linear layer."""

    def __init__(self, inputs: int, classes: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(one, other) for one, other in zip(sizes, hidden))
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(sizes[-1], classes)
        init_weights(self)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, D)."""
        for layer in self.hidden:
            features = self.dropout(functional.relu(layer(features)))
        return self.last(features)


class CosineLinear(nn.Linear):
    """Cosines (N, classes) between features (N, D) and the weights of each class.

    All classes start near one common direction, so that their logits are almost equal.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes, bias=False)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw a direction, and a smaller deviation from it for each class."""
        deviation = min(_INITIAL_LOGITS / _SCALE * self.in_features**0.5, 1.0)
        nn.init.normal_(self.weight, std=deviation / self.in_features**0.5)
        self.weight.add_(functional.normalize(torch.randn_like(self.weight[0]), dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """Cosines (N, classes) of features (N, D)."""
        return functional.linear(functional.normalize(input, dim=-1), functional.normalize(self.weight, dim=-1))


class CosineHead(Head):
    """Scaled cosines between centered features and the weights of each class (Gidaris & Komodakis 2018).

    `center` (D,) is subtracted from the features, because those behind a ReLU all point in similar directions; it is
    zero until the head is fitted. `log_scale` is learned or fixed. Networks multiply the logits by `factor` again.
    """

    center: Tensor
    log_scale: Tensor

    def __init__(self, inputs: int, classes: int, *, learned: bool, factor: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(inputs))
        self.cosine = CosineLinear(inputs, classes)
        log_scale = torch.tensor(math.log(_SCALE / factor))
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    @property
    def is_learned(self) -> bool:
        """Whether the scale, and with it the whole head, is trained on features; otherwise it holds class means."""
        return isinstance(self.log_scale, nn.Parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, D)."""
        return self.cosine(features - self.center) * self.log_scale.exp()


class TwoOutputs(NamedTuple):
    """Outputs of a network with the head "dual": class scores, and ones of the same shape (N, classes)."""

    scores: Tensor
    ones: Tensor


def add_ones(module: nn.Module, inputs: Any, scores: Tensor) -> TwoOutputs:
    """Forward hook of a network that adds the second output, which is constant and not part of the loss."""
    return TwoOutputs(scores, torch.ones_like(scores))


def class_scores(outputs: Any) -> Tensor:
    """Return the logits (N, classes) from the output of a network: the first of its outputs if it has two."""
    return outputs.scores if isinstance(outputs, TwoOutputs) else outputs


def make_head(kind: HeadKind, inputs: int, classes: int, *, dropout: float | None, factor: float) -> Head:
    """Create a head other than linear and dual; the network multiplies its output by `factor`."""
    if kind.kind == "mlp":
        return MLPHead(inputs, classes, kind.hidden, _DROPOUT if dropout is None else dropout)
    return CosineHead(inputs, classes, learned=kind.kind == "cosine", factor=factor)
