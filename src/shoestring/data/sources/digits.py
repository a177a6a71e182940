"""scikit-learn's handwritten digits: real images without a download."""

from __future__ import annotations

import numpy as np

from shoestring.data.listing import Listing, Source, from_memory


def digits(where: str = "digits") -> Source:
    """The 1,797 grayscale 8 x 8 handwritten digits included in scikit-learn (Alpaydin and Kaynak 1998)."""

    def read() -> Listing:
        from sklearn.datasets import load_digits

        pixels, labels = map(np.asarray, load_digits(return_X_y=True))
        images = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # values are 0..16
        return Listing(tuple("0123456789"), {"train": from_memory("digits", images, labels)}, len(images))

    return Source("digits", "digits", "1", read)
