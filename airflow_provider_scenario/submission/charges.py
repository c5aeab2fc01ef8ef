"""What became of the money of each job, and what several jobs cost together. Pure."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.values import describe_units, format_units

PURCHASES_KEY = "scenario_purchases"
"""The XCom in which a task instance shows what it bought: tasks can't read each other's records."""


class ChargeStatus(enum.StrEnum):
    """What became of the money of one job."""

    SPENT = "spent"
    """It was charged, and stays so."""
    RUNNING = "running"
    """It was charged; if the job fails, it may come back."""
    REFUNDED = "refunded"
    """The job failed, and Scenario refunds it."""
    UNCERTAIN = "uncertain"
    """The job was canceled: Scenario does not say whether it refunds that."""
    UNKNOWN = "unknown"
    """Scenario does not show the job, or not what it cost."""


def charge_status_of(job: Job) -> ChargeStatus:
    """Return what became of the money of a job."""
    if job.cost is None:
        return ChargeStatus.UNKNOWN
    match job.status:
        case JobStatus.FAILURE if not job.refund_disabled:
            return ChargeStatus.REFUNDED
        case JobStatus.CANCELED:
            return ChargeStatus.UNCERTAIN
        case JobStatus.SUCCESS | JobStatus.FAILURE:
            return ChargeStatus.SPENT
        case _:
            return ChargeStatus.RUNNING


def with_charge(job: Job, charged: str | None) -> Job:
    """Return a job with all that it was charged when it was bought, where it no longer shows that itself.

    :param job: The job. After a refund its add-ons read 0.
    :param charged: Creative units as decimal text, or ``None`` if nobody noted them.
    """
    if charged is None or (job.cost is not None and not job.has_ended_badly):
        return job
    return dataclasses.replace(job, cost=Decimal(charged))


def spent_on(job: Job) -> Decimal | None:
    """Return what a job cost in the end, in creative units: nothing if refunded, ``None`` if it is not known."""
    match charge_status_of(job):
        case ChargeStatus.SPENT | ChargeStatus.RUNNING:
            return job.cost
        case ChargeStatus.REFUNDED:
            return Decimal(0)
        case _:
            return None


@dataclass(frozen=True)
class PurchaseSummary:
    """What one task instance is known to have bought, as it shows it to reports.

    :param task: The task, with its map index where it has one: ``generate`` or ``generate[3]``.
    :param scenario_conn_id: The Airflow connection that it bought on.
    :param project_id: The project that its requests named, or ``None``.
    :param job_ids: The jobs, the last one last: those of earlier tries and generations too.
    :param charged: What jobs were charged when they were bought, in creative units as decimal text, where it was noted.
    :param max_cost: The most that the last one might cost, in creative units as decimal text; ``None`` without a limit.
    :param waits: Since and until when it waits for capacity, in seconds of the epoch; ``None`` if it does not.
    :param is_searching: Whether it looks for a job that it may have bought.
    :param unproven_jobs: Those of ``job_ids`` that only look like this task's: another task may take them.
    """

    task: str
    scenario_conn_id: str
    project_id: str | None
    job_ids: tuple[str, ...]
    charged: Mapping[str, str] = field(default_factory=dict)
    max_cost: str | None = None
    waits: Mapping[str, float] | None = None
    is_searching: bool = False
    unproven_jobs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, with no key for what it has not: a limit, a wait, a search or unproven jobs."""
        lists = {"job_ids": list(self.job_ids), "unproven_jobs": list(self.unproven_jobs)}
        document = {**dataclasses.asdict(self), **lists, "charged": dict(self.charged)}
        return {key: value for key, value in document.items() if value not in (None, False, []) or key in _ALWAYS}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PurchaseSummary:
        """Return what :meth:`to_json` made, or an earlier version that noted no charges."""
        return cls(
            task=document["task"],
            scenario_conn_id=document["scenario_conn_id"],
            project_id=document["project_id"],
            job_ids=tuple(document["job_ids"]),
            charged=document.get("charged") or {},
            max_cost=document.get("max_cost"),
            waits=document.get("waits"),
            is_searching=document.get("is_searching") is True,
            unproven_jobs=tuple(document.get("unproven_jobs") or ()),
        )


_ALWAYS = ("project_id", "job_ids")
"""The keys of a summary that are there even where they hold nothing."""


@dataclass(frozen=True)
class JobCost:
    """One job that a task bought.

    :param task: The task that bought it, with its map index where it has one: ``generate`` or ``generate[3]``.
    :param job_id: The job.
    :param status: What became of its money.
    :param cost: What it was charged in creative units; ``None`` where that is unknown. A job of unknown status has one
        if the task had noted it.
    :param is_proven: Whether the job is surely this task's. Else it counts for another task that names it.
    """

    task: str
    job_id: str
    status: ChargeStatus
    cost: Decimal | None = None
    is_proven: bool = True

    @classmethod
    def of(
        cls, task: str, job_id: str, job: Job | None, charged: str | None = None, *, is_proven: bool = True
    ) -> JobCost:
        """Return the charge of a job.

        :param task: The task that bought it.
        :param job_id: The job.
        :param job: The job as it was read; ``None`` if Scenario does not show it: then nobody knows whether it was
            refunded, so its status stays unknown even where its charge is known.
        :param charged: What the task noted that it was charged, in creative units as decimal text.
        :param is_proven: Whether the job is surely this task's.
        """
        if job is None:
            return cls(task, job_id, ChargeStatus.UNKNOWN, None if charged is None else Decimal(charged), is_proven)
        known = with_charge(job, charged)
        return cls(task, job_id, charge_status_of(known), known.cost, is_proven)


@dataclass(frozen=True)
class RunCost:
    """What jobs cost together.

    :param charges: Each of them.
    """

    charges: tuple[JobCost, ...] = ()

    @property
    def spent(self) -> Decimal:
        """What was charged and not refunded, in creative units. Jobs that still run count: they are charged already."""
        return self.sum_of((ChargeStatus.SPENT, ChargeStatus.RUNNING))

    @property
    def uncertain(self) -> Decimal:
        """What was charged for canceled jobs, of which Scenario does not say whether it refunds them."""
        return self.sum_of((ChargeStatus.UNCERTAIN,))

    @property
    def unknown(self) -> Decimal:
        """What was charged for jobs that Scenario no longer shows, as far as their tasks had noted it."""
        return self.sum_of((ChargeStatus.UNKNOWN,))

    @property
    def by_task(self) -> dict[str, Decimal]:
        """What was spent, task by task."""
        tasks = dict.fromkeys(charge.task for charge in self.charges)
        return {task: RunCost(tuple(one for one in self.charges if one.task == task)).spent for task in tasks}

    def count(self, status: ChargeStatus) -> int:
        """Return how many jobs have a status."""
        return sum(charge.status is status for charge in self.charges)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, fit for an XCom: amounts are exact decimal text."""
        return {
            "spent": format_units(self.spent),
            "uncertain": format_units(self.uncertain),
            "unknown": format_units(self.unknown),
            "jobs": {status.value: self.count(status) for status in ChargeStatus},
            "by_task": {task: format_units(spent) for task, spent in self.by_task.items()},
            "unknown_job_ids": [charge.job_id for charge in self.charges if charge.status is ChargeStatus.UNKNOWN],
        }

    def __str__(self) -> str:
        parts = [f"{_jobs(len(self.charges))} cost {describe_units(self.spent)}"]
        if self.count(ChargeStatus.REFUNDED):
            parts.append(f"{self.count(ChargeStatus.REFUNDED)} failed and refunded")
        if self.count(ChargeStatus.RUNNING):
            parts.append(f"{self.count(ChargeStatus.RUNNING)} still running, counted as charged")
        if self.count(ChargeStatus.UNCERTAIN):
            count, charged = self.count(ChargeStatus.UNCERTAIN), describe_units(self.uncertain)
            canceled = f"{count} canceled, for which {charged} were charged"
            parts.append(f"{canceled} and may or may not be refunded, not counted")
        if self.count(ChargeStatus.UNKNOWN):
            noted = f", {describe_units(self.unknown)} as noted at the purchase" if self.unknown else ""
            parts.append(f"{self.count(ChargeStatus.UNKNOWN)} whose cost Scenario does not show{noted}, not counted")
        return "; ".join(parts)

    def sum_of(self, statuses: Collection[ChargeStatus]) -> Decimal:
        """Return what jobs of some statuses were charged.

        :param statuses: The statuses.
        :return: Creative units; 0 if there is none.
        """
        return sum((one.cost for one in self.charges if one.status in statuses and one.cost is not None), Decimal(0))


def run_cost_of(charges: Sequence[JobCost]) -> RunCost:
    """Return what jobs cost together; a job that two tasks name counts once, for the one whose it surely is."""
    surely_first = sorted(charges, key=lambda charge: not charge.is_proven)
    by_job = {charge.job_id: charge for charge in reversed(surely_first)}
    return RunCost(tuple(reversed(by_job.values())))


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
