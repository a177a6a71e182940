"""Selection of training images: pools, methods, balance, difficulty ranges, near duplicates and label errors."""

from shoestring.selection.pool import NO_INDICES, Pool, Signals
from shoestring.selection.select import new_class_counts, select_subset
from shoestring.selection.strategy import Strategy
from shoestring.selection.subset import Subset

__all__ = ["NO_INDICES", "Pool", "Signals", "Strategy", "Subset", "new_class_counts", "select_subset"]
