"""Experiments: several runs of a recipe, with different settings, seeds or folds, within one budget."""
