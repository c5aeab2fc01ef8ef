"""An author's inputs become a checked request, before anything is paid.

Two steps: what the inputs say is checked at each try, for it tells whether they changed; what they lead to at Scenario
is checked only when something is about to be bought. A job that was bought is landed even if its source is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.inputs import asset_ids, check_asset, check_inputs
from airflow_provider_scenario.api.job_search import Client
from airflow_provider_scenario.api.model import Model, packaged_model
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioInputError, ScenarioTransientError


@dataclass(frozen=True)
class Request:
    """What can be sent.

    :param inputs: The checked inputs by the API's names. Not shown in the repr.
    :param largest_seed: The largest seed the model takes; 0 if it takes none.
    """

    inputs: Mapping[str, Any] = field(repr=False)
    largest_seed: int = 0


def read_model(client: Client, model_id: str, log: Any, *, is_bought: bool) -> Model:
    """Return a model's live record, or the packaged one if that can't be had.

    :param client: Carries the calls.
    :param model_id: The model.
    :param log: Where to say what is odd but no fault.
    :param is_bought: Whether a job of it was bought already: then not even a model that is gone stands in the way.
    :raises ScenarioError: if there is no such model, or it can't be told.
    """
    try:
        model = client.send(calls.get_model(model_id))
    except ScenarioError as error:
        packaged = packaged_model(model_id)
        if packaged is None or not (is_bought or isinstance(error, ScenarioTransientError)):
            raise
        log.warning("%s Checking inputs against the packaged record of %s.", error, model_id)
        return packaged
    if model.successor:
        log.warning("Scenario has deprecated %s in favour of %s.", model.id, model.successor)
    return model


def checked_request(model: Model, given: Mapping[str, Any], *, label: Callable[[str], str]) -> Request:
    """Return what to buy, checked against the model's record.

    :param model: The record.
    :param given: The author's inputs, by the API's names.
    :param label: Returns what the author calls an input of the API.
    :raises ScenarioInputError: naming every fault at once.
    """
    checked = check_inputs(model, given)
    refuse(model, checked.faults, label)
    return Request(checked.values, model.largest_seed)


def check_assets(client: Client, model: Model, values: Mapping[str, Any], *, label: Callable[[str], str]) -> None:
    """Check the assets that checked inputs name.

    :param client: Carries the calls.
    :param model: The model's record.
    :param values: The checked inputs.
    :param label: Returns what the author calls an input of the API.
    :raises ScenarioInputError: naming every fault at once.
    """
    refuse(model, _faults_of_assets(client, model, values), label)


def refuse(model: Model, faults: Sequence[str], label: Callable[[str], str]) -> None:
    """Refuse inputs that have faults, all at once.

    :param model: The model's record.
    :param faults: One sentence each, beginning with the API's name of an input and a colon.
    :param label: Returns what the author calls an input of the API.
    :raises ScenarioInputError: if there is one.
    """
    if faults:
        lines = "\n".join(f"- {_labelled(fault, label)}" for fault in faults)
        raise ScenarioInputError(
            f"The inputs of {model.name} can't be used, so nothing was sent and nothing charged:\n{lines}"
        )


def _faults_of_assets(client: Client, model: Model, values: Mapping[str, Any]) -> tuple[str, ...]:
    places = asset_ids(model, values)
    wanted = list(dict.fromkeys(asset_id for _, asset_id in places.values()))
    assets = client.send(calls.get_assets(wanted)) if wanted else {}
    return tuple(
        fault
        for place, (one, asset_id) in places.items()
        for fault in check_asset(place, one, asset_id, assets.get(asset_id))
    )


def _labelled(fault: str, label: Callable[[str], str]) -> str:
    name = fault.partition(":")[0].partition("[")[0]
    return label(name) + fault[len(name) :]
