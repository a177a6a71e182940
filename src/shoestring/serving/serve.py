"""Serve models: prepare what is served, open the port, and start one process or several."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shoestring.errors import UserError
from shoestring.runtime.cores import cores
from shoestring.serving.logs import log, start_logging
from shoestring.serving.requirements import check_installed
from shoestring.serving.settings import Settings
from shoestring.serving.sockets import open_socket, url_of
from shoestring.serving.sources import Source, parse_sources

_POLL_SECONDS = 2.0  # between two looks at whether a run has a newer model


def serve(
    models: str | Path | Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    settings: Settings | None = None,
    quiet: bool = False,
    on_start: Callable[[str, Sequence[str]], None] = lambda url, names: None,
) -> None:
    """Serve models over HTTP until SIGTERM or SIGINT; blocks.

    `models` are ONNX files that `export` wrote, and runs, which are exported first: each of them a path, or NAME=PATH.
    A file that is replaced, and a run that gets a newer model, are used within seconds, without a lost request. With
    `port` 0, a free one is chosen. `workers` processes share the port. `on_start` is called with the URL and the
    names of the models when requests are answered.

    Raises `UserError` for models that cannot be served, a port that is in use, and if packages of the extra `serve` are
    missing.
    """
    check_installed()
    if workers < 1:
        raise UserError(f"--workers must be at least 1, not {workers}.")
    if not 0 <= port <= 65535:
        raise UserError(f"--port is a number from 0 to 65535, not {port}.")
    given = [models] if isinstance(models, str | Path) else models
    sources = parse_sources([str(model) for model in given])
    settings = settings or Settings()
    start_logging(quiet=quiet)
    opened = open_socket(host, port)
    try:
        for source in sources:
            source.export(log)
        files, url = {source.name: source.file for source in sources}, url_of(opened)
        threading.Thread(target=_export_newer, args=(sources,), daemon=True).start()
        if workers == 1:
            from shoestring.serving.server import run

            run(files, opened, settings, lambda: on_start(url, list(files)))
        else:
            from shoestring.serving.workers import Workers

            settings = replace(settings, threads=settings.threads or max(1, cores() // workers))
            Workers(files, opened, settings, quiet=quiet).run(workers, lambda: on_start(url, list(files)))
    finally:
        opened.close()


def _export_newer(sources: Sequence[Source]) -> None:
    """Export runs again when they get a newer model; the server then finds the new file. Never returns."""
    runs = [source for source in sources if source.run is not None]
    exported = {source.name: source.newest() for source in runs}
    seen = dict(exported)
    while runs:
        time.sleep(_POLL_SECONDS)
        for source in runs:
            try:
                before, seen[source.name] = seen[source.name], source.newest()
                if seen[source.name] in (None, exported[source.name]) or seen[source.name] != before:
                    continue  # nothing new, or it may still be written
                exported[source.name] = seen[source.name]
                source.export(log)
            except (UserError, OSError) as error:
                log("the newer model is not used", level=logging.ERROR, run=source.run, reason=str(error))
