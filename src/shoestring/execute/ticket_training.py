"""One training of a masked network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from shoestring.budget import Budget
from shoestring.config.plan import TrainPlan
from shoestring.config.tickets import Rewind
from shoestring.data import Images
from shoestring.models.model import Model
from shoestring.pruning.tickets.masks import Mask, apply_mask
from shoestring.runtime.context import Context
from shoestring.training.loop import Hooks, fit
from shoestring.training.progress import TrainingSummary

State = dict[str, Tensor]


@dataclass(frozen=True)
class Moment:
    """The weights at a moment of a training, and the fraction of it that was done."""

    state: State
    fraction: float = 0.0


@dataclass(frozen=True)
class Part:
    """The part of a budget that a training may spend, where it runs, and the moment to keep the weights of, if any."""

    budget: Budget
    context: Context
    rewind: Rewind | None = None


@dataclass
class Constraint:
    """Applies a mask after each step, and keeps the weights at the moment to rewind to."""

    module: nn.Module
    mask: Mask | None
    rewind: Rewind | None = None
    steps: int = 0
    moment: Moment | None = None
    _masks: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weights = dict(self.module.named_parameters())
        if self.mask is not None:
            self._masks = {name: own.to(weights[name].device) for name, own in self.mask.items()}
        self._weights = weights
        apply_mask(weights, self._masks)

    def __call__(self, fraction: float) -> None:
        """Apply the mask after a step; `fraction` is that of the middle of the step."""
        apply_mask(self._weights, self._masks)
        self.steps += 1
        end = fraction * self.steps / (self.steps - 0.5)
        rewind = self.rewind
        if rewind is None or rewind.to_start or self.moment is not None:
            return
        if self.steps >= rewind.steps if rewind.steps else end >= rewind.fraction:
            self.moment = Moment(copy_state(self.module), min(end, 1.0))


def copy_state(module: nn.Module) -> State:
    """Return a copy of all tensors of a module on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def train_masked(
    model: Model, start: Moment, mask: Mask | None, images: Images, plan: TrainPlan, part: Part
) -> tuple[TrainingSummary, Moment | None]:
    """Train a model in place from these weights, under a mask, for the rest of the schedule.

    Returns a summary, and the weights at the moment `part.rewind`, if the training reaches it.
    """
    model.module.load_state_dict(start.state)
    model.module.to(part.context.device)
    constraint = Constraint(model.module, mask, part.rewind)
    plan = replace(plan, lr_range=(start.fraction, 1.0))
    summary = fit(model, images, part.budget.window("train"), plan, part.context, Hooks(constrain=constraint))
    return summary, constraint.moment
