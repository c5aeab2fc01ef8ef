"""What goes wrong in one run of the chaos, and the weather over many of them: all drawn from a seed."""

from __future__ import annotations

import json
import random
import textwrap
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from tests.e2e.dags.sudden_death import FILE_POINTS, PURCHASE_POINTS

CLIENT_TIMEOUT = 6.0
"""Seconds after which the tasks give up on a reply, so that one can be late without holding everything up."""

POST_FAULTS: dict[str, dict[str, Any]] = {
    "dropped": {"type": "drop_after"},
    "reset": {"type": "drop_after", "reset": True},
    "bad gateway": {"type": "status_after", "code": 502},
    "late": {"type": "delay", "when": "after", "seconds": CLIENT_TIMEOUT + 3.0},
    "cut": {"type": "cut_body"},
    "half": {"type": "short_body"},
    "slow": {"type": "delay", "when": "before", "seconds": 2.0},
    "not accepted": {"type": "drop_before"},
    "error": {"type": "status", "code": 500},
    "unavailable": {"type": "status", "code": 503},
}
"""What happens to a POST: in the first seven it is accepted, in the others it is not."""

CLEAR_WAITING, CLEAR_LANDED, MARK_FAILED = "clear while waiting", "clear after success", "mark failed, clear"
PARALLELISM = 150
"""A task that may not defer holds its slot for three minutes while it looks for a lost submission."""
DIES_AGAIN_SECONDS = 150.0
"""Each death of the triggerer comes again after so many seconds, until the batch is over."""


@dataclass(frozen=True)
class Mix:
    """One run and all that is to happen to it.

    :param seed: What it was drawn from.
    :param deferrable: Whether the task waits in the triggerer.
    :param has_seed: Whether the model takes a seed.
    :param long_prompt: Whether Scenario echoes the prompt as an asset's id.
    :param crashes: By task, where its worker dies.
    :param faults: What happens to its POSTs: how many pass unharmed before, and the kind.
    :param failures: How many of the first jobs fail at Scenario.
    :param action: What a person does, or none.
    """

    seed: int
    deferrable: bool
    has_seed: bool
    long_prompt: bool
    crashes: dict[str, tuple[str, ...]]
    faults: tuple[tuple[int, str], ...]
    failures: int
    action: str | None

    @classmethod
    def drawn(cls, seed: int) -> Mix:
        """Draw one."""
        chance = random.Random(f"mix {seed}")
        return cls(
            seed=seed,
            deferrable=chance.random() < 0.6,
            has_seed=chance.random() < 0.75,
            long_prompt=chance.random() < 0.3,
            crashes={"buy": _deaths(chance, PURCHASE_POINTS, 2, 8.0), "save": _deaths(chance, FILE_POINTS, 1, 2.0)},
            faults=tuple(
                (chance.choice((0, 0, 1)), chance.choice(list(POST_FAULTS))) for _ in range(chance.choice((0, 1, 1, 2)))
            ),
            failures=chance.choice((0, 0, 0, 0, 1, 1, 2)),
            action=chance.choice((None, CLEAR_WAITING, CLEAR_LANDED, MARK_FAILED)),
        )

    @property
    def dag_id(self) -> str:
        return "chaos_deferrable" if self.deferrable else "chaos_blocking"

    @property
    def model_id(self) -> str:
        """A model that no other run uses, so that faults meet this one alone and the ledger tells what it paid."""
        return f"model_chaos-{self.seed}"

    @property
    def model(self) -> dict[str, Any]:
        """The model's record: one of Scenario's, under another name."""
        records = resources.files("airflow_provider_scenario").joinpath("api", "records")
        record = json.loads(records.joinpath("model_wan-2-1-1-3b.json").read_text())["model"]
        inputs = [entry for entry in record["inputs"] if self.has_seed or entry["name"] != "seed"]
        return {**record, "id": self.model_id, "inputs": inputs}

    @property
    def prompt(self) -> str:
        """The same for all, but for its length."""
        return "A lighthouse in the fog. " * (20 if self.long_prompt else 1)

    def __str__(self) -> str:
        parts = ["deferrable" if self.deferrable else "blocking"]
        parts += [] if self.has_seed else ["no seed"]
        parts += ["long prompt"] if self.long_prompt else []
        parts += [f"{task} dies {point}" for task, points in self.crashes.items() for point in points]
        parts += [f"{'a later ' if passed else ''}POST {kind}" for passed, kind in self.faults]
        parts += [f"{self.failures} failed"] if self.failures else []
        parts += [self.action] if self.action else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Weather:
    """What goes wrong for all runs of a batch alike.

    :param settings: The sandbox's.
    :param bursts: When a burst of failing reads begins (seconds from the start), how long (requests), of which kind.
    :param blows: When a part of Airflow dies, in seconds from the start, and which one.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    bursts: tuple[tuple[float, int, str], ...] = ()
    blows: tuple[tuple[float, str], ...] = ()

    @classmethod
    def drawn(cls, seed: int) -> Weather:
        """Draw it."""
        chance = random.Random(f"weather {seed}")
        settings = {
            "render": "tiny",
            "job_seconds": round(chance.uniform(8.0, 12.0), 1),
            "parallel_jobs": chance.choice((8, 12, 1000)),
            "list_lag_seconds": chance.choice((0.0, 1.0, round(chance.uniform(2.0, 5.0), 1))),
            "not_found_seconds": chance.choice((0.0, round(chance.uniform(1.0, 4.0), 1))),
            "empty_pages": chance.choice((0, 1, 2)),
            "short_pages": chance.random() < 0.5,
            "clock_skew_seconds": chance.choice((0.0, round(chance.uniform(-120.0, 120.0), 1))),
            "asset_pending_seconds": chance.choice((0.0, 2.0)),
            "prompt_echo_limit": 200,
        }
        kinds = ("status", "drop_before", "cut_body")
        bursts = [
            (chance.uniform(5.0, 90.0), chance.randint(3, 15), chance.choice(kinds))
            for _ in range(chance.randint(2, 5))
        ]
        blows = [(chance.uniform(15.0, 80.0), "triggerer") for _ in range(chance.randint(1, 2))]
        blows += [(chance.uniform(20.0, 70.0), "scheduler")]
        return cls(settings, tuple(sorted(bursts)), tuple(sorted(blows)))

    def __str__(self) -> str:
        told = [
            f"{name} {value:g}" for name, value in self.settings.items() if isinstance(value, int | float) and value
        ]
        told += [f"{kind} x {count} on reads at {at:.0f} s" for at, count, kind in self.bursts]
        told += [f"{name} killed at {at:.0f} s" for at, name in self.blows]
        return textwrap.fill(", ".join(told), 150, initial_indent="weather: ", subsequent_indent="         ")


def _deaths(chance: random.Random, points: tuple[str, ...], most: int, seconds: float) -> tuple[str, ...]:
    """Draw where a task's workers die: at some points, or some seconds after the start of a try."""
    count = chance.randint(0, most)
    drawn = [chance.choice((*points, *("time",) * (len(points) // 2))) for _ in range(count)]
    return tuple(sorted({f"after {chance.uniform(0.2, seconds):.1f}" if point == "time" else point for point in drawn}))
