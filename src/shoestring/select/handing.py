"""What was chosen, handed to people and other tools: a folder of images, a table."""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.rundir import replacing
from shoestring.select.subset import Subset


def copy_to(folder: Path, images: Images, subset: Subset, *, root: Path | None) -> None:
    """The chosen images as files in class folders (or beside each other without labels), best first by their names.

    Files below `root`, where the images' names are paths, are copied as they are; other images are written as PNG files
    in the size in which they were loaded. `UserError` for a folder that is not empty, and for a full disk.
    """
    check_empty(folder)
    with _writing(folder):
        for rank, index in enumerate(subset.indices):
            name = str(images.ids[index])
            place = folder if images.labels is None else folder / images.classes[int(images.labels[index])]
            place.mkdir(parents=True, exist_ok=True)
            file = place / f"{rank:05d}-{Path(name).name}"
            if root is not None and (root / name).is_file():
                shutil.copyfile(root / name, file)
            else:
                pixels = images[[index]].pixels[0]
                Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(f"{file}.png")


def check_empty(folder: Path) -> None:
    """`UserError` when there is something at this path already."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is there already and not an empty folder: choose another --copy-to.")


def write_csv(file: Path, images: Images, subset: Subset) -> None:
    """A table of the chosen images, best first: rank, name, class, place in the source's train split, chosen before."""
    with _writing(file), replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["rank", "image", "class", "row", "chosen_before"])
        for rank, index in enumerate(subset.indices):
            label = "" if images.labels is None else images.classes[int(images.labels[index])]
            row = [rank, images.ids[index], label, int(images.rows[index]), int(rank < subset.kept)]
            table.writerow([str(cell).encode("utf-8", "backslashreplace").decode() for cell in row])


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}.") from None
