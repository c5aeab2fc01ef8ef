"""What authors give as arguments, and what templating makes of them."""

from __future__ import annotations

import ast
import contextlib
import datetime
import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_scenario.exceptions import ScenarioConfigurationError

if TYPE_CHECKING:
    from airflow_provider_scenario.submission.decision import SubmissionPolicy


def seconds_of(name: str, given: object) -> float:
    """Return an argument in seconds, before anything is paid.

    :param name: The argument's name, for the message.
    :param given: A number, the text of one, or a ``timedelta``; more than 0.
    :raises ScenarioConfigurationError: if it is none of these.
    """
    try:
        seconds = given.total_seconds() if isinstance(given, datetime.timedelta) else float(str(given))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise ScenarioConfigurationError(f"{name} must be a number of seconds above 0, not {given!r}.")
    return seconds


def policy_of(on_lost_submission: str, on_stale: str, on_clear: str | None) -> SubmissionPolicy:
    """Return how the author wants doubtful cases decided.

    :param on_lost_submission: ``"resubmit"`` or ``"fail"``.
    :param on_stale: ``"resubmit"`` or ``"fail"``.
    :param on_clear: ``"regenerate"``, ``"reuse"`` or ``None``.
    :raises ScenarioConfigurationError: if one is none of these, or Airflow is set to forget what it needs.
    """
    from airflow_provider_scenario.submission.decision import OnClear, OnLostSubmission, OnStale, SubmissionPolicy

    try:
        policy = SubmissionPolicy(
            OnLostSubmission(on_lost_submission), OnStale(on_stale), None if on_clear is None else OnClear(on_clear)
        )
    except ValueError as error:
        message = (
            f"{error}: on_lost_submission and on_stale take 'resubmit' or 'fail', on_clear 'regenerate' or 'reuse'."
        )
    else:
        forgets = conf.getboolean("state_store", "clear_on_success", fallback=False)
        if policy.on_clear is not OnClear.REUSE or not forgets:
            return policy
        message = "on_clear='reuse' needs what [state_store] clear_on_success=True makes Airflow forget."
    raise ScenarioConfigurationError(message)


def turned_back(text: str) -> Any:
    """Return the mapping or list that templating turned into text, as JSON or as Python wrote it; else the text."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    return text


def stringify_paths(value: Any) -> Any:
    """Return inputs in which each path, at any depth, is its text: what is compared, stored and sent is JSON."""
    from airflow.sdk import ObjectStoragePath

    if isinstance(value, ObjectStoragePath | PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {name: stringify_paths(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [stringify_paths(item) for item in value]
    return value
