"""What a selection leaves behind: the chosen images best first, where they come from, and how they were chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.rundir import read_json, write_json


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
        """Read what `save` wrote; `UserError` when it is no subset file."""
        content = read_json(file)
        try:
            indices = np.array(content["indices"], dtype=np.int64)
            rows = content.get("never_held_out")
            plain = {"indices": indices, "ids": tuple(content["ids"]), "never_held_out": rows and tuple(rows)}
            found = cls(**{**content, **plain})
        except (TypeError, KeyError, ValueError) as error:
            told = "it has neither what a subset file has nor training_indices"
            raise UserError(f"{file} is not a subset file: {told} ({error!r}).") from None
        whole = indices.shape == (len(found.ids),) and found.kept <= len(indices)
        if not whole or indices.min(initial=0) < 0 or len(np.unique(indices)) < len(indices):
            raise UserError(f"{file} has been changed: it names an image twice, or more or fewer than it says.")
        return found


def file_of(name: str | Path) -> Path:
    """The subset file of this name, or the one that the run in the folder of this name chose or was given."""
    path = Path(name)
    if not path.is_dir():
        return path
    chosen, told = path / "select" / "subset.json", path / "run.json"
    given = read_json(told).get("recipe", {}).get("select", {}).get("subset") if told.exists() else None
    return file_of(given) if given is not None and not chosen.exists() else chosen


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
