"""The recipe of a run: frozen dataclasses whose fields are the flags, the YAML keys and the reference documentation."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from shoestring.config import paths
from shoestring.config.class_weights import ClassWeights, parse_class_weights
from shoestring.config.fields import Section, option, path
from shoestring.config.fit import DEFAULT_FIT, Fit
from shoestring.config.fold import Fold, parse_pattern
from shoestring.config.head import HeadKind
from shoestring.config.labels import LABEL_FIELDS, LabelTable
from shoestring.config.select import Select
from shoestring.config.size_sections import Grow, Prune
from shoestring.config.sweep import Sweep
from shoestring.config.tickets import Tickets
from shoestring.config.units import Bytes, Duration, Flops, Fractions

_MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Train(Section):
    """The network and how it is trained."""

    model: str = option("network, see `shoestring list models`, or timm:NAME for any timm model", "auto")
    width: float | None = option("multiple of the network's default number of channels", gt=0)
    norm: bool | None = option("use batch normalization")
    dropout: float | None = option("fraction of features dropped before the head", ge=0, lt=1)
    head: HeadKind | None = option(
        "last part of the network: linear (the default), mlp:256,64 (hidden layers of these sizes, with dropout), "
        "cosine (normalized features and weights), prototype (nearest class mean), or dual (a second output of ones)",
        parse=HeadKind.parse,
    )
    shortcut: Literal["A", "B"] | None = option(
        "shortcuts of resnet20 and resnet56: zero padding (A) or 1x1 convolution (B)"
    )
    weights: str | None = path(
        "initial weights: pretrained (the default for timm models that have any), none to train from scratch, a "
        ".safetensors file, or a run",
        paths.weights,
    )
    download: bool = option("allow --model auto to download the weights of a better pretrained network", False)
    tune: str = option(
        "blocks of a pretrained network that are trained: all, head, last:2, or names such as layer3,layer4; auto "
        "trains all if there is time, after fitting the head",
        "auto",
    )
    frozen_views: int | None = option(
        "augmented views of each image for which the frozen part of a network is run, once, before the other blocks "
        "are trained; 0 runs it in each step (default: up to 4, if that is less work)",
        ge=0,
    )
    optimizer: Literal["auto", "muon", "sgd", "adamw"] = option(
        "optimizer: muon, sgd (with Nesterov momentum) or adamw", "auto"
    )
    schedule: Literal["deadline", "anytime"] = option(
        "learning-rate schedule: deadline decays to zero at the end of the budget; anytime decays with a power of "
        "the time and anneals to zero in the last fifth, so that the same command with a larger budget extends the run",
        "deadline",
    )
    learning_rate: float | None = option(
        "peak learning rate (default: 0.2 for muon, 0.001 for adamw; for sgd 0.1 at batch size 128, or 0.02 for "
        "networks without normalization)",
        gt=0,
    )
    weight_decay: float | None = option(
        "weight decay (default: the optimizer's own); muon constrains weight norms instead", ge=0
    )
    batch_size: int | None = option("images per step (default: chosen by data and budget)", ge=1)
    class_weights: ClassWeights | None = option(
        "weights of the classes in the loss: none, balanced or auto (inversely proportional to the numbers of training "
        "images), or numbers such as cat=2,dog=1, with 1 for other classes (default: none)",
        parse=parse_class_weights,
    )
    use_unlabeled: bool = option(
        "also train on the images that were not selected, with labels that the network predicts with confidence", False
    )
    unlabeled_confidence: float | None = option(
        "lowest probability, calibrated on validation images, at which --use-unlabeled uses a predicted label "
        "(default: the lowest above which 95 % of the predictions of validation images are correct)",
        gt=0,
        le=1,
    )
    label_smoothing: float = option("fraction of the target spread over all classes", 0.2, ge=0, lt=1)
    flip: bool | None = option("flip images horizontally at random (default: depends on the data)")
    shift: float | None = option("maximum shift, as a fraction of the side; edges are reflected", ge=0, lt=1)
    cutout: float | None = option("side of the square that is cut out, as a fraction of the side", ge=0, le=1)
    jitter: float | None = option("maximum change of brightness, contrast and color, as a fraction", ge=0, le=1)
    mixup: float | None = option("fraction of images mixed with another image, labels included", ge=0, le=1)
    rotate: float = option("maximum rotation in degrees", 0.0, ge=0, le=180)
    zoom: float = option("maximum change of scale, as a fraction", 0.0, ge=0, lt=1)
    strength: Fractions = option(
        "strength of the augmentation, as fractions at equal intervals of the training: 0.5,1 increases it, 1,1,0 "
        "decreases it in the second half",
        "1",
        parse=Fractions,
    )
    ema: bool = option("use an exponential moving average (EMA) of the weights", True)
    tta: Literal["auto", "none", "flip", "crops"] = option(
        "test-time augmentation: none, the mirror image as well (flip), or also four shifted crops where the "
        "prediction is uncertain (crops)",
        "auto",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "numeric precision of training; auto measures which is faster", "auto"
    )
    patience: int | None = option("early stopping: stop after this many validations without improvement", ge=1)

    @property
    def starts_from_weights(self) -> bool:
        """Whether the network starts from weights, once it is known whether there are pretrained ones."""
        return self.weights not in (None, "none")

    def mirrors(self, keeps_class: bool) -> bool:
        """Return whether images are flipped: as set, otherwise if a mirrored image keeps its class."""
        return keeps_class if self.flip is None else self.flip


@dataclass(frozen=True)
class Recipe(LabelTable):
    """A whole run."""

    start: str | None = path("finished run whose model is pruned; nothing is trained from scratch")
    data: str = path(
        "image folder, folder of Parquet files, .npz file, name of a data set, Hugging Face Hub id, or digits",
        paths.source,
        "digits",
    )
    time: Duration | None = option("time budget from process start to exit: 90s, 5m, 1h", parse=Duration)
    epochs: float | None = option(
        "budget in training epochs instead of time; reproducible for a fixed number of threads "
        "(default without a budget: 10)",
        gt=0,
    )
    flops: Flops | None = option(
        "budget in training FLOPs instead of time; reproducible for a fixed number of threads", parse=Flops
    )
    resolution: int | None = option(
        "side of the square images in pixels (default: native, at most 160 for pretrained networks, else 64)", ge=1
    )
    fit: Fit = option("how rectangles become squares: crop (the center), squash or pad (with gray)", DEFAULT_FIT)
    validation: float = option(
        "fraction of the training images held out for validation, at most 2,500 images", 0.1, ge=0, lt=1
    )
    split_seed: int = option("seed of the held-out splits; independent of --seed", 0, ge=0, le=_MAX_SEED)
    group: str | None = option(
        "regular expression for file names: images in which it matches the same text (that of its first parentheses, "
        "if it has any) are never in two splits, such as those of one patient",
        parse=parse_pattern,
    )
    fold: Fold | None = option(
        "one fold of a cross-validation, such as 2/5: hold out the second of five parts of the images, and no others, "
        "for testing, or with --evaluate validation for validation",
        parse=Fold.parse,
    )
    evaluate: Literal["test", "validation"] | None = option(
        "split that the final network is evaluated on; validation leaves the test split for later (default: test)"
    )
    keep: str | None = path(
        "images that are never held out: a subset file, a run, or a list of indices into the train split"
    )
    skip_bad: bool = option("skip images that cannot be read, and list them", False)
    unlabeled: bool = option("select images to label: they have no labels yet", False)
    unlabeled_images: str | None = path(
        "more images without labels that --use-unlabeled trains on: a folder, or another source as DATA", paths.source
    )
    seed: int = option("seed of everything but the held-out splits", 0, ge=0, le=_MAX_SEED)
    device: str = option("device: cpu, cuda, cuda:1, mps or auto", "auto")
    memory: Bytes | None = option("limit on accelerator memory: 2GB", parse=Bytes)
    threads: int | None = option("number of CPU threads (default: PyTorch's, or fewer if faster)", ge=1, le=1024)
    baseline: bool = option("also train on as many random images, with the same budget, for comparison", False)
    report: bool | None = option(
        "write the page of the run, with charts and pictures (default: yes, but not in experiments); shoestring report "
        "writes it later"
    )
    select: Select = field(default_factory=Select)
    train: Train = field(default_factory=Train)
    grow: Grow = field(default_factory=Grow)
    prune: Prune = field(default_factory=Prune)

    @property
    def budget(self) -> dict[str, float]:
        """The budgets that are set, by their names."""
        return {name: getattr(self, name) for name in BUDGETS if getattr(self, name) is not None}

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that the budget is divided among, in order."""
        enabled = {
            "select": self.select.examples is not None,
            "train": self.start is None,
            "prune": self.prune.enabled,
        }
        return tuple(name for name, is_enabled in enabled.items() if is_enabled)

    @property
    def extendable(self) -> bool:
        """Whether a finished run can be extended with a larger budget."""
        return self.train.schedule == "anytime" and self.start is None


@dataclass(frozen=True)
class TicketsRecipe(Recipe):
    """A lottery ticket experiment. Epochs and FLOPs are those of each training, time that of the whole experiment."""

    tickets: Tickets = field(default_factory=Tickets)


@dataclass(frozen=True)
class SweepRecipe(Recipe):
    """Several runs. Epochs and FLOPs are those of each run, time that of all runs together."""

    sweep: Sweep = field(default_factory=Sweep)

    @property
    def single(self) -> Recipe:
        """The recipe of one run, without what is varied or repeated."""
        return Recipe(**{entry.name: getattr(self, entry.name) for entry in fields(Recipe)})


BUDGETS = ("time", "epochs", "flops")
# how images are loaded
IMAGES = (*LABEL_FIELDS, "resolution", "fit", "validation", "split_seed", "group", "fold", "keep", "skip_bad")
SECTIONS = {"select": Select, "train": Train, "grow": Grow, "prune": Prune, "tickets": Tickets, "sweep": Sweep}
