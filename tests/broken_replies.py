"""Replies of Scenario that are odd somewhere, for every call there is.

``python -m tests.broken_replies --seed 1 --replies 100000`` tries as many, and names what ends in no error of ours.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import traceback
from collections import Counter
from importlib import resources
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.model import Model
from airflow_provider_scenario.api.response import Response
from airflow_provider_scenario.api.validation import check_file, check_inputs
from airflow_provider_scenario.exceptions import ScenarioError

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "text",
    "1e300000000",
    "x" * 3000,
    [],
    [[]],
    {},
    {"id": 1},
    [None],
    "\ud800",
)

MODEL_ID = "model_wan-2-2-vace-fun-a14b-outpainting"

_JOB: dict[str, Any] = {
    "jobId": "job_1",
    "status": "success",
    "progress": 1,
    "createdAt": "2026-01-01T00:00:00.000Z",
    "updatedAt": "2026-01-01T00:01:00.000Z",
    "error": None,
    "metadata": {"assetIds": ["asset_1"], "modelId": MODEL_ID, "input": {"prompt": "a", "seed": 7}, "hint": "h"},
    "billing": {"cuCost": 5.25, "cuDiscount": 0, "cuCostDetails": {"quality-gate": 1}},
    "statusHistory": [{"status": "queued", "date": "2026-01-01T00:00:00.000Z"}],
}
_PRICE: dict[str, Any] = {"creativeUnitsCost": 5.25, "creativeUnitsDiscount": 0, "costDetails": {"generation": 5.25}}
_ASSET: dict[str, Any] = {
    "id": "asset_1",
    "url": "https://cdn.example/asset_1?Signature=s",
    "kind": "video",
    "mimeType": "video/mp4",
    "status": "success",
    "properties": {"size": 1, "width": 2, "height": 2, "duration": 1.5, "frameRate": 16},
    "metadata": {"parentJobId": "job_1"},
}
UPLOAD: dict[str, Any] = {
    "id": "upload_1",
    "status": "pending",
    "entityId": "asset_1",
    "errorMessage": "a reason",
    "parts": [{"number": 1, "url": "https://bucket/1", "expires": "x"}, {"number": 2, "url": "https://bucket/2"}],
}
_MODEL: dict[str, Any] = json.loads(
    resources.files("airflow_provider_scenario").joinpath("api", "records", f"{MODEL_ID}.json").read_text()
)["model"]
_TEAM: dict[str, Any] = {"id": "team_1", "name": "team", "projects": [{"id": "proj_1", "name": "project"}]}
_REFUSAL: dict[str, Any] = {"reason": "too many", "details": {"actionLimit": 2}, "remainingSeconds": 3, "trace_id": "t"}

GOOD: tuple[tuple[Call[Any], dict[str, Any]], ...] = (
    (calls.submit(MODEL_ID, {"prompt": "a"}), {"job": _JOB, **_PRICE}),
    (calls.estimate(MODEL_ID, {"prompt": "a"}), _PRICE),
    (calls.get_job("job_1"), {"job": _JOB}),
    (calls.list_jobs(), {"jobs": [_JOB, {**_JOB, "jobId": "job_2"}], "nextPaginationToken": "t"}),
    (calls.get_model(MODEL_ID), {"model": _MODEL}),
    (calls.list_models(), {"models": [_MODEL]}),
    (calls.list_projects(), {"teams": [_TEAM]}),
    (calls.get_asset("asset_1"), {"asset": _ASSET}),
    (calls.get_assets(["asset_1", "asset_2"]), {"assets": [_ASSET, {**_ASSET, "id": "asset_2"}]}),
    (calls.upload_image("a.png", "aaaa"), {"asset": _ASSET}),
    (
        calls.start_upload("a.mp4", size=2, content_type="video/mp4", kind="video", parts=2),
        {"upload": UPLOAD},
    ),
    (calls.complete_upload("upload_1"), {"upload": UPLOAD}),
    (calls.get_upload("upload_1"), {"upload": UPLOAD}),
)
"""Every call with a whole reply to it."""


INPUTS = {row["name"]: row.get("default", "asset_1") for row in _MODEL["inputs"]}


def mutated(chance: random.Random, value: Any) -> Any:
    """Replace, drop or add something somewhere in a document."""
    places: list[tuple[Any, Any]] = []

    def collect(inner: Any) -> None:
        keys = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        for key in keys:
            places.append((inner, key))
            collect(inner[key])

    document = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2, 4))):
        places.clear()
        collect(document)
        if not places:
            return chance.choice(ODD)
        holder, key = chance.choice(places)
        if isinstance(holder, dict) and chance.random() < 0.3:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(chance.choice(ODD))
    return document


def broken_reply(chance: random.Random, good: dict[str, Any]) -> Response:
    """Give a reply that is odd somewhere: in its document, its length, its status or its headers."""
    status, document, headers = 200, good, {"content-type": "application/json"}
    if chance.random() < 0.2:
        status, document = chance.choice((301, 400, 401, 402, 403, 404, 409, 429, 500, 503)), _REFUSAL
        headers["retry-after"] = chance.choice(("", "3", "-1", "nan", "1e999", "Thu, 99 Foo 2026", "x"))
    if chance.random() < 0.1:
        headers["date"] = chance.choice(("", "x", "Thu, 01 Jan 99999 00:00:00 GMT"))
    content = json.dumps(mutated(chance, document)).encode()
    if chance.random() < 0.1:
        content = content[: chance.randrange(len(content))]
    return Response(status, headers, content)


def look(call: Call[Any], reply: Response) -> bool:
    """Read a reply and use what was read; returns whether it could be read.

    :raises Exception: what is no error of ours.
    """
    try:
        value = call.read_reply(reply)
        repr(value)
        if isinstance(value, Model):
            _ = value.largest_seed
            check_inputs(value, INPUTS)
            for one in value.inputs:
                list(check_file(one.name, one, "a.mp4", kind="video", size=5, duration=2.0))
    except ScenarioError as error:
        str(error)
        return False
    return True


def main() -> int:
    """Try many replies, and print each kind of failure once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replies", type=int, default=100_000)
    options = parser.parse_args()
    chance, failures, read = random.Random(options.seed), Counter[str](), 0
    for number in range(options.replies):
        call, good = GOOD[number % len(GOOD)]
        try:
            read += look(call, broken_reply(chance, good))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            failures[f"{call.action}: {type(error).__name__} at {where.name}: {error}"[:200]] += 1
    print(f"{options.replies} broken replies: {read} could be read, {sum(failures.values())} ended in no error of ours")
    for failure, count in failures.most_common(40):
        print(f"  {count} x {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
