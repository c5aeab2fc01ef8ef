"""What a job costs, in creative units (CU)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

_MOST_DIGITS = 30
"""Digits before or behind the point beyond which an amount is none: nobody can sum it up or write it out."""


def units(value: object) -> Decimal | None:
    """Return creative units exactly as Scenario wrote them (they may be fractions); ``None`` where there are none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except (ArithmeticError, ValueError):
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) < _MOST_DIGITS else None


@dataclass(frozen=True)
class Price:
    """A price in creative units.

    :param cost: What is or would be charged, after discount.
    :param discount: The discount that is already taken off.
    :param details: What the cost is made of; sums to it.
    """

    cost: Decimal
    discount: Decimal = Decimal(0)
    details: Mapping[str, Decimal] = field(default_factory=dict)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Price:
        """Read the cost fields of a reply, which stand beside ``job``.

        :raises KeyError: if there is no cost. That is not the same as a cost of 0: a limit must not let it pass.
        """
        cost = units(document.get("creativeUnitsCost"))
        if cost is None:
            raise KeyError("creativeUnitsCost")
        details = document.get("costDetails")
        return cls(
            cost=cost,
            discount=units(document.get("creativeUnitsDiscount")) or Decimal(0),
            details={name: units(value) or Decimal(0) for name, value in details.items()}
            if isinstance(details, Mapping)
            else {},
        )
