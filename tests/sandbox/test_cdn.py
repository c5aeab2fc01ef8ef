"""Files: signed URLs, their end, ranges, and keys that must not come along."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_provider_scenario.sandbox.backend.signing import window_end
from airflow_provider_scenario.sandbox.clip import probe
from tests.sandbox.asking import original

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer


def _expiry(url: str) -> int:
    policy = parse_qs(urlsplit(url).query)["Policy"][0]
    statement = json.loads(base64.b64decode(policy.translate(str.maketrans("-_~", "+=/"))))["Statement"][0]
    return statement["Condition"]["DateLessThan"]["AWS:EpochTime"]


def test_a_file_as_a_whole(api: httpx.Client, clip: Path, clip_id: str) -> None:
    asset = original(api, clip_id)
    reply = httpx.get(asset["url"])
    assert reply.status_code == 200
    assert reply.content == clip.read_bytes()
    assert reply.headers["content-type"] == "video/mp4"
    assert int(reply.headers["content-length"]) == asset["properties"]["size"]
    head = httpx.head(asset["url"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == reply.headers["content-length"]


def test_ranges(api: httpx.Client, clip: Path, clip_id: str) -> None:
    url, data = original(api, clip_id)["url"], clip.read_bytes()

    def part(asked: str, **headers: str) -> httpx.Response:
        return httpx.get(url, headers={"Range": asked, **headers})

    for asked, wanted in (
        ("bytes=0-0", data[:1]),
        ("bytes=10-19", data[10:20]),
        ("bytes=100-", data[100:]),
        ("bytes=-5", data[-5:]),
        (f"bytes=5-{len(data) + 10}", data[5:]),
    ):
        reply = part(asked)
        assert (reply.status_code, reply.content) == (206, wanted)
        start = data.rindex(wanted) if asked == "bytes=-5" else int(asked[6:].split("-")[0])
        assert reply.headers["content-range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(data)}"
    beyond = part(f"bytes={len(data)}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    tag = httpx.head(url).headers["etag"]
    assert part("bytes=1-2", **{"If-Range": tag}).status_code == 206
    assert part("bytes=1-2", **{"If-Range": '"another"'}).content == data


def test_the_default_url_leads_to_other_bytes_than_the_original(
    api: httpx.Client, quick: SandboxServer, clip: Path, clip_id: str, tmp_path: Path
) -> None:
    size = len(clip.read_bytes())
    asset = api.get(f"assets/{clip_id}").json()["asset"]
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(httpx.get(asset["url"]).content)
    assert changed.stat().st_size > size == asset["properties"]["size"]
    assert probe(changed).frames == 24
    middle = httpx.get(asset["url"], headers={"Range": f"bytes={size - 3}-{size + 2}"})
    assert middle.content == changed.read_bytes()[size - 3 : size + 3]
    quick.configure(transformed_urls=False)
    assert httpx.get(api.get(f"assets/{clip_id}").json()["asset"]["url"]).content == clip.read_bytes()


@pytest.mark.parametrize("name", ["Policy", "Signature", "Key-Pair-Id"])
def test_an_altered_url_opens_nothing(api: httpx.Client, clip_id: str, name: str) -> None:
    url = original(api, clip_id)["url"]
    value = parse_qs(urlsplit(url).query)[name][0]
    assert value in url
    reply = httpx.get(url.replace(value, value[:-3] + "AAA"))
    assert reply.status_code == 403
    assert "Access Denied" in reply.text


def test_a_url_opens_only_its_own_file(api: httpx.Client, clip_id: str, image_id: str) -> None:
    url = original(api, clip_id)["url"]
    assert httpx.get(url.replace(clip_id, image_id)).status_code == 403
    assert httpx.get(url.replace("/assets/", "/assets-transform/")).status_code == 403


def test_urls_expire_and_a_new_one_works(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    quick.configure(url_ttl_seconds=0.2)
    url = original(api, clip_id)["url"]
    assert httpx.get(url).status_code == 200
    time.sleep(max(_expiry(url) - time.time(), 0) + 0.05)
    assert httpx.get(url).status_code == 403
    assert httpx.get(original(api, clip_id)["url"]).status_code == 200


def test_all_urls_can_be_made_to_expire_at_once(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    quick.configure(url_ttl_seconds=1000)
    url = original(api, clip_id)["url"]
    quick.expire_urls()
    assert httpx.get(url).status_code == 403
    assert httpx.get(original(api, clip_id)["url"]).status_code == 200


@pytest.mark.parametrize(
    ("today", "end"),
    [("2026-02-01", "2026-02-14"), ("2026-02-07", "2026-02-14"), ("2026-02-08", "2026-02-21"),
     ("2026-02-15", "2026-02-28"), ("2026-02-22", "2026-03-07"), ("2026-12-31", "2027-01-07")],
)  # fmt: skip
def test_scenarios_calendar_of_expiry(today: str, end: str) -> None:
    noon = datetime.fromisoformat(f"{today}T12:00:00").replace(tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(window_end(noon), UTC).date().isoformat() == end


def test_urls_are_stable_inside_a_window(api: httpx.Client, clip_id: str) -> None:
    assert original(api, clip_id)["url"] == original(api, clip_id)["url"]
    assert _expiry(original(api, clip_id)["url"]) > time.time() + 86400


def test_a_key_sent_to_the_cdn_is_noticed(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    url = original(api, clip_id)["url"]
    httpx.get(url)
    assert quick.leaks() == []
    assert api.get(url).status_code == 200
    (leak,) = quick.leaks()
    assert (leak["method"], leak["route"]) == ("GET", "/cdn/assets/{assetId}")
    assert quick.api_secret not in json.dumps(leak)
    quick.reset()  # Elsewhere a leak fails the test.


def test_a_large_file_is_as_large_as_asked_for(api: httpx.Client, quick: SandboxServer, tmp_path: Path) -> None:
    asset = original(api, quick.make_asset(50_000_000))
    assert asset["properties"]["size"] == 50_000_000
    path = tmp_path / "large.mp4"
    with httpx.stream("GET", asset["url"]) as reply, path.open("wb") as file:
        for chunk in reply.iter_bytes():
            file.write(chunk)
    assert path.stat().st_size == 50_000_000
    assert probe(path).kind == "video"
