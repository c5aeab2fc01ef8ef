"""What the pages read of Scenario: bounded, cached for all viewers, and never slower than a page may be."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.exceptions import ScenarioError
from airflow_provider_scenario.hooks.scenario import ScenarioHook

T = TypeVar("T")

CACHE_SECONDS = 3.0
"""How long a read of a running job serves all viewers."""

MODEL_SECONDS = 3600.0

REPLY_SECONDS = 10.0
"""How long a page waits for one reply of Scenario's."""

SINGLE_READS = 4
"""Jobs that are read one by one; more are searched in the job list first."""

LIST_PAGES = 15
"""Pages of the job list that are read at most; a hundred jobs are on each."""

ASSETS_AT_ONCE = 200
ASSET_CALLS = 6

_RETRY_CONFIG = RetryConfig(attempts=2, longest_wait=1.0)


class Cache(Generic[T]):
    """Values for some time each, the ``size`` last used ones at most. Safe to use in several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._rows: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """Return a value, or ``None`` if there is none, or its time is over."""
        with self._lock:
            until, value = self._rows.get(key, (0.0, None))
            if value is None or time.monotonic() >= until:
                return None
            self._rows.move_to_end(key)
            return value

    def put(self, key: Hashable, value: T, seconds: float) -> None:
        """Keep a value."""
        with self._lock:
            self._rows[key] = (time.monotonic() + seconds, value)
            self._rows.move_to_end(key)
            while len(self._rows) > self._size:
                self._rows.popitem(last=False)


@dataclasses.dataclass(frozen=True)
class Access:
    """One Scenario project as a page asks it: a connection, and the project that its requests name."""

    scenario_conn_id: str
    project_id: str | None = None

    def open(self) -> ScenarioClient:
        """Return a client that does not keep a page waiting."""
        config = self.config()
        config = dataclasses.replace(config, timeout=min(config.timeout, REPLY_SECONDS))
        return ScenarioClient(config, _RETRY_CONFIG)

    def config(self) -> ClientConfig:
        """Return what the connection says."""
        return ScenarioHook(self.scenario_conn_id, self.project_id).get_client_config()


@dataclasses.dataclass(frozen=True)
class ReadJobs:
    """What a read has found.

    :param jobs: Jobs by id; ``None`` for one that Scenario does not know. One that was not asked for is absent.
    :param problem: Why Scenario could not be asked, in words for the page; empty if it could.
    """

    jobs: Mapping[str, Job | None]
    problem: str = ""


class ScenarioReads:
    """Cached reads of jobs, models and files. Jobs that have ended and files that are there change no more."""

    def __init__(self) -> None:
        self._jobs: Cache[tuple[Job | None]] = Cache(5000)
        self._models: Cache[Model] = Cache(200)
        self._assets: Cache[Asset] = Cache(5000)
        self._lists: Cache[tuple[list[Job], bool]] = Cache(50)

    def jobs(self, access: Access, job_ids: Collection[str], since: datetime.datetime | None = None) -> ReadJobs:
        """Return jobs, by the list rather than one by one; ``since``: when the first may have been made, if known."""
        kept = {job_id: self._jobs.get((access, job_id)) for job_id in job_ids}
        seen = {job_id: one[0] for job_id, one in kept.items() if one is not None}
        missing = [job_id for job_id in kept if job_id not in seen]
        if not missing:
            return ReadJobs(seen)
        try:
            with access.open() as client:
                if len(missing) > SINGLE_READS:
                    listed, _ = self._list(client, access, since, until_found=missing)
                    seen |= {job.id: job for job in listed if job.id in kept}
                for job_id in [one for one in missing if one not in seen][:SINGLE_READS]:
                    seen[job_id] = calls.find_job(client, job_id)
                    self._keep(access, job_id, seen[job_id])
        except ScenarioError as error:
            return ReadJobs(seen, str(error))
        return ReadJobs(seen)

    def listed(self, access: Access, since: datetime.datetime) -> tuple[list[Job], bool]:
        """Return the jobs that changed since a time, and whether these are all of them."""
        key = (access, since)
        found = self._lists.get(key)
        if found is None:
            with access.open() as client:
                found = self._list(client, access, since)
            self._lists.put(key, found, CACHE_SECONDS)
        return found

    def model(self, access: Access, model_id: str) -> Model | None:
        """Return a model's record; ``None`` if it can't be had: a page does without."""
        found = self._models.get((access, model_id))
        if found is None:
            try:
                with access.open() as client:
                    found = client.send(calls.get_model(model_id))
            except ScenarioError:
                return None
            self._models.put((access, model_id), found, MODEL_SECONDS)
        return found

    def known_assets(self, access: Access, asset_ids: Iterable[str]) -> dict[str, Asset]:
        """Return the files that are cached; nothing is asked."""
        return {one: kept for one in asset_ids if (kept := self._assets.get((access, one))) is not None}

    def assets(self, access: Access, asset_ids: Iterable[str]) -> dict[str, Asset]:
        """Return what Scenario shows of files, without their addresses; a page does without those it can't have."""
        wanted = list(dict.fromkeys(asset_ids))
        found = self.known_assets(access, wanted)
        missing = [one for one in wanted if one not in found][: ASSETS_AT_ONCE * ASSET_CALLS]
        if not missing:
            return found
        try:
            with access.open() as client:
                for start in range(0, len(missing), ASSETS_AT_ONCE):
                    for asset in client.send(calls.get_assets(missing[start : start + ASSETS_AT_ONCE])).values():
                        found[asset.id] = dataclasses.replace(asset, url="", thumbnail_url="")
                        is_there = asset.status is AssetStatus.SUCCESS
                        self._assets.put((access, asset.id), found[asset.id], 86400.0 if is_there else CACHE_SECONDS)
        except ScenarioError:
            return found
        return found

    def _list(
        self,
        client: ScenarioClient,
        access: Access,
        since: datetime.datetime | None,
        until_found: Collection[str] = (),
    ) -> tuple[list[Job], bool]:
        jobs: list[Job] = []
        wanted, is_all = set(until_found), False
        for page in itertools.islice(calls.read_pages(client, since), LIST_PAGES):
            for job in page.jobs:
                self._keep(access, job.id, job)
            jobs += page.jobs
            wanted -= {job.id for job in page.jobs}
            is_all = page.next_token is None
            if until_found and not wanted:
                break
        return jobs, is_all

    def _keep(self, access: Access, job_id: str, job: Job | None) -> None:
        is_over = job is not None and job.is_finished and not job.lacks_outputs
        self._jobs.put((access, job_id), (job,), 86400.0 if is_over else CACHE_SECONDS)


def fresh_asset(access: Access, asset_id: str, *, original: bool = False) -> Asset:
    """Return a file with an address that was signed just now."""
    with access.open() as client:
        return client.send(calls.get_asset(asset_id, original=original))
