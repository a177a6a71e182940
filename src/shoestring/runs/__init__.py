"""Runs: the pipeline of steps, the run folder, and the checks before a run starts."""
