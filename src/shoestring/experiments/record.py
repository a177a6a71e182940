"""experiment.json: what an experiment is, what it has proposed and spent, and its results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from shoestring.config.recipe import SweepRecipe
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError
from shoestring.runtime.files import LOCK_FILE, is_partial, read_json, write_json

FILE = "experiment.json"


def is_experiment(folder: Path) -> bool:
    """Return whether a folder is that of an experiment."""
    return (folder / FILE).is_file()


def read_experiment(folder: Path) -> dict[str, Any]:
    """Return the results of a finished experiment. Raises `UserError` for any other folder."""
    result = _read(folder).get("result")
    if result is None:
        raise UserError(f"{folder} is not a finished experiment (its {FILE} has no result): repeat its command.")
    return result


def _read(folder: Path) -> dict[str, Any]:
    """Return the content of experiment.json. Raises `UserError` if it is corrupted."""
    file = folder / FILE
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("recipe"), dict):
        raise UserError(f"{file} is corrupted or not of an experiment: it has no recipe.")
    known = {"settings": list, "elapsed": (int, float), "unit": (int, float), "result": dict}
    for name, kind in known.items():
        if name in content and not isinstance(content[name], kind):
            raise UserError(f"{file} is corrupted: '{name}' is not what it should be. Remove {folder} to start over.")
    return content


class Record:
    """The experiment.json of a folder.

    `content` has the recipe, the combinations of settings that were proposed, the seconds spent (`elapsed`), the time
    of a run of the first round (`unit`), and the results.
    """

    def __init__(self, folder: Path, recipe: SweepRecipe) -> None:
        """Read what there is. Raises `UserError` for a folder with other content, or another experiment."""
        self.folder = folder
        self.content: dict[str, Any] = {"recipe": as_dict(recipe)}
        if is_experiment(folder):
            found = _read(folder)
            if found["recipe"] != self.content["recipe"]:
                raise UserError(f"{folder} holds another experiment. Choose another --out.")
            self.content = found
            return
        try:
            names = [entry.name for entry in folder.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror or error}. Choose another --out.") from None
        if not all(name == LOCK_FILE or is_partial(name) for name in names):
            raise UserError(
                f"{folder} is neither empty nor the folder of an experiment (it has no {FILE}). Choose another --out, "
                "or remove its content."
            )

    @property
    def result(self) -> dict[str, Any] | None:
        """The results; None unless the experiment is finished."""
        return self.content.get("result")

    def discard(self) -> None:
        """Remove the files of an experiment of which no run has begun, so that it can be changed and started again."""
        if not any((self.folder / "trials").glob("*/run.json")):
            (self.folder / FILE).unlink(missing_ok=True)
            for name in ("recipes", "logs", "trials"):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def save(self, **values: Any) -> None:
        """Add values, and write the file."""
        self.content |= values
        write_json(self.folder / FILE, self.content)
