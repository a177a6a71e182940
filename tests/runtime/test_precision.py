from __future__ import annotations

import torch

from shoestring.runtime import precision
from shoestring.runtime.timing import Timing


def test_bfloat16_is_tried_where_the_processor_multiplies_in_it(monkeypatch):
    for low, expected in ((0.5, True), (30.0, False)):
        precision._cpu_seconds.cache_clear()
        seconds = iter([1.0, low])
        monkeypatch.setattr(
            precision, "time_calls", lambda run, limit, seconds=seconds: Timing(9.0, next(seconds), 1.0)
        )
        assert precision._multiplies_bfloat16() is expected
    precision._cpu_seconds.cache_clear()


def test_devices_without_bfloat16_of_their_own_are_timed_in_float16(monkeypatch):
    for able, expected in ((True, ["bfloat16"]), (False, ["float16"])):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert precision.low_precisions("cuda") == expected
    for able, expected in ((True, ["bfloat16"]), (False, [])):
        monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda able=able: able)
        assert (precision.low_precisions("cpu"), precision.low_precisions("mps")) == (expected, [])
