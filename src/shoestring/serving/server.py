"""One process that serves: uvicorn with a graceful end, and new files on SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from shoestring.serving.app import Service
from shoestring.serving.connection import connection_class
from shoestring.serving.logs import log
from shoestring.serving.settings import Settings
from shoestring.serving.sockets import BACKLOG

_DRAIN_SECONDS = 0.5  # that connections without a request remain open after the signal: it may be on its way
_MAX_CONNECTIONS = 4096
_KEEP_ALIVE_SECONDS = 30
_SWITCH_SECONDS = 0.001  # after which a thread gives way to others: decoding must not delay the event loop


class Server(uvicorn.Server):
    """A server that ends in order: it announces the end, answers what it has accepted, and closes.

    SIGTERM and SIGINT end it, a second signal at once; SIGHUP loads files that have changed.
    """

    def __init__(self, service: Service, on_start: Callable[[], None]) -> None:
        self._service, self._on_start = service, on_start
        settings = service.settings
        super().__init__(
            uvicorn.Config(
                service.gate,
                http=connection_class(settings.timeout),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.timeout)),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._refresh)
        self._on_start()

    def _refresh(self) -> None:
        self._refreshing = asyncio.ensure_future(self._service.models.refresh())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, close the others with their next answer, and end."""
        log("ending", connections=len(self.server_state.connections))
        self._service.gate.draining = True
        await self._stop_listening(sockets or [])
        await self._until_idle()
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves this out, and is then cancelled with a traceback
            await self.lifespan.shutdown()
        log("ended", level=logging.WARNING if self.force_exit else logging.INFO)

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the sockets, after accepting what waits there: closing them alone would reset these connections."""
        copies = [listening.dup() for listening in sockets]
        for listening in (*self.servers, *sockets):
            listening.close()
        await asyncio.sleep(0.02)  # until the event loop has really closed them
        accepted = [connection for listening in copies for connection in _accept_waiting(listening)]
        loop = asyncio.get_running_loop()
        for connection in accepted:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> Any:
        make: Any = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    async def _until_idle(self) -> None:
        """Wait until there are no connections, but not for long."""
        end = time.monotonic() + _DRAIN_SECONDS
        while self.server_state.connections and not self.force_exit and time.monotonic() < end:
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals inside the block; unlike uvicorn, end with the exit code 0 and not by the signal."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order, or at once if this is the second signal."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _accept_waiting(listening: socket.socket) -> list[socket.socket]:
    """Return the connections that wait to be accepted, and close the socket at once."""
    listening.setblocking(False)
    accepted = []
    with listening, contextlib.suppress(OSError):  # BlockingIOError when there are no more
        while True:
            accepted.append(listening.accept()[0])
    return accepted


def run(files: Mapping[str, Path], opened: socket.socket, settings: Settings, on_start: Callable[[], None]) -> None:
    """Serve until a signal ends the process. Raises `UserError` for a file that cannot be served."""
    service = Service(files, settings)
    gc.collect()
    gc.freeze()  # what was imported and loaded stays: searching it for garbage delays answers
    sys.setswitchinterval(_SWITCH_SECONDS)
    Server(service, on_start).run(sockets=[opened])
