"""What goes wrong in a night: each kind by itself, or some of them one after the other."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tests.scale.set_up import Studio

MINUTE = 60.0


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong.

    :param name: What it is.
    :param after: The share of the night's tasks that have succeeded by then.
    :param happen: Makes it happen. What lasts ends by itself, later; who was killed is started again by the night.
    """

    name: str
    after: float
    happen: Callable[[Studio], None]


def _worker_dies(studio: Studio) -> None:
    studio.kill_worker("worker-1")
    studio.later(10, lambda: studio.start_worker("worker-1"))


def _triggerer_dies(studio: Studio) -> None:
    studio.airflow.kill("triggerer", with_children=True)


def _triggerer_freezes(studio: Studio) -> None:
    studio.airflow.kill("triggerer-2", signal.SIGSTOP, with_children=True)
    studio.later(MINUTE, lambda: studio.airflow.kill("triggerer-2", signal.SIGCONT, with_children=True))


def _scheduler_dies(studio: Studio) -> None:
    studio.airflow.kill("scheduler-2", with_children=True)


def _redis_is_emptied(studio: Studio) -> None:
    studio.redis.lose_everything()


def _database_restarts(studio: Studio) -> None:
    studio.airflow.restart_database()


def _storage_refuses(studio: Studio) -> None:
    studio.storage.refuses = True
    studio.later(MINUTE, lambda: setattr(studio.storage, "refuses", False))


def _scenario_is_out(studio: Studio) -> None:
    for code in (502, 429):
        studio.scenario.add_fault({"type": "status", "code": code}, path="^/v1/", skip=int(code == 429), times=None)
    studio.later(MINUTE, studio.scenario.clear_faults)


def _replies_are_lost(studio: Studio) -> None:
    studio.scenario.add_fault("drop_after", method="POST", path="^/v1/generate", times=6)
    studio.scenario.add_fault("drop_after", method="GET", path="^/v1/", skip=2, times=40)
    studio.later(MINUTE, studio.scenario.clear_faults)


TROUBLES: dict[str, Callable[[Studio], None]] = {
    "worker": _worker_dies,
    "triggerer": _triggerer_dies,
    "frozen": _triggerer_freezes,
    "scheduler": _scheduler_dies,
    "redis": _redis_is_emptied,
    "database": _database_restarts,
    "storage": _storage_refuses,
    "scenario": _scenario_is_out,
    "network": _replies_are_lost,
}


def drawn(name: str, chance: random.Random) -> list[Trouble]:
    """Draw when a trouble comes, or which ones if it is ``mixed``; none if it is ``none``."""
    if name == "none":
        return []
    names = [name] if name != "mixed" else chance.sample(sorted(TROUBLES), 4)
    moments = sorted(chance.uniform(0.02, 0.7) for _ in names)
    return [Trouble(each, after, TROUBLES[each]) for each, after in zip(names, moments, strict=True)]
