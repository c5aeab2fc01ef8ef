"""What several generations would cost together, asked before any of them is bought."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_scenario.api.inputs import check_inputs, file_paths
from airflow_provider_scenario.api.job_search import Client
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.exceptions import ScenarioCostLimitError, ScenarioDryRunError, ScenarioInputError
from airflow_provider_scenario.outcome import amount, creative_units, job_page
from airflow_provider_scenario.submission.prepare import check_assets
from airflow_provider_scenario.submission.pricing import price_of

_MOST_FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Estimate:
    """The prices of several sets of inputs, in their order.

    :param costs: What each would cost, in creative units.
    """

    costs: tuple[Decimal, ...]

    @property
    def total(self) -> Decimal:
        """What all of them would cost together."""
        return sum(self.costs, Decimal(0))

    def __str__(self) -> str:
        if len(self.costs) == 1:
            return f"1 generation would cost {creative_units(self.total)}"
        several = f"{len(self.costs)} generations would cost {creative_units(self.total)} in all"
        at = [f"{count} at {amount(cost)}" for cost, count in sorted(Counter(self.costs).items())]
        return f"{several} ({', '.join(at)})" if at else several


def checked_sets(model: Model, sets: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return several sets of inputs, checked against the model's record.

    :param model: The record.
    :param sets: Values by the API's names.
    :raises ScenarioInputError: naming the faults of every set.
    """
    checked = [check_inputs(model, given) for given in sets]
    faults = [(*one.faults, *_files_elsewhere(model, one.values)) for one in checked]
    _refuse(model, [f"{_place(sets, i)}{fault}" for i, of_set in enumerate(faults) for fault in of_set])
    return [one.values for one in checked]


def estimate(client: Client, model: Model, sets: Sequence[Mapping[str, Any]], log: Any) -> Estimate:
    """Ask what several generations would cost. Equal ones are asked for once.

    :param client: Carries the calls.
    :param model: The model's record.
    :param sets: Checked inputs.
    :param log: Where to say that a price could not be had.
    :raises ScenarioInputError: if an asset can't be used.
    :raises ScenarioDryRunError: if Scenario made a job all the same; no further price was asked then.
    :raises ScenarioError: if Scenario refuses a price, or can't be asked.
    """
    known: dict[str, Decimal] = {}
    costs = []
    for i, values in enumerate(sets):
        key = json.dumps(values, sort_keys=True, default=str)
        if key not in known:
            place = _place(sets, i)
            check_assets(client, model, values, label=lambda name, place=place: f"{place}{name}", log=log)  # type: ignore[misc]
            known[key] = _price(client, model, values, log)
        costs.append(known[key])
    return Estimate(tuple(costs))


def refuse_above(limit: Decimal | None, found: Estimate, model: Model) -> None:
    """Refuse a sum that is above the limit.

    :param limit: The most creative units that all may cost together; ``None`` for any.
    :param found: What they would cost.
    :param model: The model's record.
    :raises ScenarioCostLimitError: if they would cost more.
    """
    if limit is not None and found.total > limit:
        raise ScenarioCostLimitError(
            f"{found} with {model.id}, more than max_total={amount(limit)} allows. Nothing was bought. Raise "
            "max_total or ask for less, then clear the task."
        )


def _files_elsewhere(model: Model, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{place}: {path} is not at Scenario yet, so what it leads to has no price. Upload it first with "
        "ObjectStorageToScenarioOperator, and give the id."
        for place, (_, path) in file_paths(model, values).items()
    ]


def _price(client: Client, model: Model, values: Mapping[str, Any], log: Any) -> Decimal:
    try:
        return price_of(client, model.id, values, log)
    except ScenarioDryRunError as alarm:
        raise ScenarioDryRunError(
            f"{alarm} No further price was asked for, and nothing else was bought. Ask for no price until that is "
            f"mended. {job_page(str(alarm.job_id))}",
            said=alarm.said,
            job_id=alarm.job_id,
        ) from None


def _refuse(model: Model, faults: Sequence[str]) -> None:
    if faults:
        shown = [f"- {fault}" for fault in faults[:_MOST_FAULTS_SHOWN]]
        shown += [f"- and {len(faults) - len(shown)} faults more."] if len(faults) > len(shown) else []
        lines = "\n".join(shown)
        raise ScenarioInputError(
            f"The inputs of {model.name} can't be used, so no price was asked and nothing charged:\n{lines}"
        )


def _place(sets: Sequence[Mapping[str, Any]], index: int) -> str:
    """Return how the author finds one of several sets."""
    return f"inputs[{index}]." if len(sets) > 1 else ""
