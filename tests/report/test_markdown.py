from __future__ import annotations

from shoestring.report.markdown import headline, page, percent, summary, table, write_report
from shoestring.rundir import RunDir

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
    "before_pruning": None,
    "budget": {"unit": "seconds", "total": 300.0},
    "seconds": 291.0,
    "ledger": {"load": 1.25, "train": 200.0},
    "per_class": {"a|b": {"images": 5, "recall": 0.5, "precision": None, "f1": 0.25}},
}


def test_the_page_says_what_was_measured(tmp_path):
    write_report(RunDir(tmp_path), RESULT)
    text = (tmp_path / "report" / "report.md").read_text()
    assert text == page(RESULT)
    assert text.startswith("# Accuracy 91.5 % (89.8 % to 92.9 %) on 1,200 test images\n")
    assert "| a\\|b | 5 | 50.0 % | - | 25.0 % |" in text
    assert "| load | 1.2 |" in text
    assert headline(RESULT) in text


def test_rows_appear_only_where_there_is_something_to_say():
    rows = dict(summary(RESULT))
    assert rows["training images"] == "300, chosen by forgetting"
    assert rows["model"] == "convnet (width 0.5, norm True)"
    assert rows["time"] == "4:51 of 5:00"
    assert "before pruning" not in rows and "random images instead" not in rows
    more = {
        **RESULT,
        "select": None,
        "before_pruning": {"params": 2000, "macs": 5000, "validation": 0.93, "finished": True},
        "baseline": {"accuracy": 0.9},
        "budget": {"unit": "epochs", "total": 8.0},
    }
    rows = dict(summary(more))
    assert rows["training images"] == "300"
    assert rows["before pruning"] == "2,000 parameters, 5,000 MACs, validation 93.0 %: cut, it is -1.0 points"
    more["before_pruning"]["finished"] = False
    assert dict(summary(more))["before pruning"].endswith("validation 93.0 %: at the cut, with training still to come")
    assert rows["random images instead"] == "90.0 %: the choice is worth +1.5 points"
    assert rows["time"] == "4:51 for 8 epochs"


def test_tables_and_shares():
    assert table(("a", "b"), [(1, "x|y")]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y |"
    assert [percent(0.91567), percent(0.0), percent(None)] == ["91.6 %", "0.0 %", "-"]
