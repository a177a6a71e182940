from __future__ import annotations

import pytest

from shoestring import FinishedRun, UserError
from shoestring.config.recipe import Prune, Recipe, Train
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runtime.context import Context

pytest.importorskip("matplotlib")
RECIPE = Recipe(epochs=4, train=Train(model="convnet", width=0.125, batch_size=32), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunDir:
    folder = RunDir(tmp_path_factory.mktemp("runs") / "first")
    pipeline.run(Recipe(**{**vars(RECIPE), "prune": Prune(macs="0.5")}), folder, context=Context())
    return folder


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_a_run_is_read_with_its_figures(folder):
    run = FinishedRun.load(folder.path)
    assert repr(run).startswith("FinishedRun(first: Accuracy ") and run.name == "first"
    assert "<table>" in run._repr_html_() and run.model.classes == tuple(run.result["per_class"])
    plots = {name: getattr(run, name)() for name in dir(run) if name.startswith("plot_")}
    assert set(plots) == {
        f"plot_{name}" for name in ("budget", "changes", "classes", "confusion", "curves", "layers", "reliability")
    }
    assert all(axes.get_title(loc="left") for axes in plots.values())
    confusion = plots["plot_confusion"].texts
    assert sum(int(text.get_text()) for text in confusion) == run.result["images"]
    assert run.plot_curves("loss").get_ylabel() == "loss"


def test_a_figure_is_drawn_into_given_axes(folder):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert FinishedRun.load(folder.path).plot_classes(axes=axes) is axes


def test_runs_without_something_say_so(folder, context, tmp_path):
    with pytest.raises(UserError, match="not of 'accuracy'"):
        FinishedRun.load(folder.path).plot_curves("accuracy")
    other = RunDir(tmp_path / "dense")
    pipeline.run(RECIPE, other, context=context)
    run = FinishedRun.load(other.path)
    for plot in (run.plot_layers, run.plot_changes):
        with pytest.raises(UserError, match=r"pruned|pruning"):
            plot()


def test_runs_are_compared(folder, context, tmp_path):
    other = RunDir(tmp_path / "shorter")
    pipeline.run(Recipe(**{**vars(RECIPE), "epochs": 1}), other, context=context)
    first, second = FinishedRun.load(folder.path), FinishedRun.load(other.path)
    comparison = first.compare(second)
    page = comparison._repr_html_()
    assert "first" in page and "shorter" in page and "adjusted" in page and "epochs" in page
    axes = comparison.plot_pareto("macs")
    assert {text.get_text() for text in axes.texts} == {"first", "shorter"}
    with pytest.raises(UserError, match="costs are"):
        comparison.plot_pareto("money")


def test_other_folders_are_refused(tmp_path, folder):
    with pytest.raises(UserError, match="is not a run folder"):
        FinishedRun.load(tmp_path)
    (tmp_path / "run.json").write_text('{"recipe": {}, "result": {"accuracy": 0.5}}')
    with pytest.raises(UserError, match="corrupted, or those"):
        FinishedRun.load(tmp_path)
