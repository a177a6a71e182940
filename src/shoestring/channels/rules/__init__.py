"""What each known operation does to channel labels; an operation without a rule freezes the labels it meets.

A rule has three arguments of its own and behind them those of its operation: `rule(tracer, func, result, ...)`. It
gives the labels of the result, one tensor of them for each tensor in it.
"""

from __future__ import annotations

from shoestring.channels.rules import elements, layers, moves

RULES = {**layers.rule.by_name, **elements.rule.by_name, **moves.rule.by_name}
