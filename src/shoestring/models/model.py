"""A network with everything it takes to use it: class names, preprocessing, temperature; building, saving, loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from shoestring.config.model_files import DESCRIPTION_FILE, TENSORS_FILE, model_folder
from shoestring.data.images import Images
from shoestring.data.user_images import as_images
from shoestring.errors import UserError
from shoestring.escaping import html, html_table
from shoestring.models import timm
from shoestring.models.description import blaming_description, check_temperature, read_description, size_options
from shoestring.models.head_modules import class_scores
from shoestring.models.heads import find_heads, init_near_zero, with_new_heads
from shoestring.models.layers import resize_tensors
from shoestring.models.networks import bind_options, create_network
from shoestring.models.preprocessing import Preprocessing, prepare
from shoestring.models.weights import blaming_tensors, load_tensors, read_tensors
from shoestring.runtime.device import eval_mode
from shoestring.runtime.files import atomic_write, write_json
from shoestring.tasks import SINGLE_LABEL, Task

_SHOWN = 20  # classes of a model in a notebook


@dataclass(frozen=True)
class Model:
    """A network with class names and preprocessing; `name` and `options` are what `build` needs to create it again.

    Logits are divided by `temperature` for calibrated probabilities. `heads` are the names of the tensors whose shape
    depends on the number of classes; empty if not determined. `task` is whether an image has one of the classes, or any
    number of them as labels.
    """

    module: nn.Module
    name: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    heads: tuple[str, ...] = ()
    task: Task = SINGLE_LABEL

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __repr__(self) -> str:
        size, params = self.preprocessing, sum(weight.numel() for weight in self.module.parameters())
        options = "".join(f", {name} {value}" for name, value in self.options.items())
        return (
            f"Model({self.name}{options}: {len(self.classes):,} classes, {params:,} parameters, images of "
            f"{size.resolution} x {size.resolution} x {size.channels})"
        )

    def _repr_html_(self) -> str:
        listed = ", ".join(self.classes[:_SHOWN])
        more = f" and {len(self.classes) - _SHOWN:,} more" if len(self.classes) > _SHOWN else ""
        rows = [("classes", listed + more), ("temperature", f"{self.temperature:.3g}"), ("input", self.preprocessing)]
        return f"<p>{html(self)}</p>{html_table(('', ''), rows)}"

    def prepare(self, pixels: Tensor, *, resolution: int | None = None) -> Tensor:
        """Convert uint8 pixels (N, H, W, C) to the network's input, as `shoestring.models.preprocessing.prepare`."""
        return prepare(pixels, self.preprocessing, resolution=resolution)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probabilities of classes (N, C), calibrated by the temperature, with test-time augmentation.

        Those of several labels per image do not add up to one.

        X is `Images`, or anything `shoestring.data.user_images.as_images` accepts: an array (N, H, W) or (N, H, W, C),
        uint8 or floats in 0..1, or a list, array, series or data frame of paths or Pillow images. Color and size are
        converted to those of the network, and rectangles become squares as in training; `Images` are squares already:
        load them with the same `fit`. Raises `UserError` for anything else, no images, and unreadable files.
        """
        from shoestring.models.inference import log_probabilities

        return np.exp(log_probabilities(self, self._images(X)))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the name of the most probable class of each image (N,); X is as in `predict_proba`.

        With several labels per image, return 1 for each label of at least 50 %, otherwise 0 (N, C).
        """
        return self.task.predictions(self.predict_proba(X), np.array(self.classes))

    def _images(self, X: Any) -> Images:
        if isinstance(X, Images):
            return X
        size = self.preprocessing
        return as_images(
            X, None, classes=self.classes, resolution=size.resolution, channels=size.channels, fit=size.fit
        )

    def save(self, folder: str | Path) -> None:
        """Write `model.safetensors` and `model.json` into the folder; sizes are those of the tensors where possible."""
        folder = Path(folder).expanduser()
        state = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.module.state_dict().items()
        }
        with atomic_write(folder / TENSORS_FILE) as temporary:
            temporary.write_bytes(save(state))  # safetensors' own writer raises an error of its own for a full disk
        self.save_description(folder)

    def save_description(self, folder: str | Path) -> None:
        """Write `model.json` alone: everything except the tensors."""
        content = {"name": self.name, "options": self.options, "classes": list(self.classes)}
        content |= {"preprocessing": asdict(self.preprocessing), "temperature": self.temperature}
        content |= {"task": self.task.name}
        content |= {"sizes": getattr(self.module, "sizes_changed", {})}
        write_json(Path(folder).expanduser() / DESCRIPTION_FILE, content)

    @classmethod
    def load(cls, folder: str | Path) -> Model:
        """Load the model saved in a folder, or the last model of a run, also after surgery.

        Raises `UserError` with the name of a file that is missing, corrupted or of another program. Loading runs no
        code from the files: options are validated against those of the network, and tensors are read by safetensors.
        """
        path = Path(folder).expanduser()
        location = model_folder(path)
        if location is None:
            problem = "holds no model: it has no" if path.is_dir() else "is not a folder that contains"
            raise UserError(
                f"{path} {problem} {DESCRIPTION_FILE}. Give a model folder, or a run that has trained its model."
            )
        description = read_description(location)
        with blaming_description(location / DESCRIPTION_FILE):
            model = build(
                description.name,
                classes=description.classes,
                preprocessing=description.preprocessing,
                options=description.options,
                task=description.task,
            )
        model = replace(model, temperature=description.temperature)
        _load_resized(model, read_tensors(location / TENSORS_FILE), description.sizes, file=location / TENSORS_FILE)
        return model


def build(
    name: str,
    *,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    options: Mapping[str, Any] | None = None,
    weights: str | None = None,
    task: Task = SINGLE_LABEL,
) -> Model:
    """Build a model: a network of shoestring (`resnet20`) or timm (`timm:resnet18`) with that network's options.

    `weights` is None, "pretrained" (timm only), or a `.safetensors` file, model folder or run folder; the network in a
    folder may have been pruned. A head for another number of classes is not loaded, with a warning in the log; a head
    that is not loaded is initialized near zero. Raises `UserError` for any other mismatch.
    """
    bound, pretrained = bind_options(name, options or {}), weights == "pretrained"
    if pretrained and not name.startswith(timm.PREFIX):
        raise UserError(f"model '{name}' has no pretrained weights. Give a file, or take a timm model (timm:NAME).")
    module = create_network(name, len(classes), preprocessing.channels, bound, pretrained=pretrained)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    create = partial(create_network, name, channels=preprocessing.channels, options=bound, pretrained=False)
    heads = find_heads(module, create, len(classes))
    if not (pretrained and timm.head_is_loaded(module, len(classes))):
        init_near_zero(module, heads, len(classes))
    model = Model(module, name, bound, tuple(classes), preprocessing, heads=heads, task=task)
    if weights is not None and not pretrained:
        _load_weights(model, Path(weights).expanduser())
    return model


def _load_weights(model: Model, path: Path) -> None:
    """Load a `.safetensors` file, or a model folder, whose network may have the smaller sizes of a pruned one."""
    folder = None if path.suffix == ".safetensors" else model_folder(path)
    if folder is None and path.suffix != ".safetensors":
        raise UserError(
            f"no weights at {path}: give a .safetensors file, a folder that holds {DESCRIPTION_FILE}, or a run folder."
        )
    file = path if folder is None else folder / TENSORS_FILE
    state, saved = read_tensors(file), None if folder is None else read_description(folder)
    state = with_new_heads(model.module, model.heads, state, source=file)
    if saved is None or (saved.name, size_options(saved.options)) != (model.name, size_options(model.options)):
        load_tensors(model.module, state, source=file)
    else:
        _load_resized(model, state, saved.sizes, file=file)


def _load_resized(model: Model, state: dict[str, Tensor], sizes: dict[str, Any], *, file: Path) -> None:
    """Give the network the sizes of these tensors, load them and try a forward pass."""
    with blaming_tensors(file):
        resize_tensors(model.module, {name: tensor.shape for name, tensor in state.items()}, sizes)
        model.module.load_state_dict(state)
        _check_forward(model)


def _check_forward(model: Model) -> None:
    """Raise `ValueError` unless the network maps a black image to one finite logit per class."""
    size = model.preprocessing.resolution
    black = torch.zeros(1, size, size, model.preprocessing.channels, dtype=torch.uint8)
    with torch.no_grad(), eval_mode(model.module):  # not inference mode: some networks cache tensors
        logits = class_scores(model.module(model.prepare(black)))
    expected = (1, len(model.classes))
    if logits.shape != expected:
        raise ValueError(f"its output for one image has shape {tuple(logits.shape)}, expected {expected}.")
    if not logits.isfinite().all():
        raise ValueError("its output for one image is not finite.")
