"""What importing providers adds to a process that has ``airflow.sdk``: what every parse of a DAG file pays.

Prints, for this provider and for peers, the median milliseconds and the growth of memory over fresh processes, taken
in turn so that a noisy machine is noisy for all of them. Needs the dependency group ``benchmark`` for the peers.

Run it with: ``python benchmarks/parse.py [--rounds 15]``
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys

PROVIDERS = {
    "scenario": [
        "airflow_provider_scenario.operators.estimate",
        "airflow_provider_scenario.operators.generate",
        "airflow_provider_scenario.operators.wan",
        "airflow_provider_scenario.sensors.job",
        "airflow_provider_scenario.transfers.scenario_to_object_storage",
        "airflow_provider_scenario.transfers.object_storage_to_scenario",
    ],
    "http": ["airflow.providers.http.operators.http", "airflow.providers.http.sensors.http"],
    "openai": ["airflow.providers.openai.operators.openai"],
    "databricks": [
        "airflow.providers.databricks.operators.databricks",
        "airflow.providers.databricks.sensors.databricks",
    ],
}

PROBE = """
import importlib, json, resource, sys, time
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, Asset, ObjectStoragePath, Param
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
seconds = time.perf_counter() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
print(json.dumps({"milliseconds": seconds * 1000, "mebibytes": grown / 1024}))
"""


def is_installed(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def measure(modules: list[str]) -> dict[str, float]:
    """Return what importing the modules adds to a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    printed = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(modules)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout
    measured: dict[str, float] = json.loads(printed.splitlines()[-1])
    return measured


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="fresh processes for each provider (default 15)")
    rounds = parser.parse_args().rounds
    present = {name: modules for name, modules in PROVIDERS.items() if is_installed(modules[0])}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in present}
    for modules in present.values():
        measure(modules)  # the first import writes bytecode
    for _ in range(rounds):
        for name, modules in present.items():
            results[name].append(measure(modules))
    ours = statistics.median(row["milliseconds"] for row in results["scenario"])
    print(f"{'provider':<12} {'median ms':>10} {'fastest ms':>11} {'MiB':>6} {'times ours':>11}")
    for name, rows in results.items():
        times = [row["milliseconds"] for row in rows]
        memory = statistics.median(row["mebibytes"] for row in rows)
        median = statistics.median(times)
        print(f"{name:<12} {median:>10.1f} {min(times):>11.1f} {memory:>6.1f} {median / ours:>11.1f}")
    for name in PROVIDERS.keys() - present.keys():
        print(f"{name:<12} not installed")


if __name__ == "__main__":
    main()
