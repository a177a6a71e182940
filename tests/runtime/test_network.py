from __future__ import annotations

import socket
import threading

import pytest

from shoestring.data.locate import locate
from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.runtime import network


@pytest.fixture
def server(monkeypatch):
    """Replaces the Hub by a local server that hangs up at once; yields one entry per request."""
    requests: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                requests.append(1)
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr("urllib.request.getproxies", dict)
        yield requests
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def nothing_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("timm would try again and again"))


def test_pretrained_weights_are_requested_once(server, nothing_downloaded):
    with pytest.raises(UserError, match=r"127\.0\.0\.1 cannot be reached .*--weights FILE"):
        timm.create("resnet18", classes=2, pretrained=True)
    assert len(server) == 1


def test_dropped_packets_time_out(monkeypatch, nothing_downloaded):
    monkeypatch.setattr(network, "_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never responds
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match="cannot be reached"):
            timm.create("resnet18", classes=2, pretrained=True)


def test_a_silent_name_server_times_out(monkeypatch):
    monkeypatch.setattr(network, "_TIMEOUT", 0.1)
    over = threading.Event()
    monkeypatch.setattr(network, "_request", lambda url: over.wait(60))
    assert network.unreachable("https://example.org") == "example.org cannot be reached (no answer within 0.1 s)"
    over.set()


def test_cached_weights_need_no_network(monkeypatch, tmp_path, server):
    given = {}
    monkeypatch.setattr("timm.create_model", lambda name, **options: given.update(options))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model.safetensors"))
    timm.create("resnet18", classes=2, pretrained=True)
    assert given["pretrained_cfg_overlay"]["file"] == str(tmp_path / "model.safetensors")
    assert not server


@pytest.mark.parametrize("source", ["photo/cats", "Photos/cats", "photos/catz", "./nowhere/cats", "other/cats.npz"])
def test_the_hub_is_not_queried_for_a_misspelled_path(tmp_path, monkeypatch, server, source):
    (tmp_path / "photos" / "cats" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no folder") as caught:
        locate(source).read()
    assert not server
    if "hoto" in source:
        assert "Did you mean 'photos/cats'?" in str(caught.value)
    if source[0] != ".":
        assert f"hub:{source}" in str(caught.value)


@pytest.mark.parametrize("source", ["someone/cats", "someone/cats@v1", "hub:photo/cats"])
def test_a_possible_data_set_is_requested_once(tmp_path, monkeypatch, server, source):
    pytest.importorskip("datasets")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no folder .*Hub: 127\.0\.0\.1 cannot be reached"):
        locate(source).read()
    assert len(server) == 1
