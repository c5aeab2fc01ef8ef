"""What purchases would cost, asked before they are made, and whether the author allows that much.

Creative units are decimal numbers throughout: prices have fractions, and a sum of floats would be wrong at its end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from jinja2 import Undefined

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Client
from airflow_provider_scenario.api.job import job_page, units
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.validation import check_inputs, file_paths
from airflow_provider_scenario.api.values import describe_units, format_units
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioCostLimitError,
    ScenarioDryRunError,
    ScenarioTransientError,
)
from airflow_provider_scenario.submission.prepare import check_assets, refuse


def limit_of(name: str, given: object, *, was_given: bool = False) -> Decimal | None:
    """Return the limit that an argument sets, in creative units; ``None`` for no limit."""
    if isinstance(given, Undefined):
        given = None
    # The author set a limit, so None is what a template made of it.
    if given is None and was_given:
        raise ScenarioConfigurationError(
            f"{name} was given, but came out as None, as from an XCom that is not there. No price was asked for, and "
            "nothing was bought by this try. Correct what it comes from, then clear the task."
        )
    if given is None:
        return None
    # A float counts as the decimal number that Python prints for it: 7.1 is exactly 7.1. A template that came out empty
    # is no limit, but surely a mistake.
    limit = units(given)
    if limit is None or limit < 0:
        raise ScenarioConfigurationError(
            f"{name} must be a number of creative units, 0 or more, such as 12 or '7.25', not {given!r}. Nothing was "
            "bought."
        )
    return limit


def ask_price(client: Client, model_id: str, inputs: Mapping[str, Any], log: Any) -> Decimal:
    """Ask a generation's price, and buy nothing; ``ScenarioDryRunError`` if Scenario made a job all the same."""
    try:
        return client.send(calls.estimate(model_id, inputs))
    except ScenarioTransientError:
        log.warning("The price of %s could not be had just now, so no purchase was sent.", model_id)
        raise


def check_price(
    client: Client,
    model: Model,
    inputs: Mapping[str, Any],
    limit: Decimal,  # Creative units.
    *,
    argument_name: Callable[[str], str],
    log: Any,
) -> None:
    """Ask for the price of a purchase that is about to be made, and refuse it above the limit."""
    price = ask_price(client, model.id, inputs, log)
    if price > limit:
        dear = [argument_name(one.name) for one in model.inputs if one.cost_impact]
        depends = f"The price depends on {', '.join(dear)}.\n" if dear else ""
        # What was decided comes first: Airflow's log shows about a hundred characters of a line.
        raise ScenarioCostLimitError(
            f"Above max_cost={format_units(limit)}: the price is {describe_units(price)}.\nNothing was bought.\n"
            f"That is what {model.id} would cost with these inputs.\n{depends}"
            "Raise max_cost or change the inputs, then clear the task."
        )
    log.info(
        "%s costs %s with these inputs; max_cost=%s allows it.", model.id, describe_units(price), format_units(limit)
    )


def warn_if_dearer(charged: str | None, limit: Decimal, log: Any) -> None:
    """Say so if a purchase was charged more than its limit: a price is an estimate, and a purchase can't be undone."""
    if charged is not None and Decimal(charged) > limit:  # None: it is not known what was charged.
        log.warning(
            "Scenario charged %s, more than the price it had named and than max_cost=%s. The purchase can't be undone.",
            describe_units(Decimal(charged)),
            format_units(limit),
        )


@dataclass(frozen=True)
class Estimate:
    """The prices of several sets of inputs, in their order, in creative units."""

    costs: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        """What all of them would cost together."""
        return sum(self.costs, Decimal(0))

    def __str__(self) -> str:
        if len(self.costs) == 1:
            return f"1 generation would cost {describe_units(self.total)}"
        several = f"{len(self.costs)} generations would cost {describe_units(self.total)} in all"
        at = [f"{count} at {format_units(cost)}" for cost, count in sorted(Counter(self.costs).items())]
        return f"{several} ({', '.join(at)})" if at else several


def checked_sets(model: Model, sets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return several sets of inputs, checked against the model's record; refuse the faults of every set at once."""
    checked = [check_inputs(model, given) for given in sets]
    faults = [(*one.faults, *_files_elsewhere(model, one.values)) for one in checked]
    refuse(model, [f"{_prefix(sets, i)}{fault}" for i, of_set in enumerate(faults) for fault in of_set], str)
    return [one.values for one in checked]


def ask_prices(client: Client, model: Model, sets: Sequence[Mapping[str, Any]], log: Any) -> Estimate:
    """Ask what several sets of checked inputs would cost. Equal ones are asked for once."""
    known: dict[str, Decimal] = {}
    costs = []
    for i, values in enumerate(sets):
        key = json.dumps(values, sort_keys=True, default=str)
        if key not in known:
            prefix = _prefix(sets, i)
            check_assets(client, model, values, argument_name=prefix.__add__, log=log)
            known[key] = _price(client, model, values, log)
        costs.append(known[key])
    return Estimate(tuple(costs))


def refuse_above(limit: Decimal | None, found: Estimate, model: Model) -> None:
    """Refuse a sum that is above the limit; ``None`` allows any."""
    if limit is not None and found.total > limit:
        raise ScenarioCostLimitError(
            f"Above max_total_cost={format_units(limit)}: the sum is {describe_units(found.total)}.\n"
            f"Nothing was bought.\n{found} with {model.id}.\n"
            "Raise max_total_cost or ask for less, then clear the task."
        )


def _files_elsewhere(model: Model, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{input_path}: {path} is not at Scenario yet, so what it leads to has no price. Upload it first with "
        "ObjectStorageToScenarioOperator, and give the id."
        for input_path, (_, path) in file_paths(model, values).items()
    ]


def _price(client: Client, model: Model, values: Mapping[str, Any], log: Any) -> Decimal:
    try:
        return ask_price(client, model.id, values, log)
    except ScenarioDryRunError as alarm:
        raise ScenarioDryRunError(
            f"{alarm} No further price was asked for, and nothing else was bought. Ask for no price until that is "
            f"mended. {job_page(str(alarm.job_id))}",
            details=alarm.details,
            job_id=alarm.job_id,
        ) from None


def _prefix(sets: Sequence[Mapping[str, Any]], index: int) -> str:
    """Return how the author finds one of several sets."""
    return f"inputs[{index}]." if len(sets) > 1 else ""
