"""Search Scenario's job list, which comes in pages."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Protocol, TypeVar

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.job import Job, JobPage

T = TypeVar("T")

MAX_PAGES = 200
"""Pages of a hundred jobs to read at most."""


class Client(Protocol):
    """What sends calls: a :class:`~airflow_provider_scenario.api.client.ScenarioClient`."""

    def send(self, call: Call[T], /) -> T:
        """Send a call and return what its reply says."""


def read_pages(client: Client, updated_after: datetime.datetime | None) -> Iterator[JobPage]:
    """Yield the pages of the job list, the jobs that changed last first.

    The last page yielded still has a ``next_token`` if the list did not end after :data:`MAX_PAGES` pages.

    :param client: Sends the calls.
    :param updated_after: Only jobs that changed after this time, by Scenario's clock. ``None``: all.
    :raises ScenarioError: if a page can't be read.
    """
    token: str | None = None
    for _ in range(MAX_PAGES):
        page = client.send(calls.list_jobs(updated_after=updated_after, token=token))
        yield page
        token = page.next_token
        if token is None:
            return


def find_in_list(client: Client, job_id: str, updated_after: datetime.datetime | None) -> Job | None:
    """Return a job as the job list shows it; ``None`` if the list does not show it.

    A job's own address may refuse it, through a gateway's fault, while the list still shows it.

    :param client: Sends the calls.
    :param job_id: The job.
    :param updated_after: Only jobs that changed after this time, by Scenario's clock. ``None``: all.
    :raises ScenarioError: if the list can't be read.
    """
    pages = read_pages(client, updated_after)
    return next((job for page in pages for job in page.jobs if job.id == job_id), None)
