"""The run folder: where files are written, so that a run can be resumed after a kill at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from shoestring.config.layers import with_current_names
from shoestring.config.paths import expanded, refuse_url
from shoestring.config.record import is_nonnegative, validated
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

_STEPS = ("select", "train", "prune", "tickets", "evaluate", "report", "export")
_MODEL_FILES = [f"{step}/{name}" for step in ("train", "prune") for name in ("model.json", "snapshot", "state.pt")]
_RESULT_FILES = ("select/subset.json", "tickets/rows.json", *_MODEL_FILES)


def write_skipped(folder: Path, skipped: Iterable[tuple[str, str]]) -> None:
    """List the images that were skipped because they cannot be read in skipped.json, if there are any."""
    entries = [{"image": name, "reason": reason} for name, reason in skipped]
    if entries:
        write_json(folder / "skipped.json", entries)


class RunDir:
    """`runs/<name>/`: run.json, recipe.yaml, history.jsonl and a folder for each step.

    Files are written atomically, so a step whose result exists is done, and an interrupted run can be resumed. A folder
    is a run folder if it contains run.json, which is therefore written first.
    """

    def __init__(self, path: Path) -> None:
        refuse_url(str(path).replace(":/", "://", 1))  # Path collapses the slashes of a URL
        self.path = expanded(path)
        self._folder_id: tuple[int, int] | None = None  # device and inode of the folder, once a run has started in it

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def run(self) -> dict[str, Any]:
        """Content of run.json, empty before it exists. Raises `UserError` if it is corrupted."""
        file = self / "run.json"
        if not os.path.lexists(file):
            return {}
        try:
            content = validated(read_json(file), file)
        except UserError as error:
            raise UserError(
                f"{error} Choose another --out, or remove {self.path}, if it is a run folder, to start over."
            ) from None
        return {**content, "recipe": with_current_names(content["recipe"])}

    @property
    def started(self) -> bool:
        """Whether this process has started or resumed a run in the folder."""
        return self._folder_id is not None

    def check_usable(self) -> None:
        """Raise `UserError` unless the path is a run folder, an empty folder, or does not exist."""
        try:
            names = [entry.name for entry in self.path.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._not_writable(error) from None
        if "run.json" in names:
            _ = self.run  # raises an error if it is corrupted
        elif not all(name == LOCK_FILE or is_partial(name) for name in names):
            raise UserError(
                f"{self.path} is neither empty nor a run folder (it has no run.json). Choose another --out, or remove "
                "its content."
            )

    def check_exists(self) -> None:
        """Raise `UserError` if the folder was removed or replaced since the run started in it."""
        if self._folder_id is None:
            return
        with contextlib.suppress(OSError):
            if folder_id(self.path) == self._folder_id and (self / "run.json").exists():
                return
        raise UserError(
            f"{self.path} was removed or replaced during the run, so its results cannot be saved. "
            "Repeat the command to start over."
        )

    def update(self, **values: Any) -> None:
        """Merge values into run.json."""
        self.check_exists()
        write_json(self / "run.json", {**self.run, **values})

    def remove_values(self, *names: str) -> None:
        """Remove values from run.json."""
        write_json(self / "run.json", {name: value for name, value in self.run.items() if name not in names})

    def done(self, recipe: dict[str, Any]) -> bool:
        """Whether the run of this recipe is finished. Raises `UserError` if the folder holds another run."""
        previous = self.run.get("recipe")
        if previous is not None and previous != recipe:
            differences = ", ".join(_differences(previous, recipe))
            raise UserError(f"{self.path} holds another run ({differences}){self.version_note}. Choose another --out.")
        return "result" in self.run

    @property
    def version_note(self) -> str:
        """The version of shoestring that made the run, to append to a phrase; empty if it is the current one."""
        from shoestring import __version__

        version = self.run.get("surroundings", {}).get("shoestring", __version__)
        return "" if version == __version__ else f" of shoestring {version}, and this is {__version__}"

    @contextlib.contextmanager
    def checking_results(self) -> Iterator[None]:
        """Raise `UserError` if the block fails because the results that it reads from run.json are corrupted."""
        try:
            yield
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            version = self.version_note or " of another version"
            raise UserError(
                f"the results in {self / 'run.json'} are corrupted, or those{version} ({error!r}). Remove {self.path} "
                "to start over."
            ) from error

    def spent(self) -> tuple[float, dict[str, float]]:
        """Seconds that an interrupted run in the folder has spent, and its ledger."""
        rows = self.history()
        return (rows[-1]["seconds"], self.run.get("ledger", {})) if rows else (0.0, {})

    @contextlib.contextmanager
    def begin(self, recipe: dict[str, Any], text: str, *, first: Callable[[], None] | None = None) -> Iterator[None]:
        """Create the folder, lock it for the block, and write the recipe, `text` being its YAML.

        `first` is called before, while run.json still holds the previous recipe. If a `UserError` ends the block before
        there are results, a new folder is removed. Raises `UserError` if the folder cannot be written to, has other
        content than a run, is locked by another process, or is removed before the block ends.
        """
        self.check_usable()
        with contextlib.ExitStack() as stack:
            with self._writable():
                created = stack.enter_context(lock_folder(self.path))
            self.check_usable()
            new = not self.run
            try:
                if first is not None:
                    first()
                with self._writable():
                    self._remove_partial_files()
                    write_json(self / "run.json", {**self.run, "recipe": recipe})
                    self._folder_id = folder_id(self.path)
                    write_text(self / "recipe.yaml", text)
                yield
            except UserError:
                if new and not any((self / name).exists() for name in _RESULT_FILES):
                    self._clear(remove_folder=created)
                raise
            except OSError:
                self.check_exists()  # a clearer error than a missing file
                raise

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._not_writable(error) from None

    def _not_writable(self, error: OSError) -> UserError:
        return UserError(f"cannot write to {self.path}: {error.strerror or error}. Choose another --out.")

    def _remove_partial_files(self) -> None:
        """Remove incomplete files of killed processes."""
        for folder in (self.path, *(self / name for name in _STEPS)):
            for file in folder.glob(".*"):
                if is_partial(file.name):
                    file.unlink(missing_ok=True)

    def _clear(self, *, remove_folder: bool) -> None:
        """Remove the files of a run without results, and the folder itself if requested."""
        with contextlib.suppress(UserError, OSError):
            self.check_exists()
            for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == LOCK_FILE):  # which Windows keeps
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            if remove_folder:
                self.path.rmdir()

    def append_history(self, **values: Any) -> None:
        """Append one line to history.jsonl."""
        self.check_exists()
        file, line = self / "history.jsonl", json.dumps(values).encode() + b"\n"
        try:
            with file.open("a+b") as out:
                if out.tell() and out.seek(-1, os.SEEK_END) and out.read() != b"\n":  # the last line was cut off
                    line = b"\n" + line
                out.write(line)
        except OSError as error:
            error.filename = error.filename or str(file)  # `write` does not set it
            raise

    def history(self) -> list[dict[str, Any]]:
        """All lines of history.jsonl; incomplete and corrupted ones are skipped."""
        file = self / "history.jsonl"
        rows = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []:
            with contextlib.suppress(ValueError, RecursionError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict) and is_nonnegative(row.get("seconds"))]

    def load_or_make(
        self, name: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]
    ) -> T:
        """Return a result loaded from the file of this name if it exists, otherwise made and saved to it."""
        if (self / name).exists():
            return load(self / name)
        value = make()
        self.check_exists()
        save(value, self / name)
        return value


def _differences(previous: dict[str, Any], current: dict[str, Any], prefix: str = "") -> list[str]:
    """Differences between two nested mappings, as phrases."""
    differences = []
    for key in sorted({*previous, *current}):
        a, b = previous.get(key), current.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            differences += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            differences.append(f"{prefix}{key} is {a} there and {b} here")
    return differences
