"""Paying: prices, refusals, the echo, and how jobs end."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.asking import (
    IMAGE_MODEL,
    OUTPAINTING,
    REFRAME,
    SHORT,
    TEXT_MODEL,
    ended_job,
    job,
    original,
    submit,
    submitted,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from airflow_provider_scenario.sandbox.server import SandboxServer


def test_a_dry_run_in_the_query_tells_the_price_and_charges_nothing(api: httpx.Client, quick: SandboxServer) -> None:
    for asked in ("true", "api"):
        reply = submit(api, TEXT_MODEL, SHORT, dryRun=asked)
        assert reply.status_code == 269
        assert reply.json() == {
            "job": {},
            "creativeUnitsCost": 2.75,
            "creativeUnitsDiscount": 0,
            "costDetails": {"custom-generation": 2.75},
        }
    assert quick.ledger()["totals"]["jobs"] == 0


def test_a_dry_run_in_the_body_is_ignored_and_charged(api: httpx.Client, quick: SandboxServer) -> None:
    reply = submit(api, TEXT_MODEL, {**SHORT, "dryRun": True})
    assert reply.status_code == 200
    assert reply.json()["job"]["jobId"].startswith("job_")
    assert quick.ledger()["totals"] == {"jobs": 1, "charged": 2.75, "refunded": 0}


def test_a_dry_run_validates_unless_told_otherwise(api: httpx.Client, quick: SandboxServer) -> None:
    assert submit(api, OUTPAINTING, {"prompt": "wide"}, dryRun="true").status_code == 400
    quick.configure(dry_run_validates=False)
    assert submit(api, OUTPAINTING, {"prompt": "wide", "unheard": 1}, dryRun="true").status_code == 269
    assert submit(api, OUTPAINTING, {"prompt": "wide"}).status_code == 400


def test_longer_and_larger_costs_more(api: httpx.Client, clip_id: str) -> None:
    def cost(model: str, **inputs: Any) -> float:
        return submit(api, model, inputs, dryRun="true").json()["creativeUnitsCost"]

    assert cost(TEXT_MODEL, prompt="x", frameNum=81) > cost(TEXT_MODEL, prompt="x", frameNum=17)
    assert cost(REFRAME, videoUrl=clip_id) > cost(REFRAME, videoUrl=clip_id, resolution="480p")
    assert cost(REFRAME, videoUrl=clip_id) > cost(REFRAME, videoUrl=clip_id, matchInputNumFrames=True)


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        (TEXT_MODEL, {}, "Input prompt is required"),
        (TEXT_MODEL, {"prompt": ""}, "Input prompt is required"),
        (TEXT_MODEL, {**SHORT, "unheard": 1}, "Input unheard is not allowed"),
        (TEXT_MODEL, {**SHORT, "frameNum": 18}, "Input frameNum must be one of: 17, 33, 49, 65, 81"),
        (TEXT_MODEL, {**SHORT, "sampleSteps": 51}, "Input sampleSteps must be at most 50"),
        (TEXT_MODEL, {**SHORT, "sampleSteps": 9}, "Input sampleSteps must be at least 10"),
        (TEXT_MODEL, {**SHORT, "sampleSteps": "30"}, "Input sampleSteps must be a number"),
        (TEXT_MODEL, {**SHORT, "seed": True}, "Input seed must be a number"),
        (TEXT_MODEL, {"prompt": ["a", "b"]}, "Input prompt must be a string"),
        (REFRAME, {"prompt": "x"}, "Input videoUrl is required"),
        (REFRAME, {"videoUrl": "CLIP", "trimBorders": 1}, "Input trimBorders must be a boolean"),
        (REFRAME, {"videoUrl": "IMAGE"}, "Input videoUrl must be an asset of kind video, got image"),
        (
            IMAGE_MODEL,
            {"prompt": "x", "lastFrameImage": "IMAGE"},
            "A first frame is needed when a last frame is given.",
        ),
        (
            OUTPAINTING,
            {"prompt": "x", "videoUrl": "CLIP", "refImageUrls": ["IMAGE"] * 11},
            "Input refImageUrls must have at most 10 items",
        ),
    ],
)
def test_bad_inputs_are_refused_and_free(
    api: httpx.Client,
    quick: SandboxServer,
    clip_id: str,
    image_id: str,
    model: str,
    inputs: dict[str, Any],
    reason: str,
) -> None:
    known = {"CLIP": clip_id, "IMAGE": image_id}
    real = {
        name: [known[each] for each in value] if name == "refImageUrls" else known.get(str(value), value)
        for name, value in inputs.items()
    }
    reply = submit(api, model, real)
    assert (reply.status_code, reply.json()) == (400, {"reason": reason})
    assert quick.ledger()["entries"] == []


def test_inputs_may_depend_on_each_other(api: httpx.Client, quick: SandboxServer) -> None:
    rules = {"ifNotDefined": {"audio": {"message": "Give a voice or a sound."}}}
    condition = {"conditional": {"values": {"mode": ["loud", "soft"], "long": True}, "operator": "and"}}
    inputs = [
        {"name": "voice", "type": "string", "required": rules},
        {"name": "audio", "type": "string"},
        {"name": "mode", "type": "string"},
        {"name": "long", "type": "boolean"},
        {"name": "level", "type": "number", "required": condition},
    ]
    quick.add_model({"id": "model_dependent", "inputs": inputs})

    def reason(**given: Any) -> str | None:
        return submit(api, "model_dependent", given).json().get("reason")

    assert reason() == "Give a voice or a sound."
    assert reason(audio="a") is None
    assert reason(audio="a", mode="loud") is None
    assert reason(audio="a", mode="loud", long=True) == "Input level is required"
    assert reason(audio="a", mode="loud", long=True, level=3) is None


def test_files_are_held_to_their_limits(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    def reason(limit: str, value: float) -> str:
        entry = {"name": "video", "type": "file", "kind": "video", limit: value}
        quick.add_model({"id": "model_limited", "capabilities": ["video2video"], "inputs": [entry]})
        return submit(api, "model_limited", {"video": clip_id}).json().get("reason", "none")

    assert reason("maxDuration", 1.9) == "Input video must last at most 1.9 seconds"
    assert reason("minDuration", 2.1) == "Input video must last at least 2.1 seconds"
    assert reason("maxSize", 100) == "Input video must not be larger than 100 bytes"
    assert reason("maxDuration", 2.0) == "none"


def test_an_unknown_asset_is_not_found(api: httpx.Client) -> None:
    reply = submit(api, REFRAME, {"videoUrl": "asset_none"})
    assert (reply.status_code, reply.json()) == (404, {"reason": "Asset asset_none not found"})


def test_a_scalar_where_an_array_belongs_is_dropped_and_the_job_is_charged(
    api: httpx.Client, quick: SandboxServer, clip_id: str, image_id: str
) -> None:
    inputs = {"prompt": "wide", "videoUrl": clip_id, "refImageUrls": image_id}
    found = job(api, submitted(api, OUTPAINTING, inputs))
    assert found["metadata"]["input"]["refImageUrls"] == []
    (entry,) = quick.ledger()["entries"]
    assert entry["inputs"] == inputs
    assert entry["charged"] == found["billing"]["cuCost"] > 0


def test_a_data_url_becomes_an_asset(api: httpx.Client, quick: SandboxServer, image: Path) -> None:
    data_url = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"
    assert submit(api, IMAGE_MODEL, {"prompt": "x", "image": data_url}, dryRun="true").status_code == 269
    assert api.get("assets").json()["assets"] == []
    found = job(api, submitted(api, IMAGE_MODEL, {"prompt": "x", "image": data_url}))
    assert original(api, found["metadata"]["input"]["image"])["properties"]["width"] == 320


def test_the_echo_is_not_literal(api: httpx.Client, clip_id: str) -> None:
    text = "a very long prompt " * 20
    found = job(api, submitted(api, OUTPAINTING, {"prompt": text, "videoUrl": clip_id, "numFrames": 90}))
    echo = found["metadata"]["input"]
    assert echo["modelId"] == OUTPAINTING
    assert echo["resolution"] == "720p"
    assert isinstance(echo["seed"], int)
    assert (echo["numFrames"], type(echo["numFrames"])) == (90, float)
    prompt = original(api, echo["prompt"])
    assert (prompt["kind"], prompt["mimeType"]) == ("text", "text/plain")
    given = job(api, submitted(api, TEXT_MODEL, {**SHORT, "seed": 99}))
    assert given["metadata"]["input"]["seed"] == 99
    assert given["metadata"]["input"]["prompt"] == SHORT["prompt"]


def test_two_runs_without_a_seed_have_two_seeds(api: httpx.Client) -> None:
    seeds = {job(api, submitted(api))["metadata"]["input"]["seed"] for _ in range(5)}
    assert len(seeds) == 5


def test_a_job_passes_through_all_statuses_with_rising_progress(api: httpx.Client, quick: SandboxServer) -> None:
    order = ["pending", "queued", "warming-up", "in-progress", "finalizing", "success"]
    for seconds in (1, 4, 16):  # On a busy machine a job that is too quick passes a step between two looks.
        quick.configure(job_seconds=seconds)
        job_id = submitted(api)
        seen = []
        while not seen or seen[-1]["status"] != "success":
            seen.append(job(api, job_id))
        if {each["status"] for each in seen} == set(order) and len({each["progress"] for each in seen}) > 5:
            break
    assert [step["status"] for step in seen[-1]["statusHistory"]] == order
    assert sorted({each["status"] for each in seen}, key=order.index) == order
    progress = [each["progress"] for each in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) > 5
    assert all("assetIds" not in each["metadata"] for each in seen[:-1])
    assert sorted(each["updatedAt"] for each in seen) == [each["updatedAt"] for each in seen]


def test_a_moderated_prompt_fails_and_is_refunded(api: httpx.Client, quick: SandboxServer) -> None:
    found = ended_job(api, submitted(api, TEXT_MODEL, {"prompt": "a Forbidden scene"}))
    assert found["status"] == "failure"
    assert "moderation" in found["metadata"]["error"]
    assert found["metadata"]["hint"]
    assert found["billing"]["cuCost"] > 0
    assert quick.ledger()["totals"]["refunded"] == found["billing"]["cuCost"]


def test_a_failure_without_refund(api: httpx.Client, quick: SandboxServer) -> None:
    found = ended_job(api, submitted(api, TEXT_MODEL, {"prompt": "[fail no refund]"}))
    assert (found["status"], found["billing"]["disableRefund"]) == ("failure", True)
    assert quick.ledger()["totals"]["refunded"] == 0


def test_other_scenes(api: httpx.Client, quick: SandboxServer) -> None:
    def ending(prompt: str) -> dict[str, Any]:
        return ended_job(api, submitted(api, TEXT_MODEL, {"prompt": prompt}))

    assert ending("[cancel]")["status"] == "canceled"
    assert ending("[fail]")["status"] == "failure"
    assert len(ending("[two outputs]")["metadata"]["assetIds"]) == 2
    first, second = ending("[thumbnail first]")["metadata"]["assetIds"]
    assert [original(api, first)["kind"], original(api, second)["kind"]] == ["image", "video"]
    (broken,) = ending("[broken output]")["metadata"]["assetIds"]
    assert original(api, broken)["status"] == "error"
    stuck = submitted(api, TEXT_MODEL, {"prompt": "[stuck]"})
    assert job(api, stuck)["status"] == "in-progress"
    quick.configure(fail_next_jobs=1)
    assert [ending("plain")["status"], ending("plain")["status"]] == ["failure", "success"]


def test_success_that_is_set_while_the_video_is_made_comes_with_the_video(
    api: httpx.Client, quick: SandboxServer
) -> None:
    quick.configure(render="full", job_seconds=3600)
    _, job_id = submitted(api), submitted(api)
    assert quick.set_job(job_id)["status"] != "success", "else the video was made before, and this tests nothing"
    ended = ended_job(api, job_id)
    assert ended["status"] == "success"
    assert ended["metadata"]["assetIds"]


def test_no_more_jobs_than_the_plan_allows(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(parallel_jobs=2, job_seconds=60)
    first, _ = submitted(api), submitted(api)
    reply = submit(api, TEXT_MODEL, SHORT)
    assert reply.status_code == 429
    assert reply.json()["details"] == {"actionName": "parallelCustomJobs", "actionLimit": 2}
    assert quick.ledger()["totals"]["jobs"] == 2
    quick.set_job(first)
    ended_job(api, first)
    assert submit(api, TEXT_MODEL, SHORT).status_code == 200


def test_a_cooldown_after_each_job(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(cooldown_seconds=900)
    submitted(api)
    reply = submit(api, TEXT_MODEL, SHORT)
    assert (reply.status_code, reply.json()["reason"]) == (429, "cooldown")
    assert 890 <= reply.json()["remainingSeconds"] <= 900


def test_a_plan_that_refuses_a_model_and_a_purse_that_is_empty(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(restricted_models=[TEXT_MODEL])
    reply = submit(api, TEXT_MODEL, SHORT)
    assert (reply.status_code, reply.json()["name"]) == (403, "ModelAccessRestrictedError")
    quick.configure(restricted_models=[], creative_units=5)
    submitted(api)
    assert submit(api, TEXT_MODEL, SHORT).status_code == 402
    assert quick.ledger()["totals"]["jobs"] == 1


def test_a_video_job_cannot_be_canceled(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(job_seconds=60)
    reply = api.post(f"jobs/{submitted(api)}/action", json={"action": "cancel"})
    refusal = {"reason": "Cannot cancel this type of job. Action not permitted."}
    assert (reply.status_code, reply.json()) == (400, refusal)


def test_bodies_that_are_no_objects(api: httpx.Client) -> None:
    assert api.post(f"generate/custom/{TEXT_MODEL}", content=b"{").status_code == 400
    assert api.post(f"generate/custom/{TEXT_MODEL}", content=b"[]").status_code == 400
    assert api.post(f"generate/custom/{TEXT_MODEL}", content=b" " * 10_000_001).status_code == 413
    assert api.post(f"generate/custom/{TEXT_MODEL}", content=b'{"a":' + b"[" * 1_000_000).status_code == 400


# --- Fractions, discounts, add-ons


def test_discounts_and_add_ons_stand_apart_and_sum_up_to_the_last_digit(
    api: httpx.Client, quick: SandboxServer
) -> None:
    quick.configure(price_factor=1.1, discount_share=0.15, quality_gate_units=0.1)
    prices = {
        "creativeUnitsCost": 2.68,
        "creativeUnitsDiscount": 0.45,
        "costDetails": {"custom-generation": 2.58, "quality-gate": 0.1},
    }
    told = submit(api, TEXT_MODEL, SHORT, dryRun="api").json()
    assert told == {"job": {}, **prices}
    bought = submit(api, TEXT_MODEL, SHORT).json()
    assert {name: bought[name] for name in prices} == prices
    billing = {"cuCost": 2.58, "cuDiscount": 0.45, "cuCostDetails": {"quality-gate": 0.1}}
    assert ended_job(api, bought["job"]["jobId"])["billing"] == billing
    assert quick.ledger()["totals"] == {"jobs": 1, "charged": 2.68, "refunded": 0}


@pytest.mark.parametrize(("prompt", "left", "refunded"), [("[fail]", 0, 2.95), ("[fail no refund]", 0.2, 0)])
def test_after_a_refund_add_ons_read_nothing_and_the_cost_stays(
    api: httpx.Client, quick: SandboxServer, prompt: str, left: float, refunded: float
) -> None:
    quick.configure(quality_gate_units=0.2)
    failed = ended_job(api, submitted(api, TEXT_MODEL, {**SHORT, "prompt": prompt}))
    assert failed["billing"]["cuCost"] == 2.75
    assert failed["billing"]["cuCostDetails"] == {"quality-gate": left}
    assert quick.ledger()["totals"] == {"jobs": 1, "charged": 2.95, "refunded": refunded}


def test_a_dry_run_that_is_ignored_buys(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(dry_run_ignored=True)
    reply = submit(api, TEXT_MODEL, SHORT, dryRun="api")
    assert reply.status_code == 200
    assert reply.json()["job"]["jobId"] == quick.ledger()["entries"][0]["jobId"]


def test_a_model_tells_how_long_its_jobs_take(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(job_seconds=20)
    stats = api.get(f"models/{TEXT_MODEL}").json()["model"]["performanceStats"]
    assert stats["default"] == "txt2video"
    (variant,) = stats["variants"]
    assert (variant["inferenceLatencyP50Sec"], variant["totalLatencyP50Sec"]) == (17.0, 20.0)
