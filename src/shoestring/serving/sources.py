"""What is served: ONNX files, and runs, which another process exports first, so that this one never imports torch."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoestring.config.model_files import DESCRIPTION_FILE, TENSORS_FILE, model_folder
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.runs.model_folders import usable_folder

_EXPORTED = Path("export", "model.onnx")  # where `shoestring export RUN` writes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Source:
    """A model to serve: its name, its ONNX file, and the run of which that is an export, if it is one."""

    name: str
    file: Path
    run: Path | None = None

    def newest(self) -> int | None:
        """Return when the model of the run was written, in nanoseconds; None if there is none yet."""
        folder = None if self.run is None else model_folder(self.run)
        if folder is None:
            return None
        return max((folder / name).stat().st_mtime_ns for name in (DESCRIPTION_FILE, TENSORS_FILE))

    def is_current(self) -> bool:
        """Return whether the file can be served as it is; False if the run has a newer model, or is not finished."""
        if self.run is None:
            return True
        newest = self.newest()
        return newest is not None and self.file.exists() and self.file.stat().st_mtime_ns >= newest

    def export(self, log: Callable[[str], None]) -> None:
        """Export the run if necessary, in a process of its own. Raises `UserError` if it cannot be exported."""
        if self.run is None or self.is_current():
            return
        usable_folder(self.run)  # raises an error at once, as the other process starts slowly
        log(f"exporting {self.run} to {self.file}, once")
        command = [sys.executable, "-m", "shoestring", "export", str(self.run), "--out", str(self.file)]
        done = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(_failure(done.stderr, self.run))
        for line in done.stderr.splitlines():
            if "is not finished" in line:
                log(f"warning: {line}")


def _failure(output: str, run: Path | None) -> str:
    """Return why an export failed, from what it printed."""
    lines = [line for line in output.splitlines() if line.strip()] or ["the process was ended"]
    if "No module named 'torch'" in lines[-1]:
        return (
            f"{run} was not exported, and PyTorch, which that needs, is not installed here: export it where it was "
            "trained (`shoestring export RUN`)."
        )
    return lines[-1].removeprefix("error: ")


def parse_sources(words: Sequence[str]) -> list[Source]:
    """Parse models as users write them: a file or a run, or NAME=PATH.

    Raises `UserError` for what does not exist, names that are not possible in a URL, and two models of one name.
    """
    sources = [_parse(word) for word in words]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two models are called '{name}': name them, as in {name}-2=PATH.")
    return sources


def _parse(word: str) -> Source:
    name, equals, rest = word.partition("=")
    given = bool(equals) and "/" not in name and not expanded(word).exists()
    path = expanded(rest if given else word)
    if not given:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem if path.suffix == ".onnx" else path.resolve().name).strip(
            "-._"
        )
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot be the name of a model: write letters, digits, '.', '_' and '-', as NAME=PATH."
        )
    if path.is_dir():
        return Source(name, path / _EXPORTED, path)
    if not path.exists():
        raise UserError(f"no file or folder {path}.")
    return Source(name, path)
