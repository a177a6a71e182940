"""The server as a process of its own, on a port of loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from color_networks import write_network
from served import POST, RED, Load, Served, serving
from shoestring.cli.main import main

pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def served(network: Path) -> Iterator[Served]:
    """A server that waits a second for requests."""
    with serving(str(network), "--timeout", "1s", "--quiet") as server:
        yield server


def test_the_server_answers_and_imports_no_torch(served: Served):
    status, answer = served.ask("POST", "/predict", RED)
    assert status == 200 and answer["predictions"][0]["classes"][0]["class"] == "red"
    assert served.host == "127.0.0.1"
    maps = Path(f"/proc/{served.process.pid}/maps")
    if maps.exists():
        assert "onnxruntime" in maps.read_text() and "torch" not in maps.read_text()


def test_a_half_closed_connection_is_answered(served: Served):
    answer = served.exchange(POST + RED, half_close=True)
    assert answer.startswith(b"HTTP/1.1 200 OK") and b'"class": "red"' in answer


def test_slow_requests_are_ended(served: Served):
    for parts in ([], [b"POST /predict HT"], [POST], [POST, RED[:10]]):
        answer = served.exchange(*parts)
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout") and answer.count(b"HTTP/1.1") == 1
    assert served.ask("POST", "/predict", RED)[0] == 200


@pytest.mark.parametrize(
    "start",
    [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: "],
    ids=["path", "header", "trailer"],
)
def test_endless_headers_are_refused(served: Served, start):
    with socket.create_connection((served.host, served.port), timeout=20) as opened:
        opened.sendall(start)
        with pytest.raises(OSError):
            for _ in range(100):
                opened.sendall(b"a" * 100_000)
                time.sleep(0.005)
    assert served.ask("GET", "/v2/health/live")[0] == 200


def test_long_headers_and_small_chunks_are_accepted(served: Served):
    start = b"POST /predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: %s\r\n" % (b"a" * 50_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in RED)
    for body in (b"content-length: %d\r\n\r\n" % len(RED) + RED, b"transfer-encoding: chunked\r\n\r\n" + chunks):
        end = b"0\r\n\r\n" if body.startswith(b"transfer") else b""
        assert served.exchange(start, body + end).startswith(b"HTTP/1.1 200 OK")


def test_a_refusal_is_read_by_clients_that_are_still_sending(served: Served):
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n"
    answer = served.exchange(head, bytes(100_000), bytes(100_000))
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "content", [b"\x00\xff\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n"]
)
def test_what_is_not_http_is_refused(served: Served, content):
    assert served.exchange(content, half_close=True).startswith(b"HTTP/1.1 400")


def test_a_port_in_use_is_refused(served: Served, network: Path, capsys):
    assert main(["serve", str(network), "--port", str(served.port)]) == 2
    assert capsys.readouterr().err == (
        f"error: port {served.port} of 127.0.0.1 is in use by another program: choose another --port.\n"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "no.such.name.invalid"], "is not the name or the address of this machine"),
        (["--host", "192.0.2.1"], "cannot listen on port"),
        (["--port", "70000"], "--port is a number from 0 to 65535"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--device", "warp"], "unknown device 'warp'"),
        (["--device", "cpu,cpu:1"], "device 'cpu:1' cannot be used: cpu has no number"),
        (["--api-key-file", "none"], "cannot read the API key in none"),
        (["--formats", ""], "--formats needs"),
        (["--timeout", "soon"], "'soon' is not a time"),
    ],
)
def test_bad_flags_are_one_line(network: Path, capsys, words, reason):
    assert main(["serve", str(network), "--port", "0", *words]) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_package_is_one_line(network: Path, capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert main(["serve", str(network)]) == 2
    assert (
        capsys.readouterr().err == 'error: serving needs another package, uvicorn: pip install "shoestring[serve]".\n'
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_accepted_is_answered_when_the_server_ends(network: Path, workers):
    with serving(str(network), "--workers", str(workers)) as server:
        load = Load(server)
        load.wait_for(50)
        server.process.send_signal(signal.SIGTERM)
        load.join()
        assert server.process.wait(20) == 0
        errors = server.logged()
    assert load.counts["last"] >= 8, (load.counts, errors)
    assert set(load.counts) == {"answered", "last"}, (load.counts, errors)
    entries = [json.loads(line) for line in errors.splitlines()]
    assert sum(entry["event"] == "request" for entry in entries) == sum(load.counts.values())
    assert [entry["event"] for entry in entries].count("ended") == workers


def test_sighup_loads_a_new_file(tmp_path: Path):
    file = write_network(tmp_path / "colors.onnx")
    with serving(f"a={file}", f"b={file}", "--workers", "2", "--quiet") as server:
        load = Load(server, clients=4)
        load.wait_for(10)
        write_network(file, classes=("rot", "gruen", "blau"))
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        names: set[str] = set()
        while time.monotonic() < end and names != {"rot"}:  # both processes
            models = [served.ask("GET", "/models")[1]["models"] for served in [server] * 20]
            names = {model["classes"][0] for both in models for model in both}
        assert names == {"rot"}
        server.process.terminate()
        load.join()
    statuses = {outcome.partition(" ")[0] for outcome in load.counts}
    assert statuses <= {"answered", "last", "200"}  # 200 with the new names


def test_a_process_that_dies_is_replaced(network: Path):
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc to find the processes")
    with serving(str(network), "--workers", "2", "--quiet") as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        time.sleep(2.2)
        before = children.read_text().split()
        serving_processes = [pid for pid in before if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(serving_processes) == 2
        os.kill(int(serving_processes[0]), signal.SIGKILL)
        end = time.monotonic() + 20
        while time.monotonic() < end and (set(children.read_text().split()) - set(before)) == set():
            time.sleep(0.1)
        assert set(children.read_text().split()) - set(before)
        for _ in range(5):
            assert served_status(server) == 200


def served_status(server: Served) -> int:
    return server.ask("POST", "/predict", RED)[0]


def test_metrics_are_those_of_all_processes(network: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(str(network), "--workers", "2", "--quiet") as server:
        for _ in range(30):
            assert served_status(server) == 200
        text = server.ask("GET", "/metrics")[1].decode()
        assert 'shoestring_requests_total{path="/predict",status="200"} 30.0' in text
        assert len(list(tmp_path.glob("shoestring-metrics-*"))) == 1
        server.process.terminate()
        server.process.wait(20)
    assert not list(tmp_path.glob("shoestring-metrics-*"))
