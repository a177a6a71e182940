"""Class balance as users write it: equal, proportional, none, or cat=50,dog=20."""

from __future__ import annotations

from collections.abc import Mapping

from shoestring.errors import UserError, unknown

Balance = str | Mapping[str, int]

BALANCES = ("equal", "proportional", "none")


def parse_balance(balance: Balance) -> Balance:
    """Return 'equal', 'proportional' and 'none' unchanged, 'cat=50,dog=20' as a mapping.

    Raises `UserError` for anything else.
    """
    if not isinstance(balance, str):
        for name, number in balance.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise UserError(f"balance has {number!r} for class '{name}', which is not a number of images.")
        return balance
    if balance in BALANCES:
        return balance
    if "=" not in balance:
        raise unknown("balance", balance, BALANCES, hint="Or give numbers for some classes: cat=50,dog=20.")
    numbers: dict[str, int] = {}
    for entry in balance.split(","):
        name, _, number = (part.strip() for part in entry.rpartition("="))
        if not name or not number.isascii() or not number.isdigit() or name in numbers:
            raise UserError(f"'{entry.strip()}' in --balance is not a class with a number. Write cat=50,dog=20.")
        numbers[name] = int(number)
    return numbers
