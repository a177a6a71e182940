"""Short descriptions of public objects, and their tables in notebooks."""

from __future__ import annotations

from shoestring import Metrics, Subset, evaluate, select


def test_subset(images):
    subset = select(images, 20, method="random", seed=3)
    assert repr(subset) == "Subset(20 images by random, seed 3)"
    page = subset._repr_html_()
    assert page.count("<tr>") == 11 and "10 more" in page
    assert repr(Subset(subset.indices[:2], ("a", "b"), "", "zcore", {"dims": 3}, kept=1)) == (
        "Subset(2 images by zcore, dims=3, seed 0, the first 1 selected before)"
    )


def test_model(images, make_model):
    model = make_model(images, "convnet", width=0.25)
    count = sum(weight.numel() for weight in model.module.parameters())
    assert repr(model).startswith("Model(convnet, width 0.25")
    assert repr(model).endswith(f": 3 classes, {count:,} parameters, images of 8 x 8 x 1)")
    assert "class0, class1, class2" in model._repr_html_()


def test_metrics(images, make_model):
    metrics = evaluate(make_model(images), images)
    assert isinstance(metrics, Metrics)
    low, high = (f"{100 * bound:.1f} %" for bound in metrics.interval)
    assert repr(metrics) == f"Metrics(accuracy {100 * metrics.accuracy:.1f} % ({low} to {high}) on 60 test images)"
    assert metrics._repr_html_().count("<tr>") == 4
