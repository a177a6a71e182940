"""A load generator for HTTP on loopback: connections that stay open and send one request after the other.

    python benchmarks/load_generator.py PORT REQUESTS.pickle --seconds 10 --connections 32

REQUESTS holds pairs of a request and what its answer must contain, both as bytes, the latter without spaces. Prints
JSON: the rate, percentiles of the times from the first byte sent to the last received, and numbers of answers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import pickle
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

_HEAD = re.compile(rb"^HTTP/1\.1 (\d{3})[^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """A connection that sends requests until the time is over."""

    def __init__(self, load: Load) -> None:
        self._load, self._received = load, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        content, self._expected = next(self._load.requests)
        self._received, self._sent = b"", time.perf_counter()
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = _HEAD.match(self._received)
        if head is None:
            return
        length = _LENGTH.search(head[2])
        assert length is not None, "answers with their length"
        body = self._received[head.end() :]
        if len(body) < int(length[1]):
            return
        now = time.perf_counter()
        if now > self._load.start:
            outcome = "right" if self._expected in body.replace(b'": "', b'":"') else f"wrong ({head[1].decode()})"
            self._load.outcomes[outcome] += 1
            self._load.seconds.append(now - self._sent)
        if now < self._load.end:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._load.end:
            self._load.outcomes["lost"] += 1
        self._load.open -= 1
        if not self._load.open:
            self._load.done.set_result(None)


class Load:
    """What all connections share. Requests in the first second are not counted."""

    def __init__(self, requests: list[tuple[bytes, bytes]], seconds: float, connections: int) -> None:
        self.requests = itertools.cycle(requests)
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.open, self._length = connections, seconds

    async def run(self, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self.done = loop.create_future()
        self.start = time.perf_counter() + 1
        self.end = self.start + self._length
        for _ in range(self.open):
            await loop.create_connection(lambda: Client(self), "127.0.0.1", port)
        await self.done
        times = 1000 * np.array(self.seconds)
        p50, p99 = np.percentile(times, [50, 99])
        return {
            "requests_per_second": round(len(times) / self._length, 1),
            "p50_ms": round(float(p50), 2),
            "p99_ms": round(float(p99), 2),
            "max_ms": round(float(times.max()), 2),
            "answers": dict(self.outcomes),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=32)
    args = parser.parse_args()
    load = Load(pickle.loads(args.requests.read_bytes()), args.seconds, args.connections)
    import uvloop

    print(json.dumps(uvloop.run(load.run(args.port))))


if __name__ == "__main__":
    main()
