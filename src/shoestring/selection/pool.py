"""The images to choose from, with what is known about each: computed once, when a method first asks for it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.runtime.files import atomic_write
from shoestring.selection.algorithms.rows import Stored, stored

NOTHING = np.empty(0, dtype=np.int64)  # no places


@dataclass(frozen=True)
class Signals:
    """What a proxy network tells about N images; all arrays have N rows.

    `features` float32 (N, D) of unit length; `forgotten` events int64; `learnt` bool, whether the proxy ever got the
    image right; margins float64, the logit of the label less the best other: `margin` averaged over the training,
    `final_margin` at its end. Epoch by epoch float32 (E, N), NaN where an image was not seen: `confidence`, the
    probability of the label; `error`, the length of the probabilities less the label's (at most the root of 2);
    `gradient`, the length of the gradient of the loss with respect to the last linear layer. `probabilities` float32
    (N, C) of the trained proxy. The last four are None where nothing told them.
    """

    features: NDArray[np.float32]
    forgotten: NDArray[np.int64]
    learnt: NDArray[np.bool_]
    margin: NDArray[np.float64]
    final_margin: NDArray[np.float64]
    confidence: NDArray[np.float32] | None = None
    error: NDArray[np.float32] | None = None
    gradient: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None

    def save(self, file: Path, fingerprint: str) -> None:
        """Write an .npz file that tells which images (by their fingerprint) the signals are of."""
        with atomic_write(file) as temporary, temporary.open("wb") as out:
            known = {name: values for name, values in vars(self).items() if values is not None}
            np.savez(out, fingerprint=np.array(fingerprint), **known)

    @classmethod
    def load(cls, file: Path, fingerprint: str) -> Signals:
        """Read what `save` wrote; `UserError` when it is no such file, or of other images."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                own = str(content["fingerprint"])
                found = cls(**{name: content[name] for name in content.files if name != "fingerprint"})
        except _UNREADABLE as error:
            raise UserError(f"{file} is not a file of signals ({type(error).__name__}).") from None
        if own != fingerprint:
            raise UserError(
                f"the signals in {file} are of other images (their fingerprints differ). Leave out --signals."
            )
        return found


# what NumPy raises for files that are empty, damaged, encrypted or of another kind
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)


class Pool:
    """Candidates for a strategy. `signals()` is called at most once, and only when a method needs it.

    So is `features()`, unit length (N, D), in memory or in a file, which takes the place of the signals' features.
    `device` is where methods may compare images.
    """

    def __init__(
        self,
        images: Images,
        signals: Callable[[], Signals],
        features: Callable[[], NDArray[np.floating] | Stored] | None = None,
        device: str = "cpu",
    ) -> None:
        self.images, self.device = images, device
        self._compute, self._compute_features = signals, features
        self._known: Signals | None = None
        self._known_features: Stored | None = None
        self._rows: NDArray[np.int64] | None = None
        self._whole = self

    def __len__(self) -> int:
        return len(self.images) if self._rows is None else len(self._rows)

    def part(self, rows: NDArray[np.int64]) -> Pool:
        """The candidates at these positions (of this pool), sharing the signals of the whole."""
        piece = Pool(self.images, self._compute, self._compute_features, self.device)
        piece._rows = rows if self._rows is None else self._rows[rows]
        piece._whole = self._whole
        return piece

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(N, H, W, C)."""
        return self.images.pixels if self._rows is None else self.images[self._rows].pixels

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,). `UserError` when the images have none."""
        if self.images.labels is None:
            raise UserError("this method needs labels, and these images have none. facility_location needs none.")
        return self._of(self.images.labels)

    @property
    def features(self) -> NDArray[np.float32]:
        """(N, D), unit length. Of a memory-mapped file these rows are read, no others, and made float32."""
        return self.stored.read()

    @property
    def compared(self) -> bool:
        """Whether anything has asked for the features."""
        return self._whole._known_features is not None

    @property
    def stored(self) -> Stored:
        """Where the features are, to be read later or by another process."""
        whole = self._whole
        if whole._known_features is None:
            found = (whole._compute_features or (lambda: whole._signals.features))()
            whole._known_features = found if isinstance(found, Stored) else stored(found)
        return whole._known_features.part(self._rows)

    @property
    def forgotten(self) -> NDArray[np.int64]:
        """Forgetting events (N,)."""
        return self._of(self._signals.forgotten)

    @property
    def learnt(self) -> NDArray[np.bool_]:
        """Whether the proxy ever got the image right (N,)."""
        return self._of(self._signals.learnt)

    @property
    def margin(self) -> NDArray[np.float64]:
        """Mean margin over the training (N,)."""
        return self._of(self._signals.margin)

    @property
    def final_margin(self) -> NDArray[np.float64]:
        """Margin of the trained proxy (N,)."""
        return self._of(self._signals.final_margin)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of the label, epoch by epoch (E, N); NaN where an image was not seen."""
        return self._by_epoch(self._signals.confidence)

    @property
    def error(self) -> NDArray[np.float32]:
        """Length of the probabilities less the label's, epoch by epoch (E, N); NaN where an image was not seen."""
        return self._by_epoch(self._signals.error)

    @property
    def gradient(self) -> NDArray[np.float32]:
        """Length of the gradient of the last linear layer, epoch by epoch (E, N); NaN where an image was not seen."""
        return self._by_epoch(self._signals.gradient)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Probabilities by the trained proxy (N, C)."""
        values = self._signals.probabilities
        if values is None:
            raise UserError(
                "this method needs the probabilities of the proxy, unknown here; facility_location does not."
            )
        return self._of(values)

    def _by_epoch(self, values: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if values is None or not len(values):
            raise UserError("this method looks at a training epoch by epoch, which is not known here; margin does not.")
        return self._of(values.T).T

    @property
    def _signals(self) -> Signals:
        whole = self._whole
        if whole._known is None:
            whole._known = whole._compute()
        return whole._known

    def _of(self, values: NDArray) -> NDArray:
        return values if self._rows is None else values[self._rows]
