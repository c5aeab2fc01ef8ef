"""The jobs that files come from, as far as Scenario tells."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import ScenarioError
from airflow_provider_scenario.transfers.progress import Log
from airflow_provider_scenario.transfers.saved_file import SavedFile

if TYPE_CHECKING:
    from airflow_provider_scenario.api.client import ScenarioClient

PARALLEL = 4
"""Jobs that are read at once."""


def jobs_of(files: Sequence[SavedFile], known: Job | None, client: ScenarioClient, log: Log) -> list[Job]:
    """Return the jobs that files come from, each once, in the order of the files.

    A job that can't be read is no reason to lose files that are saved: then only its id is known of it.

    :param files: The files.
    :param known: A job that was read already.
    :param client: Who asks.
    :param log: The task's logger.
    """

    def read(job_id: str) -> Job:
        if known is not None and known.id == job_id:
            return known
        try:
            return client.send(calls.get_job(job_id))
        except ScenarioError as error:
            log.warning("The manifest lacks what is known of job %s: %s", job_id, error)
            return Job(job_id, JobStatus("unknown"))

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="scenario-job") as pool:
        return list(pool.map(read, dict.fromkeys(file.job_id for file in files if file.job_id)))
