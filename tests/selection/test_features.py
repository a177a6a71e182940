from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring import Budget, BudgetTooSmall, UserError, select
from shoestring.models.inference import embed
from shoestring.selection.algorithms.rows import ArrayFile
from shoestring.selection.features import load_features

COUNTED = Budget(epochs=1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))


def _rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)


def test_rows_of_a_file_are_normalized(images, context, tmp_path):
    np.save(tmp_path / "rows.npy", _rows(60))
    found = load_features(str(tmp_path / "rows.npy"), images, COUNTED, context).read()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_of_unit_length_are_not_loaded(images, context, tmp_path, kind):
    rows = _rows(60)
    np.save(tmp_path / "rows.npy", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(kind))
    found = load_features(str(tmp_path / "rows.npy"), images, COUNTED, context)
    assert isinstance(found.values, ArrayFile) and found.values.dtype == kind


def test_a_file_with_rows_for_the_whole_train_split_is_accepted(images, context, tmp_path):
    rows = _rows(60)
    np.save(tmp_path / "rows.npy", rows)
    part = images[[5, 2, 50]]
    found = load_features(str(tmp_path / "rows.npy"), part, COUNTED, context).read()
    assert found == pytest.approx(rows[[5, 2, 50]] / np.linalg.norm(rows[[5, 2, 50]], axis=1, keepdims=True))


def _corrupted(rows: np.ndarray, how: str) -> np.ndarray:
    if how == "nan":
        rows[7, 2] = np.nan
    if how == "zero":
        rows[7] = 0
    others = {"short": rows[:40], "flat": rows[0], "empty": rows[:, :0]}
    return rows.astype(int) if how == "integer" else others.get(how, rows)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "one row of floats per image is expected"),
        ("nan", r"1 rows of .* row 7 is not finite"),
        ("zero", r"1 rows of .* row 7 is zero"),
        ("short", "has 40 rows, but there are 60 images"),
        ("flat", "one row of floats per image is expected"),
        ("integer", "one row of floats per image is expected"),
    ],
)
def test_files_that_do_not_match_the_images_raise_errors(images, context, tmp_path, how, message):
    file = tmp_path / "rows.npy"
    np.save(file, _corrupted(_rows(60), how))
    with pytest.raises(UserError, match=message):
        load_features(str(file), images, COUNTED, context)


def test_the_error_gives_the_row_number_in_the_file(images, context, tmp_path):
    np.save(tmp_path / "rows.npy", _corrupted(_rows(60), "zero"))
    with pytest.raises(UserError, match="row 7 is zero"):
        load_features(str(tmp_path / "rows.npy"), images[[50, 7, 3]], COUNTED, context)


def test_rows_of_any_length_are_not_loaded(images, context, tmp_path):
    rows = _rows(60).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    found = load_features(str(tmp_path / "rows.npy"), images, COUNTED, context)
    assert isinstance(found.values, ArrayFile)
    wide = rows.astype(np.float32)
    expected = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    indices = np.array([9, 2, 30])
    assert found.take(indices).read() == pytest.approx(expected[indices], abs=1e-6)
    assert found.take(indices).take(np.array([2, 0])).detached().read() == pytest.approx(expected[[30, 9]], abs=1e-6)


def test_weights_of_a_timm_model_are_read_from_a_file(make_images, context, tmp_path):
    import timm
    from safetensors.torch import save_file

    images = make_images(12, side=32, channels=3)
    torch.manual_seed(3)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "own.safetensors")
    found = load_features(f"timm:resnet10t@{tmp_path / 'own.safetensors'}", images, COUNTED, context).read()
    assert found.shape == (12, 512)
    torch.manual_seed(4)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "own.safetensors")
    other = load_features(f"timm:resnet10t@{tmp_path / 'own.safetensors'}", images, COUNTED, context).read()
    assert not np.allclose(found, other, atol=1e-3)  # not taken from the cache, because the file has changed


def test_a_missing_file_or_one_without_an_array_raises_an_error(images, context, tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    for name in ("text.npy", "none.npy"):
        with pytest.raises(UserError, match="cannot read features"):
            load_features(str(tmp_path / name), images, COUNTED, context)


def test_features_of_a_model_are_cached(images, context, tmp_path, make_model, monkeypatch):
    model = make_model(images)
    model.save(tmp_path / "model")
    found = load_features(str(tmp_path / "model"), images, COUNTED, context).read()
    assert found == pytest.approx(embed(model, images)[0], abs=2e-2)  # may be in bfloat16
    monkeypatch.setattr("shoestring.selection.features._extract", lambda *_: pytest.fail("they are cached"))
    assert np.array_equal(load_features(str(tmp_path / "model"), images, COUNTED, context).read(), found)


def test_the_cache_distinguishes_weights_and_images(images, context, tmp_path, make_model, make_images):
    model = make_model(images)
    model.save(tmp_path / "model")
    first = load_features(str(tmp_path / "model"), images, COUNTED, context).read()
    other = load_features(str(tmp_path / "model"), make_images(seed=1), COUNTED, context).read()
    assert not np.array_equal(first, other)
    with torch.no_grad():
        for weight in model.module.parameters():
            weight.add_(torch.rand_like(weight))
    model.save(tmp_path / "model")
    assert not np.array_equal(first, load_features(str(tmp_path / "model"), images, COUNTED, context).read())


def test_too_short_a_time_raises_an_error_up_front(images, context, tmp_path, make_model):
    make_model(images).save(tmp_path / "model")
    with pytest.raises(BudgetTooSmall, match="computing features of 60 images takes"):
        load_features(str(tmp_path / "model"), images, Budget(1e-6, steps=("select", "train")), context)


@pytest.mark.parametrize(("source", "message"), [("nowhere", "no features in"), ("timm:resnt18", "Did you mean|Known")])
def test_unknown_sources_raise_errors(images, context, source, message):
    with pytest.raises(UserError, match=message):
        load_features(source, images, COUNTED, context)


def test_timm_models_are_used_with_their_weights_and_preprocessing(images, context, monkeypatch):
    """Random weights stand in for pretrained ones, which cannot be downloaded in tests."""
    from shoestring.models import timm

    requested, create = [], timm.create

    def stand_in(name, *, pretrained, **rest):
        requested.append((name, pretrained))
        torch.manual_seed(0)
        return create(name, pretrained=False, **rest)

    monkeypatch.setattr(timm, "create", stand_in)
    found = load_features("timm:test_resnet.r160_in1k", images, COUNTED, context).read()
    assert ("test_resnet.r160_in1k", True) in requested
    assert found.shape[0] == 60
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_selection_by_given_features_trains_no_proxy(images, context, tmp_path, monkeypatch):
    monkeypatch.setattr("shoestring.execute.proxy.fit", lambda *_, **__: pytest.fail("no proxy is needed"))
    np.save(tmp_path / "rows.npy", _rows(60))
    subset = select(images, 6, features=str(tmp_path / "rows.npy"), context=context)
    assert subset.method == "herding"
    assert images[subset].counts().tolist() == [2, 2, 2]
