"""Which fields of the recipe are flags of which verb, and their help where it differs from that of a whole run."""

from __future__ import annotations

import dataclasses

from shoestring.config.recipe import IMAGES, Select, Train

# verb -> its fields of the recipe; the name of a section includes all its fields
_BUDGET = ("time", "epochs", "flops", "seed")
_MACHINE = ("device", "memory", "threads")
_REPEATED = ("sweep.seeds", "sweep.jobs")
_SELECTION = tuple(
    f"select.{field.name}" for field in dataclasses.fields(Select) if field.name not in ("subset", "options")
)
_TICKET_TRAINING = tuple(
    f"train.{field.name}"
    for field in dataclasses.fields(Train)
    if field.name not in ("schedule", "patience", "download", "tta", "use_unlabeled", "unlabeled_confidence")
)
_RUN = (
    *_BUDGET,
    "baseline",
    "evaluate",
    "report",
    *IMAGES,
    "unlabeled_images",
    *_MACHINE,
    "select",
    "train",
    "grow",
    "prune",
)
FIELDS: dict[str, tuple[str, ...]] = {
    "run": (*_RUN, *_REPEATED, "sweep.folds"),
    "select": (*_BUDGET, *IMAGES, "unlabeled", *_MACHINE, *_SELECTION),
    "train": (
        *_BUDGET,
        "evaluate",
        "report",
        *IMAGES,
        "unlabeled_images",
        *_MACHINE,
        "select.subset",
        "train",
        "grow",
        *_REPEATED,
        "sweep.folds",
    ),
    "prune": (
        *_BUDGET,
        "evaluate",
        "report",
        *_MACHINE,
        "prune",
        "train.batch_size",
        "train.learning_rate",
        *_REPEATED,
    ),
    "sweep": (*(name for name in _RUN if name not in ("baseline", "fold")), "sweep"),
    "tickets": (*_BUDGET, *IMAGES, *_MACHINE, "select.subset", "tickets", *_TICKET_TRAINING),
}
HELP = {  # (verb, field) -> help other than in a whole run
    ("select", "examples"): "number of images to select",
    ("sweep", "time"): "time budget from process start to exit of all runs together: 2h",
    ("sweep", "epochs"): "epochs of each run; with --time as well, runs that do not fit into it are left out (default "
    "without a budget: 10)",
    ("sweep", "flops"): "FLOPs of each run, as --epochs",
    ("sweep", "evaluate"): "validation leaves the test split for later (default: the best combination is tested once, "
    "at the end)",
    ("tickets", "time"): "time budget from process start to exit, divided equally between all trainings: 2h",
    ("tickets", "epochs"): "epochs of each training instead of a time; reproducible for a fixed number of threads "
    "(default without a budget: 10)",
    ("tickets", "flops"): "FLOPs of each training instead of a time; reproducible for fixed threads",
}
