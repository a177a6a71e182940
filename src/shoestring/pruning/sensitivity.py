"""How much each group of channels matters: the loss when it alone is pruned, and scores that predict it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.channels import Kept, Table, drop, trace
from shoestring.channels.compensation import compensate_with
from shoestring.channels.grams import Grams, input_grams
from shoestring.config import registry
from shoestring.errors import UserError
from shoestring.models import Model
from shoestring.models.head_modules import class_scores
from shoestring.pruning.inputs import as_user_errors, check_batches, example_image
from shoestring.pruning.limits import Limit
from shoestring.pruning.scoring import score_channels
from shoestring.runtime.device import eval_mode

Labeled: TypeAlias = tuple[Sequence[Tensor], Sequence[Tensor] | None]  # batches, and labels (N,) of each
Progress: TypeAlias = Callable[[float], None]

FRACTIONS = (0.75, 0.5, 0.25, 0.0)  # of the channels that a trial keeps, at least one


@dataclass(frozen=True)
class Trial:
    """One group pruned to `kept` channels, all others as they are.

    `loss` is the mean KL divergence of the predictions from those of the whole network in nats, `changed` the fraction
    of images whose predicted class changes, and `accuracy` that of correct ones (None without labels).
    """

    kept: int
    loss: float
    changed: float
    accuracy: float | None
    macs: int
    params: int


@dataclass(frozen=True)
class Sensitivity:
    """What pruning one group of channels costs, at several numbers of channels in descending order."""

    group: str
    size: int
    layers: tuple[str, ...]
    trials: tuple[Trial, ...]

    def as_rows(self) -> list[dict[str, Any]]:
        """Return one row of plain values per trial."""
        return [{"group": self.group, "channels": self.size, **vars(trial)} for trial in self.trials]


def measure_sensitivity(
    model: Model,
    batches: Iterable[Tensor],
    *,
    method: str = "greedy",
    labels: Sequence[Tensor] | None = None,
    held_out: Labeled | None = None,
    compensate: bool = True,
    progress: Progress = lambda fraction: None,
    **options: Any,
) -> list[Sensitivity]:
    """Prune each layer of a model alone to several sizes, without training, and measure how its predictions change.

    `batches` (N, C, R, R) are preprocessed calibration images, and `labels` (N,) those of each batch, for methods that
    use any. Predictions are compared on `held_out`, batches and their labels, or else on the calibration images. Layers
    whose channels are tied together are one group, and pruned together. `options` are those of the method; with
    `compensate`, the layers that read the channels are refitted. Raises `UserError` if there are no images.
    """
    options = registry.bind("prune", method, options)
    batches = check_batches(batches, model.preprocessing)
    if not batches:
        raise UserError("sensitivity is measured on images, and there are none: pass at least one.")
    with as_user_errors():
        table = trace(model.module, example_image(model))
    scores = score_channels(model.module, batches, table, method=method, options=options, labels=labels)
    grams = input_grams(model.module, table, batches) if compensate else {}
    return scan_sensitivity(model.module, table, scores, grams, held_out or (batches, labels), progress=progress)


def scan_sensitivity(
    module: nn.Module,
    table: Table,
    scores: Mapping[str, Tensor],
    grams: Grams,
    held_out: Labeled,
    *,
    progress: Progress = lambda fraction: None,
) -> list[Sensitivity]:
    """Prune each group alone to several sizes, and compare the predictions on held-out batches, with labels or None.

    The channels with the highest `scores` are kept. The layers that read them are refitted if there are any second
    moments, `grams`. `progress` is called with the fraction of the groups that are done.
    """
    batches, labels = held_out
    expected = [_log_probabilities(module, batch) for batch in batches]
    sensitivities = []
    for index, (name, group) in enumerate(table.groups.items()):
        order = scores[name].argsort(descending=True, stable=True)
        trials = []
        for count in dict.fromkeys(max(1, round(fraction * group.size)) for fraction in FRACTIONS):
            kept = {name: order[:count].sort().values}
            smaller = _pruned(module, table, kept, grams)
            outcome = _compare(smaller, batches, expected, labels)
            trials.append(Trial(count, *outcome, table.macs(kept), table.params(kept)))
        layers = tuple(layer.removesuffix(".weight") for layer, _ in group.producers)
        sensitivities.append(Sensitivity(name, group.size, layers, tuple(trials)))
        progress((index + 1) / len(table.groups))
    return sensitivities


def predicted_scores(
    sensitivities: Sequence[Sensitivity], scores: Mapping[str, Tensor], table: Table, limits: Sequence[Limit]
) -> dict[str, Tensor]:
    """Return new scores (size,) by group: the predicted loss of removing a channel, per part of the limits it saves.

    Losses between the trials of a scan are interpolated, so that removing the channels with the lowest scores first
    meets the limits with the least sum of predicted losses. Within a group, the order is that of `scores`.
    """
    return {
        own.group: _per_channel(own, scores[own.group]) / max(_saving(own, table, limits), 1e-12)
        for own in sensitivities
    }


def _per_channel(sensitivity: Sensitivity, scores: Tensor) -> Tensor:
    """Return the predicted loss (size,) of removing each channel after those with lower scores: it never falls."""
    losses, upper, before, slope = torch.zeros(len(scores)), sensitivity.size, 0.0, 0.0
    order = scores.argsort(stable=True)  # the first one is removed first
    for trial in sensitivity.trials:
        if trial.kept < upper:
            slope = max(slope, (trial.loss - before) / (upper - trial.kept))
            losses[order[sensitivity.size - upper : sensitivity.size - trial.kept]] = slope
            upper, before = trial.kept, max(before, trial.loss)
    losses[order[sensitivity.size - upper :]] = torch.inf  # at least one channel remains
    ties = torch.linspace(0, 1e-3, len(order))  # in the order of the scores
    return losses + torch.empty_like(ties).index_copy(0, order, ties) * losses.clamp(1e-12, 1e6)


def _saving(sensitivity: Sensitivity, table: Table, limits: Sequence[Limit]) -> float:
    """Return the mean fraction of the limited costs that one channel of a group takes."""
    one_less = {sensitivity.group: torch.arange(max(1, sensitivity.size - 1))}
    fractions = [1 - limit.count(one_less) / limit.count(None) for limit in limits]
    return sum(fractions) / len(fractions) if fractions else 1.0


def _pruned(module: nn.Module, table: Table, kept: Kept, grams: Grams) -> nn.Module:
    return compensate_with(module, table, kept, grams) if grams else drop(module, table, kept)


def _compare(
    module: nn.Module, batches: Sequence[Tensor], expected: Sequence[Tensor], labels: Sequence[Tensor] | None
) -> tuple[float, float, float | None]:
    """Return KL divergence, fraction of changed predictions, and accuracy of a network."""
    outputs = torch.cat([_log_probabilities(module, batch) for batch in batches])
    whole = torch.cat(list(expected))
    loss = functional.kl_div(outputs, whole, log_target=True, reduction="batchmean")
    predicted = outputs.argmax(1)
    changed = (predicted != whole.argmax(1)).float().mean()
    accuracy = None if labels is None else float((predicted == torch.cat(list(labels)).to(predicted)).float().mean())
    return float(loss), float(changed), accuracy


@torch.no_grad()
def _log_probabilities(module: nn.Module, batch: Tensor) -> Tensor:
    with eval_mode(module):
        return class_scores(module(batch)).float().log_softmax(1)
