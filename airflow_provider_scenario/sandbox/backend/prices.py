"""What a generation costs: a rule of the sandbox's own, for Scenario's prices are not published."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.studio.rendering import Order

QUARTER = Decimal("0.25")
LEAST = Decimal(1)
MEGAPIXEL = 1_000_000
BY_CAPABILITY = {"txt2video": Decimal("0.40"), "img2video": Decimal("0.45"), "video2video": Decimal("0.55")}
DEFAULT_RATE = Decimal("0.50")


def price(order: Order, capability: str) -> Decimal:
    """Creative units, in quarters: a rate by capability times megapixels times frames, at least 1."""
    rate = BY_CAPABILITY.get(capability, DEFAULT_RATE)
    pixels = Decimal(order.size.width * order.size.height) / MEGAPIXEL
    quarters = (rate * pixels * order.timing.frames / QUARTER).quantize(Decimal(1), ROUND_HALF_UP)
    return max(quarters * QUARTER, LEAST)


def as_number(amount: Decimal) -> int | float:
    """Give an amount for JSON: whole where it is whole. Quarters are exact as binary fractions, so nothing is lost."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
