"""What a selection leaves behind: the chosen images best first, where they come from, and how they were chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.paths import expanded
from shoestring.config.record import validated
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.runtime.files import read_json, write_json


@dataclass(frozen=True)
class Subset:
    """Indices (k,) into the images chosen from, best first, so that every prefix is a smaller subset.

    `images[subset]` are the chosen images; other images than those chosen from are refused.
    """

    indices: NDArray[np.int64]
    ids: tuple[str, ...]
    fingerprint: str  # of the images chosen from
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    balance: str | dict[str, int] = "equal"
    seed: int = 0
    within: str | None = None  # the part of the images by difficulty that was chosen from
    kept: int = 0  # of them, at the beginning, had been chosen before
    left_out: int = 0  # images that were not to be chosen from
    never_held_out: tuple[int, ...] | None = None  # places in the source's train split that were never to be held out

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, part: slice) -> Subset:
        """A smaller subset: `subset[:100]` are the best hundred."""
        kept = len(range(self.kept)[part])
        return Subset(**{**vars(self), "indices": self.indices[part], "ids": self.ids[part], "kept": kept})

    def indices_for(self, images: Images) -> NDArray[np.int64]:
        """The indices, if these are the images that they were chosen from; else `UserError`."""
        if images.fingerprint != self.fingerprint:
            raise UserError(
                "this subset was chosen from other images (their fingerprints differ). "
                "Choose anew, or give the data, resolution and held-out split that it was chosen from."
            )
        if self.indices.max(initial=0) >= len(images) or (images.ids[self.indices] != np.array(self.ids)).any():
            raise UserError("this subset has been changed: its indices and the names of its images do not agree.")
        return self.indices

    def save(self, file: Path) -> None:
        """Write one small JSON file."""
        write_json(file, {**asdict(self), "indices": self.indices.tolist()})

    @classmethod
    def of(cls, images: Images, rows: NDArray[np.int64], *, method: str = "list") -> Subset:
        """The images whose places in the source's own train split are `rows` (K,), in this order.

        `images` are a part of that split. `UserError` when one of the rows was held out of them.
        """
        place = {int(row): index for index, row in enumerate(images.rows)}
        if strange := [int(row) for row in rows if int(row) not in place]:
            raise UserError(
                f"{len(strange):,} of {len(rows):,} listed images are held out of training (the first: {strange[0]}). "
                "Give the list as --subset, which holds out others."
            )
        indices = np.array([place[int(row)] for row in rows], dtype=np.int64)
        return cls(indices, tuple(map(str, images.ids[indices])), images.fingerprint, method, balance="none")

    @classmethod
    def load(cls, file: Path) -> Subset:
        """Read what `save` wrote; `UserError` when it is no subset file, or was changed."""
        content = read_json(file)
        if not isinstance(content, dict):
            raise UserError(f"{file} is not a subset file: it is not a mapping.")
        known = [one.name for one in fields(cls)]
        if strange := sorted(map(str, content.keys() - set(known))):
            raise UserError(f"{file} is not a subset file of this version of shoestring: it has '{strange[0]}'.")
        for name, fits in _VALID.items():
            needed = name in ("indices", "ids", "fingerprint", "method")
            if (needed and name not in content) or (name in content and not fits(content[name])):
                raise UserError(
                    f"{file} is not a subset file, or it has been changed: '{name}' is missing or not as it should be "
                    "(a plain list has training_indices)."
                )
        indices, rows = np.array(content["indices"], dtype=np.int64), content.get("never_held_out")
        plain = {"indices": indices, "ids": tuple(content["ids"]), "never_held_out": rows and tuple(rows)}
        found = cls(**{**content, **plain})
        whole = indices.shape == (len(found.ids),) and found.kept <= len(indices)
        if not whole or len(np.unique(indices)) < len(indices):
            raise UserError(f"{file} has been changed: it names an image twice, or more or fewer than it says.")
        return found


def _is_place(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_VALID: dict[str, Callable[[Any], bool]] = {
    "indices": _are(_is_place),
    "ids": _are(_is_text),
    "fingerprint": _is_text,
    "method": _is_text,
    "options": lambda value: isinstance(value, dict),
    "balance": lambda value: isinstance(value, str | dict),
    "seed": _is_place,
    "within": lambda value: value is None or _is_text(value),
    "kept": _is_place,
    "left_out": _is_place,
    "never_held_out": lambda value: value is None or _are(_is_place)(value),
}


def file_of(name: str | Path) -> Path:
    """The subset file of this name, or the one that the run in the folder of this name chose or was given."""
    path, seen = expanded(name), set()
    while path.is_dir() and path not in seen:
        seen.add(path)
        chosen, told = path / "select" / "subset.json", path / "run.json"
        if chosen.exists() or not told.exists():
            return chosen
        given = validated(read_json(told), told)["recipe"].get("select", {}).get("subset")
        if not isinstance(given, str):
            return chosen
        path = expanded(given)
    return path


def listed(file: Path) -> NDArray[np.int64] | None:
    """The places (K,) in a source's train split that a plain list names, best first; None for a subset file of ours.

    A plain list is an `.npy` file of integers, or JSON: [3, 1, ...] or {"training_indices": [3, 1, ...]}.
    `UserError` for other files, and for numbers that are negative or occur twice.
    """
    if file.suffix.lower() == ".npy":
        try:
            content: Any = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"cannot read {file}: {error}.") from None
    else:
        content = read_json(file)
        if isinstance(content, dict):
            content = content.get("training_indices")
        if content is None:
            return None
    try:
        found = np.asarray(content)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise UserError(f"{file} is no list of places: one number for each image is expected.")
    if found.max() > np.iinfo(np.int64).max or found.min() < 0 or len(np.unique(found)) < len(found):
        raise UserError(f"{file} has numbers that are no places, or names an image twice.")
    return found.astype(np.int64)
