"""What Airflow reads of the provider, judged by Airflow itself."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_scenario
from airflow_provider_scenario.get_provider_info import get_provider_info
from airflow_provider_scenario.links import ScenarioPageLink
from airflow_provider_scenario.operators.model import ScenarioModelOperator
from airflow_provider_scenario.ui import plugin
from tests.this_airflow import needs_connection_fields

INFO = get_provider_info()


def modules_of(kind: str) -> set[str]:
    package = importlib.import_module(f"airflow_provider_scenario.{kind}")
    return {f"{package.__name__}.{one.name}" for one in pkgutil.iter_modules(package.__path__)}


def named_modules() -> set[str]:
    kinds = ("hooks", "operators", "sensors", "triggers")
    listed = {module for kind in kinds for row in INFO[kind] for module in row["python-modules"]}
    return listed | {row["python-module"] for row in INFO["transfers"]}


def named_classes() -> list[str]:
    return [*INFO["extra-links"], *(row["hook-class-name"] for row in INFO["connection-types"])]


def test_is_what_airflows_schema_wants() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)
    broken = {**INFO, "connection-types": [{"connection-type": 5}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.mark.parametrize("name", sorted(named_modules()))
def test_every_module_it_names_imports(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", named_classes())
def test_every_class_it_names_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), attribute), type)


@pytest.mark.parametrize(
    ("kind", "base"),
    [("hooks", BaseHook), ("operators", BaseOperator), ("sensors", BaseSensorOperator), ("triggers", BaseTrigger)],
)
def test_none_is_forgotten(kind: str, base: type) -> None:
    defining = {
        name
        for name in modules_of(kind)
        for one in vars(importlib.import_module(name)).values()
        if isinstance(one, type) and issubclass(one, base) and one.__module__ == name
    }
    assert sorted(defining) == [module for row in INFO[kind] for module in row["python-modules"]]


def test_integrations_are_named_alike() -> None:
    declared = {row["integration-name"] for row in INFO["integrations"]}
    used = {row["integration-name"] for kind in ("hooks", "operators", "sensors", "triggers") for row in INFO[kind]}
    assert used == declared


def test_airflow_finds_it() -> None:
    manager = ProvidersManager()
    assert manager.providers["airflow-provider-scenario"].version == airflow_provider_scenario.__version__
    assert set(INFO["extra-links"]) <= set(manager.extra_links_class_names)


@needs_connection_fields
def test_the_connection_form_is_complete() -> None:
    """As the user interface asks for it."""
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "scenario"]
    shown: Any = form.model_dump()
    assert shown["hook_name"] == "Scenario"
    assert shown["hook_class_name"] == "airflow_provider_scenario.hooks.scenario.ScenarioHook"
    standard = shown["standard_fields"]
    assert standard["login"]["title"] == "API key"
    assert standard["password"]["title"] == "API secret"
    assert standard["host"]["title"] == "Base URL"
    assert standard["port"]["hidden"] is True
    assert standard["url_schema"]["hidden"] is True
    assert set(shown["extra_fields"]) == {"project_id", "request_timeout"}
    assert shown["extra_fields"]["request_timeout"]["value"] == 60


def test_airflows_command_line_shows_it(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # One process for both: starting Airflow is what takes the time.
    both = "from airflow.cli.commands import provider_command as shows\n" + "".join(
        f"shows.{name}(parser.parse_args({arguments!r}))\n"
        for name, arguments in (
            ("providers_list", ["providers", "list", "-o", "plain"]),
            ("hooks_list", ["providers", "hooks", "-o", "plain"]),
        )
    )
    code = f"from airflow.cli.cli_parser import get_parser\nparser = get_parser()\n{both}"
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=120
    ).stdout
    rows = [line.split() for line in shown.splitlines()]
    assert any(row[0] == "airflow-provider-scenario" for row in rows if row)
    assert any({"scenario", "airflow_provider_scenario.hooks.scenario.ScenarioHook"} <= set(row) for row in rows)


def test_every_operator_with_a_page_gets_the_tab_of_airflow_3_4() -> None:
    """The plugin names them, since to import them would cost every process."""
    kinds = [f"airflow_provider_scenario.{kind}" for kind in ("operators", "sensors", "transfers")]
    modules = [importlib.import_module(name) for name in sorted(named_modules()) if name.startswith(tuple(kinds))]
    with_a_page = {
        name
        for module in modules
        for name, one in vars(module).items()
        if isinstance(one, type)
        and not name.startswith("_")
        and one is not ScenarioModelOperator
        and any(isinstance(link, ScenarioPageLink) for link in getattr(one, "operator_extra_links", ()))
    }
    assert with_a_page == set(plugin.OPERATORS)
