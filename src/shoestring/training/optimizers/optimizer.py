"""Which rule moves which weight: Muon, SGD with Nesterov momentum or AdamW, with one learning-rate factor over all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from shoestring.config.plan import TrainPlan
from shoestring.config.recipe import Train
from shoestring.errors import UserError
from shoestring.models.heads import head_weights
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import synchronous
from shoestring.runtime.timing import min_seconds
from shoestring.training.optimizers.muon import ITERATIONS, Muon, orthogonalise, working
from shoestring.training.optimizers.rules import SGD, AdamW, Rule

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
# Peak learning rate and weight decay where the user gives none.
_DEFAULTS = {"muon": (0.2, 0.0), "sgd": (0.1, 5e-4), "adamw": (1e-3, 5e-2)}
# Networks without norms: at 0.1 SGD leaves some at chance, and so does Muon at 0.2 where they are deep. From so many
# layers on its rate falls with one over their number (benchmarks/learning_rates.py), and with the images below so many
# in a step: its steps are as large for one image, and ended at chance.
_SGD_WITHOUT_NORMS, _DEEP, _FEW = 0.02, 3, 32
_MOVED = 0.1  # fraction of the weights that are matrices from which Muon is worth having (benchmarks/learning_rates.py)

_LARGEST = 1024  # rows or columns, whichever are fewer, of a matrix that is worth making orthogonal
_LONG = 0.2  # seconds in which that is timed
_WARM_UP = 0.15  # share of the training, of optimisers that need it
# An anytime schedule: shares of the training at its peak and falling to zero, and the power of the time between them.
# With this power models on the way were nearest to trainings that ended there; the root and a constant were worse.
_PEAK, _COOL_DOWN, _POWER = 0.1, 0.2, 0.75


class Optimizer:
    """One or two optimizers with one `step` and one learning-rate factor."""

    def __init__(self, parts: Sequence[Rule], *, name: str, warm_up: float, schedule: str = "deadline") -> None:
        self.parts, self.name, self.warm_up, self.schedule = list(parts), name, warm_up, schedule

    def factor(self, fraction: float) -> float:
        """Learning rate over its peak at a fraction of the budget: up during `warm_up`, then down to zero.

        Straight decay to zero at the end of the budget is what serves small budgets best (Li et al. 2020). The schedule
        "anytime" falls with a power of the time, as reciprocal roots do (Zhai et al. 2022), so that what is averaged on
        the way is of use, and in the last fifth to zero besides, by one minus the root (Hägele et al. 2024).
        """
        if fraction < self.warm_up:
            return fraction / self.warm_up
        if self.schedule == "anytime":
            peak = max(_PEAK, self.warm_up)
            return (peak / max(fraction, peak)) ** _POWER * (1 - max(1 - (1 - fraction) / _COOL_DOWN, 0.0) ** 0.5)
        return (1 - fraction) / (1 - self.warm_up)

    def step(self, factor: float | Tensor) -> None:
        """One update at this factor of the peak learning rates; gradients are cleared."""
        for part in self.parts:
            part.step(factor)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.clear()

    def state_dict(self) -> list[list[dict[str, Any]]]:
        """State of all parts."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[list[dict[str, Any]]]) -> None:
        """Restore what `state_dict` gave."""
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)


def update_seconds(model: Model, settings: Train) -> float:
    """Seconds that the rule itself takes in a step, however few images it has: those of Muon, which are many."""
    if name_of(model, settings) != "muon":
        return 0.0
    matrices = [working(weight.detach().flatten(1)) for weight in _split(model)[0]]
    if not matrices:
        return 0.0
    run = synchronous(lambda: [orthogonalise(matrix) for matrix in matrices], matrices[0].device)
    return min_seconds(run, _LONG)


def update_flops(model: Model, settings: Train) -> float:
    """Floating-point operations of the rule itself in a step: those of Muon, as of the others there are few."""
    if name_of(model, settings) != "muon":
        return 0.0
    shapes = [sorted(weight.flatten(1).shape) for weight in _split(model)[0]]
    return sum(ITERATIONS * (4 * short * short * long + 2 * short**3) for short, long in shapes)


def peak_rates(model: Model, settings: Train, name: str, *, batch_size: int) -> tuple[float, float]:
    """Peak learning rate and weight decay of an optimizer for this network: the requested ones, or its defaults."""
    rate, decay = _DEFAULTS[name]
    matrices, _, _ = _split(model)
    normed = _normed(model.module)
    if name == "sgd":
        rate = (rate if normed else _SGD_WITHOUT_NORMS) * min(batch_size / 128, 4.0)
    if name == "muon" and not normed:
        rate *= min(1.0, _DEEP / max(len(matrices), 1)) * min(1.0, batch_size / _FEW)
    rate = rate if settings.learning_rate is None else settings.learning_rate
    return rate, decay if settings.weight_decay is None else settings.weight_decay


def make(model: Model, plan: TrainPlan) -> Optimizer:
    """The optimizer of a plan for this model. Raises `UserError` if there is nothing to train."""
    matrices, others, vectors = _split(model)
    if not matrices and not others and not vectors:
        raise UserError(f"{model.name} has no weights to train.")
    name, rate, decay, normed = plan.optimizer, plan.learning_rate, plan.weight_decay, _normed(model.module)
    if name == "muon":
        parts = [Muon(matrices, lr=rate, weight_decay=decay, fixed_norm=normed)] if matrices else []
        ratio = rate / _DEFAULTS["muon"][0]
        groups = [
            {"params": vectors, "lr": 0.02 * ratio, "weight_decay": 0.0},
            {"params": others, "lr": 0.004 * ratio, "weight_decay": decay},
        ]
        parts = [*parts, AdamW(groups, lr=0.0, betas=(0.85, 0.95))]
        return Optimizer(parts, name=name, warm_up=0.0, schedule=plan.schedule)
    groups = [
        {"params": [*matrices, *others], "weight_decay": decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    one = SGD(groups, lr=rate) if name == "sgd" else AdamW(groups, lr=rate)
    return Optimizer([one], name=name, warm_up=_WARM_UP, schedule=plan.schedule)


def name_of(model: Model, settings: Train) -> str:
    """The optimiser asked for; by default one that goes by the network.

    AdamW where layer normalization tells of a transformer, Muon for fresh networks that it moves much of. Of the rest,
    those with norms and those with trained weights get SGD, and fresh networks without norms AdamW: SGD leaves some of
    these at chance. By Muon two passes over CIFAR-10 bring ResNet-20 to 82 % of validation images, by SGD
    to 71 % (one seed, benchmarks/results/validation_trials.json).
    """
    if settings.optimizer != "auto":
        return settings.optimizer
    if any(isinstance(module, nn.LayerNorm) for module in model.module.modules()):
        return "adamw"
    matrices, others, _ = (sum(weight.numel() for weight in part) for part in _split(model))
    fresh = settings.weights is None
    if fresh and matrices > _MOVED * (matrices + others):
        return "muon"
    return "sgd" if not fresh or _normed(model.module) else "adamw"


def _normed(module: nn.Module) -> bool:
    return any(isinstance(part, _NORMS) for part in module.modules())


def _split(model: Model) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Trainable weights as (matrices, others, vectors).

    Matrices are those that Muon moves: of layers that mix all their inputs, but for the heads and huge ones; and
    where a network has norms, only of layers without a bias, which a norm usually follows. Others have more than one
    axis, too.
    """
    module, heads = model.module, set(head_weights(model.module, model.heads))
    normed, layers = _normed(module), [one for one in module.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    mixing = {
        layer.weight
        for layer in layers
        if layer.weight not in heads
        and getattr(layer, "groups", 1) == 1
        and min(layer.weight.flatten(1).shape) <= _LARGEST
        and not (normed and layer.bias is not None)
    }
    weights: list[Tensor] = [weight for weight in module.parameters() if weight.requires_grad]
    matrices = [weight for weight in weights if weight in mixing]
    others = [weight for weight in weights if weight.ndim > 1 and weight not in mixing]
    return matrices, others, [weight for weight in weights if weight.ndim < 2]
