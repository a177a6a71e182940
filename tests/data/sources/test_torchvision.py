from __future__ import annotations

import socket
import sys
import warnings

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from shoestring.data import load
from shoestring.data.sources.torchvision import _KNOWN
from shoestring.data.sources.torchvision import torchvision as source
from shoestring.errors import UserError

torchvision_module = sys.modules[source.__module__]
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)


class Fake:
    """A download of torchvision: 30 grayscale images, of which the first ones are the test split."""

    def __init__(self, root, *, download, train=None, split=None) -> None:
        assert download and root.is_dir()
        last = train is False or split == "test"
        self.images = PIXELS[:6] if last else PIXELS

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        return Image.fromarray(self.images[index]), index % 10


class Named(Fake):
    classes = [("ant", "emmet"), *(f"class {index}" for index in range(1, 10))]


def test_a_data_set_by_name(monkeypatch, cache):
    monkeypatch.setattr(torchvision.datasets, "MNIST", Named)
    data = load("MNIST")
    assert data.name == "mnist" and not data.mirrored and data.train.shape == (8, 8, 1)
    assert data.classes[:2] == ("ant", "class 1") and (cache / "downloads" / "mnist").is_dir()
    assert (len(data.train) + len(data.validation), len(data.test)) == (30, 6)
    np.testing.assert_array_equal(data.test.pixels[..., 0], PIXELS[:6])
    monkeypatch.setattr(torchvision.datasets, "MNIST", None)
    assert len(load("mnist").test) == 6  # from the cache


def test_a_data_set_without_class_names(monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "SVHN", Fake)
    assert load("svhn").classes == tuple("0123456789")


def test_missing_network_is_a_one_line_error(monkeypatch, cache):
    def fail(*_, **__):
        raise OSError("<urlopen error [Errno -2]\nName or service not known>")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(UserError, match=r"cannot download cifar10 to .*Name or service not known.*network") as caught:
        load("cifar10")
    assert "\n" not in str(caught.value) and not (cache / "images").exists()


def test_every_name_is_a_torchvision_class_that_takes_its_arguments():
    import inspect

    for name, known in _KNOWN.items():
        signature = inspect.signature(getattr(torchvision.datasets, known.builder))
        for options in known.splits.values():
            signature.bind("root", download=True, **options)
        assert "train" in known.splits, name


def test_unknown_name_with_prefix_is_an_error():
    with pytest.raises(UserError, match=r"unknown torchvision data set 'cifar11'\. Did you mean 'cifar10'"):
        load("torchvision:cifar11")


@pytest.mark.parametrize("large", [0, 9])
def test_resolution_sample_covers_all_images(monkeypatch, large):
    class Sorted(Named):
        def __len__(self) -> int:
            return 1200

        def __getitem__(self, index):
            return Image.new("L", (40, 40) if index // 120 == large else (8, 8)), index // 120

    monkeypatch.setattr(torchvision_module, "SAMPLE_SIZE", 60)
    monkeypatch.setattr(torchvision.datasets, "MNIST", Sorted)
    assert load("mnist").train.shape == (8, 8, 1)


def test_warnings_of_image_readers_are_suppressed(monkeypatch):
    class Warns(Named):
        def __getitem__(self, index):
            warnings.warn("Corrupt EXIF data", stacklevel=1)  # an error in these tests
            return super().__getitem__(index)

    monkeypatch.setattr(torchvision.datasets, "MNIST", Warns)
    assert len(load("mnist").test) == 6


def test_damaged_download_is_a_one_line_error(monkeypatch, cache):
    class Damaged(Named):
        def __getitem__(self, index):
            raise OSError("image file is\ntruncated")

    monkeypatch.setattr(torchvision.datasets, "MNIST", Damaged)
    with pytest.raises(
        UserError, match=r"cannot read image 0 of the train split of mnist: .*Remove .*mnist to"
    ) as told:
        load("mnist")
    assert "\n" not in str(told.value)


def test_duplicate_class_names_raise_an_error(monkeypatch):
    class Same(Fake):
        classes = [f"class {index % 9}" for index in range(10)]

    monkeypatch.setattr(torchvision.datasets, "MNIST", Same)
    with pytest.raises(UserError, match="more than one class is called 'class 0'"):
        load("mnist")


def test_download_times_out(monkeypatch, cache):
    seen = []

    class Asking(Named):
        def __init__(self, *args, **kwargs) -> None:
            seen.append(socket.getdefaulttimeout())
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(torchvision.datasets, "MNIST", Asking)
    load("mnist")
    assert set(seen) == {30.0}
    assert socket.getdefaulttimeout() is None
