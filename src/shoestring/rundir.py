"""What is written where in a run directory: whole files only, so that a kill at any moment leaves a complete state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from shoestring.errors import UserError

T = TypeVar("T")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # writing does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or nothing; bytes of file names that are no text are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_skipped(folder: Path, skipped: Iterable[tuple[str, str]]) -> None:
    """Write the images that were left out because they cannot be read into skipped.json, if there are any."""
    listed = [{"image": name, "reason": reason} for name, reason in skipped]
    if listed:
        write_json(folder / "skipped.json", listed)


def read_json(path: Path) -> Any:
    """Read a JSON file; `UserError` when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}.") from None
    except (ValueError, RecursionError) as error:  # also bytes that are no text, numbers of 5,000 digits, 1,000 levels
        raise UserError(f"{path} is not JSON: {error}.") from None


_RESULTS = ("model.json", "snapshot", "state.pt")
_WORTH_KEEPING = ("select/subset.json", *(f"{step}/{name}" for step in ("train", "prune") for name in _RESULTS))


class RunDir:
    """`runs/<name>/`: recipe.yaml, run.json, history.jsonl and a folder for each step.

    What is there is complete; so a step whose result is there is done, and the same run can go on where it was cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def run(self) -> dict[str, Any]:
        """What run.json holds, or nothing before it exists."""
        file = self / "run.json"
        content = read_json(file) if file.exists() else {}
        if not isinstance(content, dict):
            raise UserError(f"{file} is damaged: it is no mapping. Choose another --out, or remove {self.path}.")
        return content

    def update(self, **values: Any) -> None:
        """Merge values into run.json."""
        write_json(self / "run.json", {**self.run, **values})

    def forget(self, *names: str) -> None:
        """Take values out of run.json."""
        write_json(self / "run.json", {name: value for name, value in self.run.items() if name not in names})

    def done(self, recipe: dict[str, Any]) -> bool:
        """Whether this very run has ended here; `UserError` when the folder holds another one, naming what differs."""
        before = self.run.get("recipe")
        if before is not None and before != recipe:
            differing = ", ".join(_differences(before, recipe))
            raise UserError(f"{self.path} holds another run ({differing}). Choose another --out.")
        return "result" in self.run

    def spent(self) -> tuple[float, dict[str, float]]:
        """Seconds that an interrupted run has used up here, and its ledger."""
        rows = self.history()
        return (rows[-1]["seconds"], self.run.get("ledger", {})) if rows else (0.0, {})

    @contextlib.contextmanager
    def begin(self, recipe: dict[str, Any], text: str, *, first: Callable[[], None] | None = None) -> Iterator[None]:
        """Make the folder with its recipe; a new one goes again when an error ends the block before it holds anything.

        `first` is done before, while the recipe there is still the one of before.

        `UserError` when it cannot be written to, or while another process is at work in it.
        """
        new = not self.path.exists()
        with contextlib.ExitStack() as held:
            with self._writable():
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(_alone(self.path))
            try:
                if first is not None:
                    first()
                with self._writable():
                    write_text(self / "recipe.yaml", text)
                    self.update(recipe=recipe)
                yield
            except UserError:
                if new and not any((self / name).exists() for name in _WORTH_KEEPING):
                    shutil.rmtree(self.path, ignore_errors=True)
                raise

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = f"cannot write to {self.path}: {error.strerror or error}. Choose another --out."
            raise UserError(told) from None

    def log(self, **values: Any) -> None:
        """Append one line to history.jsonl."""
        with (self / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """All complete lines of history.jsonl (a line cut off by a kill is left out)."""
        file = self / "history.jsonl"
        rows = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict) and "seconds" in row]

    def once(self, name: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]) -> T:
        """The result that the file of this name tells of when it is there already, else made and saved now."""
        if (self / name).exists():
            return load(self / name)
        value = make()
        save(value, self / name)
        return value


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes, as far as the system can; it is free again when this one ends, however."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is at work in {folder}. Wait for it, or choose another --out.") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*one, *other}):
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} is {a} there and {b} here")
    return found
