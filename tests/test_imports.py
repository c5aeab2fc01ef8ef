"""What the package may import: from whom, and what it must not make every DAG parse pay for."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_scenario
from airflow_provider_scenario.get_provider_info import get_provider_info

PACKAGE = "airflow_provider_scenario"
ROOT = Path(airflow_provider_scenario.__file__).parent
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(ROOT.rglob("*.py"))
}

BELOW = {"api", "exceptions"}


def room(module: str) -> str:
    return module.partition(".")[0] or "__init__"


TOP = frozenset({"airflow", "arguments", "hooks", "links", "polling", "retry_policy", "triggers", *BELOW})

MAY_IMPORT: dict[str, frozenset[str]] = {
    # A room, and what it may import beside itself: rooms of the package, and "airflow" where it may know Airflow.
    "__init__": frozenset(),
    "sandbox": frozenset(),
    "get_provider_info": frozenset(),
    "exceptions": frozenset(),
    "api": frozenset({"exceptions"}),
    "arguments": frozenset({"airflow", *BELOW}),
    "submission": frozenset({"airflow", "files", "hooks", "links", "polling", *BELOW}),
    "polling": frozenset({"airflow", *BELOW}),
    "hooks": frozenset({"airflow", "arguments", "files", "polling", *BELOW}),
    "retry_policy": frozenset({"airflow", "exceptions"}),
    "links": frozenset({"airflow", *BELOW}),
    "triggers": frozenset({"airflow", "hooks", "links", "polling", *BELOW}),
    "run_cost": frozenset({"airflow", "hooks", "submission", *BELOW}),
    "files": frozenset({"airflow", "media", *BELOW}),
    "media": frozenset(BELOW),
    "ui": frozenset({"__init__", "airflow", "files", "hooks", "links", "polling", "submission", *BELOW}),
    "operators": TOP | {"files", "submission"},
    "sensors": TOP,
    "transfers": TOP | {"files"},
}


def imported(file: Path) -> Iterator[str]:
    """Yield every module that a file imports, at its top or in a function, for types only or for good."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            assert node.module
            yield node.module
            # A name may be a module: from package import module.
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == PACKAGE)


def test_the_rooms_are_all_here() -> None:
    assert {room(module) for module in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", FILES)
def test_arrows_point_down_only(module: str) -> None:
    own = room(module)
    allowed = MAY_IMPORT[own] | {own}
    for name in imported(FILES[module]):
        top, _, rest = name.partition(".")
        if top == PACKAGE and rest:
            assert room(rest) in allowed, f"{module} imports {name}"
        elif top == "airflow":
            assert "airflow" in allowed, f"{module} imports {name}"


def test_no_two_rooms_import_each_other() -> None:
    """Else "down" would mean nothing."""
    left: dict[str, set[str]] = {}
    for module, file in FILES.items():
        names = {name.removeprefix(f"{PACKAGE}.") for name in imported(file) if name.startswith(f"{PACKAGE}.")}
        left.setdefault(room(module), set()).update({room(name) for name in names} & set(MAY_IMPORT) - {room(module)})
    while left:
        ground = {own for own, below in left.items() if not below & set(left)}
        assert ground, f"these import each other: {sorted(left)}"
        left = {own: below for own, below in left.items() if own not in ground}


def test_the_official_client_is_for_tests_only() -> None:
    assert not [module for module, file in FILES.items() if any("scenario_sdk" in name for name in imported(file))]


def loaded_by(modules: list[str], home: Path) -> set[str]:
    """Import modules in a fresh process that has Airflow's SDK, and return all that is loaded then."""
    code = (
        "import importlib, json, sys\n"
        "import airflow.sdk\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(home)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=120
    ).stdout
    loaded = set(json.loads(printed.splitlines()[-1]))
    assert set(modules) <= loaded
    return loaded


def test_no_room_but_the_clients_pays_for_a_client(tmp_path: Path) -> None:
    modules = [
        f"{PACKAGE}.{module}"
        for module in FILES
        if room(module)
        in ("files", "media", "operators", "sensors", "run_cost", "transfers", "triggers", "links", "get_provider_info")
    ]
    loaded = loaded_by(modules, tmp_path)
    assert not loaded & {"requests", "av", "fastapi", "uvicorn", "scenario_sdk"}


def test_a_dag_parse_pays_for_nothing_that_only_a_task_needs(tmp_path: Path) -> None:
    """Airflow imports the operators anew at every parse of a DAG file."""
    info = get_provider_info()
    names = [
        *(name for kind in ("operators", "sensors") for one in info[kind] for name in one["python-modules"]),
        *(one["python-module"] for one in info["transfers"]),
    ]
    loaded = loaded_by(names, tmp_path)
    assert not {name for name in loaded if name.startswith(f"{PACKAGE}.submission.")}
    at_parse = {name.removeprefix(f"{PACKAGE}.") for name in loaded if name.startswith(f"{PACKAGE}.")}
    # Of the API and the wait just what arguments are checked with: dataclasses of jobs and models take milliseconds.
    assert {name for name in at_parse if room(name) == "api"} == {"api", "api.config", "api.values"}
    assert {name for name in at_parse if room(name) in ("files", "polling")} == {"polling"}


def test_the_plugin_costs_every_process_next_to_nothing(tmp_path: Path) -> None:
    """Airflow imports it in each component and in each task; the pages behind it are the API server's alone."""
    code = (
        "import airflow.configuration, airflow.plugins_manager, importlib, json, sys, time\n"
        "import airflow_provider_scenario\n"
        "before, started = set(sys.modules), time.perf_counter()\n"
        f"importlib.import_module('{PACKAGE}.ui.plugin')\n"
        "print(json.dumps([time.perf_counter() - started, sorted(set(sys.modules) - before)]))"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    costs = []
    for _ in range(3):
        printed = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=120
        ).stdout
        seconds, loaded = json.loads(printed.splitlines()[-1])
        assert set(loaded) == {f"{PACKAGE}.ui", f"{PACKAGE}.ui.plugin"}
        costs.append(seconds)
    assert min(costs) < 0.005


def test_only_the_plugin_is_there_for_airflow_to_find_the_pages() -> None:
    users = {module for module, file in FILES.items() if any(f"{PACKAGE}.ui" in name for name in imported(file))}
    assert {room(module) for module in users} == {"ui"}
