"""The result of a selection: the images, best first, the data they are from, and how they were selected."""

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
from shoestring.escaping import html, html_table
from shoestring.runtime.files import read_json, write_json

_SHOWN = 10  # images of a subset in a notebook


@dataclass(frozen=True)
class Subset:
    """Indices (k,) into the images they were selected from, best first, so that every prefix is a smaller subset.

    `images[subset]` are the selected images, also if they are stored in another size; it raises an error for any other
    images.
    """

    indices: NDArray[np.int64]
    ids: tuple[str, ...]
    fingerprint: str  # of the images selected from
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    balance: str | dict[str, int] = "equal"
    seed: int = 0
    within: str | None = None  # difficulty range
    kept: int = 0  # how many, at the beginning, had been selected before
    left_out: int = 0  # excluded images
    never_held_out: tuple[int, ...] | None = None  # indices into the source's train split that must stay in training
    side: int = 0  # of the images selected from, in pixels
    names_hash: str = ""  # of the images selected from

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value}" for name, value in self.options.items())
        kept = f", the first {self.kept:,} selected before" if self.kept else ""
        return f"Subset({len(self):,} images by {self.method}{options}, seed {self.seed}{kept})"

    def _repr_html_(self) -> str:
        names = [(rank, name) for rank, name in enumerate(self.ids[:_SHOWN], 1)]
        table = html_table(("rank", "image"), names)
        more = f"<p>{len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        return f"<p>{html(self)}</p>{table}{more}"

    def __getitem__(self, part: slice) -> Subset:
        """Return a smaller subset: `subset[:100]` are the best hundred."""
        kept = len(range(self.kept)[part])
        return Subset(**{**vars(self), "indices": self.indices[part], "ids": self.ids[part], "kept": kept})

    def indices_for(self, images: Images) -> NDArray[np.int64]:
        """Return the indices. Raises `UserError` if these are not the images that they were selected from."""
        resized = images.shape[0] != self.side and images.names_hash == self.names_hash
        if images.fingerprint != self.fingerprint and not resized:
            raise UserError(
                "this subset was selected from other images (their fingerprints differ). Select again, or give the "
                "data, resolution and held-out split that it was selected from."
            )
        if self.indices.max(initial=0) >= len(images) or (images.ids[self.indices] != np.array(self.ids)).any():
            raise UserError("this subset has been changed: its indices do not match the names of its images.")
        return self.indices

    def save(self, file: Path) -> None:
        """Write one small JSON file."""
        write_json(file, {**asdict(self), "indices": self.indices.tolist()})

    @classmethod
    def from_rows(cls, images: Images, rows: NDArray[np.int64], *, method: str = "list") -> Subset:
        """Return the subset of `images` whose indices into the source's train split are `rows` (K,), in this order.

        Raises `UserError` if one of the rows is not among the images, because it was held out.
        """
        index_of = {int(row): index for index, row in enumerate(images.rows)}
        if missing := [int(row) for row in rows if int(row) not in index_of]:
            raise UserError(
                f"{len(missing):,} of {len(rows):,} listed images are held out of training (the first: {missing[0]}). "
                "Give the list as --subset, which holds out others."
            )
        indices = np.array([index_of[int(row)] for row in rows], dtype=np.int64)
        names = tuple(map(str, images.ids[indices]))
        side, names_hash = images.shape[0], images.names_hash
        return cls(indices, names, images.fingerprint, method, balance="none", side=side, names_hash=names_hash)

    @classmethod
    def load(cls, file: Path) -> Subset:
        """Read what `save` wrote. Raises `UserError` for other files, and for one that was changed."""
        content = read_json(file)
        if not isinstance(content, dict):
            raise UserError(f"{file} is not a subset file: it is not a mapping.")
        names = [one.name for one in fields(cls)]
        if unexpected := sorted(map(str, content.keys() - set(names))):
            raise UserError(f"{file} is not a subset file of this version of shoestring: it has '{unexpected[0]}'.")
        for name, is_valid in _VALID.items():
            required = name in ("indices", "ids", "fingerprint", "method")
            if (required and name not in content) or (name in content and not is_valid(content[name])):
                raise UserError(
                    f"{file} is not a subset file, or it has been changed: '{name}' is missing or invalid "
                    "(a plain list has training_indices)."
                )
        indices, rows = np.array(content["indices"], dtype=np.int64), content.get("never_held_out")
        converted = {"indices": indices, "ids": tuple(content["ids"]), "never_held_out": rows and tuple(rows)}
        subset = cls(**{**content, **converted})
        consistent = indices.shape == (len(subset.ids),) and subset.kept <= len(indices)
        if not consistent or len(np.unique(indices)) < len(indices):
            raise UserError(f"{file} has been changed: it contains duplicates, or its lengths do not match.")
        return subset


def _is_index(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _list_of(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_VALID: dict[str, Callable[[Any], bool]] = {
    "indices": _list_of(_is_index),
    "ids": _list_of(_is_text),
    "fingerprint": _is_text,
    "method": _is_text,
    "options": lambda value: isinstance(value, dict),
    "balance": lambda value: isinstance(value, str | dict),
    "seed": _is_index,
    "within": lambda value: value is None or _is_text(value),
    "kept": _is_index,
    "left_out": _is_index,
    "side": _is_index,
    "names_hash": _is_text,
    "never_held_out": lambda value: value is None or _list_of(_is_index)(value),
}


def subset_file(name: str | Path) -> Path:
    """Subset file of this name, or that of the run in the folder of this name, selected by or given to it."""
    path, seen = expanded(name), set()
    while path.is_dir() and path not in seen:
        seen.add(path)
        own, record = path / "select" / "subset.json", path / "run.json"
        if own.exists() or not record.exists():
            return own
        given = validated(read_json(record), record)["recipe"].get("select", {}).get("subset")
        if not isinstance(given, str):
            return own
        path = expanded(given)
    return path


def read_index_list(file: Path) -> NDArray[np.int64] | None:
    """Read a plain list of indices (K,) into a source's train split, best first; None for a subset file.

    A plain list is an `.npy` file of integers, or JSON: [3, 1, ...] or {"training_indices": [3, 1, ...]}.
    Raises `UserError` for other files, and for indices that are negative or occur twice.
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
        indices = np.asarray(content)
    except ValueError:  # lists of different lengths
        indices = np.empty((0, 0))
    if indices.ndim != 1 or indices.dtype.kind not in "iu" or not len(indices):
        raise UserError(f"{file} is not a list of indices: one integer per image is expected.")
    if indices.max() > np.iinfo(np.int64).max or indices.min() < 0 or len(np.unique(indices)) < len(indices):
        raise UserError(f"{file} contains duplicates or numbers that are not valid indices.")
    return indices.astype(np.int64)
