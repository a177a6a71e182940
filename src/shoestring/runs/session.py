"""What the steps of one run share: its recipe, folder, budget and surroundings, and how they are set up."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.recipe import Recipe, Select, as_dict, to_yaml
from shoestring.data import Dataset, Images, load, load_unlabelled
from shoestring.errors import UserError
from shoestring.evaluation.cost import MIN_PASSES
from shoestring.evaluation.reserve import seconds_to_fit, seconds_to_predict, seconds_to_write
from shoestring.models.description import model_folder
from shoestring.models.tta import expected_passes
from shoestring.planning.model import preprocessing
from shoestring.planning.profiling import Profiler
from shoestring.planning.selection_method import with_method
from shoestring.runs.directory import RunDir, write_skipped
from shoestring.runs.extend import extends, reopen, trained
from shoestring.runs.inputs import check_same_files, check_same_images, file_states
from shoestring.runs.loading import current_key, load_arguments, read_arguments
from shoestring.runs.models import final_model
from shoestring.runs.progress import with_history, with_run_fraction
from shoestring.runs.validate import check, check_place
from shoestring.runtime.context import Context

EXIT = 0.3  # seconds that writing the last files and leaving take
_LEAVING = 0.05  # seconds from the last file to the end of the process, at least
_TIMING = 0.01  # share of a time budget that goes into measuring latency
_LONGEST_TIMING = 1.0
_MOST_TIMING = 0.08
_MARGIN = 0.008  # share of a time budget that stays free, because a machine may be slow to write and to leave


@dataclass(frozen=True)
class Run:
    """One run of a recipe, or of `only` one step of it."""

    recipe: Recipe
    folder: RunDir
    budget: Budget
    context: Context
    profiler: Profiler
    only: str | None = None
    key: str = ""  # of the files of the data, as they were before they were loaded

    def step(self, name: str) -> Context:
        """The surroundings of one step: its states go into the folder of its name, its progress bears that name."""
        return replace(self.context.in_folder(name), on_progress=lambda _, *rest: self.context.on_progress(name, *rest))

    def selection(self, images: Images) -> Select | None:
        """The settings for selecting from these images, the method chosen; None if nothing is selected."""
        settings = self.recipe.select
        if settings.examples is None or settings.subset is not None:
            return None
        return with_method(settings, images, pretrained=self.recipe.train.weights is not None)

    def load(self) -> Dataset:
        """The data set of the recipe, with what loading noted."""
        recipe, log = self.recipe, self.context.log
        log(f"loading {recipe.data}")
        with self.budget.track("load"):
            arguments = load_arguments(recipe)
            data = load(**arguments, progress=self._loaded)
            if self.context.distributed is not None:
                self.context.distributed.broadcast(("load", arguments))  # now that the cache holds them
        log(
            f"{data.name}: {len(data.train):,} train, {len(data.validation):,} validation, {len(data.test):,} test, "
            f"{len(data.classes)} classes, {' x '.join(map(str, data.train.shape))}"
        )
        for note in data.notes:
            log(note)
        return data

    def load_unlabelled(self) -> Images:
        """The images of the recipe without labels, with what loading noted."""
        recipe = self.recipe
        self.context.log(f"loading {recipe.data}")
        with self.budget.track("load"):
            images = load_unlabelled(recipe.data, **read_arguments(recipe), progress=self._loaded, log=self.context.log)
        self.context.log(f"{len(images):,} images without labels, {' x '.join(map(str, images.shape))}")
        return images

    def _loaded(self, done: int, total: int) -> None:
        self.context.on_progress("load", done / total if total else 0.0, {"images": done})

    def reserve(self, data: Dataset) -> None:
        """Keep back what evaluation, its files, timing, the last files and leaving will cost."""
        train, start = self.recipe.train, self.recipe.start
        if start is not None:
            prepared = final_model(Path(start)).preprocessing
        else:
            prepared = preprocessing(data.train[:1], mirror=train.mirrors(data.mirrored), tta=train.tta)
        passes, classes = expected_passes(prepared), len(data.classes)
        values = max(math.prod(data.train.shape), prepared.channels * prepared.resolution**2)
        validation, test = len(data.validation), len(data.test)
        sizes = {"classes": classes, "values": values, "passes": passes}
        if self.recipe.prune.enabled:
            seconds = seconds_to_predict(validation, **sizes)
            self.budget.reserve("validate", seconds, images=round(validation * passes))
        seconds = seconds_to_predict(validation + test, **sizes) + seconds_to_fit(validation, classes=classes)
        self.budget.reserve("evaluate", seconds, images=round((validation + test) * passes))
        self.budget.reserve("files", seconds_to_write(test, classes))
        self.budget.reserve("timing", self.timing, images=MIN_PASSES)
        self.budget.reserve("exit", EXIT + _MARGIN * self.budget.total)

    @property
    def timing(self) -> float:
        """Seconds kept for measuring latency."""
        return min(_TIMING * self.budget.total, _LONGEST_TIMING) if self.budget.unit == "seconds" else _LONGEST_TIMING

    def time_for_timing(self) -> tuple[float, float | None]:
        """Seconds for measuring latency, and within which all of it has to end.

        They are what is left, at most 8 % of the time: more than was kept where the evaluation was quicker than feared.
        """
        budget = self.budget
        if budget.unit != "seconds":
            return self.timing, None
        left = max(budget.remaining_for("timing"), 0.0)
        return min(left, _MOST_TIMING * budget.total), left

    @property
    def late(self) -> float:
        """Seconds by which the run will end after its deadline; negative when it is met, or nothing is timed."""
        budget = self.budget
        return budget.elapsed + _LEAVING - budget.total if budget.unit == "seconds" else -1.0

    @contextlib.contextmanager
    def working(self, images: Images, *, check: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the folder, begun anew or gone on with; the seconds spent are on record however the block ends.

        Raises `UserError` when the images are not those that the run began with, or was trained on, and what `check`
        raises of a new run and of one that is extended; then nothing has changed.
        """
        first = partial(self._enter, images, check)
        with self.folder.begin(_content(self.recipe, self.only), to_yaml(self.recipe), first=first):
            write_skipped(self.folder.path, images.skipped)
            name = Path(self.recipe.data).name
            data = {"name": name, "fingerprint": images.fingerprint, "key": self.key}
            self.note(data=data, files=file_states(self.recipe))
            try:
                yield
            finally:
                with contextlib.suppress(OSError, UserError):  # the disk may be full, the folder gone
                    self.folder.append_history(seconds=round(self.budget.elapsed, 3), step="end")

    def _enter(self, images: Images, check: Callable[[], None] | None) -> None:
        for folder in (self.folder, *([RunDir(Path(self.recipe.start))] if self.recipe.start else [])):
            check_same_images(folder, images)
        check_same_files(self.recipe, self.folder)
        longer = self.only is None and extends(self.recipe, self.folder) and trained(self.folder)
        if check is not None and (longer or not self.folder.run):
            with self.budget.track("forecast"):
                check()
        if longer:
            reopen(self.folder)

    def note(self, **values: Any) -> None:
        """Write values into run.json, with the ledger and the epochs or operations counted as they stand."""
        self.folder.update(
            **values, counted=self.budget.counted, ledger={name: round(s, 3) for name, s in self.budget.ledger.items()}
        )


def finished(recipe: Recipe, folder: RunDir, *, context: Context, only: str | None = None) -> dict[str, Any] | None:
    """The results of this very run when they are in the folder already; `UserError` for what could never work.

    Also `UserError` when the images have changed since, for which the results do not hold.
    """
    check(recipe)
    check_place(recipe, folder.path)
    folder.check_free()
    if only is None and extends(recipe, folder):
        return None
    if not folder.done(_content(recipe, only)):
        return None
    check_same_files(recipe, folder)
    _check_unchanged(recipe, folder, context)
    if only is None and model_folder(folder.path) is None:
        raise UserError(
            f"the run in {folder.path} was done, but its model is not there any more: remove that folder to run anew."
        )
    more = "give it more to spend to go on, or " if recipe.extendable and only is None else ""
    context.log(f"{folder.path} is done already; {more}delete it to run anew")
    return folder.run["result"]


def _check_unchanged(recipe: Recipe, folder: RunDir, context: Context) -> None:
    """Raise `UserError` when the images are others than the finished run had.

    They are loaded only when a file was added, removed, resized or written; when they cannot be found any more there
    are no others.
    """
    noted = folder.run.get("data", {})
    try:
        key = current_key(recipe)
    except UserError:
        return
    if noted.get("key", key) == key:
        return
    context.log(f"files of {noted['name']} have changed since {folder.path} was made: looking at the images")
    images = (
        load_unlabelled(recipe.data, **read_arguments(recipe))
        if recipe.unlabelled
        else load(**load_arguments(recipe)).train
    )
    check_same_images(folder, images)
    with contextlib.suppress(OSError):  # the folder may be read-only
        folder.update(data={**noted, "key": key})


def _content(recipe: Recipe, only: str | None) -> dict[str, Any]:
    """What run.json holds of a recipe, and by which two runs are told apart."""
    return as_dict(recipe) | ({"only": only} if only else {})


def begin(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None, only: str | None = None) -> Run:
    """A run, or one step of it, whose budget goes on where an interrupted one in this folder stopped."""
    wanted = {
        "select": recipe.select.examples is not None,
        "train": recipe.start is None,
        "prune": recipe.prune.enabled,
    }
    spent, ledger = folder.spent()
    timed = recipe.time is not None
    budget = Budget.resume(
        recipe.time,
        epochs=recipe.epochs or (DEFAULT_EPOCHS if not timed and recipe.flops is None else None),
        flops=recipe.flops,
        steps=[name for name, here in wanted.items() if here and only in (None, name)],
        started=started,
        before=spent,
        spent=folder.run.get("counted", 0.0),
        ledger=ledger,
    )
    budget.ledger["start"] = ledger.get("start", 0.0) + budget.elapsed - spent
    if spent:
        how = "ended" if "result" in folder.run else "was interrupted"
        context.log(f"{folder.path} {how} after {spent:.0f} s; going on")
    around = replace(
        context,
        folder=folder.path,
        on_progress=with_history(with_run_fraction(context.on_progress, budget), folder, budget),
    )
    return Run(recipe, folder, budget, around, Profiler(budget, around), only, current_key(recipe))
