"""Everything a run is told: frozen dataclasses whose fields are the flags, the YAML keys and the reference docs.

Flags win over the recipe file, the file over the defaults here; what nobody set stays unset.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shoestring.config import paths
from shoestring.config.values import coerce, limited
from shoestring.errors import UserError, quoted, unknown
from shoestring.suggestions import nearest

_LARGEST_SEED = 2**63 - 1


def _about(help: str, default: Any = None, **limits: float) -> Any:
    """A field with its help; `limits` are those of `values.limited`."""
    return field(default=default, metadata={"help": help, "limits": limits})


def _place(help: str, spell: Callable[[str], str] = paths.file, default: str | None = None) -> Any:
    """A field that names a place on the disk, of which `spell` makes an absolute path where the recipe is made."""
    return field(default=default, metadata={"help": help, "limits": {}, "spell": spell})


class _Places:
    """A dataclass whose paths mean the same from every working directory, and have one spelling."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):  # type: ignore[arg-type]
            spell, value = one.metadata.get("spell"), getattr(self, one.name)
            if spell is None or value is None:
                continue
            try:
                object.__setattr__(self, one.name, spell(str(value)))
            except UserError as error:
                raise UserError(f"{one.name}: {error}") from None


@dataclass(frozen=True)
class Select(_Places):
    """Which training images to use."""

    method: str = _about(
        "how images are chosen (`shoestring list select`); auto takes the one that measures best", "auto"
    )
    examples: int | None = _about("how many training images to use (all, when left out)", least=1)
    balance: str | Mapping[str, int] = _about(
        "images per class: equal, proportional (as in the data), none, or cat=50,dog=20", "equal"
    )
    within: str | None = _about("choose among the easiest:0.2, hardest:0.1 or middle:0.5 of the images only")
    learner: Literal["auto", "scratch", "features"] = _about(
        "what will be trained on them, for the method auto: a network from scratch, or on pretrained features", "auto"
    )
    features: str | None = _place(
        "what images are compared by: a model or run folder, timm:NAME with its pretrained weights, or a .npy file of "
        "one row an image (the proxy's features, when left out)",
        paths.features,
    )
    signals: str | None = _place("file (.npz) of what the proxy told: read when it is there, written when it is not")
    drop_duplicates: bool = _about("of images that are nearly the same, leave all but one out first", False)
    drop_suspects: bool = _about("leave images out first whose label the proxy firmly contradicts", False)
    already: str | None = _place("a subset (or run) chosen before, which is kept: --examples counts its images")
    subset: str | None = _place(
        "a subset.json chosen before, or a list of places in the train split (.npy, JSON); nothing is chosen anew"
    )
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Train(_Places):
    """What is trained, and how."""

    model: str = _about("network (`shoestring list models`), timm:NAME for any of timm's, or auto", "auto")
    width: float | None = _about("multiple of the network's usual channels", above=0)
    norm: bool | None = _about("batch normalisation")
    dropout: float | None = _about("share of features dropped before the head", least=0, below=1)
    shortcut: Literal["A", "B"] | None = _about(
        "shortcut of resnet20 and resnet56: zero-padded (A) or 1x1 convolution (B)"
    )
    weights: str | None = _place(
        "start from these: a .safetensors file, a run, or 'pretrained' for timm models", paths.weights
    )
    optimiser: Literal["auto", "muon", "sgd", "adamw"] = _about("muon, sgd with Nesterov momentum, or adamw", "auto")
    schedule: Literal["deadline", "anytime"] = _about(
        "learning rate: deadline falls all the way to the end; anytime falls with a power of the time and in the last "
        "fifth to zero, so that a run can be extended: the same command with a larger budget goes on",
        "deadline",
    )
    learning_rate: float | None = _about(
        "peak learning rate, when left out 0.2 for muon, 0.001 for adamw, and for sgd at 128 images a step 0.1 (0.02 "
        "where a network has no norms)",
        above=0,
    )
    weight_decay: float | None = _about(
        "weight decay (the optimiser's usual one, when left out); muon keeps norms instead", least=0
    )
    batch_size: int | None = _about("images a step (chosen by data and budget, when left out)", least=1)
    label_smoothing: float = _about("share of the target spread over all classes", 0.2, least=0, below=1)
    flip: bool | None = _about("mirror images (by the kind of data, when left out)")
    shift: float | None = _about("largest shift, as a share of the side, edges reflected", least=0, below=1)
    cutout: float | None = _about("side of the square cut out, as a share of the side", least=0, most=1)
    jitter: float | None = _about("largest change of brightness, contrast and colour, as a share", least=0, most=1)
    mixup: float | None = _about("share of the images that others shine through, labels mixed alike", least=0, most=1)
    rotate: float = _about("largest rotation in degrees", 0.0, least=0, most=180)
    zoom: float = _about("largest change of scale, as a share", 0.0, least=0, below=1)
    strength: str = _about(
        "how much of these changes is made, as shares at equal distances over the training: 0.5,1 grows, 1,1,0 falls "
        "in its second half",
        "1",
    )
    averaging: bool = _about("average the weights over the last steps", True)
    views: Literal["auto", "one", "flip", "crops"] = _about(
        "what a prediction averages over: the image, its mirror image too, and in doubt four shifted ones", "auto"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = _about("auto measures which is faster", "auto")
    patience: int | None = _about("stop when this many validations in a row brought nothing better", least=1)

    def mirrors(self, keeps_class: bool) -> bool:
        """Whether images are mirrored: as asked, else when a mirrored image keeps its class."""
        return keeps_class if self.flip is None else self.flip

    def strengths(self) -> tuple[float, ...]:
        """`strength` as numbers; `UserError` for what are no shares."""
        try:
            found = tuple(float(part) for part in self.strength.split(","))
        except ValueError:
            found = ()
        if not found or not all(0 <= share <= 1 for share in found):
            raise UserError(f"--strength takes shares from 0 to 1, such as 0.5,1 or 1,1,0, not '{self.strength}'.")
        return found


@dataclass(frozen=True)
class Grow:
    """How the problem grows while it is trained."""

    method: str = _about(
        "growth schedule (`shoestring list grow`), several as resolution,width,depth, or auto: what is too large for "
        "the time grows",
        "auto",
    )
    stages: str | None = _about(
        "written out instead, as WIDTH@RESOLUTION or WIDTH@RESOLUTION@DEPTH, either with :SHARE of the training: "
        "0.5@0.5,1@0.75@0.5:0.3,1@1"
    )
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prune:
    """How far the trained network is cut."""

    method: str = _about("which channels stay (`shoestring list prune`)", "magnitude")
    macs: str | None = _about("multiply-accumulates of one forward pass in the end: a share (0.5) or a number (20M)")
    params: str | None = _about("parameters of the final network: a share (0.5) or a number (200k)")
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to cut."""
        return self.macs is not None or self.params is not None


@dataclass(frozen=True)
class Recipe(_Places):
    """A whole run."""

    start: str | None = _place("a finished run whose model is pruned; nothing is trained from the beginning")
    data: str = _place(
        "a folder, a data set name, a folder of Parquet files, a Hub id, an .npz file, or digits",
        paths.source,
        "digits",
    )
    time: str | None = _about("time budget for everything, from process start to exit: 90s, 5m, 1h")
    epochs: float | None = _about(
        "budget in passes over the images instead of time; reproducible for one number of threads "
        "(10, when no budget is given)"
    )
    flops: str | None = _about(
        "budget in floating-point operations of training instead of time; reproducible for one number of threads"
    )
    resolution: int | None = _about("side of the square images (native up to 64 pixels, when left out)", least=1)
    validation: float = _about(
        "share of the training images held out for validation (at most 2,500 images)", 0.1, above=0, below=1
    )
    split_seed: int = _about("seed of the held-out splits; not changed by --seed", 0, least=0, most=_LARGEST_SEED)
    keep: str | None = _place(
        "images never held out of training: a subset file or run, or a list of places in the train split"
    )
    skip_bad: bool = _about("leave out broken images and list them", False)
    unlabelled: bool = _about("the images have no labels yet: which are to be labelled?", False)
    seed: int = _about("seed of everything else", 0, least=0, most=_LARGEST_SEED)
    device: str = _about("cpu, cuda, cuda:1, mps, or auto", "auto")
    memory: str | None = _about("cap on accelerator memory: 2GB")
    threads: int | None = _about("processor threads (torch's choice, when left out)", least=1, most=1024)
    baseline: bool = _about("run again with a random subset and an equal budget of its own, to show the gain", False)
    select: Select = field(default_factory=Select)
    train: Train = field(default_factory=Train)
    grow: Grow = field(default_factory=Grow)
    prune: Prune = field(default_factory=Prune)

    @property
    def extendable(self) -> bool:
        """Whether a run of this can go on when it is finished, with more to spend."""
        return self.train.schedule == "anytime" and self.start is None


CALL = "the call"  # a layer of arguments of a function, which messages name without their section
BUDGETS = ("time", "epochs", "flops")
SECTIONS = {"select": Select, "train": Train, "grow": Grow, "prune": Prune}


def resolve(*layers: tuple[str, Mapping[str, Any]]) -> tuple[Recipe, dict[str, str]]:
    """Merge named layers, later ones winning, into a recipe; and say for every value where it came from.

    Each layer is nested like a recipe file. Raises `UserError` for unknown keys and values of the wrong type.
    """
    origin: dict[str, str] = {}
    recipe = _build(Recipe, layers, "", origin)
    return recipe, origin


def _build(cls: type, layers: tuple[tuple[str, Mapping[str, Any]], ...], prefix: str, origin: dict[str, str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for name, content in layers:
        for key, value in ((str(key), value) for key, value in content.items()):
            shown = key if name == CALL else prefix + key
            if key not in known:
                if "options" not in known and name == CALL:
                    raise unknown("argument", key, known)
                if "options" not in known:
                    near = nearest(key, known)
                    guess = None if near is None else prefix + near.replace(" ", ": ")
                    raise unknown(f"setting in {name}", f"{prefix}{key}", [prefix + k for k in known], near=guess)
                values.setdefault("options", {})[key] = value  # whether the method has it is checked with the method
                origin[prefix + key] = name
            elif key not in SECTIONS:
                limits = known[key].metadata.get("limits", {})
                values[key] = limited(coerce(value, hints[key], shown), shown, **limits)
                origin[prefix + key] = name
            elif value is not None and not isinstance(value, Mapping):  # None: a section of which all is commented out
                raise UserError(f"'{key}' in {name} must be a mapping such as {key}: {{...}}, not {quoted(value)}.")
    for key, section in SECTIONS.items():
        if key in known:
            inner = tuple((name, content.get(key) or {}) for name, content in layers)
            values[key] = _build(section, inner, f"{key}.", origin)
    for key in known:
        if key not in SECTIONS and key != "options":
            origin.setdefault(prefix + key, "default")
    return cls(**values)


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a nested mapping that `resolve` reads back: unset values left out, options beside the method."""

    def flat(value: Any) -> Any:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return value
        content = {f.name: flat(getattr(value, f.name)) for f in dataclasses.fields(value)}
        content |= content.pop("options", {})
        return {key: entry for key, entry in content.items() if entry is not None}

    return flat(recipe)


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a YAML file."""
    import yaml

    values = as_dict(recipe)
    readable = json.dumps(values, ensure_ascii=False).isprintable()  # PyYAML loses a bare next-line character
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=readable)


def without_budget(content: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping of a recipe, less how much may be spent."""
    return {key: value for key, value in content.items() if key not in BUDGETS}


def digest(recipe: Recipe) -> str:
    """Eight hexadecimal digits that name the recipe; one that can be extended has the same with any budget."""
    import hashlib

    content = as_dict(recipe)
    text = json.dumps(without_budget(content) if recipe.extendable else content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
