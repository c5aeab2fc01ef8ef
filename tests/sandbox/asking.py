"""What several tests ask of the sandbox, over plain HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from pathlib import Path

TEXT_MODEL = "model_wan-2-1-1-3b"
OUTPAINTING = "model_wan-2-2-vace-fun-a14b-outpainting"
REFRAME = "model_wan-2-2-vace-fun-a14b-reframe"
IMAGE_MODEL = "model_wan-2-2-i2v-a14b"
SHORT = {"prompt": "a fox in the snow", "frameNum": 17}
PATIENCE_SECONDS = 120
ENDED = ("success", "failure", "canceled")


def submit(api: httpx.Client, model: str, inputs: dict[str, Any], **query: str) -> httpx.Response:
    return api.post(f"generate/custom/{model}", json=inputs, params=query)


def submitted(api: httpx.Client, model: str = TEXT_MODEL, inputs: dict[str, Any] | None = None) -> str:
    reply = submit(api, model, inputs or SHORT)
    assert reply.status_code == 200, reply.text
    return reply.json()["job"]["jobId"]


def job(api: httpx.Client, job_id: str) -> dict[str, Any]:
    reply = api.get(f"jobs/{job_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()["job"]


def ended_job(api: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := job(api, job_id))["status"] not in ENDED:
        assert time.monotonic() < deadline, f"{job_id} is still {found['status']}"
        time.sleep(0.02)
    return found


def made(api: httpx.Client, model: str, inputs: dict[str, Any], path: Path) -> Path:
    """Run a model and fetch its first output to a file."""
    found = ended_job(api, submitted(api, model, inputs))
    assert found["status"] == "success", found["metadata"]
    asset = original(api, found["metadata"]["assetIds"][0])
    path.write_bytes(httpx.get(asset["url"]).raise_for_status().content)
    return path


def original(api: httpx.Client, asset_id: str) -> dict[str, Any]:
    return api.get(f"assets/{asset_id}", params={"originalAssets": "true"}).raise_for_status().json()["asset"]


def upload(api: httpx.Client, path: Path, kind: str, content_type: str, parts: int = 1) -> dict[str, Any]:
    """Send a file in parts, and give the upload when it has ended."""
    data = path.read_bytes()
    size = -(-len(data) // parts)
    about = {"fileName": path.name, "fileSize": len(data), "contentType": content_type, "kind": kind, "parts": parts}
    begun = api.post("uploads", json=about).raise_for_status().json()["upload"]
    for part in begun["parts"]:
        chunk = data[(part["number"] - 1) * size : part["number"] * size]
        httpx.put(part["url"], content=chunk, headers={"Content-Type": content_type}).raise_for_status()
    api.post(f"uploads/{begun['id']}/action", json={"action": "complete"}).raise_for_status()
    return ended_upload(api, begun["id"])


def ended_upload(api: httpx.Client, upload_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = api.get(f"uploads/{upload_id}").raise_for_status().json()["upload"]
        if found["status"] in ("imported", "failed"):
            return found
        assert "entityId" not in found
        assert time.monotonic() < deadline
        time.sleep(0.02)


def all_pages(api: httpx.Client, path: str, name: str, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page of a list, by its tokens."""
    pages: list[list[dict[str, Any]]] = []
    while True:
        reply = api.get(path, params=query).raise_for_status().json()
        pages.append(reply[name])
        if "nextPaginationToken" not in reply:
            return pages
        query["paginationToken"] = reply["nextPaginationToken"]
