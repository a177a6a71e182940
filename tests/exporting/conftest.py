from __future__ import annotations

import pytest

from shoestring.exporting.metadata import Metadata


@pytest.fixture
def metadata() -> Metadata:
    return Metadata(
        classes=("cat", "dog, \u00e9l\u00e9phant"),
        resolution=32,
        channels=1,
        fit="pad",
        mean=(0.5,),
        std=(0.25,),
        temperature=1.5,
        tta="flip",
        precision="float32",
        model="resnet20",
        parameters=1000,
        version="1.2",
    )
