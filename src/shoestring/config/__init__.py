"""Recipes, the values in them, and the registry of methods."""
