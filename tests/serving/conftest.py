from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from color_networks import write_network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file."""
    return write_network(tmp_path_factory.mktemp("serving") / "colors.onnx")


@pytest.fixture
def make_client(network: Path) -> Iterator[Callable]:
    """Factory of clients: make_client(max_bytes=1000), make_client(models={"a": file})."""
    testclient = pytest.importorskip("starlette.testclient")
    from shoestring.serving.app import create_app
    from shoestring.serving.settings import Settings

    with ExitStack() as stack:

        def make(models: dict | None = None, **settings):
            app = create_app(models or {"colors": network}, Settings(**settings))
            return stack.enter_context(testclient.TestClient(app))

        yield make


@pytest.fixture
def client(make_client: Callable):
    return make_client()
