"""The folder of a run: what is written where, so that a kill at any moment leaves a state to go on from."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from shoestring.config.paths import expanded, refuse_url
from shoestring.config.record import is_nonnegative, validated
from shoestring.config.resolve import with_current_names
from shoestring.errors import UserError
from shoestring.runtime.files import (
    LOCK_FILE,
    folder_id,
    is_partial,
    lock_folder,
    read_json,
    write_json,
    write_text,
)

T = TypeVar("T")

_STEPS = ("select", "train", "prune", "evaluate", "report")
_RESULTS = ("model.json", "snapshot", "state.pt")
_WORTH_KEEPING = ("select/subset.json", *(f"{step}/{name}" for step in ("train", "prune") for name in _RESULTS))


def write_skipped(folder: Path, skipped: Iterable[tuple[str, str]]) -> None:
    """Write the images that were left out because they cannot be read into skipped.json, if there are any."""
    listed = [{"image": name, "reason": reason} for name, reason in skipped]
    if listed:
        write_json(folder / "skipped.json", listed)


class RunDir:
    """`runs/<name>/`: run.json, recipe.yaml, history.jsonl and a folder for each step.

    What is there is complete; so a step whose result is there is done, and the same run can go on where it was cut.
    A folder is that of a run when it holds a run.json, which is therefore written first.
    """

    def __init__(self, path: Path) -> None:
        refuse_url(str(path).replace(":/", "://", 1))  # Path collapses the slashes of a URL
        self.path = expanded(path)
        self._begun: tuple[int, int] | None = None  # device and inode of the folder, once a run is at work in it

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def run(self) -> dict[str, Any]:
        """What run.json holds, or nothing before it exists; `UserError` when it is damaged."""
        file = self / "run.json"
        if not os.path.lexists(file):
            return {}
        try:
            content = validated(read_json(file), file)
        except UserError as error:
            raise UserError(
                f"{error} Choose another --out, or remove {self.path} if it is the folder of a run, to start anew."
            ) from None
        return {**content, "recipe": with_current_names(content["recipe"])}

    @property
    def begun(self) -> bool:
        """Whether a run was begun or gone on with here by this process."""
        return self._begun is not None

    def check_free(self) -> None:
        """Raise `UserError` unless there is nothing at this path, an empty folder, or the folder of a run."""
        try:
            names = [one.name for one in self.path.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from None
        if "run.json" in names:
            _ = self.run  # which looks at it
        elif not all(name == LOCK_FILE or is_partial(name) for name in names):
            raise UserError(
                f"{self.path} is not empty, and it is not the folder of a run (it has no run.json). Choose another "
                "--out, or remove what is there."
            )

    def check_present(self) -> None:
        """Raise `UserError` when the folder that the run was begun in is not there any more."""
        if self._begun is None:
            return
        with contextlib.suppress(OSError):
            if folder_id(self.path) == self._begun and (self / "run.json").exists():
                return
        raise UserError(
            f"{self.path} was removed or replaced while a run was at work in it, so its results have no place. "
            "Give the same command to run anew."
        )

    def update(self, **values: Any) -> None:
        """Merge values into run.json."""
        self.check_present()
        write_json(self / "run.json", {**self.run, **values})

    def forget(self, *names: str) -> None:
        """Take values out of run.json."""
        write_json(self / "run.json", {name: value for name, value in self.run.items() if name not in names})

    def done(self, recipe: dict[str, Any]) -> bool:
        """Whether this very run has ended here; `UserError` when the folder holds another one, naming what differs."""
        before = self.run.get("recipe")
        if before is not None and before != recipe:
            differing = ", ".join(_differences(before, recipe))
            raise UserError(f"{self.path} holds another run ({differing}){self.maker}. Choose another --out.")
        return "result" in self.run

    @property
    def maker(self) -> str:
        """Which version of shoestring the run is of, as the end of a phrase; nothing where it is this one."""
        from shoestring import __version__

        version = self.run.get("surroundings", {}).get("shoestring", __version__)
        return "" if version == __version__ else f" of shoestring {version}, and this is {__version__}"

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Turn what goes wrong in showing results that were read from run.json into a `UserError`."""
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the results in {self / 'run.json'} are damaged, or those{self.maker or ' of another version'} "
                f"({error!r}). Remove {self.path} to run anew."
            ) from error

    def spent(self) -> tuple[float, dict[str, float]]:
        """Seconds that an interrupted run has used up here, and its ledger."""
        rows = self.history()
        return (rows[-1]["seconds"], self.run.get("ledger", {})) if rows else (0.0, {})

    @contextlib.contextmanager
    def begin(self, recipe: dict[str, Any], text: str, *, first: Callable[[], None] | None = None) -> Iterator[None]:
        """Make the folder with its recipe; a new one goes again when an error ends the block before it holds anything.

        `first` is done before, while the recipe there is still the one of before.

        `UserError` when it cannot be written to, holds other things than a run, or is removed before the block ends;
        and while another process is at work in it.
        """
        self.check_free()
        with contextlib.ExitStack() as held:
            with self._writable():
                made = held.enter_context(lock_folder(self.path))
            self.check_free()
            new = not self.run
            try:
                if first is not None:
                    first()
                with self._writable():
                    self._sweep()
                    write_json(self / "run.json", {**self.run, "recipe": recipe})
                    self._begun = folder_id(self.path)
                    write_text(self / "recipe.yaml", text)
                yield
            except UserError:
                if new and not any((self / name).exists() for name in _WORTH_KEEPING):
                    self._clear(made)
                raise
            except OSError:
                self.check_present()  # which says more than that a file is not there
                raise

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> UserError:
        return UserError(f"cannot write to {self.path}: {error.strerror or error}. Choose another --out.")

    def _sweep(self) -> None:
        """Remove the files that killed processes were writing."""
        for folder in (self.path, *(self / name for name in _STEPS)):
            for file in folder.glob(".*"):
                if is_partial(file.name):
                    file.unlink(missing_ok=True)

    def _clear(self, made: bool) -> None:
        """Remove what a run that came to nothing has left, and the folder if it was made for it."""
        with contextlib.suppress(UserError, OSError):
            self.check_present()
            for one in sorted(self.path.iterdir(), key=lambda one: one.name == LOCK_FILE):  # which Windows keeps
                shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
            if made:
                self.path.rmdir()

    def append_history(self, **values: Any) -> None:
        """Append one line to history.jsonl."""
        self.check_present()
        file, line = self / "history.jsonl", json.dumps(values).encode() + b"\n"
        try:
            with file.open("a+b") as out:
                if out.tell() and out.seek(-1, os.SEEK_END) and out.read() != b"\n":  # a kill has cut the last one off
                    line = b"\n" + line
                out.write(line)
        except OSError as error:
            error.filename = error.filename or str(file)  # `write` does not say where
            raise

    def history(self) -> list[dict[str, Any]]:
        """All complete lines of history.jsonl (a line cut off by a kill, or damaged, is left out)."""
        file = self / "history.jsonl"
        rows = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []:
            with contextlib.suppress(ValueError, RecursionError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict) and is_nonnegative(row.get("seconds"))]

    def once(self, name: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]) -> T:
        """The result that the file of this name tells of when it is there already, else made and saved now."""
        if (self / name).exists():
            return load(self / name)
        value = make()
        self.check_present()
        save(value, self / name)
        return value


def _differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a} there and {b} here")
    return found
