"""A trained or fresh network with what it takes to use it: class names, preprocessing, saving and loading."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from shoestring.config import registry
from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.models.description import (
    DESCRIPTION,
    TENSORS,
    Preprocessing,
    check_temperature,
    read_description,
    shaping,
)
from shoestring.models.heads import find_heads, start_small, with_fresh_heads
from shoestring.models.layers import resize
from shoestring.runtime.device import eval_mode
from shoestring.runtime.files import atomic_write, write_json

_MOST_PARAMETERS = 2**31  # of a network that is built here: 8 GB, where a mistyped width asks for more than there is


@dataclass(frozen=True)
class Model:
    """A network with class names and preprocessing; `name` and `options` say how to build it afresh.

    Predictions divide the logits by `temperature`, so that they are as sure as they are right. `heads` are the names of
    the tensors whose shape follows from the number of classes; empty where nobody has looked for them.
    """

    module: nn.Module
    name: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def prepare(self, pixels: Tensor, *, resolution: int | None = None) -> Tensor:
        """Uint8 pixels (N, H, W, C) as the network's float32 input (N, channels, R, R), channels-last, on their device.

        R is `resolution`, or the network's own when None. Grey images are repeated for a colour network, and a grey one
        sees the brightness of colours (ITU-R 601, as image files are read); images of another size are resized
        bilinearly with antialiasing.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4:
            raise ValueError(f"pixels are uint8 (N, H, W, C), not {pixels.dtype} {tuple(pixels.shape)}.")
        wanted, size = self.preprocessing, resolution or self.preprocessing.resolution
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last).div_(255)
        if images.shape[1] != wanted.channels:
            images = _brightness(images).expand(-1, wanted.channels, -1, -1)
        if images.shape[2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
        mean, std = (_constant(values, images.device) for values in (wanted.mean, wanted.std))
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `model.json` into the folder; sizes live in the tensors, where they can."""
        folder = Path(folder).expanduser()
        state = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.module.state_dict().items()
        }
        with atomic_write(folder / TENSORS) as temporary:
            temporary.write_bytes(save(state))  # by Python, because safetensors tells of a full disk in its own words
        self.describe(folder)

    def describe(self, folder: str | Path) -> None:
        """Write `model.json` alone: everything but the tensors."""
        about = {"name": self.name, "options": self.options, "classes": list(self.classes)}
        about |= {"preprocessing": asdict(self.preprocessing), "temperature": self.temperature}
        about |= {"sizes": getattr(self.module, "sizes_changed", {})}
        write_json(Path(folder).expanduser() / DESCRIPTION, about)

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """The model saved in a folder, or the last one of a run, also after surgery.

        `UserError` names a file that is missing, damaged or foreign. Nothing in the files can run: options are those
        that the network is known to have, and tensors are read by safetensors.
        """
        path = Path(folder).expanduser()
        found = model_folder(path)
        if found is None:
            missing = "holds no model: it has no" if path.is_dir() else "is no folder with a"
            raise UserError(
                f"{path} {missing} {DESCRIPTION}. Give a model folder, or a run that has trained its model."
            )
        about, file = read_description(found), found / DESCRIPTION
        with _describing(file):
            around = {"classes": about.classes, "preprocessing": about.preprocessing, "options": about.options}
            model = build(about.name, **around)
        model = replace(model, temperature=about.temperature)
        state = read_tensors(found / TENSORS)
        with _fitting(found / TENSORS):
            resize(model.module, {key: tensor.shape for key, tensor in state.items()}, about.sizes)
            model.module.load_state_dict(state)
            _try(model)
        return model


def _brightness(images: Tensor) -> Tensor:
    """Grey images (N, 1, H, W) of grey or coloured ones."""
    if images.shape[1] == 1:
        return images
    return (images * _constant((0.299, 0.587, 0.114), images.device)).sum(1, keepdim=True)


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number for each channel (1, C, 1, 1); kept, as bringing it to a device waits for all that goes on there."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def build(
    name: str,
    *,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    options: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> Model:
    """A fresh model: a network of shoestring (`resnet20`) or of timm (`timm:resnet18`), with options of that network.

    `weights` is None, "pretrained" (timm only), or a `.safetensors` file, model folder or run folder; in a folder the
    network may have been cut. A head for another number of classes is left out, and a warning logged; any other
    difference is a `UserError`. A head that is not loaded starts near zero.
    """
    chosen, pretrained = bind(name, options or {}), weights == "pretrained"
    if pretrained and not name.startswith(timm.PREFIX):
        raise UserError(f"model '{name}' has no pretrained weights. Give a file, or take a timm model (timm:NAME).")
    module = _create(name, len(classes), preprocessing.channels, chosen, pretrained=pretrained)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    create = partial(_create, name, channels=preprocessing.channels, options=chosen, pretrained=False)
    heads = find_heads(module, create, len(classes))
    if not (pretrained and timm.head_is_loaded(module, len(classes))):
        start_small(module, heads, len(classes))
    model = Model(module, name, chosen, tuple(classes), preprocessing, heads=heads)
    if weights is not None and not pretrained:
        _start_from(Path(weights).expanduser(), model)
    return model


def bind(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network as it takes them; `UserError` for names and options that are not known."""
    if name.startswith(timm.PREFIX):
        return timm.bind(name.removeprefix(timm.PREFIX), options)
    return registry.bind("models", name, dict(options))


def _create(name: str, classes: int, channels: int, options: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    if name.startswith(timm.PREFIX):
        plain = name.removeprefix(timm.PREFIX)
        return timm.create(plain, classes=classes, channels=channels, pretrained=pretrained, **options)
    make = partial(registry.find("models", name), classes, channels=channels, **options)
    try:
        with torch.device("meta"):  # which takes no memory
            count = sum(weight.numel() for weight in make().parameters())
        if count > _MOST_PARAMETERS:
            raise ValueError(f"it would have {count:,} parameters")
        return make()
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model '{name}' cannot be built with the options {dict(options)}: {reason}.") from None


def model_folder(path: Path) -> Path | None:
    """Where the last model of a run is, or the folder itself when it holds a model; None when there is none."""
    folders = (path / "prune", path / "train", path)
    return next((folder for folder in folders if (folder / DESCRIPTION).exists()), None)


def network_of(path: Path) -> tuple[str, dict[str, Any]] | None:
    """Name and options of the network in a model folder or run folder; None when it is neither."""
    folder = model_folder(path)
    if folder is None:
        return None
    about = read_description(folder)
    with _describing(folder / DESCRIPTION):
        return about.name, bind(about.name, about.options)


@contextmanager
def _describing(file: Path) -> Iterator[None]:
    """A `UserError` of the block says that the file is why."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file} does not describe a model: {error}") from None


@contextmanager
def _fitting(file: Path) -> Iterator[None]:
    """Whatever goes wrong in the block is a `UserError`: the tensors of a file are not those of its description."""
    try:
        yield
    except Exception as error:  # networks raise a dozen kinds where sizes do not fit
        told = f"{file} does not fit the model that {DESCRIPTION} beside it describes: {_first_line(error)}"
        raise UserError(told) from None


def _first_line(error: Exception) -> str:
    """What an error says first; of a state dict that does not fit, the first tensor and not the title."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    first = lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
    return textwrap.shorten(first, 160)


def _try(model: Model) -> None:
    """Raise `ValueError` unless the network makes a finite number for each class of a black image."""
    size = model.preprocessing.resolution
    black = torch.zeros(1, size, size, model.preprocessing.channels, dtype=torch.uint8)
    with torch.no_grad(), eval_mode(model.module):  # not in inference mode: some networks keep tensors for later
        logits = model.module(model.prepare(black))
    if logits.shape != (1, len(model.classes)):
        raise ValueError(f"it gives {tuple(logits.shape)} for one image of {len(model.classes)} classes.")
    if not logits.isfinite().all():
        raise ValueError("it gives numbers that are not finite.")


def _start_from(path: Path, model: Model) -> None:
    """Load the weights of a file, or of a model folder; then also into the sizes that a cut network has there."""
    folder = None if path.suffix == ".safetensors" else model_folder(path)
    if folder is None and path.suffix != ".safetensors":
        raise UserError(
            f"no weights at {path}: give a .safetensors file, a folder that holds {DESCRIPTION}, or a run folder."
        )
    file = path if folder is None else folder / TENSORS
    state, about = read_tensors(file), None if folder is None else read_description(folder)
    state = with_fresh_heads(model.module, model.heads, state, source=file)
    alike = about is not None and about.name == model.name and shaping(about.options) == shaping(model.options)
    if about is None or not alike:
        return _fill(model.module, state, source=file)
    with _fitting(file):
        resize(model.module, {key: tensor.shape for key, tensor in state.items()}, about.sizes)
        model.module.load_state_dict(state)
        _try(model)
    return None


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file by name; `UserError` when it is missing, broken, or holds no numbers."""
    try:
        state = load_file(file)
    except FileNotFoundError:
        raise UserError(f"no file {file}.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is not a readable safetensors file: {error}.") from None
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise UserError(f"{file} is damaged: '{name}' holds NaN (not a number).")
    return state


def _fill(module: nn.Module, state: dict[str, Tensor], *, source: Path) -> None:
    """Load every tensor; `UserError` names the file and the first tensor that does not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{source} does not fit the model: {_first_line(error)}") from None
