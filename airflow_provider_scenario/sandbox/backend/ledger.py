"""Who paid what: every paid job, what it cost, and what came back."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.prices import as_number
from airflow_provider_scenario.sandbox.backend.timeline import CANCELED, FAILURE

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.backend.clock import Clock
    from airflow_provider_scenario.sandbox.backend.jobs import Job


class Ledger:
    """The paid jobs in the order in which they were charged."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def charge(self, job: Job) -> None:
        """Book a job's cost."""
        job.charged = True
        self._jobs.append(job)

    def spent(self, now: float) -> Decimal:
        """Tell what was charged and not refunded."""
        return sum((job.cost - refund(job, now) for job in self._jobs), Decimal(0))

    def as_json(self, clock: Clock) -> dict[str, Any]:
        """All entries and their totals; amounts are numbers in quarters, which JSON carries exactly."""
        now = clock.now()
        refunds = [refund(job, now) for job in self._jobs]
        entries = [
            {
                "jobId": job.job_id,
                "modelId": job.model_id,
                "inputs": job.received,
                "cost": as_number(job.cost),
                "discount": 0,
                "charged": as_number(job.cost),
                "refunded": as_number(refunded),
                "status": job.status_at(now),
                "createdAt": clock.stamp(job.created_at),
            }
            for job, refunded in zip(self._jobs, refunds, strict=True)
        ]
        charged = sum((job.cost for job in self._jobs), Decimal(0))
        totals = {
            "jobs": len(entries),
            "charged": as_number(charged),
            "refunded": as_number(sum(refunds, Decimal(0))),
        }
        return {"entries": entries, "totals": totals}


def refund(job: Job, now: float) -> Decimal:
    """Tell what has come back for a job: all of it if it failed or was canceled, unless refunds are disabled for it."""
    lost = job.status_at(now) in (FAILURE, CANCELED) and not job.disable_refund
    return job.cost if lost else Decimal(0)
