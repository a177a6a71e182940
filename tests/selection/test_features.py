from __future__ import annotations

import numpy as np
import pytest
import torch

from shoestring import Budget, BudgetTooSmall, UserError, select
from shoestring.models.inference import embed
from shoestring.selection.algorithms.rows import File
from shoestring.selection.features import features_of

FREE = Budget(epochs=1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))


def _rows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)


def test_rows_of_a_file_become_unit_length(images, context, tmp_path):
    np.save(tmp_path / "rows.npy", _rows(60))
    found = features_of(str(tmp_path / "rows.npy"), images, FREE, context).read()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_of_unit_length_stay_on_the_disk(images, context, tmp_path, kind):
    rows = _rows(60)
    np.save(tmp_path / "rows.npy", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(kind))
    found = features_of(str(tmp_path / "rows.npy"), images, FREE, context)
    assert isinstance(found.values, File) and found.values.dtype == kind


def test_a_file_of_the_whole_train_split_is_taken_where_some_are_held_out(images, context, tmp_path):
    rows = _rows(60)
    np.save(tmp_path / "rows.npy", rows)
    part = images[[5, 2, 50]]
    found = features_of(str(tmp_path / "rows.npy"), part, FREE, context).read()
    assert found == pytest.approx(rows[[5, 2, 50]] / np.linalg.norm(rows[[5, 2, 50]], axis=1, keepdims=True))


def _spoilt(rows: np.ndarray, what: str) -> np.ndarray:
    if what == "nan":
        rows[7, 2] = np.nan
    if what == "zero":
        rows[7] = 0
    others = {"short": rows[:40], "flat": rows[0], "empty": rows[:, :0]}
    return rows.astype(int) if what == "whole" else others.get(what, rows)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("empty", "a row of floats for each image is expected"),
        ("nan", r"1 rows of .* row 7 is not finite"),
        ("zero", r"1 rows of .* row 7 is zero"),
        ("short", "has 40 rows, and there are 60 images"),
        ("flat", "a row of floats for each image is expected"),
        ("whole", "a row of floats for each image is expected"),
    ],
)
def test_files_that_are_no_features_of_these_images_are_refused(images, context, tmp_path, what, told):
    file = tmp_path / "rows.npy"
    np.save(file, _spoilt(_rows(60), what))
    with pytest.raises(UserError, match=told):
        features_of(str(file), images, FREE, context)


def test_a_bad_row_is_named_by_its_number_in_the_file(images, context, tmp_path):
    np.save(tmp_path / "rows.npy", _spoilt(_rows(60), "zero"))
    with pytest.raises(UserError, match="row 7 is zero"):
        features_of(str(tmp_path / "rows.npy"), images[[50, 7, 3]], FREE, context)


def test_rows_of_any_length_stay_on_the_disk_too(images, context, tmp_path):
    rows = _rows(60).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    found = features_of(str(tmp_path / "rows.npy"), images, FREE, context)
    assert isinstance(found.values, File)
    wide = rows.astype(np.float32)
    expected = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    some = np.array([9, 2, 30])
    assert found.part(some).read() == pytest.approx(expected[some], abs=1e-6)
    assert found.part(some).part(np.array([2, 0])).alone().read() == pytest.approx(expected[[30, 9]], abs=1e-6)


def test_weights_of_a_timm_network_come_from_a_file(make_images, context, tmp_path):
    import timm
    from safetensors.torch import save_file

    images = make_images(12, side=32, channels=3)
    torch.manual_seed(3)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "own.safetensors")
    found = features_of(f"timm:resnet10t@{tmp_path / 'own.safetensors'}", images, FREE, context).read()
    assert found.shape == (12, 512)
    torch.manual_seed(4)
    save_file(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "own.safetensors")
    other = features_of(f"timm:resnet10t@{tmp_path / 'own.safetensors'}", images, FREE, context).read()
    assert not np.allclose(found, other, atol=1e-3)  # looked at anew, because the file is another


def test_a_file_that_is_missing_or_no_array_is_refused(images, context, tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    for name in ("text.npy", "none.npy"):
        with pytest.raises(UserError, match="cannot read features"):
            features_of(str(tmp_path / name), images, FREE, context)


def test_what_a_model_sees_is_looked_at_once(images, context, tmp_path, make_model, monkeypatch):
    model = make_model(images)
    model.save(tmp_path / "model")
    found = features_of(str(tmp_path / "model"), images, FREE, context).read()
    assert found == pytest.approx(embed(model, images)[0], abs=2e-2)  # perhaps in bfloat16
    monkeypatch.setattr("shoestring.selection.features._seen", lambda *_: pytest.fail("they are known"))
    assert np.array_equal(features_of(str(tmp_path / "model"), images, FREE, context).read(), found)


def test_other_weights_and_other_images_are_looked_at_anew(images, context, tmp_path, make_model, make_images):
    model = make_model(images)
    model.save(tmp_path / "model")
    first = features_of(str(tmp_path / "model"), images, FREE, context).read()
    other = features_of(str(tmp_path / "model"), make_images(seed=1), FREE, context).read()
    assert not np.array_equal(first, other)
    with torch.no_grad():
        for weight in model.module.parameters():
            weight.add_(torch.rand_like(weight))
    model.save(tmp_path / "model")
    assert not np.array_equal(first, features_of(str(tmp_path / "model"), images, FREE, context).read())


def test_a_time_that_is_too_short_is_refused_before_the_work(images, context, tmp_path, make_model):
    make_model(images).save(tmp_path / "model")
    with pytest.raises(BudgetTooSmall, match="looking at 60 images takes"):
        features_of(str(tmp_path / "model"), images, Budget(1e-6, steps=("select", "train")), context)


@pytest.mark.parametrize(("source", "told"), [("nowhere", "no features in"), ("timm:resnt18", "Did you mean|Known")])
def test_networks_that_are_not_there_are_refused(images, context, source, told):
    with pytest.raises(UserError, match=told):
        features_of(source, images, FREE, context)


def test_networks_of_timm_come_with_their_weights_and_preprocessing(images, context, monkeypatch):
    """Their weights cannot be downloaded here: random ones stand in."""
    from shoestring.models import timm

    asked, create = [], timm.create

    def stand_in(name, *, pretrained, **rest):
        asked.append((name, pretrained))
        torch.manual_seed(0)
        return create(name, pretrained=False, **rest)

    monkeypatch.setattr(timm, "create", stand_in)
    found = features_of("timm:test_resnet.r160_in1k", images, FREE, context).read()
    assert ("test_resnet.r160_in1k", True) in asked
    assert found.shape[0] == 60
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(60), abs=1e-5)


def test_choosing_by_given_features_trains_nothing(images, context, tmp_path, monkeypatch):
    monkeypatch.setattr("shoestring.planning.proxy.fit", lambda *_, **__: pytest.fail("no proxy is needed"))
    np.save(tmp_path / "rows.npy", _rows(60))
    chosen = select(images, 6, features=str(tmp_path / "rows.npy"), context=context)
    assert chosen.method == "herding"
    assert images[chosen].counts().tolist() == [2, 2, 2]
