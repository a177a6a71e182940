from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from color_networks import picture
from shoestring.serving.errors import Refused
from shoestring.serving.fetching import _is_public as is_public
from shoestring.serving.fetching import fetcher
from shoestring.serving.settings import Settings

RED = picture("red")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/none": 404, "/moved": 302}.get(self.path, 200)
        self.send_response(status)
        self.send_header("location", "/red.png")
        self.end_headers()
        self.wfile.write(bytes(10_000) if self.path == "/large" else RED)

    def log_message(self, *values) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(url: str, allowed=lambda address: True) -> bytes:
    (content,) = asyncio.run(fetcher(Settings(max_bytes=5000, timeout=5), allowed)([url]))
    if isinstance(content, Refused):
        raise content
    return content


def test_images_are_fetched(base: str) -> None:
    assert fetch(f"{base}/red.png?x=1") == RED


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/none", 400, "its server answered 404"),
        ("/moved", 400, "its server answered 302"),
        ("/large", 413, "is too large: the maximum of a request is 5,000 bytes"),
    ],
)
def test_other_answers_are_refused(base: str, path: str, status: int, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        fetch(base + path)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "url", ["http://no.such.name.invalid/a", "http://[::1/a", "http://localhost:99999/a", "http:///a"]
)
def test_servers_that_do_not_exist_are_refused(url: str) -> None:
    with pytest.raises(Refused, match="its server is not known") as refused:
        fetch(url)
    assert refused.value.status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0"])
def test_servers_on_other_networks_are_refused(host: str) -> None:
    url = f"http://{host}:1/a.png"
    with pytest.raises(Refused, match="is not on the public network") as refused:
        fetch(url, is_public)
    assert refused.value.status == 403


def test_urls_are_fetched_by_the_server_if_allowed(make_client, base: str, monkeypatch) -> None:
    client = make_client(allow_urls=True)
    response = client.post("/predict", json={"images": [f"{base}/red.png"]})
    assert response.status_code == 403 and "public network" in response.json()["error"]
    monkeypatch.setattr("shoestring.serving.fetching._is_public", lambda address: True)
    row = client.post("/predict", json={"images": [f"{base}/red.png", {"url": f"{base}/none", "name": "r"}]}).json()
    assert [entry["image"] for entry in row["predictions"]] == [f"{base}/red.png", "r"]
    assert "answered 404" in row["predictions"][1]["error"]
    assert row["predictions"][0]["classes"][0]["class"] == "red"
