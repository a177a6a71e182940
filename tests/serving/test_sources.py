from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.serving.sources import Source, parse_sources


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the files of a model, which are empty."""
    folder = tmp_path / "my run"
    (folder / "train").mkdir(parents=True)
    for name in ("model.json", "model.safetensors"):
        (folder / "train" / name).touch()
    return folder


def test_files_and_runs_are_named_after_themselves(run: Path, tmp_path: Path, monkeypatch):
    file = tmp_path / "digits v2.onnx"
    file.touch()
    assert parse_sources([str(file), str(run), f"other={run}"]) == [
        Source("digits-v2", file),
        Source("my-run", run / "export" / "model.onnx", run),
        Source("other", run / "export" / "model.onnx", run),
    ]
    monkeypatch.chdir(run)
    assert parse_sources(["."])[0].name == "my-run"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["none.onnx"], "no file or folder none.onnx"),
        (["a=none"], "no file or folder none"),
        (["a b=."], "'a b' cannot be the name of a model"),
        (["x=.", "x=.."], "two models are called 'x'"),
    ],
)
def test_what_cannot_be_served_is_refused(words, reason):
    with pytest.raises(UserError, match=reason):
        parse_sources(words)


def test_a_run_is_exported_if_it_is_newer(run: Path, monkeypatch):
    (source,) = parse_sources([str(run)])
    calls = []

    def fake(command, **kwargs):
        calls.append(command)
        source.file.parent.mkdir(exist_ok=True)
        source.file.touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", fake)
    assert not source.is_current()
    source.export(lambda message: None)
    source.export(lambda message: None)
    assert len(calls) == 1 and "torch" not in " ".join(calls[0][1:]) and calls[0][3:6] == ["export", str(run), "--out"]
    later = source.file.stat().st_mtime_ns + 1000
    os.utime(run / "train" / "model.safetensors", ns=(later, later))
    assert source.newest() == later and not source.is_current()
    source.export(lambda message: None)
    assert len(calls) == 2


def test_the_reason_of_a_failed_export_is_passed_on(run: Path, monkeypatch):
    (source,) = parse_sources([str(run)])
    for output, reason in [
        ("loading\nerror: a run without a model\n", "^a run without a model$"),
        ("Traceback\nModuleNotFoundError: No module named 'torch'\n", "PyTorch, which that needs, is not installed"),
        ("", "the process was ended"),
    ]:
        done = subprocess.CompletedProcess([], 2, "", output)
        monkeypatch.setattr(subprocess, "run", lambda *args, done=done, **kwargs: done)
        with pytest.raises(UserError, match=reason):
            source.export(lambda message: None)


def test_a_run_without_a_model_is_refused_without_another_process(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delattr(subprocess, "run")
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line == f"error: {tmp_path} holds no model: pass the folder of a finished run."


def test_a_model_is_exported_and_predicts_the_same(make_model, make_images, make_client, tmp_path: Path):
    pytest.importorskip("onnxscript")
    images = make_images(side=12, channels=3)
    model = make_model(images)
    model.save(tmp_path / "saved")
    (source,) = parse_sources([f"shapes={tmp_path / 'saved'}"])
    source.export(lambda message: None)
    assert source.is_current()
    client = make_client({"shapes": source.file})
    body = {"name": "images", "datatype": "UINT8", "shape": [9, 12, 12, 3]}
    body["data"] = images.pixels[:9].ravel().tolist()
    (output,) = client.post("/v2/models/shapes/infer", json={"inputs": [body]}).json()["outputs"]
    found = np.array(output["data"]).reshape(output["shape"])
    assert np.abs(found - model.predict_proba(images.pixels[:9])).max() < 1e-5


def test_a_run_that_is_not_finished_is_served_with_a_warning(run: Path, monkeypatch):
    (source,) = parse_sources([str(run)])
    said = f"loading images\n{run} is not finished: using the last snapshot of its training\n"
    monkeypatch.setattr(subprocess, "run", lambda command, **kwargs: subprocess.CompletedProcess(command, 0, "", said))
    lines: list[str] = []
    source.export(lines.append)
    assert lines[-1].startswith("warning: ") and "is not finished" in lines[-1]
