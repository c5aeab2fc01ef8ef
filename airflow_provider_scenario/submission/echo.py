"""Whether a job ran with some inputs, by its echo of them in the job list, which is not literal. Pure."""

from __future__ import annotations

import difflib
import enum
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_scenario.api.job import Job
from airflow_provider_scenario.api.validation import names_a_file
from airflow_provider_scenario.api.values import is_no_value, whole_number

_NEAR = 0.8
"""From this share of common text on, two texts may be two spellings of one."""

_EXACT_IN_JSON = 2**53
"""Up to here a whole number survives being read as a float."""

_TRUTHS = {"true": "true", "1": "true", "yes": "true", "on": "true", "false": "false", "0": "false", "no": "false",
           "off": "false"}  # fmt: skip
"""How an API may spell a truth value."""


class Match(enum.Enum):
    """How Scenario's echo of a job's inputs compares with what was sent."""

    SAME = "same"
    """It is what was sent, as far as it goes, and something of it was shown."""
    UNCLEAR = "unclear"
    """It may be what was sent: another spelling, or too little is shown."""
    DIFFERENT = "different"
    """It is surely something else."""


def compare_inputs(sent: Mapping[str, Any], job: Job) -> Match:
    """Return how a job's echo compares with what was sent, by the API's names; a file may have become any asset."""
    # Scenario does not echo an input that it does not use, so a missing one says nothing.
    echoed = {name: value for name, value in job.inputs.items() if value is not None}
    grades = [
        _compare_seeds(value, echoed[name]) if name == "seed" else _compare(value, echoed[name])
        for name, value in sent.items()
        if name in echoed and not is_no_value(value)
    ]
    if Match.DIFFERENT in grades:
        return Match.DIFFERENT
    return Match.UNCLEAR if Match.UNCLEAR in grades or Match.SAME not in grades else Match.SAME


def _compare(sent: Any, echoed: Any) -> Match:
    """Compare one value with its echo, which is not literal."""
    match sent, echoed:
        case _, None:
            return Match.UNCLEAR
        case (bool(), _) | (_, bool()):
            return _compare_truths(sent, echoed)
        case ((list() | tuple()), (list() | tuple())):
            if len(sent) != len(echoed):
                return Match.DIFFERENT
            return _worst(_compare(one, other) for one, other in zip(sent, echoed, strict=True))
        case Mapping(), Mapping():
            return _worst(_compare(value, echoed.get(name)) for name, value in sent.items())
        case ((int() | float()), (int() | float() | str())) | (str(), (int() | float())):
            return _compare_numbers(sent, echoed)
        case str(), str():
            return _compare_strings(sent, echoed)
        case _:
            return Match.UNCLEAR


def _compare_seeds(sent: Any, echoed: Any) -> Match:
    """Compare two seeds: to the last digit. One of 0 or below may ask for any, so that another one comes back."""
    whole = whole_number(sent), whole_number(echoed)
    if None in whole or (whole[0] or 0) < 0 or (whole[0] == 0 and whole[1] != 0):
        return Match.UNCLEAR
    exact = max(map(abs, filter(None, whole)), default=0) <= _EXACT_IN_JSON
    return Match.SAME if whole[0] == whole[1] else Match.DIFFERENT if exact else _compare_numbers(sent, echoed)


def _compare_truths(sent: Any, echoed: Any) -> Match:
    truths = [_TRUTHS.get(str(whole_number(one) if isinstance(one, float) else one).lower()) for one in (sent, echoed)]
    if None in truths:
        return Match.UNCLEAR
    return Match.SAME if truths[0] == truths[1] else Match.DIFFERENT


def _worst(grades: Iterable[Match]) -> Match:
    seen = set(grades)
    return next((grade for grade in (Match.DIFFERENT, Match.UNCLEAR) if grade in seen), Match.SAME)


def _compare_strings(sent: str, echoed: str) -> Match:
    if sent == echoed:
        return Match.SAME
    is_id, was_id = echoed.startswith("asset_"), sent.startswith("asset_")
    if is_id and was_id:
        return Match.DIFFERENT
    if is_id:
        # A long text comes back as the id of a text asset, a file or a data: URL as the id of the asset made of it.
        return Match.SAME
    if whole_number(sent) is not None and whole_number(echoed) is not None:
        return _compare_numbers(sent, echoed)
    if sent.split() == echoed.split():
        return Match.SAME
    if names_a_file(sent) or names_a_file(echoed):
        return Match.UNCLEAR  # A file has many names: a path, a signed URL, the id of an asset.
    return _compare_texts(_plain(sent), _plain(echoed))


def _compare_texts(sent: str, echoed: str) -> Match:
    """Compare two texts that are not the same to the letter."""
    if sent == echoed or not sent or not echoed:
        return Match.UNCLEAR
    shorter, longer = sorted((sent, echoed), key=len)
    # One of them may have been cut, or framed.
    if (len(shorter) >= 8 and shorter in longer) or (len(shorter) >= 4 and longer.startswith(shorter)):
        return Match.UNCLEAR
    alike = difflib.SequenceMatcher(None, sent[:500], echoed[:500], autojunk=False).ratio() >= _NEAR
    return Match.UNCLEAR if alike else Match.DIFFERENT


def _plain(text: str) -> str:
    """Return a text without what an API may change: escapes, normal form, case, quotes, punctuation and blanks."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda one: chr(int(one[1], 16)), text)
    text = re.sub(r"&#?\w{1,8};|\\[nrt\"'\\]|%[0-9A-Fa-f]{2}", "", text)
    return "".join(one for one in unicodedata.normalize("NFKC", text).casefold() if one.isalnum())


def _compare_numbers(sent: float | str, echoed: float | str) -> Match:
    """Compare two numbers, or texts of numbers. An API may round them: a width to sixteens, a share to two digits."""
    whole = whole_number(sent), whole_number(echoed)
    try:
        one, other = float(sent), float(echoed)
    except (ValueError, OverflowError):
        return Match.UNCLEAR  # As "81 frames" for 81.
    exact = None not in whole and max(map(abs, filter(None, whole)), default=0) <= _EXACT_IN_JSON
    if whole[0] == whole[1] if exact else math.isclose(one, other, rel_tol=1e-6):
        return Match.SAME
    return Match.UNCLEAR if math.isclose(one, other, rel_tol=0.1, abs_tol=0.51) else Match.DIFFERENT
