"""What every request passes: its id, the API key, limits on its size, one line of the log, metrics."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shoestring.serving.errors import Refused
from shoestring.serving.logs import log
from shoestring.serving.metrics import Metrics
from shoestring.serving.settings import Settings

OPEN_PATHS = ("/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready")  # without the API key
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_BODIES = 8  # bodies of the largest size that are in memory at the same time
_CLOSED = 499  # status in the log of a request whose client is gone
_TIMED_OUT = 408


class Gate:
    """ASGI middleware around the whole application.

    `draining` is set when the server shuts down: connections then end with their next answer.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._key = None if settings.api_key is None else settings.api_key.encode()
        self._buffered = 0  # bytes of the bodies of all requests in progress
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(self, scope, receive, send)
        self._metrics.started()
        try:
            await passage.run(self._app)
        finally:
            self._buffered -= passage.received
            self._finish(scope, passage)

    def check_key(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise `Refused` (401) unless the request has the API key, or needs none."""
        if self._key is None or scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS":
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not hmac.compare_digest(given, self._key):
            raise Refused(
                401, "send the API key in the header Authorization: Bearer KEY", {"www-authenticate": "Bearer"}
            )

    def count(self, size: int, received: int) -> None:
        """Count bytes of a body of which `received` bytes are here. Raises `Refused` for too many."""
        self._buffered += size
        if received > self._settings.max_bytes:
            raise self.too_large()
        if self._buffered > _BODIES * self._settings.max_bytes:
            raise Refused(429, "the server is busy with large requests: send this one later", {"retry-after": "1"})

    def check_length(self, headers: dict[bytes, bytes]) -> None:
        """Raise `Refused` (413) for a request that says that it is too large."""
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self._settings.max_bytes:
            raise self.too_large()

    def too_large(self) -> Refused:
        """Return the error for a body that is too large."""
        return Refused(413, f"the request is too large: the maximum is {self._settings.max_bytes:,} bytes")

    def _finish(self, scope: Scope, passage: _Passage) -> None:
        seconds = time.perf_counter() - passage.start
        path = getattr(scope.get("route"), "path", "other")
        self._metrics.finished(path, passage.status, seconds)
        if not self._settings.log_requests:
            return
        client = scope.get("client")
        log(
            "request",
            request_id=passage.id,
            method=scope["method"],
            path=scope["path"][:200],
            status=passage.status,
            ms=round(1000 * seconds, 2),
            bytes=passage.received,
            client=client[0] if client else None,
            **scope.get("log", {}),
        )


class _Passage:
    """One request on its way through the gate."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._scope, self._receive, self._send = gate, scope, receive, send
        self._headers = dict(scope["headers"])
        self.start, self.status, self.received = time.perf_counter(), 0, 0
        given = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self.id = scope["request_id"] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

    async def run(self, app: ASGIApp) -> None:
        """Check the request, and pass it on."""
        try:
            self._gate.check_key(self._scope, self._headers)
            self._gate.check_length(self._headers)
            await self._pass_on(app)
        except Refused as refused:
            await self._answer(refused)
        except Exception as error:  # a defect: the client gets its number, the log the traceback
            log("internal error", level=logging.ERROR, error=error, request_id=self.id)
            await self._answer(internal_error(self._scope))

    async def _pass_on(self, app: ASGIApp) -> None:
        """Call the application, to which HEAD is GET: the server leaves out the body."""
        method = self._scope["method"]
        scope = {**self._scope, "method": "GET" if method == "HEAD" else method}
        try:
            await app(scope, self._receive_limited, self._send_marked)
        finally:
            self._scope.update({**scope, "method": method})  # with its route, for log and metrics

    async def _receive_limited(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.status = self.status or (_TIMED_OUT if self._scope.get("state", {}).get("timed_out") else _CLOSED)
        size = len(message.get("body", b""))
        self.received += size
        self._gate.count(size, self.received)
        return message

    async def _send_marked(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = self.status or message["status"]
            more = [(b"x-request-id", self.id.encode())]
            if self._gate.draining:
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)

    async def _answer(self, refused: Refused) -> None:
        if self.status:  # the answer has begun
            return
        body, headers = error_body(refused)
        start: Message = {"type": "http.response.start", "status": refused.status, "headers": headers}
        await self._send_marked(start)
        await self._send({"type": "http.response.body", "body": body})


def internal_error(scope: Scope) -> Refused:
    """Return what is answered after a defect: the log has the rest."""
    return Refused(500, f"internal error; the log has more about request {scope['request_id']}")


def error_body(refused: Refused) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the JSON of an error, and its headers."""
    body = json.dumps({"error": refused.reason}).encode()
    headers: dict[str, Any] = {"content-type": "application/json", "content-length": len(body), **refused.headers}
    return body, [(name.encode(), str(value).encode()) for name, value in headers.items()]
