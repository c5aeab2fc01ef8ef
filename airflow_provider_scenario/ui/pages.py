"""What each page shows, from Airflow's facts and Scenario's. Pure: it asks nobody.

An XCom may hold anything that its DAG writes: nothing in it is taken for an address, and what does not look like an id
is left out.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_scenario.api.asset import Asset, asset_page
from airflow_provider_scenario.api.job import Job, JobStatus, job_page, units
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.values import describe_units, format_units, units_or_none
from airflow_provider_scenario.exceptions import redact
from airflow_provider_scenario.links import ERROR_KEY, PAGE_KEY
from airflow_provider_scenario.polling.result import failure_sentences
from airflow_provider_scenario.submission.charges import (
    PURCHASES_KEY,
    ChargeStatus,
    JobCost,
    run_cost_of,
    with_charge,
)

TOTAL_KEY, MANIFEST_KEY = "total", "manifest"
KEYS = (PURCHASES_KEY, PAGE_KEY, MANIFEST_KEY, ERROR_KEY)
"""The XComs that a task's page is made of."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\s*\n\s*")
_MOST_JOBS = 100
_LONGEST_VALUE = 500
_PENDING = ("deferred", "running", "queued", "scheduled", "up_for_reschedule", "restarting")


@dataclass(frozen=True)
class Instance:
    """One task instance, as Airflow's database has it.

    :param name: What Airflow calls it beside its index, such as the prompt; ``None`` without such a name.
    :param xcoms: The values of its XComs of :data:`KEYS`, by key.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None = None
    name: str | None = None
    xcoms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Which jobs a task instance has to do with, and by which connection it knows them.

    :param job_ids: The jobs, the last one last.
    :param charged: What they were charged, in creative units as decimal text, where it was noted.
    :param waits: Since and until when it waits for capacity; empty if it does not.
    :param is_searching: Whether it looks for a job that it may have bought.
    :param has_bought: Whether it has bought the jobs. Else it only looks at them.
    :param unproven_jobs: Those of the jobs that only look like its own: another task may have them.
    """

    scenario_conn_id: str
    project_id: str | None
    job_ids: tuple[str, ...] = ()
    charged: Mapping[str, str] = field(default_factory=dict)
    max_cost: str | None = None
    waits: Mapping[str, float] = field(default_factory=dict)
    is_searching: bool = False
    has_bought: bool = True
    unproven_jobs: tuple[str, ...] = ()


def value_of(stored: Any) -> Any:
    """Return an XCom's value as it was pushed: Airflow's REST API stores it as the text of its JSON."""
    if isinstance(stored, str) and stored[:1] in ("{", "[", '"'):
        try:
            return json.loads(stored)
        except ValueError:
            return stored
    return stored


def source_of(instance: Instance) -> Source | None:
    """Return what a task instance says it bought or looked at; ``None`` if it says nothing that can be read."""
    for key in (PURCHASES_KEY, PAGE_KEY):
        said = _mapping(instance.xcoms.get(key))
        conn_id, project_id, job_ids = said.get("scenario_conn_id"), said.get("project_id"), said.get("job_ids")
        if not isinstance(conn_id, str) or not conn_id or len(conn_id) > 250 or not isinstance(job_ids, list):
            continue
        waits = {name: float(at) for name, at in _mapping(said.get("waits")).items() if isinstance(at, int | float)}
        return Source(
            conn_id,
            project_id if isinstance(project_id, str) and _ID.fullmatch(project_id) else None,
            tuple(one for one in job_ids if isinstance(one, str) and _ID.fullmatch(one))[-_MOST_JOBS:],
            {one: cost for one, cost in _mapping(said.get("charged")).items() if units(cost) is not None},
            said["max_cost"] if units(said.get("max_cost")) is not None else None,
            waits if "since" in waits else {},
            is_searching=said.get("is_searching") is True,
            has_bought=key == PURCHASES_KEY,
            unproven_jobs=tuple(one for one in said.get("unproven_jobs") or () if isinstance(one, str)),
        )
    return None


def is_output(asset_id: str, source: Source, jobs: Mapping[str, Job | None]) -> bool:
    """Return whether a file is an output of one of the task's jobs, by Scenario's own word."""
    return any(job is not None and asset_id in job.asset_ids for job in map(jobs.get, source.job_ids))


def seconds_left(job: Job, model: Model | None, now: datetime.datetime) -> float | None:
    """Return how long a job that runs may still take, by its own pace or by what is usual; ``None``: nobody knows."""
    if job.started_at is None or job.is_finished:
        return None
    ran = max((now - job.started_at).total_seconds(), job.running_seconds or 0.0)
    usual = model.usual.running if model and model.usual else None
    if usual is not None and ran < usual:
        return usual - ran
    return ran / job.progress - ran if job.progress >= 0.1 else None


def job_facts(
    job_id: str,
    job: Job | None,
    source: Source,
    *,
    model: Model | None = None,
    assets: Mapping[str, Asset] | None = None,
    now: datetime.datetime | None = None,
) -> dict[str, Any]:
    """Return what a page tells of one job; how long it may still take only where ``now`` is given."""
    charged = source.charged.get(job_id)
    cost = JobCost.of("", job_id, job, charged)
    facts: dict[str, Any] = {
        "id": job_id,
        "page": job_page(job_id),
        "money": cost.status.value,
        "cost": units_or_none(cost.cost),
    }
    if job is None:
        return {**facts, "state": "unknown", "title": "Scenario does not show this job", "words": [_money(cost)]}
    usual = model.usual if model else None
    inputs = [
        _input(name, value, model) for name, value in job.inputs.items() if name not in ("modelId", "prompt", "seed")
    ]
    prompt = job.inputs.get("prompt")
    facts |= {
        "state": _state(job),
        "status": str(job.status.value),
        "percent": round(job.progress * 100),
        "model_id": job.model_id,
        "model": model.name if model else job.model_id,
        "prompt": _plain(prompt) if prompt else None,
        "seed": None if job.seed is None else str(job.seed),
        "inputs": sorted(inputs, key=lambda one: not one["given"]),
        "python": _python(job, {one["name"] for one in inputs if one["given"]}),
        "queued_seconds": job.queued_seconds,
        "running_seconds": job.running_seconds,
        "usual_running_seconds": usual.running if usual else None,
        "usual_seconds": usual.total if usual else None,
        "left_seconds": seconds_left(job, model, now) if now else None,
        "assets": [_asset(one, (assets or {}).get(one)) for one in job.asset_ids],
    }
    return {
        **facts,
        "title": _title(job),
        "words": _words(with_charge(job, charged), cost, has_bought=source.has_bought),
    }


def task_page(
    instance: Instance, source: Source | None, jobs: Sequence[Mapping[str, Any]], place: Mapping[str, int] | None
) -> dict[str, Any]:
    """Return what a task's page shows, of its jobs the last one first."""
    error = _mapping(instance.xcoms.get(ERROR_KEY))
    page: dict[str, Any] = {
        "state": instance.state,
        "is_pending": instance.state in _PENDING,
        "name": instance.name,
        "connection": source.scenario_conn_id if source else None,
        "max_cost": source.max_cost if source else None,
        "jobs": list(jobs),
        "files": files_of(instance.xcoms.get(MANIFEST_KEY)),
        "error": redact(error["message"]) if isinstance(error.get("message"), str) else None,
        "waits": None,
        "is_searching": bool(source and source.is_searching and instance.state in _PENDING),
    }
    if source and source.waits and page["is_pending"]:
        page["waits"] = {**source.waits, **(place or {})}
    return page


def place_of(instance: Instance) -> dict[str, Any]:
    """Return which task instance of a run it is, for a link to its page."""
    return {"task_id": instance.task_id, "map_index": instance.map_index, "name": instance.name}


def buyer_of(source: Source, others: Iterable[Instance]) -> dict[str, Any] | None:
    """Return which task instance bought the jobs that another one only looks at; ``None`` if none of these did."""
    wanted = set(source.job_ids)
    for other in others:
        found = source_of(other)
        if found is not None and found.has_bought and wanted.intersection(found.job_ids) - {*found.unproven_jobs}:
            return place_of(other)
    return None


def siblings_of(instance: Instance, others: Iterable[Instance]) -> list[dict[str, Any]]:
    """Return what other instances of a mapped task have saved: which file, of which prompt."""
    told = []
    for other in sorted(others, key=lambda one: one.map_index):
        manifest = _mapping(other.xcoms.get(MANIFEST_KEY))
        files = files_of(manifest)
        if other.map_index == instance.map_index or not files:
            continue
        jobs = manifest.get("jobs")
        prompts = (
            [_mapping(_mapping(job).get("inputs")).get("prompt") for job in jobs] if isinstance(jobs, list) else []
        )
        prompt = next((_plain(one) for one in prompts if isinstance(one, str) and one), None)
        told.append({**place_of(other), "prompt": prompt, "file": files[0].get("uri")})
    return told


def files_of(manifest: Any) -> list[dict[str, Any]]:
    """Return the saved files of a manifest, as far as the page tells of them. They are words, never an address."""
    rows = _mapping(manifest).get("files")
    keys = ("uri", "asset_id", "bytes", "width", "height", "duration", "frame_rate", "sha256")
    return [
        {key: _plain(row.get(key)) for key in keys if isinstance(row.get(key), str | int | float)}
        for row in (rows if isinstance(rows, list) else ())[:_MOST_JOBS]
        if isinstance(row, Mapping)
    ]


def run_page(
    rows: Iterable[tuple[Instance, Source, str, Mapping[str, Any], JobCost]], budget: str | None, estimate: str | None
) -> dict[str, Any]:
    """Return what a run's page shows: each job, and what all of them cost, as ``get_run_cost`` counts it."""
    shown: dict[str, dict[str, Any]] = {}
    costs = []
    for instance, source, job_id, facts, cost in rows:
        if source.has_bought:
            costs.append(cost)
        if (source.has_bought and cost.is_proven) or job_id not in shown:
            is_last = job_id == source.job_ids[-1]
            shown[job_id] = {**place_of(instance), "task_state": instance.state, "is_last": is_last, **facts}
    spent = run_cost_of(costs)
    by_status = {status: spent.sum_of((status,)) for status in ChargeStatus}
    return {
        "jobs": list(shown.values()),
        "cost": spent.to_json(),
        "amounts": {status.value: format_units(amount) for status, amount in by_status.items()},
        "words": str(spent),
        "budget": budget,  # the most that the run may cost, where an estimate was held to it
        "estimate": estimate,  # what it was to cost
    }


def named_assets(extra: Any) -> set[str]:
    """Return the files that an Airflow asset's event names, as far as they look like ids."""
    said = _mapping(extra)
    several = said.get("asset_ids")
    named = [said.get("asset_id"), *(several if isinstance(several, list) else ())]
    return {one for one in named if isinstance(one, str) and _ID.fullmatch(one)}


def events_page(rows: Iterable[tuple[Instance, str, Mapping[str, Any], set[str]]]) -> dict[str, Any]:
    """Return what the page of an Airflow asset shows: the files that the task instances of its events made."""
    shown: dict[tuple[str, str], dict[str, Any]] = {}
    # The last event first. A file that no job of the instance made is not shown, whatever the event says.
    for instance, at, facts, named in rows:
        made_here = facts.get("assets", ())
        for asset in [one for one in made_here if one["id"] in named] or made_here:
            place = {"dag_id": instance.dag_id, "run_id": instance.run_id, **place_of(instance), "at": at}
            shown.setdefault((facts["id"], asset["id"]), {**facts, **place, "is_last": True, "assets": [asset]})
    return {"jobs": list(shown.values())}


def budget_of(instances: Iterable[Instance]) -> tuple[str | None, str | None]:
    """Return the sums of what the run's estimates allowed, and of what they had found; ``None`` where there is none."""
    limits, totals = [], []
    for instance in instances:
        limit = units(_mapping(instance.xcoms.get(PAGE_KEY)).get("max_total_cost"))
        total = units(instance.xcoms.get(TOTAL_KEY)) if limit is not None else None
        limits += [limit] if limit is not None else []
        totals += [total] if total is not None else []
    return (
        format_units(sum(limits, Decimal(0))) if limits else None,
        format_units(sum(totals, Decimal(0))) if totals else None,
    )


def _state(job: Job) -> str:
    if job.status is JobStatus.SUCCESS:
        return "done"
    if job.status in (JobStatus.FAILURE, JobStatus.CANCELED):
        return "failed"
    return "queued" if job.status.is_queued else "running"


def _title(job: Job) -> str:
    match job.status:
        case JobStatus.SUCCESS:
            return "Done"
        case JobStatus.CANCELED:
            return "Canceled at Scenario"
        case JobStatus.FAILURE:
            return "Blocked by moderation" if job.is_moderated else "Failed at Scenario"
        case status if status.is_queued:
            return "In Scenario's queue"
        case _:
            return f"{job.progress:.0%}"


def _words(job: Job, cost: JobCost, *, has_bought: bool) -> list[str]:
    """Return the sentences below the title: Scenario's reason, the money, what to do."""
    if not job.is_finished:
        return ["No worker is held while it waits." if has_bought else "", _money(cost)]
    return [line for sentence in failure_sentences(job) for line in _lines(sentence)]


def _lines(text: str) -> list[str]:
    """Return a text sentence by sentence, and its lines as they are."""
    return [one for one in _SENTENCE_END.split(text.strip()) if one]


def _money(cost: JobCost) -> str:
    amount = "An unknown amount" if cost.cost is None else describe_units(cost.cost).capitalize()
    return f"{amount} {'may have been' if cost.status is ChargeStatus.UNKNOWN else 'are'} charged."


def _input(name: str, value: Any, model: Model | None) -> dict[str, Any]:
    """Return one input, and whether it differs from what Scenario takes by itself."""
    record = next((one for one in model.inputs if one.name == name), None) if model else None
    given = record is None or record.default is None or value != record.default
    return {"name": name[:100], "value": _plain(value), "given": given}


def _python(job: Job, given: Collection[str]) -> str | None:
    """Return an operator that asks for the same, as Python; ``None`` where what the page shows is not all of it."""
    inputs = {name: _number(value) for name, value in job.inputs.items() if name in given or name == "prompt"}
    # Scenario's echo of a long prompt is the id of a text asset.
    is_whole = all(_plain(value) == _text(value) for value in inputs.values())
    if job.model_id is None or not is_whole or str(inputs.get("prompt")).startswith("asset_"):
        return None
    return f"ScenarioGenerateOperator(task_id='again', model_id={job.model_id!r}, inputs={inputs!r})"


def _asset(asset_id: str, asset: Asset | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": asset_id, "page": asset_page(asset_id), "kind": "", "type": ""}
    if asset is None:
        return facts
    sizes = {"bytes": asset.size, "width": asset.width, "height": asset.height, "duration": asset.duration}
    return {**facts, "kind": asset.kind, "type": asset.mime_type, "frame_rate": asset.frame_rate, **sizes}


def _plain(value: Any) -> str:
    """Return a value as short text, without what a signed address in it would give away."""
    text = _text(value)
    if text.startswith("data:"):
        return "data:…"
    text = redact(text)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_number(value), ensure_ascii=False, default=str)


def _number(value: Any) -> Any:
    """Return a whole number as an int: Scenario's echo of one may come with a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _mapping(value: Any) -> Mapping[str, Any]:
    value = value_of(value)
    return value if isinstance(value, Mapping) else {}
