"""Metrics, calibration and costs of models, as plain numbers."""
