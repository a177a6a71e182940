from __future__ import annotations

from shoestring.config.units import format_percent
from shoestring.reporting.markdown import describe_tta, headline, page, summary, table, write_report

RESULT = {
    "split": "test",
    "images": 1200,
    "accuracy": 0.915,
    "interval": [0.898, 0.929],
    "loss": 0.3,
    "calibration_error": 0.02,
    "validation": 0.92,
    "examples": 300,
    "select": "forgetting",
    "model": "convnet",
    "options": {"width": 0.5, "norm": True},
    "params": 12345,
    "file_bytes": 50_000,
    "macs": 1_000_000,
    "latency_ms": 1.5,
    "latency_batch_ms": 0.25,
    "prediction": {"passes": 2.4, "macs": 2_400_000, "latency_ms": 3.6, "latency_batch_ms": 0.6},
    "tta": {"model": "crops", "mirror": True, "images": {"crops": 1200}},
    "before_pruning": None,
    "budget": {"unit": "seconds", "total": 300.0},
    "seconds": 291.0,
    "ledger": {"load": 1.25, "forecast": 2.5, "train": 200.0},
    "per_class": {"a|b": {"images": 5, "recall": 0.5, "precision": None, "f1": 0.25}},
}


def test_page_contains_the_metrics(tmp_path):
    write_report(tmp_path, RESULT)
    text = (tmp_path / "report" / "report.md").read_text()
    assert text == page(RESULT)
    assert text.startswith("# Accuracy 91.5 % (89.8 % to 92.9 %) on 1,200 test images\n")
    assert "| a\\|b | 5 | 50.0 % | - | 25.0 % |" in text
    assert "## Time by step" in text
    assert "| load | 1.2 |\n| planning | 2.5 |" in text
    assert headline(RESULT) in text


def test_summary_has_only_rows_that_apply():
    rows = dict(summary(RESULT))
    assert rows["training images"] == "300, selected by forgetting"
    assert rows["model"] == "convnet (width 0.5, norm True)"
    assert rows["time"] == "4:51 of 5:00"
    assert "before pruning" not in rows and "random subset instead" not in rows
    more = {
        **RESULT,
        "select": None,
        "before_pruning": {"params": 2000, "macs": 5000, "validation": 0.93, "finished": True},
        "baseline": {"accuracy": 0.9},
        "budget": {"unit": "epochs", "total": 8.0},
    }
    rows = dict(summary(more))
    assert rows["training images"] == "300"
    assert rows["before pruning"] == "2,000 parameters, 5,000 MACs, validation 93.0 %: -1.0 points after pruning"
    more["before_pruning"] |= {"p_value": 0.034, "interval": [-0.021, -0.004]}
    assert "points after pruning (95 % interval -2.1 to -0.4, McNemar p 0.034)" in dict(summary(more))["before pruning"]
    more["before_pruning"]["finished"] = False
    assert dict(summary(more))["before pruning"].endswith(
        "validation 93.0 %: at the time of pruning; training continued afterwards"
    )
    assert rows["random subset instead"] == "90.0 %: selection gains +1.5 points"
    assert rows["time"] == "4:51 for 8 epochs"


def test_metrics_in_which_classes_count_equally_and_class_weights_have_rows():
    more = {"balanced_accuracy": 0.8, "macro_f1": 0.75, "top5_accuracy": 0.99}
    rows = dict(summary({**RESULT, **more, "class_weights": {"cat": 2.0}}))
    assert rows["top-5 accuracy"] == "99.0 %"
    assert rows["balanced accuracy, macro F1"] == "80.0 %, 75.0 %"
    assert rows["class weights"] == "cat=2"
    assert not {"balanced accuracy, macro F1", "class weights"} & dict(summary(RESULT)).keys()


def test_result_without_test_and_validation_images():
    unknown = dict.fromkeys(("accuracy", "interval", "balanced_accuracy", "macro_f1", "loss", "calibration_error"))
    before = {"params": 2000, "macs": 5000, "validation": None, "finished": True}
    result = {**RESULT, **unknown, "validation": None, "before_pruning": before, "baseline": {"accuracy": None}}
    text, rows = page(result), dict(summary(result))
    assert text.startswith("# Accuracy not measured, as there are no test images\n") and "None" not in text
    assert rows["test accuracy"] == "not measured, as there are no test images"
    assert "loss, calibration error" not in rows
    assert rows["random subset instead"] == "-"


def test_tables_and_percentages():
    assert table(("a", "b"), [(1, "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
    assert [format_percent(0.91567), format_percent(0.0), format_percent(None)] == ["91.6 %", "0.0 %", "-"]


def test_costs_are_per_prediction_and_per_forward_pass():
    rows = dict(summary(RESULT))
    assert rows["forward passes per prediction"] == (
        "2.4 (the image and its mirror image, and 4 shifted copies if the prediction is ambiguous)"
    )
    assert rows["MACs per prediction"] == "2,400,000"
    assert rows["MACs per forward pass"] == "1,000,000 (as --macs counts)"
    assert rows["latency per prediction"] == "3.60 ms for a single image, 0.60 ms in a batch of 64"
    assert rows["latency per forward pass"] == "1.50 ms for a single image, 0.25 ms in a batch of 64"
    mixed = {**RESULT, "tta": {"model": "crops", "mirror": True, "images": {"crops": 1000, "flip": 200}}}
    assert (
        "is ambiguous: 1,000 images; the image and its mirror image: 200 images; less than planned, for lack of time"
        in page(mixed)
    )
    one = {**RESULT, "latency_batch_ms": None, "prediction": {**RESULT["prediction"], "passes": 1.0}}
    rows = dict(summary(one))
    assert rows["MACs per prediction"] == "1,000,000"
    assert rows["latency per prediction"] == "1.50 ms for a single image, no time to measure a batch"
    threads = {**one, "prediction": {**one["prediction"], "latency_threads": 4, "latency_threads_ms": 0.5}}
    rows = dict(summary({**threads, "latency_threads": 4, "latency_threads_ms": 0.5}))
    assert rows["latency per prediction"].startswith("1.50 ms for a single image on one thread (0.50 ms on 4), no time")
    assert not any("pass" in name for name in rows)
    assert dict(summary({**RESULT, "prediction": None}))["MACs per forward pass"] == "1,000,000"


def test_tta_without_mirror_images_is_described():
    result = {"prediction": {"passes": 1.4}, "tta": {"model": "crops", "mirror": False, "images": {"crops": 9}}}
    assert describe_tta(result) == "1.4 (the image, and 2 shifted copies if the prediction is ambiguous)"
    result["tta"]["images"] = {"none": 9}
    assert describe_tta(result) == "1.4 (the image; less than planned, for lack of time)"
