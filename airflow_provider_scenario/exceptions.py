"""What can go wrong with Scenario: one class for each thing that an author may want to handle.

Two families decide what becomes of a task. A *permanent* error can't be helped by trying again: the key is wrong, the
inputs are refused, the prompt is blocked. A *transient* error may be gone on the next try, and says in ``retry_after``
how long Scenario asked to be left alone. Nothing here knows Airflow: the operators turn the families into retries.

No message carries a secret or a signed URL: texts that come from outside go through :func:`redact`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Our own advice says "connection@" where an author puts a connection's id.
_URL_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,20}://)(?!connection@[^@/?#\s\"<>]*(?:[/?#\s\"<>]|$))[^/?#\s\"<>]*@")
# The addresses of a job and an asset in Scenario's web app hold no more than an id: they stay whole.
_WEB_PAGE = (
    r"https://app\.scenario\.com/(?:create\?restartGeneration|assets\?openAssetId)=[\w-]{1,100}(?=[.,;)]*(?:\s|$))"
)
_URL_QUERY = re.compile(rf"(?i)\b(?!{_WEB_PAGE})(https?://[^\s\"<>?#]{{0,8000}})[?#][^\s\"<>]+")
# How "=" is written in an address, in one within another, in JSON that escapes it, in HTML, and as a pair of JSON.
_EQUALS = r"=|%(?:25)*3D|\\u003d|&#(?:61|x3d);|[\"']\s*:\s*[\"']"
_SIGNATURE = re.compile(
    r"(?i)(?:(?<![a-z])|(?<=%3F)|(?<=253F))(policy|signature|key-pair-id|x-amz-[a-z-]+|sig|token)"
    rf"({_EQUALS})[^&\s\"'<>]+"
)
# A word such as "Basic authentication" is no credential: base64 of that length has a capital, a digit or a "=".
_AUTHORIZATION = re.compile(r"\b((?i:basic|bearer))\s+(?=[\w+/.~-]*[A-Z0-9=])[\w+/.~-]{8,}=*")

_LONGEST_TEXT = 2000
_LONGEST_READ = 4 * _LONGEST_TEXT


MAX_RETRY_AFTER = 3600.0
"""Seconds to wait at most because Scenario asked for it: a ``Retry-After`` of ten years is an hour."""


def redact(text: object) -> str:
    """Return ``text`` fit for a log: URLs lose their query and user, credentials are masked, length is bounded.

    :param text: Anything; it is turned into a string first.
    :return: At most 2,000 characters, and a "…" where there were more.
    """
    plain = redact_whole(str(text)[:_LONGEST_READ])
    return plain if len(plain) <= _LONGEST_TEXT else plain[:_LONGEST_TEXT] + "…"


def redact_whole(text: str) -> str:
    """Return ``text`` without what :func:`redact` masks, at its whole length."""
    plain = _URL_USER.sub(r"\1", text)
    plain = _URL_QUERY.sub(r"\1?…", plain)
    plain = _SIGNATURE.sub(r"\1\2…", plain)
    return _AUTHORIZATION.sub(r"\1 ***", plain)


@dataclass(frozen=True)
class ErrorDetails:
    """What Scenario itself said of an error; empty where it said nothing.

    :param status: HTTP status, or ``None`` where there was no reply.
    :param reason: The reply's own words.
    :param hint: Scenario's advice, for a job that failed.
    :param trace_id: The id Scenario's support asks for.
    """

    status: int | None = None
    reason: str | None = None
    hint: str | None = None
    trace_id: str | None = None


class ScenarioError(Exception):
    """Base of every error of this package.

    :param message: What happened, what it cost, what to do: for the DAG's author.
    :param details: What Scenario said.
    :param job_id: The job concerned, if there is one.
    :param retry_after: Seconds Scenario asked to wait before the next try, if it did.
    :param sent: Whether the request may have reached Scenario. ``False`` only where surely none of it was sent.
        Default: the careful assumption that it may have.
    """

    is_refusal = False
    """Whether Scenario itself refused, in its own JSON and with a status that stands for a refusal: then it did nothing
    of what was asked. Where it is not known, it did not refuse: that is the careful assumption."""

    def __init__(
        self,
        message: str,
        *,
        details: ErrorDetails | None = None,
        job_id: str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(redact(message))
        self.details = details or ErrorDetails()
        self.job_id = job_id
        self.retry_after = retry_after
        self.sent = sent


class ScenarioPermanentError(ScenarioError):
    """Trying again can't help: the task should end without retries."""


class ScenarioTransientError(ScenarioError):
    """Trying again may help: the task keeps its retries."""


class ScenarioConfigurationError(ScenarioPermanentError):
    """The connection, or an argument of an operator, can't be used as it stands."""


class ScenarioAuthenticationError(ScenarioPermanentError):
    """Scenario rejects the API key or secret (401)."""


class ScenarioPermissionError(ScenarioPermanentError):
    """The key is good but may not do this: wrong project, or the plan has expired or lacks the model (403)."""


class ScenarioInsufficientCreditsError(ScenarioPermanentError):
    """The team is out of creative units (402, or another refusal that says so)."""


class ScenarioNotFoundError(ScenarioPermanentError):
    """Scenario knows no such job, asset or model, or it is not visible to this key's project (404)."""


class ScenarioInputError(ScenarioPermanentError):
    """The inputs are wrong: found by our own check before paying, or refused by Scenario (400, 422)."""


class ScenarioModerationError(ScenarioPermanentError):
    """Scenario's moderation stopped the job or refused it: the same prompt would be stopped again."""


class ScenarioSubmissionError(ScenarioPermanentError):
    """It is not known whether a job was bought, and the settings say not to risk buying it twice."""


class ScenarioCostLimitError(ScenarioPermanentError):
    """What is about to be bought costs more than the author allows. Nothing was bought."""


class ScenarioDryRunError(ScenarioPermanentError):
    """Scenario was asked for a price only, but made a job, which it charges."""


class ScenarioFileError(ScenarioPermanentError):
    """A file can't be read, written or imported, for a reason that will stay."""


class ScenarioConnectionError(ScenarioTransientError):
    """Scenario could not be reached, or the connection broke: ``sent`` says whether the request may have arrived."""


class ScenarioServerError(ScenarioTransientError):
    """Scenario answered with a transient status (408 or 5xx), or with something that is not its JSON."""


class ScenarioRateLimitError(ScenarioTransientError):
    """Somebody asked to slow down (429). Where ``is_refusal`` is true it was Scenario, and nothing was accepted."""


class ScenarioConcurrencyLimitError(ScenarioRateLimitError):
    """There is no capacity: the plan runs no more jobs at once, or a cooldown runs (429).

    :param limit: How many jobs the plan allows at once, where Scenario said it.
    """

    limit: int | None = None


class ScenarioJobFailedError(ScenarioTransientError):
    """The job ended in ``failure``. The task's own retries make a new one."""


class ScenarioJobCanceledError(ScenarioTransientError):
    """The job ended in ``canceled``. The task's own retries make a new one."""


class ScenarioTimeoutError(ScenarioTransientError):
    """A wait for a job, for capacity or for an import took too long. A job goes on, and the next try rejoins it."""


class ScenarioJobUnreadableError(ScenarioTransientError):
    """Scenario refused for a minute to show a job that exists: its own address and the job list alike.

    It says nothing of the job, which may be paid for: the next try reads it again.

    :param take_over: Whether the trouble is this process's own, so that another one may be able to read the job.
    """

    take_over: bool = False


class ScenarioTransferError(ScenarioTransientError):
    """A file did not arrive whole. Nothing half stands under its final name."""
