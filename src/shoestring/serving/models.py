"""The models of a server by name. A file that is replaced is loaded beside the old one, which answers what it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shoestring.errors import UserError
from shoestring.serving.batching import Predictor
from shoestring.serving.errors import Refused
from shoestring.serving.logs import log
from shoestring.serving.metrics import Metrics, ModelMetrics
from shoestring.serving.network import Network
from shoestring.serving.settings import Settings

_POLL_SECONDS = 1.0

Stamp = tuple[int, int, int] | None  # modification time, size and inode of a file; None if there is none


class _Served:
    """A model: its file, and the predictor of the content that was loaded last."""

    def __init__(self, file: Path, settings: Settings, metrics: ModelMetrics) -> None:
        self.file, self.settings, self.metrics = file, settings, metrics
        self.loaded = self.seen = stamp(file)
        self.predictor = self._load()

    def _load(self) -> Predictor:
        try:
            predictor = Predictor(Network(self.file, self.settings), self.settings, self.metrics)
        except UserError:
            self.metrics.load("failed")
            raise
        self.metrics.load("loaded")
        for warning in predictor.network.warnings:
            log("warning", level=logging.WARNING, reason=warning)
        return predictor

    async def refresh(self, *, at_once: bool) -> None:
        """Load the file if it has changed, and, unless `at_once`, no longer changes: it may still be written."""
        before, self.seen = self.seen, stamp(self.file)
        if self.seen in (None, self.loaded) or (self.seen != before and not at_once):
            return
        self.loaded = self.seen
        try:
            predictor = await asyncio.to_thread(self._load)
        except UserError as error:
            log("the new file is not used", level=logging.ERROR, file=self.file, reason=str(error))
            return
        except Exception as error:  # a defect: it must not end the task that watches the files
            log("the new file is not used", level=logging.ERROR, error=error, file=self.file)
            return
        old, self.predictor = self.predictor, predictor
        old.close()
        log("loaded a new file", file=self.file, version=predictor.network.version)


class Models:
    """Models by name, from ONNX files. Raises `UserError` for a file that cannot be served."""

    def __init__(self, files: Mapping[str, Path], settings: Settings, metrics: Metrics) -> None:
        self._served = {name: _Served(file, settings, metrics.of_model(name)) for name, file in files.items()}
        self._refreshing = asyncio.Lock()

    def __iter__(self) -> Iterator[tuple[str, Predictor]]:
        return ((name, served.predictor) for name, served in self._served.items())

    def find(self, name: str | None) -> tuple[str, Predictor]:
        """Return a model, by default the first one, as it is at this moment. Raises `Refused` (404) if unknown."""
        if name is None:
            name = next(iter(self._served))
        if name not in self._served:
            raise Refused(404, f"there is no model called {name!r}; known: {', '.join(self._served)}")
        return name, self._served[name].predictor

    async def refresh(self, *, at_once: bool = True) -> None:
        """Load the files that have changed."""
        async with self._refreshing:
            for served in self._served.values():
                await served.refresh(at_once=at_once)

    async def watch(self) -> None:
        """Load files when they change, until the task is cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            await self.refresh(at_once=False)

    def close(self) -> None:
        """End the threads of all models when everything in their queues is answered."""
        for served in self._served.values():
            served.predictor.close()


def describe(name: str, predictor: Predictor) -> dict[str, Any]:
    """Return what clients want to know of a model, as plain values."""
    about = predictor.network.metadata
    return {
        "name": name,
        "version": predictor.network.version,
        "classes": about.classes,
        "task": about.task,
        "network": about.model,
        "resolution": about.resolution,
        "channels": about.channels,
        "fit": about.fit,
        "precision": about.precision,
        "tta": about.tta,
        "accuracy": about.accuracy,
        "quantization": about.quantization,
    }


def stamp(file: Path) -> Stamp:
    """Return what changes when a file is written or replaced."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
