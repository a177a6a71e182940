"""Execute a plan: select, train, prune and calibrate within one budget."""

from shoestring.execute.calibration import calibrate, with_temperature
from shoestring.execute.proxy import pool_of, signals_of
from shoestring.execute.pruning import prune
from shoestring.execute.selection import select
from shoestring.execute.ticket_results import find_tickets
from shoestring.execute.training import accuracy, train

__all__ = [
    "accuracy",
    "calibrate",
    "find_tickets",
    "pool_of",
    "prune",
    "select",
    "signals_of",
    "train",
    "with_temperature",
]
