"""Every call against the sandbox, with both clients."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import inspect
import time
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import AssetStatus
from airflow_provider_scenario.api.client import ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.job import JobStatus
from airflow_provider_scenario.api.model import packaged_model
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.exceptions import (
    ScenarioAuthenticationError,
    ScenarioConcurrencyLimitError,
    ScenarioDryRunError,
    ScenarioInputError,
    ScenarioInsufficientCreditsError,
    ScenarioNotFoundError,
    ScenarioPermissionError,
    ScenarioServerError,
)
from airflow_provider_scenario.sandbox.server import SandboxServer
from tests.api.conftest import Carrier
from tests.broken_replies import GOOD

MODEL_ID = "model_wan-2-1-1-3b"
INPUTS = {"prompt": "a calm sea", "seed": 7}
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
        "a5f645400000000049454e44ae426082"
    )
).decode()


@pytest.fixture
def upload_of_a_video(sandbox: SandboxServer, config: ClientConfig) -> tuple[bytes, str]:
    """The bytes of a video, and the id of the asset they are already."""
    asset_id = sandbox.make_asset(60_000)
    with ScenarioClient(config) as client:
        asset = client.send(calls.get_asset(asset_id, original=True))
        with client.open_file(asset.url) as stream:
            return b"".join(map(bytes, stream.chunks(1 << 16))), asset_id


def test_a_submission_buys_one_job_and_tells_its_price(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    submission = carry(config, calls.submit(MODEL_ID, INPUTS))
    entry = sandbox.ledger()["entries"][0]
    assert sandbox.ledger()["totals"]["jobs"] == 1
    assert submission.job.id == entry["jobId"]
    assert submission.cost == Decimal(str(entry["cost"])) > 0
    assert submission.job.model_id == MODEL_ID
    assert submission.job.seed == 7
    assert not submission.job.is_finished


def test_an_estimate_tells_the_same_price_and_buys_nothing(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    price = carry(config, calls.estimate(MODEL_ID, INPUTS))
    assert sandbox.ledger()["totals"]["jobs"] == 0
    assert price == carry(config, calls.submit(MODEL_ID, INPUTS)).cost


def test_a_job_is_read_until_it_succeeds(carry: Carrier, sandbox: SandboxServer, config: ClientConfig) -> None:
    sandbox.configure(job_seconds=0.2, render="tiny")
    job_id = carry(config, calls.submit(MODEL_ID, INPUTS)).job.id
    for _ in range(100):
        job = carry(config, calls.get_job(job_id))
        if job.is_finished:
            break
        time.sleep(0.05)
    assert job.status is JobStatus.SUCCESS
    assert job.progress == 1
    assert job.cost == Decimal(str(sandbox.ledger()["entries"][0]["cost"]))
    assert len(job.asset_ids) == 1
    asset = carry(config, calls.get_asset(job.asset_ids[0], original=True))
    assert (asset.kind, asset.mime_type, asset.extension) == ("video", "video/mp4", ".mp4")
    assert asset.status is AssetStatus.SUCCESS
    assert asset.size is not None
    assert asset.size > 0


def test_a_failed_job_tells_reason_and_hint(carry: Carrier, sandbox: SandboxServer, config: ClientConfig) -> None:
    [job_id] = sandbox.make_jobs(1)
    sandbox.set_job(job_id, "failure", error="Blocked by moderation", hint="Rephrase the prompt")
    job = carry(config, calls.get_job(job_id))
    assert job.status is JobStatus.FAILURE
    assert (job.error, job.hint, job.is_moderated) == ("Blocked by moderation", "Rephrase the prompt", True)


def test_a_list_is_read_to_its_end_through_empty_and_short_pages(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    made = sandbox.make_jobs(7)
    sandbox.configure(empty_pages=1, short_pages=True)
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    seen: list[str] = []
    token, pages = None, 0
    while pages == 0 or token:
        page = carry(config, calls.list_jobs(updated_after=before, token=token, page_size=4))
        seen += [job.id for job in page.jobs]
        token, pages = page.next_token, pages + 1
        assert page.server_time is not None
        assert abs(page.server_time - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(seconds=60)
    assert sorted(seen) == sorted(made)
    assert pages > 2


def test_a_list_tells_only_what_changed_since(carry: Carrier, sandbox: SandboxServer, config: ClientConfig) -> None:
    sandbox.make_jobs(2)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    assert carry(config, calls.list_jobs(updated_after=later)).jobs == ()
    assert len(carry(config, calls.list_jobs()).jobs) == 2
    # The same moment, told in another zone.
    zone = datetime.timezone(datetime.timedelta(hours=-11))
    assert carry(config, calls.list_jobs(updated_after=later.astimezone(zone))).jobs == ()


def test_a_model_is_the_one_that_is_packaged(carry: Carrier, config: ClientConfig) -> None:
    model = carry(config, calls.get_model(MODEL_ID))
    packaged = packaged_model(MODEL_ID)
    assert packaged is not None
    assert [one.name for one in model.inputs] == [one.name for one in packaged.inputs]
    assert model.largest_seed == packaged.largest_seed > 0


def test_models_and_projects_are_listed(carry: Carrier, config: ClientConfig) -> None:
    assert carry(config, calls.list_models()) == ()
    assert carry(config, calls.list_projects()) == ("Sandbox team / Sandbox project",)


def test_assets_are_read_in_bulk_without_those_unknown(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    made = sandbox.make_asset(60_000)
    assets = carry(config, calls.get_assets([made, "asset_nobody-knows"]))
    assert list(assets) == [made]
    assert assets[made].size == 60_000
    assert assets[made].url.startswith("http")


def test_the_original_is_not_what_scenario_made_of_it(
    carry: Carrier, sandbox: SandboxServer, config: ClientConfig
) -> None:
    made = sandbox.make_asset(60_000)
    optimised = carry(config, calls.get_asset(made))
    original = carry(config, calls.get_asset(made, original=True))
    assert optimised.url.partition("?")[0] != original.url.partition("?")[0]


def test_a_small_image_is_uploaded_in_one_call(carry: Carrier, config: ClientConfig) -> None:
    asset = carry(config, calls.upload_image("dot.png", PNG))
    assert asset.kind == "image"
    assert carry(config, calls.get_asset(asset.id)).mime_type == "image/png"


def test_a_video_is_uploaded_in_parts(
    carry: Carrier, config: ClientConfig, sandbox: SandboxServer, upload_of_a_video: tuple[bytes, str]
) -> None:
    sandbox.configure(upload_seconds=0.1)
    content, _ = upload_of_a_video
    upload = carry(
        config, calls.start_upload("clip.mp4", size=len(content), content_type="video/mp4", kind="video", parts=1)
    )
    assert [part.number for part in upload.parts] == [1]
    with ScenarioClient(config) as client:
        assert client.put_part(upload.parts[0].url, content, "video/mp4") in (200, 201, 204)
    completed = carry(config, calls.complete_upload(upload.id))
    assert not completed.has_failed
    for _ in range(100):
        upload = carry(config, calls.get_upload(upload.id))
        if upload.asset_id is not None:
            break
        time.sleep(0.05)
    assert not upload.has_failed
    assert upload.asset_id is not None
    assert carry(config, calls.get_asset(upload.asset_id)).size == len(content)
    assert sandbox.leaks() == []


def test_a_file_is_read_from_any_byte_on_without_the_key(
    config: ClientConfig, sandbox: SandboxServer, upload_of_a_video: tuple[bytes, str]
) -> None:
    content, asset_id = upload_of_a_video
    with ScenarioClient(config) as client:
        url = client.send(calls.get_asset(asset_id, original=True)).url
        with client.open_file(url, start=50_000) as stream:
            assert stream.status == 206
            assert b"".join(map(bytes, stream.chunks(1000))) == content[50_000:]
        with client.open_file(url) as stream:
            assert stream.status == 200
            assert int(stream.headers["content-length"]) == 60_000
        with client.open_file(url.replace("Signature=", "Signature=x")) as stream:
            assert stream.status == 403
            assert "Signature" not in repr(stream)
    assert sandbox.leaks() == []


@pytest.mark.parametrize(
    "wrong", [{"api_secret": "wrong"}, {"api_key": "wrong"}, {"api_key": "schlüssel", "api_secret": "ключ"}]
)
def test_a_wrong_key_is_said_to_be_wrong(carry: Carrier, config: ClientConfig, wrong: dict[str, str]) -> None:
    with pytest.raises(ScenarioAuthenticationError, match=r"login \(API key\) and password") as caught:
        carry(dataclasses.replace(config, **wrong), calls.list_models())
    assert caught.value.details.status == 401


@pytest.mark.parametrize(
    "call",
    [
        calls.get_model("model_nobody-knows"),
        calls.get_job("job_nobody-knows"),
        calls.get_asset("asset_nobody-knows"),
        calls.get_upload("upload_nobody-knows"),
        calls.submit("model_nobody-knows", {}),
        # An id is one segment of the path, whatever is in it.
        calls.get_job("../models"),
        calls.get_job("a/b?c=d#e"),
    ],
    ids=lambda call: call.action,
)
def test_what_scenario_does_not_know_is_not_found(carry: Carrier, config: ClientConfig, call: calls.Call[Any]) -> None:
    with pytest.raises(ScenarioNotFoundError) as caught:
        carry(config, call)
    assert caught.value.details.status == 404


@pytest.mark.parametrize("make", [calls.get_job, calls.get_model, calls.get_asset, calls.get_upload])
@pytest.mark.parametrize("no_id", ["", ".", ".."])
def test_no_id_is_never_turned_into_another_call(make: Any, no_id: str) -> None:
    with pytest.raises(ScenarioInputError, match="not the id of anything"):
        make(no_id)


def test_the_reply_about_another_job_is_none() -> None:
    """As of a cache on the way: what became of the other one says nothing."""
    body = b'{"job": {"jobId": "job_2", "status": "failure"}}'
    with pytest.raises(ScenarioServerError):
        calls.get_job("job_1").read_reply(Response(200, {}, body))


def test_wrong_inputs_are_refused_with_scenarios_reason(
    carry: Carrier, config: ClientConfig, sandbox: SandboxServer
) -> None:
    with pytest.raises(ScenarioInputError, match="prompt"):
        carry(config, calls.submit(MODEL_ID, {"seed": 7}))
    assert sandbox.ledger()["totals"]["jobs"] == 0


def test_the_plan_the_money_and_the_slots_may_be_lacking(
    carry: Carrier, config: ClientConfig, sandbox: SandboxServer
) -> None:
    sandbox.configure(restricted_models=[MODEL_ID])
    with pytest.raises(ScenarioPermissionError, match="plan"):
        carry(config, calls.submit(MODEL_ID, INPUTS))
    sandbox.configure(restricted_models=[], creative_units=0)
    with pytest.raises(ScenarioInsufficientCreditsError, match="creative units"):
        carry(config, calls.submit(MODEL_ID, INPUTS))
    sandbox.configure(creative_units=1_000_000, parallel_jobs=1, job_seconds=60)
    carry(config, calls.submit(MODEL_ID, INPUTS))
    with pytest.raises(ScenarioConcurrencyLimitError) as full:
        carry(config, calls.submit(MODEL_ID, INPUTS))
    assert full.value.limit == 1
    sandbox.configure(parallel_jobs=20, cooldown_seconds=900)
    with pytest.raises(ScenarioConcurrencyLimitError) as cooling:
        carry(config, calls.submit(MODEL_ID, INPUTS))
    assert cooling.value.retry_after is not None
    assert 800 < cooling.value.retry_after <= 900
    assert sandbox.ledger()["totals"]["jobs"] == 1


def test_the_project_is_asserted(carry: Carrier, config: ClientConfig, sandbox: SandboxServer) -> None:
    elsewhere = dataclasses.replace(config, project_id="proj_elsewhere")
    for call in (calls.list_models(), calls.submit(MODEL_ID, INPUTS), calls.get_assets(["asset_1"])):
        with pytest.raises(ScenarioPermissionError, match="project_id of the connection"):
            carry(elsewhere, call)
    assert sandbox.ledger()["totals"]["jobs"] == 0


def test_what_is_no_json_is_never_sent(carry: Carrier, config: ClientConfig, sandbox: SandboxServer) -> None:
    for value in (float("nan"), datetime.date(2026, 11, 20), {1, 2}):
        with pytest.raises(ScenarioInputError, match="is not JSON"):
            carry(config, calls.submit(MODEL_ID, {"prompt": value}))
    assert sandbox.requests()["counts"] == {}


def test_a_trailing_slash_of_the_base_url_changes_nothing(carry: Carrier, config: ClientConfig) -> None:
    assert carry(dataclasses.replace(config, base_url=config.base_url + "/"), calls.list_models()) == ()


def test_an_address_without_the_api_is_not_mistaken_for_it(carry: Carrier, config: ClientConfig) -> None:
    elsewhere = dataclasses.replace(config, base_url=config.base_url.removesuffix("/v1") + "/nowhere")
    with pytest.raises(ScenarioNotFoundError):
        carry(elsewhere, calls.list_models())


# What no sandbox answers, read without one.


def _reply(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body)


@pytest.mark.parametrize(
    "beside",
    [
        b'"creativeUnitsCost": "eleven"',
        b'"creativeUnitsCost": null',
        b'"costDetails": 7',
        b'"creativeUnitsCost": NaN',
        b'"creativeUnitsDiscount": {}',
    ],
)
def test_a_paid_job_is_known_even_if_its_price_is_not(beside: bytes) -> None:
    body = b'{"job": {"jobId": "job_1", "status": "queued", "billing": {"cuCost": 11}}, ' + beside + b"}"
    submission = calls.submit(MODEL_ID, {}).read(_reply(body))
    assert submission.job.id == "job_1"
    assert submission.cost == 11


def test_a_price_that_nobody_tells_is_not_a_price_of_nothing() -> None:
    assert calls.submit(MODEL_ID, {}).read(_reply(b'{"job": {"jobId": "job_1"}}')).cost is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"job": {"jobId": "job_1"}, "creativeUnitsCost": 11}',
        b'{"job": {"jobId": "job_1"}}',
        b'{"job": {}, "jobId": "job_1", "creativeUnitsCost": 11}',
        b'{"jobId": "job_1", "creativeUnitsCost": 11}',
    ],
)
def test_an_estimate_that_made_a_job_says_so(body: bytes) -> None:
    with pytest.raises(ScenarioDryRunError, match="made the job job_1") as caught:
        calls.estimate(MODEL_ID, {}).read(_reply(body))
    assert caught.value.job_id == "job_1"


@pytest.mark.parametrize("body", [b'{"job": {}}', b'{"job": {}, "creativeUnitsCost": null}'])
def test_an_estimate_without_a_cost_is_no_cost_of_nothing(body: bytes) -> None:
    with pytest.raises(KeyError, match="creativeUnitsCost"):
        calls.estimate(MODEL_ID, {}).read(_reply(body, 269))


@pytest.mark.parametrize("body", [b"{}", b'{"jobs": null, "models": null, "assets": null}', b'{"jobs": 7}'])
@pytest.mark.parametrize("call", [calls.list_jobs(), calls.list_models(), calls.get_assets(["asset_1"])])
def test_a_list_without_its_rows_is_no_empty_list(call: calls.Call[Any], body: bytes) -> None:
    with pytest.raises(ScenarioServerError, match="lacks what it should hold"):
        call.read_reply(_reply(body))


@pytest.mark.parametrize("number", [b"1e999", b'"one"', b"null", b"[]"])
def test_a_part_without_a_number_is_the_servers_failure(number: bytes) -> None:
    body = b'{"upload": {"id": "upload_1", "parts": [{"number": ' + number + b', "url": ""}]}}'
    with pytest.raises(ScenarioServerError, match="lacks what it should hold"):
        calls.get_upload("upload_1").read_reply(_reply(body))


def test_only_what_buys_is_not_repeatable() -> None:
    every = [call for call, _ in GOOD]
    functions = [one for one in vars(calls).values() if inspect.isfunction(one) and one.__module__ == calls.__name__]
    made = [one for one in functions if str(inspect.signature(one).return_annotation).startswith("Call[")]
    kinds = {(call.method, call.path, *sorted(call.query)) for call in every}
    assert len(kinds) == len(made), "GOOD lacks a call"
    assert [call.action.partition(" ")[0] for call in every if not call.repeatable] == ["run", "price"]
    # A dry run is one only by its query: in the body it is ignored, and the job runs.
    assert [dict(call.query) for call in every if call.path.startswith("/generate")] == [{}, {"dryRun": "api"}]


def test_a_call_shows_no_inputs() -> None:
    assert "a calm sea" not in repr(calls.submit(MODEL_ID, INPUTS))
