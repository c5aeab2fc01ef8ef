"""What a generation costs: a rule of the sandbox's own, for Scenario's prices are not published."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.settings import Settings
    from airflow_provider_scenario.sandbox.studio.rendering import Order

QUARTER = Decimal("0.25")
HUNDREDTH = Decimal("0.01")
LEAST = Decimal(1)
MEGAPIXEL = 1_000_000
BY_CAPABILITY = {"txt2video": Decimal("0.40"), "img2video": Decimal("0.45"), "video2video": Decimal("0.55")}
DEFAULT_RATE = Decimal("0.50")


@dataclass(frozen=True)
class Bill:
    """What is charged for one generation, in creative units."""

    generation: Decimal
    """For the generation itself, after discount."""
    discount: Decimal = Decimal(0)
    """What is taken off already."""
    quality_gate: Decimal = Decimal(0)
    """For the add-on."""

    @property
    def total(self) -> Decimal:
        """All that is charged."""
        return self.generation + self.quality_gate

    def as_reply(self) -> dict[str, Any]:
        """Give the fields beside ``job``, which a dry run and a submission share; the details sum to the cost."""
        details = {"custom-generation": self.generation, "quality-gate": self.quality_gate}
        return {
            "creativeUnitsCost": as_number(self.total),
            "creativeUnitsDiscount": as_number(self.discount),
            "costDetails": {name: as_number(amount) for name, amount in details.items() if amount},
        }

    def as_billing(self, *, refunded: bool) -> dict[str, Any]:
        """Give the amounts of ``job.billing``: after a refund add-ons read 0, and the cost stays what it was."""
        left = Decimal(0) if refunded else self.quality_gate
        return {
            "cuCost": as_number(self.generation),
            "cuDiscount": as_number(self.discount),
            **({"cuCostDetails": {"quality-gate": as_number(left)}} if self.quality_gate else {}),
        }


NOTHING = Bill(Decimal(0))


def bill(order: Order, capability: str, settings: Settings) -> Bill:
    """Price an order: quarters by its size and length, then what the settings make of them, in hundredths."""
    full = _hundredths(_price(order, capability) * _exact(settings.price_factor))
    discount = _hundredths(full * _exact(settings.discount_share))
    return Bill(full - discount, discount, _hundredths(_exact(settings.quality_gate_units)))


def _price(order: Order, capability: str) -> Decimal:
    """Creative units, in quarters: a rate by capability times megapixels times frames, at least 1."""
    rate = BY_CAPABILITY.get(capability, DEFAULT_RATE)
    pixels = Decimal(order.size.width * order.size.height) / MEGAPIXEL
    quarters = (rate * pixels * order.timing.frames / QUARTER).quantize(Decimal(1), ROUND_HALF_UP)
    return max(quarters * QUARTER, LEAST)


def _exact(number: float) -> Decimal:
    return Decimal(str(number))


def _hundredths(amount: Decimal) -> Decimal:
    return amount.quantize(HUNDREDTH, ROUND_HALF_UP)


def as_number(amount: Decimal) -> int | float:
    """Give an amount for JSON: whole where it is whole; hundredths are printed as they are."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
