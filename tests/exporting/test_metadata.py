from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.errors import UserError
from shoestring.exporting.metadata import from_properties


def test_metadata_are_read_as_they_were_written(metadata):
    measured = replace(metadata, accuracy={"split": "test", "interval": [0.8, 0.9]}, quantization={"accuracy": 0.8})
    for one in (metadata, measured):
        properties = one.properties()
        assert all(isinstance(text, str) for pair in properties.items() for text in pair)
        assert from_properties({**properties, "of a later version": "?"}) == one


def test_damaged_metadata_are_refused(metadata):
    properties = metadata.properties()
    with pytest.raises(UserError, match=r"not exported by shoestring.*'classes'"):
        from_properties({name: text for name, text in properties.items() if name != "classes"})
    with pytest.raises(UserError, match="'mean' of the file are damaged"):
        from_properties({**properties, "mean": "[0.5"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes", "null"),
        ("classes", "[]"),
        ("classes", '"cat"'),
        ("classes", "[1, 2]"),
        ("resolution", '"32"'),
        ("resolution", "0"),
        ("channels", "true"),
        ("fit", "[1]"),
        ("mean", '["a"]'),
        ("temperature", "null"),
        ("parameters", "0.5"),
        ("task", '"detection"'),
        ("accuracy", "0.9"),
    ],
)
def test_metadata_of_another_kind_are_refused(metadata, name, text):
    with pytest.raises(UserError, match=f"'{name}' of the file are damaged"):
        from_properties({**metadata.properties(), name: text})
