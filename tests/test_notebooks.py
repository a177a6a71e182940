"""Notebooks run from top to bottom, in a folder with the runs that they read."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from shoestring.cli.main import main

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NET = ("--model", "convnet", "--width", "0.25", "--macs", "0.5", "--select", "random", "--batch-size", "16", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, a row of each of the origins, and one of these runs as one of theirs."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, examples in (("first", "300"), ("second", "100")):
        words = ("run", "digits", "--examples", examples, "--epochs", "6", *NET)
        assert main([*words, "--out", str(folder / "runs" / name)]) == 0
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "origins" / "mini-simple-VGG-8")
    (folder / "benchmarks" / "results").mkdir(parents=True)
    (folder / "benchmarks" / "results" / "origins.json").write_text(json.dumps(origin_rows()))
    (folder / "notebooks").mkdir()
    return folder


def origin_rows() -> list[dict[str, Any]]:
    """A row of each of the origins, two of clustered filters, and lottery tickets."""
    arms = [(origin, "one", 0) for origin in ("coreset", "mini", "progressive", "scenes")]
    arms += [("coreset", "one", 1), ("filters", "not pruned", 0), ("filters", "shared", 0), ("scenes", "tickets", 0)]
    rows = []
    for origin, arm, seed in arms:
        row = {"origin": origin, "arm": arm, "data": "cifar10", "network": "given", "scale": 0.1, "seed": seed}
        row |= {"accuracy": 0.5, "interval": [0.4, 0.6], "published": 55.0, "per_class": {"cat": 0.4, "dog": 0.6}}
        rows.append(row)
    rows[-1]["tickets"] = [{"network": "dense", "level": 0, "weights": 1.0, "mean": 0.5}]
    return rows


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebooks_run(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    source = str(Path(__file__).parents[1] / "src")
    monkeypatch.setenv("PYTHONPATH", source)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(file, as_version=4)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": sys.version}
    path = folder / "notebooks" if file.stem == "origins" else folder
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path)}})
    asyncio.run(client.async_execute())
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    tables = [output for output in outputs if "<table>" in output.get("data", {}).get("text/html", "")]
    assert (len(pictures), len(tables)) == {"results": (9, 2), "origins": (9, 0)}[file.stem]
