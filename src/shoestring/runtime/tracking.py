"""What a run reports while it works, passed on to TensorBoard or MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from shoestring.errors import UserError, unknown
from shoestring.runtime.extras import check_installed

Log = Callable[[int, Mapping[str, float]], None]
_INTERNAL = ("run", "left", "seconds", "images", "baseline")  # values for the display of progress
_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}  # tracker -> package that it needs


def check_tracker(name: str) -> None:
    """Raise `UserError` unless there is a tracker of this name, its package is installed, and its server is named."""
    if name not in _PACKAGES:
        raise unknown("tracker", name, _PACKAGES)
    check_installed([_PACKAGES[name]], what=f"--log {name}", extra=name)
    if name == "mlflow" and "MLFLOW_TRACKING_URI" not in os.environ:
        raise UserError("--log mlflow needs the address of a server: set MLFLOW_TRACKING_URI.")


class Tracker:
    """Passes the progress of a run on through one function, `log(step, values)`; the step is the number of seconds.

    Pass `on_progress` as that of a `Context`. Values are named after what reports them: `train/loss`. The program is
    opened once the run folder has its `run.json`; close the tracker, or use it in a `with` statement, at the end.
    If it fails, nothing more is logged, and `note` is called with the reason. Raises `UserError` for an unknown name,
    if its package is not installed, and for MLflow without `MLFLOW_TRACKING_URI`.
    """

    def __init__(self, name: str, folder: str | Path, *, note: Callable[[str], object] = lambda text: None) -> None:
        check_tracker(name)
        self._name, self._folder, self._note = name, Path(folder).expanduser(), note
        self._failed = False
        self._started = time.monotonic()
        self._opened: tuple[Log, Callable[[], None]] | None = None
        self._last: dict[str, int] = {}

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log values under their names at a step."""
        if self._failed:
            return
        try:
            if self._opened is None:
                self._opened = _OPEN[self._name](self._folder)
            self._opened[0](step, values)
        except Exception as error:  # of another program, which must not end the run
            self._failed = True
            self._note(f"nothing more is logged to {self._name}: {' '.join(str(error).split())}")

    def on_progress(self, name: str, fraction: float, values: Mapping[str, Any]) -> None:
        """Log what a step of the run reports, at most once a second for each set of values."""
        prefix = f"baseline/{name}" if values.get("baseline") else name
        numbers = {
            f"{prefix}/{key}": float(value)
            for key, value in values.items()
            if key not in _INTERNAL and isinstance(value, int | float)
        }
        second, kind = int(values.get("seconds", time.monotonic() - self._started)), " ".join(numbers)
        if numbers and self._last.get(kind) != second and (self._folder / "run.json").exists():
            self._last[kind] = second
            self.log(second, numbers)

    def log_results(self, result: Mapping[str, Any]) -> None:
        """Log the numbers of the results of a run at its end."""
        numbers = {f"result/{key}": float(value) for key, value in result.items() if type(value) in (int, float)}
        self.log(int(result["seconds"]), numbers)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._opened is not None:
            self._opened[1]()
            self._opened = None


def _tensorboard(folder: Path) -> tuple[Log, Callable[[], None]]:
    """Write event files into the run folder: `tensorboard --logdir runs` shows those of all runs."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def _mlflow(folder: Path) -> tuple[Log, Callable[[], None]]:
    """Start a run named after the folder, on the server that `MLFLOW_TRACKING_URI` names."""
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")):
        os.environ.setdefault(name, value)  # a server that does not answer would delay the run by minutes
    import mlflow

    def log(step: int, values: Mapping[str, float]) -> None:
        mlflow.log_metrics(dict(values), step=step)

    mlflow.start_run(run_name=folder.name)
    return log, mlflow.end_run


_OPEN: dict[str, Callable[[Path], tuple[Log, Callable[[], None]]]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
