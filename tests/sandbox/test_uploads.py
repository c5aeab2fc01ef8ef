"""Files on their way in."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from airflow_provider_scenario.sandbox.backend.uploads import Upload
from tests.sandbox.asking import ended_job, ended_upload, original, upload

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer


def test_many_parts_make_one_file(api: httpx.Client, clip: Path) -> None:
    found = upload(api, clip, "video", "video/mp4", parts=7)
    asset = original(api, found["entityId"])
    assert httpx.get(asset["url"]).content == clip.read_bytes()
    assert asset["source"] == "uploaded-video"
    known = {"width": 640, "height": 360, "nbFrames": 24, "frameRate": 12.0, "duration": 2.0, "codecName": "h264"}
    assert known.items() <= asset["properties"].items()
    assert ended_job(api, found["jobId"])["billing"]["cuCost"] == 0


def test_an_import_takes_its_time(api: httpx.Client, quick: SandboxServer, image: Path) -> None:
    quick.configure(upload_seconds=0.5)
    data = image.read_bytes()
    about = {"fileName": "i.png", "fileSize": len(data), "contentType": "image/png", "kind": "image", "parts": 1}
    begun = api.post("uploads", json=about).json()["upload"]
    assert (begun["status"], len(begun["parts"])) == ("pending", 1)
    assert api.post(f"uploads/{begun['id']}/action", json={"action": "complete"}).status_code == 400
    httpx.put(begun["parts"][0]["url"], content=data).raise_for_status()
    started = time.monotonic()
    seen = [api.post(f"uploads/{begun['id']}/action", json={"action": "complete"}).json()["upload"]["status"]]
    while seen[-1] != "imported":
        found = api.get(f"uploads/{begun['id']}").json()["upload"]
        assert ("entityId" in found) == (found["status"] == "imported")
        seen.append(found["status"])
    assert time.monotonic() - started >= 0.5
    order = ["complete", "validating", "validated", "imported"]
    assert seen == sorted(seen, key=order.index)
    assert seen[0] == "complete"


def test_an_import_is_validated_in_steps() -> None:
    begun = Upload("image", created_at=0.0, file_name="i.png", directory=Path(), completed_at=100.0, asset_id="asset_1")
    times = {100.0: "complete", 101.5: "validating", 102.5: "validated", 103.0: "imported"}
    assert {now: begun.status_at(now, 3.0) for now in times} == times


def test_a_part_url_takes_no_key_and_no_altered_signature(api: httpx.Client, quick: SandboxServer) -> None:
    about = {"fileName": "v.mp4", "fileSize": 3, "contentType": "video/mp4", "kind": "video", "parts": 1}
    url = api.post("uploads", json=about).json()["upload"]["parts"][0]["url"]
    assert api.put(url, content=b"abc").status_code == 400
    assert [leak["route"] for leak in quick.leaks()] == ["/bucket/{uploadId}/{number}"]
    assert httpx.put(url.replace("/1?", "/2?"), content=b"abc").status_code == 403
    assert httpx.put(url, content=b"abc").status_code == 200
    quick.reset()  # Elsewhere a leak fails the test.


def test_what_does_not_hold_what_it_says_fails(api: httpx.Client, tmp_path: Path, image: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    found = upload(api, broken, "video", "video/mp4")
    assert (found["status"], "entityId" in found) == ("failed", False)
    assert "not a readable" in found["errorMessage"]
    assert ended_job(api, found["jobId"])["status"] == "failure"
    assert upload(api, image, "video", "video/mp4")["errorMessage"] == "the file is of kind image instead of video"

    about = {"fileName": "i.png", "fileSize": 5, "contentType": "image/png", "kind": "image", "parts": 1}
    begun = api.post("uploads", json=about).json()["upload"]
    httpx.put(begun["parts"][0]["url"], content=image.read_bytes()).raise_for_status()
    api.post(f"uploads/{begun['id']}/action", json={"action": "complete"})
    assert "instead of the 5 announced" in ended_upload(api, begun["id"])["errorMessage"]


def test_the_server_fetches_a_url_by_itself(api: httpx.Client, clip: Path, clip_id: str) -> None:
    url = original(api, clip_id)["url"]
    begun = api.post("uploads", json={"url": url, "kind": "video"}).json()["upload"]
    assert (begun["source"], "parts" in begun) == ("url", False)
    found = ended_upload(api, begun["id"])
    assert httpx.get(original(api, found["entityId"])["url"]).content == clip.read_bytes()
    missing = api.post("uploads", json={"url": f"{url}x", "kind": "video"}).json()["upload"]
    assert ended_upload(api, missing["id"])["status"] == "failed"


def test_small_pictures_in_base64(api: httpx.Client, image: Path) -> None:
    encoded = base64.b64encode(image.read_bytes()).decode()
    for text in (encoded, f"data:image/png;base64,{encoded}"):
        asset = api.post("assets", json={"name": "i", "image": text}, params={"originalAssets": "true"}).json()["asset"]
        assert httpx.get(asset["url"]).content == image.read_bytes()
    assert api.post("assets", json={"image": encoded}).json() == {"reason": '"name" is required'}
    assert api.post("assets", json={"name": "i", "image": "§"}).status_code == 400
    assert api.post("assets", json={"name": "i", "image": base64.b64encode(b"no image").decode()}).status_code == 400
    large = base64.b64encode(image.read_bytes() + bytes(6_000_000)).decode()
    assert "smaller than 6 MB" in api.post("assets", json={"name": "i", "image": large}).json()["reason"]


def test_bad_requests(api: httpx.Client) -> None:
    about = {"fileName": "i.png", "fileSize": 5, "contentType": "image/png", "kind": "image", "parts": 1}
    for name in about:
        assert api.post("uploads", json={**about, name: None}).status_code == 400, name
    assert api.post("uploads", json={**about, "parts": 0}).status_code == 400
    assert api.get("uploads/upload_none").status_code == 404
