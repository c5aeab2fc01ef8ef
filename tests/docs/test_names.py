"""Every public name stands on a page, and the pages of docstrings are those of today's docstrings."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from airflow_provider_scenario import exceptions
from airflow_provider_scenario.get_provider_info import get_provider_info
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.polling import CAPACITY_TIMEOUT, POLL_INTERVAL, WAIT_TIMEOUT
from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from airflow_provider_scenario.triggers.job import ScenarioJobTrigger
from tests.docs.pages import FOLDER, REFERENCE, REPOSITORY
from tools.reference import pages

INFO = get_provider_info()
MODULES = [
    *(
        module
        for kind in ("hooks", "operators", "sensors", "triggers")
        for row in INFO[kind]
        for module in row["python-modules"]
    ),
    *(row["python-module"] for row in INFO["transfers"]),
    "airflow_provider_scenario.retry_policy",
    "airflow_provider_scenario.run_cost",
    "airflow_provider_scenario.exceptions",
    "airflow_provider_scenario.links",
]


def public_names() -> set[str]:
    names: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        exported = getattr(module, "__all__", None)
        own = {key for key, one in vars(module).items() if inspect.isclass(one) and one.__module__ == name}
        names |= set(exported) if exported else {key for key in own if not key.startswith("_")}
    verbs = {name for name, one in vars(ScenarioHook).items() if inspect.isfunction(one) and not name.startswith("_")}
    return names | verbs


HEADINGS = {
    head.strip() for page in REFERENCE for head in re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
}


@pytest.mark.parametrize("name", sorted(public_names()))
def test_a_public_name_has_its_place_in_the_reference(name: str) -> None:
    assert name in HEADINGS


def test_the_reference_is_that_of_todays_docstrings() -> None:
    there = {page.name: page.read_text() for page in REFERENCE}
    assert there == pages(), "make reference writes it anew"


@pytest.mark.parametrize(
    ("documented", "parameter", "default"),
    [
        (ScenarioGenerateOperator, "poll_interval", POLL_INTERVAL),
        (ScenarioGenerateOperator, "timeout", WAIT_TIMEOUT),
        (ScenarioGenerateOperator, "capacity_timeout", CAPACITY_TIMEOUT),
        (ScenarioJobSensor, "poke_interval", POLL_INTERVAL),
        (ScenarioJobSensor, "timeout", WAIT_TIMEOUT),
        (ScenarioJobTrigger, "poll_interval", POLL_INTERVAL),
        (ScenarioHook.wait_for_job, "poll_interval", POLL_INTERVAL),
        (ScenarioHook.wait_for_job, "timeout", WAIT_TIMEOUT),
    ],
)
def test_the_defaults_of_waiting_are_told(documented: object, parameter: str, default: float) -> None:
    told = re.search(rf":param {parameter}:[^:]*Default ([\d,]+)\.", inspect.getdoc(documented) or "")
    assert told
    assert float(told[1].replace(",", "")) == default


def test_the_pages_tell_the_default_of_the_poll_interval() -> None:
    triggers, slots = ((FOLDER / f"{name}.md").read_text() for name in ("sensor-and-triggers", "never-hold-a-slot"))
    assert f"every `poll_interval` seconds, {POLL_INTERVAL:.0f} by\ndefault" in triggers
    assert f"every {POLL_INTERVAL:.0f} s\n(`poll_interval`)" in slots


def test_every_error_has_a_row_in_troubleshooting() -> None:
    text = (FOLDER / "troubleshooting.md").read_text()
    classes = [
        one for one in vars(exceptions).values() if inspect.isclass(one) and issubclass(one, exceptions.ScenarioError)
    ]
    raised = [
        one.__name__
        for one in classes
        if one.__bases__ != (Exception,) and one.__base__ is not exceptions.ScenarioError
    ]
    assert [name for name in raised if f"| `{name}` |" not in text] == []


def test_every_verb_of_the_hook_is_on_its_page() -> None:
    text = (FOLDER / "hook.md").read_text()
    verbs = [name for name, one in vars(ScenarioHook).items() if inspect.isfunction(one) and not name.startswith("_")]
    assert [verb for verb in verbs if f"`{verb}`" not in text] == []


def test_every_operator_is_in_the_table() -> None:
    text = (REPOSITORY / "docs" / "operators.md").read_text()
    operators = [name for name in public_names() if name.endswith(("Operator", "Sensor"))]
    assert [name for name in operators if name not in text] == []
