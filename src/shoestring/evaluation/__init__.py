"""Numbers only: how good a model is, and what it costs."""
