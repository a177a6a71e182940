"""Fetching images by their URLs: from public addresses only, so that nobody reaches internal servers this way."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from shoestring.serving.bodies import Fetch
from shoestring.serving.errors import Refused
from shoestring.serving.settings import Settings

_CHUNK = 1 << 16


def fetcher(settings: Settings, is_allowed: Callable[[str], bool] = lambda address: _is_public(address)) -> Fetch:
    """Return the function that fetches images, within the limits of the settings, from addresses that are allowed."""

    async def fetch(urls: Sequence[str]) -> list[bytes | Refused]:
        allowance = _Allowance(settings)
        results = [asyncio.to_thread(_fetch_or_refuse, url, allowance, is_allowed) for url in urls]
        return list(await asyncio.gather(*results))

    return fetch


class _Allowance:
    """The bytes and the time that are left for the images of one request."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.timeout
        self._end, self._bytes, self._most = time.monotonic() + self.seconds, settings.max_bytes, settings.max_bytes

    def take(self, size: int, url: str) -> None:
        """Use so many bytes. Raises `Refused` if they, or the time, are not left."""
        self._bytes -= size
        if self._bytes < 0:
            raise Refused(413, f"{url[:200]} is too large: the maximum of a request is {self._most:,} bytes")
        if time.monotonic() > self._end:
            raise Refused(400, f"{url[:200]} cannot be fetched: it takes too long")


def _fetch_or_refuse(url: str, allowance: _Allowance, is_allowed: Callable[[str], bool]) -> bytes | Refused:
    try:
        return _fetch(url, allowance, is_allowed)
    except Refused as refused:
        return refused


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped.is_global and not mapped.is_multicast


def _fetch(url: str, allowance: _Allowance, is_allowed: Callable[[str], bool]) -> bytes:
    """Return the content behind a URL. Raises `Refused` for other addresses, redirections, and more bytes than allowed.

    The name is resolved once: what is checked is what the connection is made to.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        raise Refused(400, f"{url[:200]} cannot be fetched: its server is not known") from None
    address = str(found[0][4][0])
    if not all(is_allowed(str(entry[4][0])) for entry in found):
        raise Refused(403, f"{url[:200]} is not fetched: its server is not on the public network")
    connection = _connection(parts.scheme, host, port, address, allowance.seconds)
    try:
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("GET", path, headers={"accept": "image/*", "user-agent": "shoestring"})
        with connection.getresponse() as response:
            return _read(response, url, allowance)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(400, f"{url[:200]} cannot be fetched: {error or type(error).__name__}") from None
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int, address: str, timeout: float) -> http.client.HTTPConnection:
    """Return a connection to an address, which checks the certificate of `host`."""
    if scheme == "https":
        connection: Any = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection._create_connection = partial(_connect, address)
    return connection


def _connect(address: str, target: tuple[str, int], *rest: Any) -> socket.socket:
    return socket.create_connection((address, target[1]), *rest)


def _read(response: http.client.HTTPResponse, url: str, allowance: _Allowance) -> bytes:
    if response.status != 200:
        raise Refused(400, f"{url[:200]} cannot be fetched: its server answered {response.status}")
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        allowance.take(len(chunk), url)
    return bytes(content)
