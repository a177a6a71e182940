from __future__ import annotations

import pytest

from shoestring.pruning.clustering import algorithms


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start k-means twice instead of ten times."""
    monkeypatch.setattr(algorithms, "_STARTS", 2)
