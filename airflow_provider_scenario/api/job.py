"""A job at Scenario, its status and its price."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_provider_scenario.api.response import is_moderation
from airflow_provider_scenario.api.values import whole_number
from airflow_provider_scenario.exceptions import redact

_MOST_DIGITS = 30
"""Digits before or behind the point beyond which an amount is none: nobody can sum it up or write it out."""


def units(value: object) -> Decimal | None:
    """Return creative units exactly as Scenario wrote them (they may be fractions); ``None`` where there are none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except (ArithmeticError, ValueError):
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) < _MOST_DIGITS else None


def price_of(document: Mapping[str, Any]) -> Decimal:
    """Return what is or would be charged, after discount; ``KeyError`` if there is no cost."""
    cost = units(document.get("creativeUnitsCost"))
    # No cost is not the same as a cost of 0: a limit must not let it pass.
    if cost is None:
        raise KeyError("creativeUnitsCost")
    return cost


class JobStatus(enum.StrEnum):
    """Where a job stands. Values that Scenario adds later pass through: ``JobStatus("new").value`` is ``"new"``."""

    PENDING = "pending"
    QUEUED = "queued"
    WARMING_UP = "warming-up"
    IN_PROGRESS = "in-progress"
    FINALIZING = "finalizing"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELED = "canceled"

    @classmethod
    def _missing_(cls, value: object) -> JobStatus:
        unknown = str.__new__(cls, str(value))
        unknown._name_ = str(value)
        unknown._value_ = str(value)
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this package knows the status."""
        return self.value in {one.value for one in JobStatus}

    @property
    def is_queued(self) -> bool:
        """Whether the job waits for its turn: nothing is generated yet."""
        return self in (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.WARMING_UP)

    @property
    def is_finished(self) -> bool:
        """Whether the job will not change any more. An unknown status counts as unfinished."""
        return self in (JobStatus.SUCCESS, JobStatus.FAILURE, JobStatus.CANCELED)


@dataclass(frozen=True)
class Job:
    """One generation at Scenario.

    :param id: The job's id.
    :param status: Where it stands.
    :param progress: From 0 to 1.
    :param model_id: The model it runs, where the reply says it.
    :param asset_ids: Its outputs in order; empty until ``success``.
    :param seed: The seed it runs with: ours, or the one Scenario drew; ``None`` where the model has none.
    :param cost: What it was charged in creative units, after discount. Scenario keeps the number after a refund.
    :param refund_disabled: Whether Scenario keeps the money if the job fails.
    :param error: Scenario's reason for a failure.
    :param hint: Scenario's advice for a failure.
    :param created_at: When Scenario accepted it.
    :param started_at: When it had left the queue; ``None`` until it has.
    :param updated_at: When it last changed.
    :param has_output: Whether the result stands in the job itself, as the text of a language model does. Default
        ``False``.
    :param has_gaps: Whether some of its outputs are listed without their ids. Default ``False``.
    :param inputs: Scenario's echo of the inputs, which is not literal: defaults are filled in, whole numbers may come
        back as floats, a long prompt as the id of a text asset.
    """

    id: str
    status: JobStatus
    progress: float = 0.0
    model_id: str | None = None
    asset_ids: tuple[str, ...] = ()
    seed: int | None = None
    cost: Decimal | None = None
    refund_disabled: bool = False
    error: str | None = None
    hint: str | None = None
    created_at: datetime.datetime | None = None
    started_at: datetime.datetime | None = None
    updated_at: datetime.datetime | None = None
    has_output: bool = False
    has_gaps: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more."""
        return self.status.is_finished

    @property
    def lacks_outputs(self) -> bool:
        """Whether it is shown as succeeded, but not with what: one reply may lack the outputs that the next has."""
        has_all = (self.asset_ids or self.has_output) and not self.has_gaps
        return self.status is JobStatus.SUCCESS and not has_all

    @property
    def queued_seconds(self) -> float | None:
        """How long it waited for its turn, by Scenario's clock; ``None`` until it has begun."""
        if self.created_at is None or self.started_at is None:
            return None
        return max(0.0, (self.started_at - self.created_at).total_seconds())

    @property
    def running_seconds(self) -> float | None:
        """How long it had run when it last changed, by Scenario's clock; ``None`` until it has begun."""
        if self.started_at is None or self.updated_at is None:
            return None
        return max(0.0, (self.updated_at - self.started_at).total_seconds())

    @property
    def has_ended_badly(self) -> bool:
        """Whether it has ended, and not in success."""
        return self.is_finished and self.status is not JobStatus.SUCCESS

    @property
    def is_moderated(self) -> bool:
        """Whether moderation stopped it, by the words of its error and hint."""
        return self.status is JobStatus.FAILURE and is_moderation(f"{self.error or ''}\n{self.hint or ''}")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Job:
        """Read the ``job`` object of a reply.

        :raises KeyError: if it has no ``jobId``, as in the reply to a dry run.
        """
        job_id = document["jobId"]
        if not isinstance(job_id, str) or not job_id.strip():
            raise KeyError("jobId")
        # Nothing but the id is insisted on: once it is known, a paid job must not be lost to an odd field beside it.
        metadata = _object(document.get("metadata"))
        billing = _object(document.get("billing"))
        inputs = _object(metadata.get("input"))
        asset_ids = metadata.get("assetIds")
        assets = asset_ids if isinstance(asset_ids, list) else []
        model_id = inputs.get("modelId")
        return cls(
            id=job_id,
            status=JobStatus(document.get("status") or "unknown"),
            progress=_share(document.get("progress")),
            model_id=model_id if isinstance(model_id, str) and model_id else None,
            asset_ids=tuple(one for one in assets if isinstance(one, str) and one),
            has_gaps=not all(isinstance(one, str) and one for one in assets),
            seed=whole_number(inputs.get("seed")),
            cost=_cost(billing),
            refund_disabled=bool(billing.get("disableRefund")),
            error=_text(metadata.get("error")),
            hint=_text(metadata.get("hint")),
            created_at=time_of(document.get("createdAt")),
            started_at=_started_at(document.get("statusHistory")),
            updated_at=time_of(document.get("updatedAt")),
            has_output=bool(metadata.get("output")),
            inputs=inputs,
        )

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow keeps where a task returns a job: not the inputs, which may hold signed URLs."""
        return self.to_dict()

    @classmethod
    def deserialize(cls, data: Mapping[str, Any], version: int) -> Job:  # noqa: ARG003 - Airflow's signature
        """Return the job that :meth:`serialize` wrote, as far as it goes."""
        return cls.from_dict(data)

    def to_dict(self) -> dict[str, Any]:
        """Return what a waiting task must know of the job, as JSON: for trigger events. No inputs, no URL."""
        return {
            "job_id": self.id,
            "status": str(self.status.value),
            "progress": self.progress,
            "model_id": self.model_id,
            "asset_ids": list(self.asset_ids),
            "seed": self.seed,
            "cost": None if self.cost is None else str(self.cost),
            "refund_disabled": self.refund_disabled,
            "error": self.error,
            "hint": self.hint,
            "has_output": self.has_output,
            "has_gaps": self.has_gaps,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Job:
        """Return the job that :meth:`to_dict` was made from, as far as it goes."""
        cost = facts.get("cost")
        return cls(
            id=facts["job_id"],
            status=JobStatus(facts["status"]),
            progress=facts.get("progress") or 0.0,
            model_id=facts.get("model_id"),
            asset_ids=tuple(facts.get("asset_ids") or ()),
            seed=facts.get("seed"),
            cost=None if cost is None else Decimal(cost),
            refund_disabled=bool(facts.get("refund_disabled")),
            error=facts.get("error"),
            hint=facts.get("hint"),
            has_output=bool(facts.get("has_output")),
            has_gaps=bool(facts.get("has_gaps")),
        )


@dataclass(frozen=True)
class Submission:
    """The reply to a paid submission.

    :param cost: What was charged in creative units, by the reply or else by the job; ``None`` where neither says.
    """

    job: Job
    cost: Decimal | None


@dataclass(frozen=True)
class JobPage:
    """One page of the job list.

    :param jobs: The rows; a page may be short or empty although more follow.
    :param next_token: The token of the next page; ``None`` on the last one.
    :param unreadable: How many rows could not be read as jobs.
    """

    jobs: tuple[Job, ...]
    next_token: str | None = None
    server_time: datetime.datetime | None = None
    unreadable: int = 0


_FIRST_YEAR = 2000
"""An earlier time stands for none: the zero of an epoch, or of a language."""


def time_of(text: object) -> datetime.datetime | None:
    """Return Scenario's ISO 8601 time, in UTC; ``None`` where there is none, or a date alone."""
    if not isinstance(text, str) or ":" not in text:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
        time = time.astimezone(datetime.UTC) if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        return None
    return time if time.year >= _FIRST_YEAR else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(min(1, max(0, value)))


def _started_at(history: object) -> datetime.datetime | None:
    """Return when a job left the queue, by its history of statuses."""
    for entry in history if isinstance(history, list) else ():
        status = JobStatus(_object(entry).get("status") or "pending")
        if not status.is_queued and not status.is_finished:
            return time_of(_object(entry).get("date"))
    return None


def _cost(billing: Mapping[str, Any]) -> Decimal | None:
    """Return what a job was charged for its main action and its add-ons, from which discounts are taken already."""
    cost = units(billing.get("cuCost"))
    if cost is None:
        return None
    return sum((units(one) or Decimal(0) for one in _object(billing.get("cuCostDetails")).values()), cost)


def _text(value: object) -> str | None:
    return redact(value) if value else None


def job_page(job_id: str) -> str:
    """Return the address of a job in Scenario's web app (observed; Scenario documents no job page)."""
    return f"https://app.scenario.com/create?restartGeneration={job_id}"
