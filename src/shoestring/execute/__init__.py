"""Execute a plan: select, train, prune and calibrate within one budget."""

from shoestring.execute.calibration import calibrate, with_temperature
from shoestring.execute.first_part import FOLDER as FIRST_PART
from shoestring.execute.prediction import accuracy, predict
from shoestring.execute.proxy import pool_of, signals_of
from shoestring.execute.pruning import Observer, prune
from shoestring.execute.selection import select
from shoestring.execute.ticket_results import find_tickets
from shoestring.execute.training import train
from shoestring.execute.unlabeled import all_unlabeled, train_on_all

__all__ = [
    "FIRST_PART",
    "Observer",
    "accuracy",
    "all_unlabeled",
    "calibrate",
    "find_tickets",
    "pool_of",
    "predict",
    "prune",
    "select",
    "signals_of",
    "train",
    "train_on_all",
    "with_temperature",
]
