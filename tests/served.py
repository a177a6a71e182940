"""Servers as processes of their own, on ports of loopback, and clients that keep them busy."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from color_networks import picture

RED = picture("red")
POST = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(RED)


class Served(NamedTuple):
    """A process that serves, where, and the file that its log goes to."""

    process: subprocess.Popen
    host: str
    port: int
    log: IO[bytes]

    def connect(self) -> HTTPConnection:
        return HTTPConnection(self.host, self.port, timeout=20)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = self.connect()
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        return response.status, json.loads(content) if content.startswith(b"{") else content

    def logged(self) -> str:
        """Return the log so far."""
        self.log.seek(0)
        return self.log.read().decode()

    def exchange(self, *parts: bytes, half_close: bool = False) -> bytes:
        """Send bytes on a connection of their own, and return all that comes back."""
        with socket.create_connection((self.host, self.port), timeout=20) as opened:
            for part in parts:
                opened.sendall(part)
                time.sleep(0.05)
            if half_close:
                opened.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := opened.recv(65536):
                received += chunk
        return received


@contextlib.contextmanager
def serving(*words: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "shoestring", "serve", *words, "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile("a+b") as log:  # a pipe that nobody reads would be full after some hundred requests
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            served = Served(process, "", 0, log)
            assert line, served.logged()
            url = urlsplit(json.loads(line)["url"])
            yield served._replace(host=url.hostname or "", port=url.port or 0)
        finally:
            process.kill()
            process.communicate()


class Load:
    """Clients that send one request after the other on connections that stay open, until the server is gone."""

    def __init__(self, server: Served, clients: int = 8) -> None:
        self.counts: Counter[str] = Counter()
        self._server, self._lock = server, threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = self._server.connect()
        while True:
            try:
                connection.connect()
            except OSError:  # nobody listens any more
                return
            outcome = "answered"
            while outcome == "answered":
                outcome = self._ask(connection)
                with self._lock:
                    self.counts[outcome] += 1
            connection.close()

    def _ask(self, connection: HTTPConnection) -> str:
        try:
            connection.request("POST", "/predict", RED)
            response = connection.getresponse()
            content = response.read()
        except OSError:
            return "lost"
        if response.status != 200 or b'"class": "red"' not in content:
            return f"{response.status} {content!r}"
        return "last" if response.headers.get("connection") == "close" else "answered"

    def wait_for(self, answers: int) -> None:
        """Wait until so many requests are answered."""
        end = time.monotonic() + 60
        while self.counts["answered"] < answers:
            assert time.monotonic() < end, self.counts
            time.sleep(0.01)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
