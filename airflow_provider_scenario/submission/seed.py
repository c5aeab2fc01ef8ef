"""The seed that a task sends follows from the task itself, so that it serves as the idempotency key. Pure.

A seed has two parts. The upper one follows from the task instance and the generation. The lower twelve bits follow
from the start of the DAG run and from what makes a clear differ from a retry. So a job's seed shows whose it is, and
whether it was bought since the last clear. Another Airflow whose DAG, run and task have the same names has another
start.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_SEED_RANGE = 2**20
"""How many seeds a model must take at least for one of ours to prove whose a job is."""

_MAX_BITS = 31
"""Scenario's seeds go up to 2**31 - 1 (``GET /models/{id}`` of the Wan models)."""

_MIN_BITS = 20
_EPOCH_BITS = 12

_LATER_TRIES = 8
"""How many later tries may have run while this one was frozen: each may have bought a generation."""


@dataclass(frozen=True)
class SeedMatch:
    """What a job's seed shows of its origin.

    :param generation: Which generation of the task instance it is, from 1.
    :param since_clear: Whether it was bought since the last clear, in the same run.
    :param is_sure: Whether the whole seed says so. Else the upper part alone does: another Airflow's job with the same
        names has the same.
    """

    generation: int
    since_clear: bool
    is_sure: bool = True


@dataclass(frozen=True)
class TaskKey:
    """What makes one task instance differ from all others.

    :param index: The map index and, from Airflow 3.4, the iteration of a loop.
    :param run_started_at: When the run started, in seconds of the epoch. A clear of a finished run changes it.
    :param try_number: Which try this is, from 1. A clear does not set it back.
    :param max_tries: Airflow's count that a clear raises and a retry does not.
    :param was_cleared: Whether the task or its run was ever cleared.
    :param run_after: Before which the run can't have started, in seconds of the epoch. No clear changes it.
    """

    dag_id: str
    run_id: str
    task_id: str
    index: str
    run_started_at: float | None
    try_number: int
    max_tries: int
    was_cleared: bool
    run_after: float | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any]) -> TaskKey:
        """Return the key of a task's context."""
        ti, run, task = context["ti"], context.get("dag_run"), context.get("task")
        run_after = getattr(run, "run_after", None)
        started = getattr(run, "start_date", None) or run_after
        retries = getattr(task, "retries", None)
        clears = getattr(run, "clear_number", None) or 0
        # Airflow 3.4 repeats a task in a loop: each iteration is an instance of its own, with the same map index.
        places = (ti.map_index, getattr(ti, "region_id", None), getattr(ti, "region_index", None))
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            index="/".join("" if place in (None, -1) else str(place) for place in places),
            run_started_at=started.timestamp() if started is not None else None,
            try_number=ti.try_number,
            max_tries=ti.max_tries,
            was_cleared=clears > 0 or (retries is not None and ti.max_tries != retries),
            run_after=run_after.timestamp() if run_after is not None else None,
        )

    @property
    def may_have_submitted(self) -> bool:
        """Whether an earlier try may have bought something."""
        return self.try_number > 1 or self.was_cleared

    @property
    def may_have_submitted_since(self) -> float | None:
        """Before which this task instance has bought nothing, in seconds of the epoch; ``None`` if nobody knows."""
        # A clear sets the start of a finished run anew: its jobs are older, but not older than the run.
        return self.run_after if self.was_cleared else self.run_started_at

    def seed(self, generation: int, largest: int) -> int:
        """Return a generation's seed, from 1 to the model's ``largest``, itself :data:`MIN_SEED_RANGE` or more."""
        return self._seed(generation, min(_MAX_BITS, (largest + 1).bit_length() - 1))

    def match(self, seed: int | None, recorded: tuple[float, int] | None = None) -> SeedMatch | None:
        """Return what a job's seed shows; ``None`` if the job is not of this task instance.

        :param recorded: The start of the run and ``max_tries`` in the task's record, from before a clear.
        """
        if seed is None or not 0 < seed < 2**_MAX_BITS:
            return None
        if (generation := self._whole_seeds.get(seed)) is not None:
            return SeedMatch(generation, since_clear=True)
        # A clear may have changed the lower part. Without one, another part means another Airflow.
        if not self.was_cleared or (generation := self._upper_parts.get(seed >> _EPOCH_BITS)) is None:
            return None
        # The clear of a task in a run that goes on leaves the start, and raises the count, unless the DAG has got fewer
        # retries meanwhile. Each pair more is a chance that another Airflow's job is taken for this task's.
        before = [(tries, self.run_started_at) for tries in range(self.max_tries)]
        if recorded is not None:
            start, count = recorded
            before += [(tries, start) for tries in range(count, max(self.max_tries, count + 1))]
        is_sure = any(seed % 2**_EPOCH_BITS == self._lower(generation, tries, start) for tries, start in before)
        return SeedMatch(generation, since_clear=False, is_sure=is_sure)

    @functools.cached_property
    def _whole_seeds(self) -> Mapping[int, int]:
        """The generations by the seeds they may have, for any model. Thousands of listed jobs are looked up."""
        return {self._seed(generation, bits): generation for generation, bits in self._all_seeds}

    @functools.cached_property
    def _upper_parts(self) -> Mapping[int, int]:
        """The generations by the upper parts of their seeds."""
        return {self._seed(generation, bits) >> _EPOCH_BITS: generation for generation, bits in self._all_seeds}

    @property
    def _all_seeds(self) -> list[tuple[int, int]]:
        """All generations and lengths of a seed. The lowest generation comes last, so that it wins in a dict."""
        most = max(1, self.try_number) + _LATER_TRIES
        return [(one, bits) for one in range(most, 0, -1) for bits in range(_MAX_BITS, _MIN_BITS - 1, -1)]

    def _seed(self, generation: int, bits: int) -> int:
        upper = _hash(self.dag_id, self.run_id, self.task_id, self.index, generation) % 2 ** (bits - _EPOCH_BITS)
        return (upper << _EPOCH_BITS | self._lower(generation, self.max_tries, self.run_started_at)) or 1

    def _lower(self, generation: int, max_tries: int, run_started_at: float | None) -> int:
        """Return the part that a clear changes. All of the task is in it too: thousands of siblings share a run."""
        task = (self.dag_id, self.run_id, self.task_id, self.index, generation)
        return _hash("since clear", *task, run_started_at, max_tries) % (1 << _EPOCH_BITS)


@functools.lru_cache(maxsize=1024, typed=True)
def _hash(*parts: object) -> int:
    text = "\n".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
