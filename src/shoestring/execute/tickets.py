"""Find lottery tickets: train, remove the smallest weights, rewind the others and train again, beside controls."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from shoestring.budget import Budget
from shoestring.config.plan import FineTune
from shoestring.config.tickets import Tickets
from shoestring.data import Dataset, Images
from shoestring.data.labels import weighted_by_class
from shoestring.errors import UserError
from shoestring.execute.prediction import accuracy
from shoestring.execute.ticket_store import Row, Store
from shoestring.execute.ticket_training import Moment, Part, copy_state, train_masked
from shoestring.models.model import Model, build
from shoestring.models.tta import expected_passes
from shoestring.planning.model import build_network
from shoestring.planning.plan import Planned
from shoestring.planning.resolve import Resolved
from shoestring.planning.tickets import part_of
from shoestring.pruning.tickets import masks
from shoestring.pruning.tickets.masks import Mask
from shoestring.runtime.context import Context
from shoestring.training.fine_tuning import freeze

DENSE, TICKET, FINETUNE = "dense", "ticket", "finetune"
_REINIT = 1_000_003  # added to the seed for another initialization


@dataclass(frozen=True)
class Experiment:
    """What all trainings of an experiment share.

    `budget` is that of all of them. `on_winner` is called with the dense network of the first seed, and with each of
    its tickets that is not worse on the validation images; with each ticket if there are none.
    """

    settings: Tickets
    resolved: Resolved
    data: Dataset
    images: Images
    budget: Budget
    context: Context
    store: Store
    on_winner: Callable[[Model, Row], None] = lambda model, row: None

    @property
    def planned(self) -> Planned:
        """The plan of each training."""
        assert self.resolved.training is not None
        return self.resolved.training

    def sizes(self) -> dict[str, int]:
        """Return the numbers of weights that can be removed, and of those of them that are frozen."""
        model = self.planned.model
        names, frozen = prunable_names(model, self.planned.train.fine_tune, self.settings)
        weights = dict(model.module.named_parameters())
        return {"prunable_weights": sum(weights[name].numel() for name in names), "frozen_weights": frozen}

    def run(self) -> list[Row]:
        """Do all trainings that are not done; return the rows of all.

        Raises `UserError` if the training ends before the moment to rewind to, or if no weights can be pruned.
        """
        for repetition in range(self.settings.seeds):
            _Seed(self, self.context.seed + repetition).run()
        return self.store.rows


def prunable_names(model: Model, fine_tune: FineTune | None, settings: Tickets) -> tuple[list[str], int]:
    """Return the names of the weights that can be removed, and how many of these weights are frozen."""
    names, weights = masks.prunable_weights(model.module), dict(model.module.named_parameters())
    frozen = freeze(model, fine_tune)
    for weight in frozen:
        weight.requires_grad_(True)
    ids = {id(weight) for weight in frozen}
    if settings.prunable == "tuned":
        names = [name for name in names if id(weights[name]) not in ids]
    if not names:
        raise UserError(f"{model.name} has no weights to prune: only those of convolutions and linear layers are.")
    return names, sum(weights[name].numel() for name in names if id(weights[name]) in ids)


class _Seed:
    """The trainings of one seed."""

    def __init__(self, experiment: Experiment, seed: int) -> None:
        self.experiment, self.seed, self.store = experiment, seed, experiment.store
        self.settings, self.plan = experiment.settings, experiment.planned.train
        self.context = replace(experiment.context, seed=seed, folder=None)
        recipe = experiment.resolved.recipe
        self.model = build_network(experiment.planned.network, experiment.images, recipe.train, seed=seed)
        module = self.model.module
        names, _ = prunable_names(self.model, self.plan.fine_tune, self.settings)
        self.initial, weights = copy_state(module), dict(module.named_parameters())
        self.weights = {name: weights[name] for name in names}
        heads = self.model.heads if self.settings.scope == "layer" else ()
        rate, conv_rate = self.settings.rate, self.settings.conv_rate
        self.rates = masks.rates_by_weight(module, names, rate, conv_rate=conv_rate, heads=heads)

    def run(self) -> None:
        """Train the dense network, and then the networks of each level."""
        start = self._dense()
        for level in range(1, self.settings.levels + 1):
            networks = (TICKET, *self.settings.controls)
            for network in networks:
                if self.store.find(self.seed, level, network) is None:
                    self._train(level, network, *self._begin(network, level, start))
            for network in (TICKET, FINETUNE):
                self.store.remove(self._name(level - 1, network))
            self.store.remove(self._name(level - 1, f"{FINETUNE}-mask"))

    def _dense(self) -> Moment:
        """Train the whole network, and return the moment to rewind to."""
        rewind, name = self.settings.rewind, self._name(0, "start")
        if self.store.find(self.seed, 0, DENSE) is None:
            self._train(0, DENSE, Moment(self.initial), None)
        if rewind.to_start:
            return Moment(self.initial)
        saved, row = self.store.get(name), self.store.find(self.seed, 0, DENSE)
        if saved is None or row is None:
            raise UserError(f"the weights to rewind to are missing ({name}): remove the run to start over.")
        return Moment(saved, row["rewind"])

    def _begin(self, network: str, level: int, start: Moment) -> tuple[Moment, Mask]:
        """Return the weights and the mask that a network of a level starts with."""
        if network == FINETUNE:
            mask = self._mask(FINETUNE, level)
            return Moment(self._final(FINETUNE, level - 1)), mask
        mask, seed = self._mask(TICKET, level), 1000 * self.seed + level
        if network == "reinit":
            return Moment(self._another_initialization()), mask
        if network == "shuffled":
            return start, masks.shuffled_mask(mask, seed)
        return start, masks.random_mask(mask, seed) if network == "random" else mask

    def _mask(self, network: str, level: int) -> Mask:
        """Return the mask of a ticket, or of fine-tuning, by the weights after the level before."""
        if level == 0:
            return masks.full_mask(self.weights)
        name = self._name(level, f"{network}-mask")
        packed = self.store.get(name)
        if packed is not None:
            return masks.unpack_mask(packed, self.weights)
        before, final = self._mask(network, level - 1), self._final(network, level - 1)
        mask = masks.prune_smallest(final, before, self.rates, self.settings.scope)
        self.store.put(name, masks.pack_mask(mask))
        return mask

    def _final(self, network: str, level: int) -> dict[str, torch.Tensor]:
        """Return the weights of a ticket, or of fine-tuning, at the end of a level's training."""
        name = self._name(level, TICKET if level == 0 else network)
        state = self.store.get(name)
        if state is None:
            raise UserError(f"the weights of an earlier level are missing ({name}): remove the run to start over.")
        return state

    def _another_initialization(self) -> dict[str, torch.Tensor]:
        """Return the network's weights with another seed, untrained; weights that are never trained stay."""
        torch.manual_seed(self.seed + _REINIT)
        own, size = self.model, self.model.preprocessing
        other = build(own.name, classes=own.classes, preprocessing=size, options=own.options)
        fixed = [name for name, weight in own.module.named_parameters() if not weight.requires_grad]
        return copy_state(other.module) | {name: self.initial[name] for name in fixed}

    def _train(self, level: int, network: str, start: Moment, mask: Mask | None) -> None:
        """Train and evaluate one network, keep its weights if later levels need them, and add its row."""
        experiment, began = self.experiment, time.monotonic()
        trainings, left = self.settings.trainings, self.settings.trainings - len(self.store.rows)
        budget = part_of(experiment.budget, trainings, left=left, fraction=1 - start.fraction)
        validation, test = experiment.data.validation, experiment.data.test
        budget.seconds_per_pass = self.plan.times.predict or None
        passes = (len(validation) + len(test)) * expected_passes(self.model.preprocessing)
        budget.reserve("evaluate", images=round(passes))
        rewind = self.settings.rewind if network == DENSE else None
        images = weighted_by_class(experiment.images, self.plan.class_weights)
        part = Part(budget, self.context, rewind)
        summary, moment = train_masked(self.model, start, mask, images, self.plan, part)
        experiment.budget.charge(epochs=budget.counted, flops=budget.counted)
        if rewind is not None and not rewind.to_start:
            if moment is None:
                raise UserError(f"--rewind {rewind} is after the end of the training, after {summary.steps} steps.")
            self.store.put(self._name(0, "start"), moment.state)
        if network in (DENSE, TICKET, FINETUNE):
            name = self._name(level, TICKET if network == DENSE else network)
            self.store.put(name, copy_state(self.model.module))
        row: Row = {
            "seed": self.seed,
            "level": level,
            "network": network,
            "weights": 1.0 if mask is None else masks.fraction_left(mask),
            "accuracy": accuracy(self.model, test) if len(test) else None,
            "validation": accuracy(self.model, validation) if len(validation) else None,
            "epochs": summary.epochs,
            "steps": summary.steps,
            "rewind": moment.fraction if moment is not None else 0.0,
        }
        row["seconds"] = round(time.monotonic() - began, 2)
        self._report(row)
        self.store.add(row)

    def _report(self, row: Row) -> None:
        """Log a row, and pass on the network if it may be the winner."""
        figure = row["validation"] if row["accuracy"] is None else row["accuracy"]
        shown = "" if figure is None else f": {100 * figure:.1f} %"
        weights = f"{100 * row['weights']:.3g} % of the weights"
        self.context.log(f"seed {row['seed']}, level {row['level']}, {weights}, {row['network']}{shown}")
        if row["seed"] != self.experiment.context.seed or row["network"] not in (DENSE, TICKET):
            return
        dense = self.store.find(self.seed, 0, DENSE)
        if dense is None or row["validation"] is None or row["validation"] >= dense["validation"]:
            self.experiment.on_winner(self.model, row)

    def _name(self, level: int, what: str) -> str:
        return f"seed-{self.seed}/level-{level:02}-{what}"
