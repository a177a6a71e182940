"""HTTP connections with limits on time and headers, which uvicorn does not have: it waits for clients without end."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_LINGER_SECONDS = 2.0  # that the rest of a request which is already answered (with an error) is read and dropped
_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 46\r\n\r\n{"error": "the request was not sent in time"} '
)
_MAX_EXTRA = 1 << 16  # bytes of a request beside its body: the first line, headers, trailers
_MAX_EXTRA_PER_BYTE = 8  # of a body, which may be sent in chunks of a single byte
_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b'content-length: 54\r\n\r\n{"error": "the headers of the request are too large"} '
)


class Connection(HttpToolsProtocol):
    """A connection whose requests are received within `timeout` seconds, from their first byte to their last."""

    timeout: ClassVar[float]
    _timer: asyncio.TimerHandle | None = None
    _is_complete = True  # no request is being received
    _has_begun = False  # in the bytes that are parsed at the moment
    _received = _body = 0  # bytes of the request that is being received, and of its body

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._arm(self.timeout)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, and refuse a request with endless headers, which nothing else limits."""
        self._has_begun = False
        super().data_received(data)
        if not self._has_begun:
            self._received += len(data)
        if not self._is_complete and self._received > _MAX_EXTRA + (1 + _MAX_EXTRA_PER_BYTE) * self._body:
            self._end(_TOO_LONG)

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        """Measure the time of a request from its first byte on."""
        self._is_complete = False
        self._has_begun, self._received, self._body = True, 0, 0
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

    def _end(self, answer: bytes = _LATE) -> None:
        if self.transport.is_closing():
            return
        cycle = None if self._is_complete else self.cycle
        if cycle is None or not cycle.response_started:
            self.transport.write(answer)
        if cycle is not None:
            scope: Any = cycle.scope
            scope["state"]["timed_out"] = True
        self.transport.close()


def connection_class(timeout: float) -> type[Connection]:
    """Return the class of connections with this time limit."""
    return type("Connection", (Connection,), {"timeout": timeout})
