"""Creative units are exact."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.job import price_of, units


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7.25, Decimal("7.25")),
        (10.75, Decimal("10.75")),
        (0.1, Decimal("0.1")),
        (11, Decimal(11)),
        ("10.75", Decimal("10.75")),
        (0, Decimal(0)),
        (None, None),
        (True, None),
        ("free", None),
        ("NaN", None),
        (float("inf"), None),
        ([1], None),
        ("1e300000000", None),
        (10**400, None),
        ("1e-300000000", None),
        ("1e15", Decimal("1e15")),
    ],
)
def test_units(value: object, expected: Decimal | None) -> None:
    assert units(value) == expected


@given(st.decimals(min_value=0, max_value=10**6, places=2))
def test_what_scenario_writes_with_two_places_is_kept_to_the_last(amount: Decimal) -> None:
    assert units(float(amount)) == amount


@pytest.mark.parametrize("details", [None, [], "7", {"custom-generation": None}])
def test_odd_parts_do_not_spoil_a_price(details: object) -> None:
    assert price_of({"creativeUnitsCost": 10.75, "costDetails": details}) == Decimal("10.75")


@pytest.mark.parametrize("document", [{}, {"creativeUnitsCost": None}, {"creativeUnitsCost": "free"}])
def test_no_cost_is_not_a_cost_of_nothing(document: dict[str, object]) -> None:
    with pytest.raises(KeyError, match="creativeUnitsCost"):
        price_of(document)
