"""One run in one folder: its stages, and the checks before and after them."""
