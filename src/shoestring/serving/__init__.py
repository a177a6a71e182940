"""Serving exported models over HTTP: no module of this package imports torch."""
