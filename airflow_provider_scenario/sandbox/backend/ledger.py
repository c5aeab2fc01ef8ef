"""Who paid what: every paid job, what it cost, and what came back."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.backend.prices import as_number

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
        return sum((job.bill.total - refund(job, now) for job in self._jobs), Decimal(0))

    def as_json(self, clock: Clock) -> dict[str, Any]:
        """All entries and their totals; amounts are numbers in hundredths, printed as they are."""
        now = clock.now()
        refunds = [refund(job, now) for job in self._jobs]
        entries = [
            {
                "jobId": job.job_id,
                "modelId": job.model_id,
                "inputs": job.received,
                "cost": as_number(job.bill.total),
                "discount": as_number(job.bill.discount),
                "charged": as_number(job.bill.total),
                "refunded": as_number(refunded),
                "status": job.status_at(now),
                "createdAt": clock.stamp(job.created_at),
            }
            for job, refunded in zip(self._jobs, refunds, strict=True)
        ]
        charged = sum((job.bill.total for job in self._jobs), Decimal(0))
        totals = {
            "jobs": len(entries),
            "charged": as_number(charged),
            "refunded": as_number(sum(refunds, Decimal(0))),
        }
        return {"entries": entries, "totals": totals}


def refund(job: Job, now: float) -> Decimal:
    """Tell what has come back for a job: all of it or nothing."""
    return job.bill.total if job.is_refunded_by(now) else Decimal(0)
