"""The images to select from, with features and training signals that are computed when a method first needs them."""

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
from shoestring.selection.algorithms.rows import StoredRows, as_stored

NO_INDICES = np.empty(0, dtype=np.int64)


_FORMER_NAMES = {"learnt": "learned"}  # in signals files of earlier versions


@dataclass(frozen=True)
class Signals:
    """What a proxy model learned about N images.

    `features` float32 (N, D) of unit length; `forgotten` int64 (N,), forgetting events; `learned` bool (N,), whether
    the proxy ever classified the image correctly; margins float64 (N,), the logit of the label minus the highest
    other: `margin` averaged over training, `final_margin` after it. Per epoch float32 (E, N), NaN for images not seen:
    `confidence`, the probability of the label; `error`, the L2 norm of probabilities minus one-hot label (at most
    sqrt(2)); `gradient`, the L2 norm of the gradient of the loss with respect to the last linear layer.
    `probabilities` float32 (N, C) after training. The last four are None if unknown, and all but the features for
    images with several labels each.
    """

    features: NDArray[np.float32]
    forgotten: NDArray[np.int64] | None = None
    learned: NDArray[np.bool_] | None = None
    margin: NDArray[np.float64] | None = None
    final_margin: NDArray[np.float64] | None = None
    confidence: NDArray[np.float32] | None = None
    error: NDArray[np.float32] | None = None
    gradient: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float32] | None = None

    def save(self, file: Path, fingerprint: str) -> None:
        """Write an .npz file with the fingerprint of the images."""
        with atomic_write(file) as temporary, temporary.open("wb") as out:
            known = {name: values for name, values in vars(self).items() if values is not None}
            np.savez(out, fingerprint=np.array(fingerprint), **known)

    @classmethod
    def load(cls, file: Path, fingerprint: str) -> Signals:
        """Read what `save` wrote. Raises `UserError` for other files and for signals of other images."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                saved_fingerprint = str(content["fingerprint"])
                names = {
                    str(name): _FORMER_NAMES.get(name, str(name)) for name in content.files if name != "fingerprint"
                }
                signals = cls(**{current: content[name] for name, current in names.items()})
        except _UNREADABLE as error:
            raise UserError(f"{file} is not a signals file ({type(error).__name__}).") from None
        if saved_fingerprint != fingerprint:
            raise UserError(f"the signals in {file} are of other images (their fingerprints differ). Remove --signals.")
        return signals


# what NumPy raises for files that are empty, damaged, encrypted or of another kind
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error)


class NeedsOneClass(UserError):
    """A method needs one class for each image, and the images have several labels each."""

    def __init__(self, what: str = "this method") -> None:
        super().__init__(
            f"{what} needs one class for each image, and these have several labels: use random, or a method that "
            "compares images, such as facility_location."
        )


class Pool:
    """Images to select from, as a selection method sees them.

    `signals()` is called at most once, when a method first needs signals; so is `features()`, which returns features of
    unit length (N, D), in memory or in a file, instead of those of the signals. `device` is where methods may compute
    similarities.
    """

    def __init__(
        self,
        images: Images,
        signals: Callable[[], Signals],
        features: Callable[[], NDArray[np.floating] | StoredRows] | None = None,
        device: str = "cpu",
    ) -> None:
        self.images, self.device = images, device
        self._compute_signals, self._compute_features = signals, features
        self._cached_signals: Signals | None = None
        self._cached_features: StoredRows | None = None
        self._indices: NDArray[np.int64] | None = None  # into `images`; None: all
        self._root = self

    def __len__(self) -> int:
        return len(self.images) if self._indices is None else len(self._indices)

    def take(self, indices: NDArray[np.int64]) -> Pool:
        """Return the images at these positions of the pool; signals and features are shared."""
        part = Pool(self.images, self._compute_signals, self._compute_features, self.device)
        part._indices = indices if self._indices is None else self._indices[indices]
        part._root = self._root
        return part

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Pixels (N, H, W, C)."""
        return self.images.pixels if self._indices is None else self.images[self._indices].pixels

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels (N,). Raises `UserError` if the images have none, or several each."""
        if self.images.labels is None:
            raise UserError("this method needs labels, but these images have none. facility_location needs none.")
        self._check_one_class()
        return self._select(self.images.labels)

    @property
    def features(self) -> NDArray[np.float32]:
        """Features (N, D) of unit length, in float32. From a file only the rows of this pool are read."""
        return self.stored_features.read()

    @property
    def features_used(self) -> bool:
        """Whether features have been requested."""
        return self._root._cached_features is not None

    @property
    def signals_used(self) -> bool:
        """Whether signals have been requested."""
        return self._root._cached_signals is not None

    @property
    def stored_features(self) -> StoredRows:
        """Reference to the features, to be read later or in another process."""
        root = self._root
        if root._cached_features is None:
            features = (root._compute_features or (lambda: root._signals.features))()
            root._cached_features = features if isinstance(features, StoredRows) else as_stored(features)
        return root._cached_features.take(self._indices)

    @property
    def forgotten(self) -> NDArray[np.int64]:
        """Forgetting events (N,)."""
        return self._dynamics("forgotten")

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Whether the proxy ever classified the image correctly (N,)."""
        return self._dynamics("learned")

    @property
    def margin(self) -> NDArray[np.float64]:
        """Mean margin over training (N,)."""
        return self._dynamics("margin")

    @property
    def final_margin(self) -> NDArray[np.float64]:
        """Margin of the trained proxy (N,)."""
        return self._dynamics("final_margin")

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of the label per epoch (E, N); NaN for images not seen."""
        return self._per_epoch("confidence")

    @property
    def error(self) -> NDArray[np.float32]:
        """L2 norm of probabilities minus one-hot label per epoch (E, N); NaN for images not seen."""
        return self._per_epoch("error")

    @property
    def gradient(self) -> NDArray[np.float32]:
        """L2 norm of the gradient of the last linear layer per epoch (E, N); NaN for images not seen."""
        return self._per_epoch("gradient")

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Class probabilities of the trained proxy (N, C). Raises `UserError` if unknown."""
        self._check_one_class()
        values = self._signals.probabilities
        if values is None:
            raise UserError(
                "this method needs class probabilities, which these signals lack. facility_location needs none."
            )
        return self._select(values)

    def _check_one_class(self) -> None:
        """Raise `UserError` for images with several labels each, before a proxy is trained."""
        if self.images.labels is not None and not self.images.has_one_class_each:
            raise NeedsOneClass

    def _dynamics(self, name: str) -> NDArray:
        self._check_one_class()
        return self._select(getattr(self._signals, name))

    def _per_epoch(self, name: str) -> NDArray[np.float32]:
        self._check_one_class()
        values = getattr(self._signals, name)
        if values is None or not len(values):
            raise UserError("this method needs per-epoch training signals, which are unknown here. margin needs none.")
        return self._select(values.T).T

    @property
    def _signals(self) -> Signals:
        root = self._root
        if root._cached_signals is None:
            root._cached_signals = root._compute_signals()
        return root._cached_signals

    def _select(self, values: NDArray) -> NDArray:
        return values if self._indices is None else values[self._indices]
