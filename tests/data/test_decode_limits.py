from __future__ import annotations

import io
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from shoestring.data.decode import decode
from shoestring.errors import UserError

decode_module = sys.modules[decode.__module__]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_huge_images_are_reduced_in_strips(monkeypatch, mode):
    board = np.kron(np.random.default_rng(0).integers(0, 2, (8, 11)), np.ones((40, 40))) * 200
    image = Image.fromarray(board.astype(np.uint8)).convert(mode if mode != "I;16" else "L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    whole = decode(image, resolution=8, channels=1).astype(int)
    seen = []
    real = decode_module.to_8_bit
    monkeypatch.setattr(decode_module, "_STRIP", 5000)
    monkeypatch.setattr(decode_module, "to_8_bit", lambda part, coding: seen.append(part.size) or real(part, coding))
    strips = decode(image, resolution=8, channels=1).astype(int)
    assert len(seen) > 10 and max(width * height for width, height in seen) <= 5000
    assert abs(strips - whole).mean() < 6 and abs(strips - whole).max() < 40


def test_memory_limit_over_threads():
    gate = decode_module._MemoryLimit(100)
    held, most, lock = [], [], threading.Lock()

    def hold(pixels):
        with gate(pixels):
            with lock:
                held.append(pixels)
                most.append(sum(held))
            threading.Event().wait(0.01)
            with lock:
                held.remove(pixels)

    sizes = [40, 40, 40, 700, 10, 90, 40, 1000, 40]
    threads = [threading.Thread(target=hold, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == len(sizes) and all(total <= 100 or total in (700, 1000) for total in most)


def test_error_for_too_many_pixels_states_the_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    buffer = io.BytesIO()
    Image.new("L", (9, 9)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), resolution=9, channels=1).shape == (9, 9, 1)  # Pillow only warns
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(UserError, match="too many pixels: the maximum is 80"):
        decode(buffer.getvalue(), resolution=9, channels=1)


def test_warning_filters_are_restored_after_decoding_in_threads():
    before = list(warnings.filters)
    buffer = io.BytesIO()
    Image.new("L", (9, 9)).save(buffer, "PNG")
    threads = [
        threading.Thread(target=decode, args=(buffer.getvalue(),), kwargs={"resolution": 4, "channels": 1})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
