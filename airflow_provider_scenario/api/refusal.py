"""What a refusal is about, as far as its status does not tell: Scenario has no codes for it, only words."""

from __future__ import annotations

import enum
import re

MODERATION_WORDS = ("moderation", "moderated", "nsfw", "sensitive content", "content policy", "safety system")
"""Words by which Scenario's own plugins recognise a blocked prompt."""

# Whole words, and "flagged" not before what was found wrong: an input has "moderate" motion, "flagged inputs: fps".
_MODERATION = re.compile(
    rf"(?im)\b(?:{'|'.join(MODERATION_WORDS)}|moderators?)\b"
    r"|\bflagged\s+(?:as|by|for)\b"
    r"|\bflagged(?=\s*(?:[.,;!)]|$))"
)
_UNITS = re.compile(r"(?i)\b(creative units?|credits?|CUs?)\b")
_LACK = re.compile(r"(?i)\b(not enough|insufficient|out of|no more|ran out|used up|exhausted|lack\w*)\b")
_PLAN = re.compile(r"(?i)\b(plan|subscription|trial)\b")


class RefusalReason(enum.Enum):
    """What a refusal is about."""

    CREDITS = "credits"
    """The team has too few creative units."""
    PLAN = "plan"
    """The team's plan has expired, or does not hold this."""
    MODERATION = "moderation"
    """What was asked for is blocked."""


def is_moderation(words: str) -> bool:
    """Return whether words speak of moderation."""
    return _MODERATION.search(words) is not None


def refusal_reason_of(status: int, words: str) -> RefusalReason | None:
    """Return what a refusal is about; ``None`` if its status tells all there is.

    :param status: HTTP status.
    :param words: Scenario's reason.
    """
    if status not in (400, 402, 403, 409, 422):
        return None
    if _UNITS.search(words) and _LACK.search(words):
        return RefusalReason.CREDITS
    if status in (402, 403) and _PLAN.search(words):
        return RefusalReason.PLAN
    if status == 402:
        return RefusalReason.CREDITS
    return RefusalReason.MODERATION if is_moderation(words) else None
