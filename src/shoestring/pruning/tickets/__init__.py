"""Lottery tickets: masks of weights, and networks without the channels that masks have silenced."""
