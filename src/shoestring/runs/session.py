"""One run: the recipe, folder, budget and context that its steps share, and how they are set up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.model_files import model_folder
from shoestring.config.recipe import Recipe
from shoestring.config.serialize import as_dict, to_yaml
from shoestring.data import Dataset, Images, load, load_unlabeled
from shoestring.errors import UserError
from shoestring.evaluation.cost import MIN_PASSES
from shoestring.evaluation.reserve import seconds_to_write
from shoestring.runs.directory import RunDir, write_skipped
from shoestring.runs.extend import extends, is_trained, reopen
from shoestring.runs.inputs import check_same_files, check_same_images, check_unchanged_images, file_states
from shoestring.runs.loading import current_key, evaluated, load_arguments, read_arguments
from shoestring.runs.progress import with_history, with_run_fraction
from shoestring.runs.validate import check, check_run_folder
from shoestring.runtime.context import Context

EXIT_SECONDS = 0.3  # for writing the last files and exiting
_MIN_EXIT_SECONDS = 0.05  # from the last file to the end of the process
_TIMING_FRACTION, _MAX_TIMING_FRACTION = 0.01, 0.03  # of a time budget for measuring latency: reserved, and at most
_MAX_TIMING_RESERVE, _MAX_TIMING = 1.0, 1.5  # seconds
# For the page and the model card: at most this fraction of a time budget; without charts if these do not fit into it.
_REPORT_SECONDS, _LEAST_REPORT_SECONDS, _PAGE_SECONDS, _REPORT_FRACTION = 3.5, 2.5, 0.6, 0.09
_MARGIN = 0.008  # fraction of a time budget that is not spent, because a machine may be slow to write files and exit


@dataclass(frozen=True)
class Run:
    """One run of a recipe, or of `only` one of its steps."""

    recipe: Recipe
    folder: RunDir
    budget: Budget
    context: Context
    only: str | None = None
    key: str = ""  # of the data files, before they were loaded

    def step_context(self, name: str) -> Context:
        """Return the context of a step, with its own folder for checkpoints and its name in progress reports."""
        return replace(self.context.in_folder(name), on_progress=lambda _, *rest: self.context.on_progress(name, *rest))

    def load(self) -> Dataset:
        """Load the data set of the recipe and log its sizes and notes."""
        recipe, log = self.recipe, self.context.log
        log(f"loading {recipe.data}")
        with self.budget.track("load"):
            arguments = load_arguments(recipe, self.folder, only=self.only)
            data = evaluated(recipe, load(**arguments, progress=self._report_loading))
            if self.context.distributed is not None:
                self.context.distributed.broadcast(("load", arguments))  # from the cache
        tested = "" if recipe.evaluate == "validation" else f"{len(data.test):,} test, "
        log(
            f"{data.name}: {len(data.train):,} train, {len(data.validation):,} validation, {tested}"
            f"{len(data.classes)} {data.train.task.nouns}, {' x '.join(map(str, data.train.shape))}"
        )
        for note in data.notes:
            log(note)
        return data

    def load_unlabeled(self) -> Images:
        """Load the unlabeled images of the recipe and log their number."""
        recipe = self.recipe
        self.context.log(f"loading {recipe.data}")
        with self.budget.track("load"):
            images = load_unlabeled(
                recipe.data,
                **read_arguments(recipe, self.folder, only=self.only),
                progress=self._report_loading,
                log=self.context.log,
            )
        self.context.log(f"{len(images):,} images without labels, {' x '.join(map(str, images.shape))}")
        return images

    def _report_loading(self, done: int, total: int) -> None:
        self.context.on_progress("load", done / total if total else 0.0, {"images": done})

    def reserve_end(self, data: Dataset) -> None:
        """Reserve the time for the files of the evaluation, latency measurements, report, last files and exit."""
        self.budget.reserve("files", seconds_to_write(len(data.test), len(data.classes)))
        self.budget.reserve("timing", self.timing_reserve, images=MIN_PASSES)
        if self.recipe.report is not False:
            self.reserve_report()
        self.reserve_exit()

    def reserve_report(self) -> None:
        """Reserve the time for the page and the model card, without charts if the budget is small."""
        seconds = min(_REPORT_FRACTION * self.budget.total, _REPORT_SECONDS)
        self.budget.reserve("report", seconds if seconds >= _LEAST_REPORT_SECONDS else _PAGE_SECONDS)

    def reserve_exit(self) -> None:
        """Reserve the time for the last files and the exit."""
        self.budget.reserve("exit", EXIT_SECONDS + _MARGIN * self.budget.total)

    @property
    def timing_reserve(self) -> float:
        """Seconds reserved for measuring latency."""
        if self.budget.unit != "seconds":
            return _MAX_TIMING_RESERVE
        return min(_TIMING_FRACTION * self.budget.total, _MAX_TIMING_RESERVE)

    def timing_limits(self) -> tuple[float, float | None]:
        """Return the seconds for measuring latency, and a limit that includes its overhead (None: no limit).

        The limit is all remaining time, of which latency takes at most 3 % of the budget and 1.5 seconds. This is
        more than the reserve if evaluation took less time than expected; the report has the rest.
        """
        budget = self.budget
        if budget.unit != "seconds":
            return self.timing_reserve, None
        remaining = max(budget.remaining_for("timing"), 0.0)
        return min(remaining, _MAX_TIMING_FRACTION * budget.total, _MAX_TIMING), remaining

    @property
    def lateness(self) -> float:
        """Seconds from the deadline to the end of the run; negative if it is met or the budget is not a time."""
        budget = self.budget
        return budget.elapsed + _MIN_EXIT_SECONDS - budget.total if budget.unit == "seconds" else -1.0

    @contextlib.contextmanager
    def open_folder(self, images: Images, *, plan: Callable[[], None] | None = None) -> Iterator[None]:
        """Start or resume the run in its folder, which is locked; the time spent is recorded however the block ends.

        `plan` is called for new and extended runs, before anything is written. Raises what it raises, and `UserError`
        if the run was started with other images, or starts from a run that was; the folder is unchanged then.
        """
        first = partial(self._check_and_reopen, images, plan)
        with self.folder.begin(_recipe_record(self.recipe, self.only), to_yaml(self.recipe), first=first):
            write_skipped(self.folder.path, images.skipped)
            name = Path(self.recipe.data).name
            data = {"name": name, "fingerprint": images.fingerprint, "side": images.shape[0], "key": self.key}
            self.record(data=data, files=file_states(self.recipe))
            try:
                yield
            finally:
                with contextlib.suppress(OSError, UserError):  # a full disk, or a removed folder
                    self.folder.append_history(seconds=round(self.budget.elapsed, 3), step="end")

    def _check_and_reopen(self, images: Images, plan: Callable[[], None] | None) -> None:
        for folder in (self.folder, *([RunDir(Path(self.recipe.start))] if self.recipe.start else [])):
            check_same_images(folder, images)
        check_same_files(self.recipe, self.folder)
        extended = self.only is None and extends(self.recipe, self.folder) and is_trained(self.folder)
        if plan is not None and (extended or not self.folder.run):
            plan()
        if extended:
            reopen(self.folder)

    def record_validation(self, step: str, accuracy: float | None) -> None:
        """Append the accuracy on all validation images to history.jsonl, if there are any."""
        if accuracy is not None:
            seconds = round(self.budget.elapsed, 3)
            self.folder.append_history(seconds=seconds, step=step, fraction=1.0, validation=round(accuracy, 5))

    def record(self, **values: Any) -> None:
        """Write values to run.json, with the current ledger and the number of epochs or FLOPs spent."""
        ledger = {name: round(seconds, 3) for name, seconds in self.budget.ledger.items()}
        self.folder.update(**values, counted=self.budget.counted, ledger=ledger)


def finished_result(
    recipe: Recipe, folder: RunDir, *, context: Context, only: str | None = None
) -> dict[str, Any] | None:
    """Return the results of the run if it is finished in the folder, else None.

    Raises `UserError` for an invalid recipe, for a folder with another run, and if the images have changed since.
    """
    check(recipe)
    check_run_folder(recipe, folder.path)
    folder.check_usable()
    if only is None and extends(recipe, folder):
        return None
    if not folder.done(_recipe_record(recipe, only)):
        return None
    check_same_files(recipe, folder)
    check_unchanged_images(recipe, folder, context)
    if only is None and model_folder(folder.path) is None:
        raise UserError(
            f"the run in {folder.path} is finished, but its model is missing: remove that folder to start over."
        )
    extend = "use a larger budget to extend it, or " if recipe.extendable and only is None else ""
    context.log(f"{folder.path} is already done; {extend}delete it to start over")
    return folder.run["result"]


def _recipe_record(recipe: Recipe, only: str | None) -> dict[str, Any]:
    """The recipe in run.json, which identifies the run."""
    return as_dict(recipe) | ({"only": only} if only else {})


def begin(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None, only: str | None = None) -> Run:
    """Return a run, or one step of it, with its budget; what an interrupted run in the folder spent is counted."""
    spent, ledger = folder.spent()
    timed = recipe.time is not None
    budget = Budget.resume(
        recipe.time,
        epochs=recipe.epochs or (DEFAULT_EPOCHS if not timed and recipe.flops is None else None),
        flops=recipe.flops,
        steps=[name for name in recipe.steps if only in (None, name)],
        started=started,
        before=spent,
        spent=folder.run.get("counted", 0.0),
        ledger=ledger,
    )
    budget.ledger["start"] = ledger.get("start", 0.0) + budget.elapsed - spent
    if spent:
        how = "ended" if "result" in folder.run else "was interrupted"
        context.log(f"{folder.path} {how} after {spent:.0f} s; resuming it")
    context = replace(
        context,
        folder=folder.path,
        on_progress=with_history(with_run_fraction(context.on_progress, budget), folder, budget),
    )
    return Run(recipe, folder, budget, context, only, current_key(recipe))
