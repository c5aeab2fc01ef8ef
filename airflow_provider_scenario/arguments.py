"""What authors give as arguments, and what templating makes of them."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_scenario.api.values import seconds_of, to_plain
from airflow_provider_scenario.exceptions import ScenarioConfigurationError

if TYPE_CHECKING:
    from airflow_provider_scenario.submission.decision import SubmissionPolicy


__all__ = ["parse_literal", "policy_of", "seconds_of", "stringify_paths"]


def policy_of(on_lost_submission: str, on_changed_inputs: str, on_clear: str | None) -> SubmissionPolicy:
    """Return how the author wants doubtful cases decided.

    :param on_lost_submission: ``"resubmit"`` or ``"fail"``.
    :param on_changed_inputs: ``"resubmit"`` or ``"fail"``.
    :param on_clear: ``"regenerate"``, ``"reuse"`` or ``None``.
    :raises ScenarioConfigurationError: if one is none of these, or Airflow is set to forget what it needs.
    """
    from airflow_provider_scenario.submission.decision import (
        OnChangedInputs,
        OnClear,
        OnLostSubmission,
        SubmissionPolicy,
    )

    try:
        policy = SubmissionPolicy(
            OnLostSubmission(on_lost_submission),
            OnChangedInputs(on_changed_inputs),
            None if on_clear is None else OnClear(on_clear),
        )
    except ValueError as error:
        message = (
            f"{error}: on_lost_submission and on_changed_inputs take 'resubmit' or 'fail', on_clear "
            "takes 'regenerate' or 'reuse'."
        )
    else:
        forgets = conf.getboolean("state_store", "clear_on_success", fallback=False)
        if policy.on_clear is not OnClear.REUSE or not forgets:
            return policy
        message = "on_clear='reuse' needs what [state_store] clear_on_success=True makes Airflow forget."
    raise ScenarioConfigurationError(message)


def parse_literal(text: str) -> Any:
    """Return the mapping or list that templating turned into text, as JSON or as Python wrote it; else the text."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return read(text)
    return text


_LOCAL_FILE = re.compile(r"(?:file|local)://(?:localhost)?(?=/)", re.IGNORECASE)


def stringify_paths(value: Any) -> Any:
    """Return inputs as plain JSON: what is compared between tries, stored and sent.

    Pure, and the same in every try and process. Each path, at any depth, is its text, and a file of this machine has
    one form: ``/path``, ``file:///path``, ``file://localhost/path``, ``local:///path``, and ``Path`` and
    ``ObjectStoragePath`` of it all give ``/path``. Numbers of numpy and ``Decimal`` are numbers, sequences of any kind
    are lists, and what a template left undefined is ``None``.

    :param value: The author's value, after templating.
    """
    from airflow.sdk import ObjectStoragePath
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        return None
    if isinstance(value, ObjectStoragePath | PurePath):
        value = str(value)
    if isinstance(value, str):
        return _LOCAL_FILE.sub("", to_plain(value), count=1) if _LOCAL_FILE.match(value) else to_plain(value)
    if isinstance(value, Mapping):
        return {stringify_paths(name): stringify_paths(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [stringify_paths(item) for item in value]
    plain = to_plain(value)
    return plain if plain is value or not isinstance(plain, Mapping | list | str) else stringify_paths(plain)
