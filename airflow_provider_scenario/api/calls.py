"""Every endpoint this package uses, once: what to send, how to read the reply, and whether it is safe to repeat.

The client carries these values, and knows no endpoint of its own. Facts about the endpoints are from Scenario's
API reference and its official client, scenario-sdk 2.4.0.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote

from airflow_provider_scenario.api.asset import Asset, Upload
from airflow_provider_scenario.api.job import Job, JobPage, Submission, price_of
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.response import Response, error_of
from airflow_provider_scenario.exceptions import (
    ErrorDetails,
    ScenarioDryRunError,
    ScenarioInputError,
    ScenarioNotFoundError,
    ScenarioServerError,
)

T = TypeVar("T")

LARGEST_PAGE = 100
"""Rows a page of the job list may have (scenario-sdk, ``job_list_params``)."""

MAX_PAGES = 200
"""Pages of the job list to read at most."""

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading a document fails with that is not as it should be."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call of the API, ready to be carried by the client.

    :param action: What it does, in words that complete "Scenario refused to ...".
    :param path: Path below the base URL, quoted.
    :param repeatable: Whether sending it twice does no harm.
    """

    action: str
    method: str
    path: str
    read: Callable[[Response], T]
    repeatable: bool
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = field(default=None, repr=False)

    def content(self) -> bytes | None:
        """Return the body as it goes over the wire: as JSON, which has neither dates nor infinity."""
        if self.body is None:
            return None
        try:
            return json.dumps(self.body, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as unwritable:
            trouble = str(unwritable)
        raise ScenarioInputError(
            f"What is to be sent to {self.action} is not JSON: {trouble}. Nothing was sent.", sent=False
        )

    def read_reply(self, reply: Response) -> T:
        """Return what the reply says, else raise the error it stands for."""
        now = datetime.datetime.now(datetime.UTC)
        error = error_of(reply, self.action, now=now, is_purchase=not self.repeatable)
        if error is not None:
            raise error
        try:
            return self.read(reply)
        except _UNREADABLE as unreadable:
            missing = f"{type(unreadable).__name__}: {unreadable}"
        raise ScenarioServerError(
            f"Scenario's reply to '{self.action}' (HTTP {reply.status}) lacks what it should hold ({missing}).",
            details=ErrorDetails(status=reply.status),
        )


def submit(model_id: str, inputs: Mapping[str, Any]) -> Call[Submission]:
    """Buy one generation. Never repeated: Scenario has no idempotency key.

    :param model_id: The model.
    :param inputs: Values by the API's names.
    """

    def read(reply: Response) -> Submission:
        document = reply.json()
        job = Job.read(document["job"])
        try:
            return Submission(job, price_of(document))
        except KeyError:  # A paid job must not be lost to a price that is missing.
            return Submission(job, job.cost)

    return Call(
        f"run {model_id}", "POST", f"/generate/custom/{_id(model_id)}", read, repeatable=False, body=dict(inputs)
    )


def estimate(model_id: str, inputs: Mapping[str, Any]) -> Call[Decimal]:
    """Ask what a generation would cost: a dry run, which makes no job and costs nothing.

    :param model_id: The model.
    :param inputs: Values by the API's names; the price is for just these.
    :raises ScenarioDryRunError: on reading the reply, if it names a job: then it was bought.
    """

    def read(reply: Response) -> Decimal:
        document = reply.json()
        job = document.get("job")
        job_id = (job.get("jobId") if isinstance(job, Mapping) else None) or document.get("jobId")
        if job_id:
            raise ScenarioDryRunError(
                f"Scenario was asked for the price of {model_id} only, but made the job {job_id}, which is charged: "
                "something between here and Scenario drops the query of a request, or the API has changed.",
                details=ErrorDetails(status=reply.status),
                job_id=str(job_id),
            )
        return price_of(document)

    return Call(
        f"price {model_id}",
        "POST",
        f"/generate/custom/{_id(model_id)}",
        read,
        repeatable=False,  # A proxy that drops the query would make it a purchase.
        query={"dryRun": "api"},  # In the body it would be ignored, and the job would run.
        body=dict(inputs),
    )


def get_job(job_id: str) -> Call[Job]:
    """Read one job. Another one's reply, as of a cache on the way, is none: what became of it would be paid again."""

    def read(reply: Response) -> Job:
        job = Job.read(reply.json()["job"])
        if job.id != job_id:
            raise ValueError("it is of another job")
        return job

    return Call(f"read job {job_id}", "GET", f"/jobs/{_id(job_id)}", read, repeatable=True)


def list_jobs(
    *, updated_after: datetime.datetime | None = None, token: str | None = None, page_size: int = LARGEST_PAGE
) -> Call[JobPage]:
    """List jobs made by models such as Scenario's video models (type ``custom``), the last changed first.

    A page may be short or empty although more follow: go on until there is no next token.

    :param updated_after: Only jobs that changed after this time.
    :param token: The next token of the page before.
    :param page_size: Rows a page, 1 to 100. Default 100.
    """
    query = {"types": "custom", "pageSize": str(page_size)}
    if updated_after is not None:
        query["updatedAfter"] = updated_after.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
        query["updatedAfter"] = query["updatedAfter"].replace("+00:00", "Z")
    if token is not None:
        query["paginationToken"] = token

    def read(reply: Response) -> JobPage:
        document = reply.json()
        # A reply without its rows is no empty list: a job that is looked for there would be bought again.
        rows = _rows(reply, "jobs")
        jobs = _readable(Job.read, rows)
        token = document.get("nextPaginationToken") or None
        if token is not None and not isinstance(token, str):
            raise TypeError("nextPaginationToken is no text")
        return JobPage(tuple(jobs), token, reply.server_time, unreadable=len(rows) - len(jobs))

    return Call("list jobs", "GET", "/jobs", read, repeatable=True, query=query)


def get_model(model_id: str) -> Call[Model]:
    """Read a model's record with its inputs."""
    return Call(
        f"read model {model_id}",
        "GET",
        f"/models/{_id(model_id)}",
        lambda reply: Model.read(reply.json()["model"]),
        repeatable=True,
    )


def list_models() -> Call[tuple[Mapping[str, Any], ...]]:
    """List the project's own models: the cheapest call that needs a good key."""
    return Call(
        "list models",
        "GET",
        "/models",
        lambda reply: tuple(_objects(_rows(reply, "models"))),
        repeatable=True,
        query={"pageSize": "1"},
    )


def list_projects() -> Call[tuple[str, ...]]:
    """Name the projects this key can see, as ``team / project``: a project's key sees its own."""

    def read(reply: Response) -> tuple[str, ...]:
        return tuple(
            f"{team.get('name') or team.get('id')} / {project.get('name') or project.get('id')}"
            for team in _objects(reply.json().get("teams"))
            for project in _objects(team.get("projects"))
        )

    return Call("list the projects", "GET", "/teams", read, repeatable=True)


def get_asset(asset_id: str, *, original: bool = False) -> Call[Asset]:
    """Read an asset, with a fresh URL.

    :param asset_id: The asset.
    :param original: Whether the URL shall lead to the file before Scenario optimised it. Default: no.
    """

    def read(reply: Response) -> Asset:
        asset = Asset.read(reply.json()["asset"])
        if asset.id != asset_id:
            raise ValueError("it is of another asset")
        return asset

    query = {"originalAssets": "true"} if original else {}
    return Call(f"read asset {asset_id}", "GET", f"/assets/{_id(asset_id)}", read, repeatable=True, query=query)


def get_assets(asset_ids: Sequence[str]) -> Call[Mapping[str, Asset]]:
    """Read up to 200 assets by id; ids that Scenario doesn't know are absent from the result."""

    def read(reply: Response) -> Mapping[str, Asset]:
        rows = _rows(reply, "assets")
        assets = _readable(Asset.read, rows)
        found = {asset.id: asset for asset in assets if asset.id in asset_ids}
        if len(assets) < len(rows) and not found.keys() >= set(asset_ids):
            raise TypeError("rows of it can't be read: one may be an asset that was asked for")
        return found

    return Call("read assets", "POST", "/assets/get-bulk", read, repeatable=True, body={"assetIds": list(asset_ids)})


def upload_image(name: str, image: str) -> Call[Asset]:
    """Upload a small image in one call. Costs nothing, so a lost reply may be repeated.

    If the image had arrived all the same, that leaves one more asset, which nobody uses and nobody pays: less of a
    nuisance than a task that fails because a gateway failed once.

    :param name: The asset's name.
    :param image: The file in base64; below 6 MB in all (Scenario's page on uploading assets).
    """
    return Call(
        f"upload {name}",
        "POST",
        "/assets",
        lambda reply: Asset.read(reply.json()["asset"]),
        repeatable=True,
        body={"image": image, "name": name},
    )


def start_upload(name: str, *, size: int, content_type: str, kind: str, parts: int) -> Call[Upload]:
    """Begin a multipart upload. Costs nothing, so a lost reply may be repeated.

    :param name: The file's name.
    :param size: Its bytes.
    :param content_type: Its MIME type.
    :param kind: ``video``, ``image`` or ``audio``.
    :param parts: In how many parts the bytes will come; each but the last has 5 MiB or more.
    """
    body = {"fileName": name, "fileSize": size, "contentType": content_type, "kind": kind, "parts": parts}
    return Call(
        f"begin the upload of {name}",
        "POST",
        "/uploads",
        lambda reply: Upload.read(reply.json()["upload"]),
        repeatable=True,
        body=body,
    )


def complete_upload(upload_id: str) -> Call[Upload]:
    """Say that every part has been sent."""
    return Call(
        f"complete upload {upload_id}",
        "POST",
        f"/uploads/{_id(upload_id)}/action",
        lambda reply: Upload.read(reply.json()["upload"]),
        repeatable=True,
        body={"action": "complete"},
    )


def get_upload(upload_id: str) -> Call[Upload]:
    """Read how far an upload is."""
    return Call(
        f"read upload {upload_id}",
        "GET",
        f"/uploads/{_id(upload_id)}",
        lambda reply: Upload.read(reply.json()["upload"]),
        repeatable=True,
    )


def _rows(reply: Response, name: str) -> list[object]:
    rows = reply.json()[name]
    if not isinstance(rows, list):
        raise TypeError(f"{name} is no list")
    return rows


def _objects(rows: object) -> list[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _readable(read: Callable[[Mapping[str, Any]], T], rows: list[object]) -> list[T]:
    """Return the rows that can be read: one odd row must not hide the others."""
    found = []
    for row in _objects(rows):
        with contextlib.suppress(*_UNREADABLE):
            found.append(read(row))
    return found


def _id(text: str) -> str:
    """Return an id as one segment of a path; an empty one would turn the call into another."""
    if not isinstance(text, str) or not text.strip("."):  # None is an XCom that is not there.
        raise ScenarioInputError(f"{text!r} is not the id of anything at Scenario. Nothing was sent.")
    return quote(text, safe="")


class Client(Protocol):
    """What sends calls: a :class:`~airflow_provider_scenario.api.client.ScenarioClient`."""

    def send(self, call: Call[T], /) -> T:
        """Send a call and return what its reply says."""


def read_pages(client: Client, updated_after: datetime.datetime | None) -> Iterator[JobPage]:
    """Yield the job list's pages, last changed first: jobs that changed after a time, or all (``None``)."""
    # The time is by Scenario's clock. If the list goes on after MAX_PAGES, the last page has a next_token.
    token: str | None = None
    for _ in range(MAX_PAGES):
        page = client.send(list_jobs(updated_after=updated_after, token=token))
        yield page
        if page.next_token is None:
            return
        if page.next_token == token:
            raise ScenarioServerError(
                "Scenario's job list goes round in a circle: a page names itself as the next one."
            )
        token = page.next_token


def find_in_list(client: Client, job_id: str, updated_after: datetime.datetime | None) -> Job | None:
    """Return a job as the job list shows it, else ``None``: by a gateway's fault its own address may refuse it."""
    pages = read_pages(client, updated_after)
    return next((job for page in pages for job in page.jobs if job.id == job_id), None)


def find_job(client: Client, job_id: str) -> Job | None:
    """Read a job; ``None`` if Scenario knows none of this id."""
    try:
        return client.send(get_job(job_id))
    except ScenarioNotFoundError:
        return None
