"""What each supported operation does to channel labels; operations without a rule freeze the channels they meet.

A rule takes three arguments followed by those of the operation, `rule(record, func, result, ...)`, and returns the
labels of the result, one tensor of labels per tensor in it.
"""

from __future__ import annotations

from shoestring.channels.rules import elements, layers, moves

RULES = {**layers.rule.by_name, **elements.rule.by_name, **moves.rule.by_name}
