"""HTTP connections with time limits, on top of those of uvicorn, which waits for slow clients without end."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LINGER_SECONDS = 2.0  # that the rest of a request which is already answered (with an error) is read and dropped
_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 46\r\n\r\n{"error": "the request was not sent in time"} '
)


class Connection(HttpToolsProtocol):
    """A connection whose requests are received within `timeout` seconds, from their first byte to their last."""

    timeout: ClassVar[float]
    _timer: asyncio.TimerHandle | None = None
    _is_complete = True  # no request is being received

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._arm(self.timeout)

    def on_message_begin(self) -> None:
        """Measure the time of a request from its first byte on."""
        self._is_complete = False
        self._arm(self.timeout)
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Stop measuring: the request is here."""
        self._is_complete = True
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Read and drop the rest of a request that was answered early, but not for long."""
        super().on_response_complete()
        if not self._is_complete:
            self._arm(_LINGER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limit."""
        self._disarm()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection until the request that is complete is answered."""
        answering = self._is_complete and self.cycle is not None and not self.cycle.response_complete
        if answering:
            self.cycle.keep_alive = False
        return answering

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._end)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        if self.transport.is_closing():
            return
        cycle = None if self._is_complete else self.cycle
        if cycle is None or not cycle.response_started:
            self.transport.write(_LATE)
        if cycle is not None:
            scope: Any = cycle.scope
            scope["state"]["timed_out"] = True
        self.transport.close()


def connection_class(timeout: float) -> type[Connection]:
    """Return the class of connections with this time limit."""
    return type("Connection", (Connection,), {"timeout": timeout})
