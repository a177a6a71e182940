"""The optimizer "auto", and its peak learning rate and weight decay."""

from __future__ import annotations

from torch import nn

from shoestring.config.recipe import Train
from shoestring.models.model import Model
from shoestring.planning.pretrained import LEARNING_RATE, WEIGHT_DECAY, is_pretrained
from shoestring.training.optimizer import DEFAULT_RATES, has_norms, partition

# Networks without norms: some stay at chance with SGD at 0.1, and deep ones with Muon at 0.2. From three layers on, the
# learning rate of Muon is inversely proportional to their number (benchmarks/learning_rates.py). Below a batch size of
# 32 it is proportional to the batch size, because the size of Muon's updates does not depend on it; training ended at
# chance.
_SGD_WITHOUT_NORMS, _MUON_LAYERS, _MUON_BATCH_SIZE = 0.02, 3, 32
_FINE_TUNING = 0.1  # factor on the default learning rate of networks with loaded weights
_MUON_FRACTION = 0.1  # minimum fraction of the weights that Muon would update (benchmarks/learning_rates.py)


def choose_optimizer(model: Model, settings: Train) -> str:
    """Return the requested optimizer; "auto" depends on the network.

    Pretrained networks use AdamW, as do those with layer normalization, such as transformers. New networks use Muon if
    it would update enough of the weights. Of the rest, networks with norms or loaded weights use SGD, and new networks
    without norms AdamW, because some of these stay at chance with SGD. After two epochs on CIFAR-10, ResNet-20 reaches
    a validation accuracy of 82 % with Muon and 71 % with SGD (one seed, benchmarks/results/validation_trials.json).
    """
    if settings.optimizer != "auto":
        return settings.optimizer
    if is_pretrained(settings):
        return "adamw"
    if any(isinstance(module, nn.LayerNorm) for module in model.module.modules()):
        return "adamw"
    matrices, others, _ = (sum(weight.numel() for weight in part) for part in partition(model))
    fresh = not settings.starts_from_weights
    if fresh and matrices > _MUON_FRACTION * (matrices + others):
        return "muon"
    return "sgd" if not fresh or has_norms(model.module) else "adamw"


def peak_rates(model: Model, settings: Train, name: str, *, batch_size: int) -> tuple[float, float]:
    """Return peak learning rate and weight decay: as requested, or the defaults of the optimizer for this network."""
    rate, decay = _default_rates(model, settings, name, batch_size)
    rate = rate if settings.learning_rate is None else settings.learning_rate
    return rate, decay if settings.weight_decay is None else settings.weight_decay


def _default_rates(model: Model, settings: Train, name: str, batch_size: int) -> tuple[float, float]:
    if is_pretrained(settings) and name == "adamw":
        return LEARNING_RATE, WEIGHT_DECAY
    rate, decay = DEFAULT_RATES[name]
    matrices, _, _ = partition(model)
    normed = has_norms(model.module)
    if name == "sgd":
        rate = (rate if normed else _SGD_WITHOUT_NORMS) * min(batch_size / 128, 4.0)
    if name == "muon" and not normed:
        rate *= min(1.0, _MUON_LAYERS / max(len(matrices), 1)) * min(1.0, batch_size / _MUON_BATCH_SIZE)
    return _FINE_TUNING * rate if settings.starts_from_weights else rate, decay
