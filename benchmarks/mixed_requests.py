"""Good and bad requests in any order, as they come from the network, and what has to be answered."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import served_models as served
from server_process import ServerProcess

THREADS = 32
_SLOW_SECONDS = 3.0


@dataclass(frozen=True)
class Case:
    """A request in parts, the pause between them, and the statuses that are right; 0 is a closed connection."""

    name: str
    parts: tuple[bytes, ...]
    statuses: tuple[int, ...]
    content: bytes = b""
    pause: float = 0.0
    half_close: bool = False


def bomb(side: int) -> bytes:
    """Return a small PNG file of side x side pixels, all black, which is complete."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def cases(images: Sequence[bytes], expected: Sequence[str]) -> tuple[list[Case], list[Case]]:
    """Return good and bad requests."""
    good = []
    for image, name in zip(images, expected):
        for kind, body in (("bytes", served.as_bytes), ("form", served.as_form), ("JSON", served.as_json)):
            good.append(Case(f"good {kind}", (body(image),), (200,), served.expecting(name)))
        good.append(Case("half-closed", (served.as_bytes(image),), (200,), served.expecting(name), half_close=True))
    image, octets, as_json = images[0], "application/octet-stream", "application/json"
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"

    def bad(name: str, body: bytes, status: int, kind: str = octets, more: str = "") -> Case:
        return Case(name, (served.request(body, kind, more=more),), (status,))

    odd = [
        bad("truncated", image[: len(image) // 2], 400),
        bad("text", b"hello, world", 415),
        bad("empty", b"", 415),
        bad("noise", random.Random(0).randbytes(3000), 415),
        bad("wrong type", b"\x89PNG\r\n\x1a\n" + image, 400),
        bad("bomb", bomb(8000), 413),
        bad("compressed", zlib.compress(image), 415, more="content-encoding: deflate\r\n"),
        bad("UTF-16", json.dumps({"images": []}).encode("utf-16"), 400, as_json),
        bad("not base64", b'{"images": ["\xc3\xa9"]}', 400, as_json),
        bad("deep JSON", b"[" * 200_000, 400, as_json),
        bad("broken form", b"--x\r\nno", 400, "multipart/form-data; boundary=y"),
        bad("form", b"a=b", 415, "application/x-www-form-urlencoded"),
        Case("declared huge", (head % 10**12,), (413,)),
        Case("huge", (head % 30_000_000, bytes(1_000_000), bytes(1_000_000)), (413,)),
        Case("no HTTP", (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",), (400, 0)),
        Case("odd path", (b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",), (400, 404)),
        Case("cut off", (head % 1000, b"half"), (408, 0), half_close=True),
        Case("slow", (head % 1000, b"a", b"b"), (408, 0), pause=_SLOW_SECONDS / 2),
    ]
    return good, odd


def send(
    process: ServerProcess, images: Sequence[bytes], expected: Sequence[str], *, count: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Send so many requests, two thirds of them good; return the outcomes, and the memory before, in the middle, after.

    An outcome is "right", or what was wrong with which request.
    """
    good, bad = cases(images, expected)
    rng = random.Random(0)
    chosen = [rng.choice(good if rng.random() < 2 / 3 else bad) for _ in range(count)]
    memory = {"before": process.memory_mb()}
    outcomes: Counter[str] = Counter()
    middle = count // 5  # by then, every kind was sent many times
    for name, part in (("after a fifth", chosen[:middle]), ("after all", chosen[middle:])):
        outcomes += _send_all(process.port, part)
        memory[name] = process.memory_mb()
    return dict(outcomes), memory


def _send_all(port: int, chosen: Sequence[Case]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    left, lock = iter(chosen), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                case = next(left, None)
            if case is None:
                return
            outcome = _send(port, case)
            with lock:
                outcomes[outcome] += 1

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _send(port: int, case: Case) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as opened:
        received = b""
        try:
            for index, part in enumerate(case.parts):
                if index:
                    time.sleep(case.pause)
                opened.sendall(part)
            if case.half_close:
                opened.shutdown(socket.SHUT_WR)
            received = _receive(opened)
        except (ConnectionResetError, BrokenPipeError):
            received = _rest(opened, received)
    status = int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0
    right = status in case.statuses and (status != 200 or case.content in received.replace(b'": "', b'":"'))
    return "right" if right else f"{case.name}: {status}"


def _receive(opened: socket.socket) -> bytes:
    """Return one answer, as long as it says that it is, or less if the connection ends."""
    received = b""
    while True:
        head, found, body = received.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if found and lengths and len(body) >= int(lengths[0]):
            return received
        chunk = opened.recv(65536)
        if not chunk:
            return received
        received += chunk


def _rest(opened: socket.socket, received: bytes) -> bytes:
    """Return what came before the server closed a connection on which the client was still sending."""
    try:
        return received + opened.recv(65536)
    except OSError:
        return received


def until_the_end(
    process: ServerProcess, images: Sequence[bytes], expected: Sequence[str], end: Callable[[], None]
) -> dict[str, int]:
    """Send good requests on open connections, end the server after a second, and go on until nobody listens.

    Outcomes are "right", "lost" (sent on an open connection, and not answered) and what else was answered.
    """
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def run(seed: int) -> None:
        rng = random.Random(seed)
        while True:
            try:
                opened = socket.create_connection(("127.0.0.1", process.port), timeout=60)
            except OSError:
                return
            with opened:
                goes_on = True
                while goes_on:
                    index = rng.randrange(len(images))
                    try:
                        opened.sendall(served.as_bytes(images[index]))
                        received = _receive(opened)
                    except OSError:
                        received = b""
                    right = received.startswith(b"HTTP/1.1 200") and served.expecting(
                        expected[index]
                    ) in received.replace(b'": "', b'":"')
                    with lock:
                        outcomes["right" if right else "lost" if not received else str(received[:200])] += 1
                    goes_on = bool(received) and b"connection: close" not in received

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    end()
    for thread in threads:
        thread.join()
    return dict(outcomes)
