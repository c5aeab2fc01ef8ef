"""What Airflow's API server answers for the pages. It is imported with the first request, by the API server alone.

Who may see what is Airflow's to say: a task's and a run's page are for who may read the DAG's tasks and XComs, a
connection's page is for who may read the connection. Airflow's database is let go before Scenario is asked, which may
take seconds: else a few slow viewers would hold all of its connections.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar

import anyio
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import (
    GetUserDep,
    requires_access_asset,
    requires_access_connection,
    requires_access_dag,
)
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.exceptions import ScenarioError, ScenarioNotFoundError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import PAGE_KEY
from airflow_provider_scenario.submission.charges import PURCHASES_KEY, JobCost, run_cost_of
from airflow_provider_scenario.ui import database, fleet, media, pages
from airflow_provider_scenario.ui.pages import Instance, Source
from airflow_provider_scenario.ui.reads import Access, ReadJobs, ScenarioReads, fresh_asset

T = TypeVar("T")

app = FastAPI(title="Scenario", docs_url=None, redoc_url=None, openapi_url=None)
reads = ScenarioReads()

_SCRIPT = (FilePath(__file__).parent / "static" / "scenario.js").read_bytes()

_NEEDED = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What of a DAG a user must be allowed to read to see what its tasks made."""

MAY_SEE_TASKS = [Depends(requires_access_dag(method="GET", access_entity=entity)) for entity in _NEEDED]
MAY_SEE_ASSET = [Depends(requires_access_asset("GET"))]
MAY_SEE_CONNECTION = [Depends(requires_access_connection("GET"))]

Id = Annotated[str, Path(max_length=250)]
MapIndex = Annotated[int, Path(ge=-1, le=2**31 - 1)]
AirflowAssetId = Annotated[int, Path(ge=0, le=2**31 - 1)]
Place = tuple[str, str, str, int]
AssetId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@app.exception_handler(ScenarioError)
def error_reply(_: Request, error: ScenarioError) -> JSONResponse:
    """Return an error with the message that tasks show."""
    status = 404 if isinstance(error, ScenarioNotFoundError) else 502
    return JSONResponse({"detail": str(error)}, status, headers=media.PRIVATE)


@app.get("/static/scenario.js")
def script() -> Response:
    """Give the pages' script: it is the same for all, and holds nothing of anybody."""
    return Response(_SCRIPT, media_type="text/javascript", headers={"Cache-Control": "public, max-age=3600"})


@app.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}", dependencies=MAY_SEE_TASKS)
async def task(dag_id: Id, run_id: Id, task_id: Id, map_index: MapIndex) -> Response:
    """Tell what one task instance made, or how far it is."""
    return _private(await _in_thread(_task_page, dag_id, run_id, task_id, map_index))


@app.get("/dags/{dag_id}/runs/{run_id}", dependencies=MAY_SEE_TASKS)
async def run(dag_id: Id, run_id: Id) -> Response:
    """Tell what a run made, and what it cost."""
    return _private(await _in_thread(_run_page, dag_id, run_id))


@app.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/assets/{asset_id}", dependencies=MAY_SEE_TASKS)
async def asset(
    request: Request,
    dag_id: Id,
    run_id: Id,
    task_id: Id,
    map_index: MapIndex,
    asset_id: AssetId,
    download: Annotated[bool, Query()] = False,
    poster: Annotated[bool, Query()] = False,
) -> Response:
    """Give a file, if it is one that this task's jobs made."""
    place = (dag_id, run_id, task_id, map_index)
    return await _in_thread(_file, place, asset_id, request.headers.get("range"), download, poster)


@app.get("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/poster", dependencies=MAY_SEE_TASKS)
async def poster(dag_id: Id, run_id: Id, task_id: Id, map_index: MapIndex) -> Response:
    """Give a small picture of the task's first file: an approval's question can't know the file's id."""
    return await _in_thread(_poster, (dag_id, run_id, task_id, map_index))


@app.get("/assets/{asset_id}", dependencies=MAY_SEE_ASSET)
async def airflow_asset(asset_id: AirflowAssetId, user: GetUserDep) -> Response:
    """Tell what the task instances made that updated an Airflow asset; of DAGs that the user may read."""
    events = await _in_thread(database.events_of, asset_id)

    def readable() -> set[str]:
        manager = get_auth_manager()
        return {
            dag_id
            for dag_id in {one.dag_id for one, _, _ in events} & manager.get_authorized_dag_ids(user=user)
            if all(
                manager.is_authorized_dag(method="GET", access_entity=entity, details=DagDetails(id=dag_id), user=user)
                for entity in _NEEDED
            )
        }

    return _private(await _in_thread(_asset_page, events, await anyio.to_thread.run_sync(readable)))


@app.get("/fleet", dependencies=MAY_SEE_CONNECTION)
async def connections() -> Response:
    """Name the connections that tasks wait on."""
    waiting = await _in_thread(database.waiting)
    return _private({"connections": sorted({one.scenario_conn_id for _, one in waiting})})


@app.get("/fleet/{connection_id}", dependencies=MAY_SEE_CONNECTION)
async def connection(connection_id: Id, user: GetUserDep) -> Response:
    """Tell what waits on a connection, over all DAGs; rows only of DAGs that the user may read."""
    readable = await anyio.to_thread.run_sync(lambda: get_auth_manager().get_authorized_dag_ids(user=user))
    return _private(await _in_thread(_fleet_page, connection_id, readable))


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    return await anyio.to_thread.run_sync(work, *arguments, limiter=media.slots())


def _private(document: dict[str, Any]) -> Response:
    return JSONResponse(document, headers=media.PRIVATE)


def _task_page(dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    instance = database.instance_at(dag_id, run_id, task_id, map_index)
    source = pages.source_of(instance)
    facts: list[dict[str, Any]] = []
    problem = ""
    if source is not None and source.job_ids:
        access = _access(source)
        seen = reads.jobs(access, source.job_ids)
        problem = seen.problem
        facts = _facts(access, source, seen)
    place = fleet.place_in_line(instance, source, database.waiting()) if source and source.waits else None
    page = pages.task_page(instance, source, facts, place) | {"problem": problem}
    page["bought_by"] = None if source is None or source.has_bought else _buyer(instance, source)
    page["siblings"] = _siblings(instance)
    if not page["files"] and facts:
        page["files"] = _saved_files(instance, facts[0])
    return page


def _facts(access: Access, source: Source, seen: ReadJobs) -> list[dict[str, Any]]:
    now = datetime.datetime.now(datetime.UTC)
    jobs = [(job_id, seen.jobs[job_id]) for job_id in reversed(source.job_ids) if job_id in seen.jobs]
    assets = reads.assets(access, [one for _, job in jobs if job is not None for one in job.asset_ids])
    facts = []
    for job_id, job in jobs:
        model = reads.model(access, job.model_id) if job is not None and job.model_id else None
        facts.append(pages.job_facts(job_id, job, source, model=model, assets=assets, now=now))
    return facts


def _saved_files(instance: Instance, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Return where tasks of the same run, unmapped or of the same index, have saved a job's files."""
    wanted = {one["id"] for one in job.get("assets", ())}
    if not wanted:
        return []
    files = [
        one for other in database.savers_beside(instance) for one in pages.files_of(other.xcoms.get(pages.MANIFEST_KEY))
    ]
    return [one for one in files if one.get("asset_id") in wanted]


def _buyer(instance: Instance, source: Source) -> dict[str, Any] | None:
    """Return which task of the same run bought what this one only looks at."""
    others = database.instances_of_run(instance.dag_id, instance.run_id, keys=(PURCHASES_KEY,))
    return pages.buyer_of(source, others)


def _siblings(instance: Instance) -> list[dict[str, Any]]:
    """Return what the instances of a mapped task saved that are near to this one."""
    if instance.map_index < 0 or not pages.files_of(instance.xcoms.get(pages.MANIFEST_KEY)):
        return []
    return pages.siblings_of(instance, database.savers_near(instance))


def _run_page(dag_id: str, run_id: str) -> dict[str, Any]:
    started = database.run_started(dag_id, run_id)
    keys = (PURCHASES_KEY, PAGE_KEY, pages.TOTAL_KEY)
    instances = database.instances_of_run(dag_id, run_id, keys)
    sources = [(one, source) for one in instances if (source := pages.source_of(one)) is not None]
    seen = _read_all([source for _, source in sources], started)
    for access, read in seen.items():
        reads.assets(access, [one for job in read.jobs.values() if job for one in job.asset_ids[:1]])
    rows, unread = [], 0
    for instance, source in sources:
        access = _access(source)
        for job_id in source.job_ids:
            is_seen = job_id in seen[access].jobs
            unread += not is_seen
            job = seen[access].jobs.get(job_id)
            facts = _short(access, source, job_id, job)
            is_proven = job_id not in source.unproven_jobs
            cost = JobCost.of(_name(instance), job_id, job, source.charged.get(job_id), is_proven=is_proven)
            rows.append((instance, source, job_id, facts, cost))
    budget, estimate = pages.budget_of(instances)
    return pages.run_page(rows, budget, estimate) | {"problem": _problems(seen), "unread": unread}


def _asset_page(events: list[tuple[Instance, str, set[str]]], readable: set[str]) -> dict[str, Any]:
    shown = [
        (one, source, at, named)
        for one, at, named in events
        if one.dag_id in readable and (source := pages.source_of(one)) is not None
    ]
    seen = _read_all([source for _, source, _, _ in shown])
    for access, read in seen.items():
        reads.assets(access, [one for job in read.jobs.values() if job for one in job.asset_ids])
    rows = [
        (one, at, _short(access, source, job_id, seen[access].jobs[job_id]), named)
        for one, source, at, named in shown
        for access in [_access(source)]
        for job_id in source.job_ids
        if job_id in seen[access].jobs
    ]
    return pages.events_page(rows) | {
        "problem": _problems(seen),
        "unread": len(
            {
                (_access(source), job_id)
                for _, source, _, _ in shown
                for job_id in source.job_ids
                if job_id not in seen[_access(source)].jobs
            }
        ),
        "hidden": sum(one.dag_id not in readable for one, _, _ in events),
    }


def _short(access: Access, source: Source, job_id: str, job: Job | None) -> dict[str, Any]:
    """Return what a gallery tells of a job: what it knows already, and no inputs."""
    made = job.asset_ids if job else ()
    model = reads.model(access, job.model_id) if job and job.model_id else None
    facts = pages.job_facts(job_id, job, source, model=model, assets=reads.known_assets(access, made))
    return {key: value for key, value in facts.items() if key not in ("inputs", "python")}


def _access(source: Source) -> Access:
    return Access(source.scenario_conn_id, source.project_id)


def _read_all(sources: Iterable[Source], since: datetime.datetime | None = None) -> dict[Access, ReadJobs]:
    """Return the jobs of many task instances, read together where they are of one project."""
    wanted: dict[Access, dict[str, None]] = {}
    for source in sources:
        wanted.setdefault(_access(source), {}).update(dict.fromkeys(source.job_ids))
    return {access: reads.jobs(access, list(job_ids), since) for access, job_ids in wanted.items()}


def _problems(seen: Mapping[Access, ReadJobs]) -> str:
    return " ".join(read.problem for read in seen.values() if read.problem)


def _name(instance: Instance) -> str:
    return instance.task_id if instance.map_index < 0 else f"{instance.task_id}[{instance.map_index}]"


def _fleet_page(connection_id: str, readable: set[str]) -> dict[str, Any]:
    waiting = [(one, source) for one, source in database.waiting() if source.scenario_conn_id == connection_id]
    midnight = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    jobs: list[Job] = []
    today, is_all, problem = None, True, ""
    # One that no task uses may be another service's, whose login and password Scenario must not get.
    if waiting or connection_id == ScenarioHook.default_conn_name:
        try:
            jobs, is_all = reads.listed(Access(connection_id), midnight)
        except ScenarioError as error:
            problem = str(error)
        made = [job for job in jobs if job.created_at and job.created_at >= midnight]
        today = run_cost_of([JobCost.of("", job.id, job) for job in made]).to_json()
    page = fleet.fleet_page(waiting, jobs, readable, time.time())
    return {**page, "today": today, "is_all": is_all, "problem": problem, "connection": connection_id}


def _file(place: Place, asset_id: str, byte_range: str | None, download: bool, poster: bool) -> Response:
    source = database.source_at(*place)
    access = _access(source)
    seen = reads.jobs(access, source.job_ids)
    if not pages.is_output(asset_id, source, seen.jobs):
        # The same words whether there is such a file or not.
        raise HTTPException(404, seen.problem or "This task has made no such file.", headers=media.PRIVATE)
    found = fresh_asset(access, asset_id, original=download)
    if poster:
        return _picture(access, found)
    if found.status is not AssetStatus.SUCCESS:
        raise HTTPException(503, "Scenario is still making this file.", headers={**media.PRIVATE, "Retry-After": "5"})
    if conf.get("scenario", "media", fallback="redirect") == "proxy":
        return media.proxy(access, found, byte_range, download=download)
    return media.redirect(found, access.config().base_url)


def _poster(place: Place) -> Response:
    source = database.source_at(*place)
    access = _access(source)
    jobs = reads.jobs(access, source.job_ids).jobs
    for job_id in reversed(source.job_ids):
        job = jobs.get(job_id)
        if job is not None and job.asset_ids:
            return _picture(access, fresh_asset(access, job.asset_ids[0]))
    raise HTTPException(404, "This task has made no file yet.", headers=media.PRIVATE)


def _picture(access: Access, found: Asset) -> Response:
    if not found.thumbnail_url:
        raise HTTPException(404, "Scenario has no picture of this file.", headers=media.PRIVATE)
    return media.poster(access, found)
