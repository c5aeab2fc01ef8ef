"""What a purchase would cost, asked before it is made, and whether the author allows that much.

Creative units are decimal numbers throughout: prices have fractions, and a sum of floats would be wrong at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job_search import Client
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.price import units
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioCostLimitError,
    ScenarioTransientError,
)
from airflow_provider_scenario.outcome import amount, creative_units


def limit_of(name: str, given: object, *, was_given: bool = False) -> Decimal | None:
    """Return the limit that an argument sets, in creative units.

    :param name: The argument's name, for the message.
    :param given: A ``Decimal``, an ``int``, the text of a number, or ``None`` for no limit. A ``float`` counts as the
        decimal number that Python prints for it: ``7.1`` is exactly 7.1.
    :param was_given: Whether the author set a limit: then ``None`` is what a template made of it. Default ``False``.
    :raises ScenarioConfigurationError: if it is none of these, or less than 0. A template that came out empty is no
        limit either, but surely a mistake.
    """
    if given is None and was_given:
        raise ScenarioConfigurationError(
            f"{name} was given, but came out as None, as from an XCom that is not there. No price was asked for, and "
            "nothing was bought by this try. Mend what it comes from, then clear the task."
        )
    if given is None:
        return None
    limit = units(given)
    if limit is None or limit < 0:
        raise ScenarioConfigurationError(
            f"{name} must be a number of creative units, 0 or more, such as 12 or '7.25', not {given!r}. Nothing was "
            "bought."
        )
    return limit


def price_of(client: Client, model_id: str, inputs: Mapping[str, Any], log: Any) -> Decimal:
    """Ask what a generation would cost, and buy nothing.

    :param client: Carries the calls.
    :param model_id: The model.
    :param inputs: The checked inputs: the price is for just these.
    :param log: Where to say that the price could not be had.
    :raises ScenarioDryRunError: if Scenario made a job all the same.
    :raises ScenarioError: if Scenario refuses the inputs, or can't be asked.
    """
    try:
        return client.send(calls.estimate(model_id, inputs)).cost
    except ScenarioTransientError:
        log.warning("Scenario did not tell the price of %s just now, so nothing was bought.", model_id)
        raise


def check_price(
    client: Client,
    model: Model,
    inputs: Mapping[str, Any],
    limit: Decimal,
    *,
    label: Callable[[str], str],
    log: Any,
) -> None:
    """Ask for the price of a purchase that is about to be made, and refuse it above the limit.

    :param client: Carries the calls.
    :param model: The model's record.
    :param inputs: The inputs as they would be sent.
    :param limit: The most creative units that may be paid.
    :param label: Returns what the author calls an input of the API.
    :param log: Where to say the price.
    :raises ScenarioCostLimitError: if it costs more.
    :raises ScenarioError: what :func:`price_of` raises.
    """
    price = price_of(client, model.id, inputs, log)
    if price > limit:
        dear = [label(one.name) for one in model.inputs if one.cost_impact]
        depends = f" The price depends on {', '.join(dear)}." if dear else ""
        raise ScenarioCostLimitError(
            f"{model.id} would cost {creative_units(price)} with these inputs, more than max_cost={amount(limit)} "
            f"allows. Nothing was bought.{depends} Raise max_cost or change the inputs, then clear the task."
        )
    log.info("%s costs %s with these inputs; max_cost=%s allows it.", model.id, creative_units(price), amount(limit))


def warn_if_dearer(charged: str | None, limit: Decimal, log: Any) -> None:
    """Say so if a purchase was charged more than its limit: a price is an estimate, and a purchase can't be undone.

    :param charged: What was charged, in creative units as decimal text; ``None`` if that is not known.
    :param limit: The most creative units that were to be paid.
    :param log: Where to say it.
    """
    if charged is not None and Decimal(charged) > limit:
        log.warning(
            "Scenario charged %s, more than the price it told and than max_cost=%s. The purchase can't be undone.",
            creative_units(Decimal(charged)),
            amount(limit),
        )
