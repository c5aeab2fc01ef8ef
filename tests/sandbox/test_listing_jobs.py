"""Lists of jobs: order, filters, pages, lag, and thousands of them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.sandbox.asking import all_pages, ended_job, job, submitted, upload

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from airflow_provider_scenario.sandbox.server import SandboxServer


def _ids(pages: list[list[dict[str, object]]]) -> list[object]:
    return [row["jobId"] for page in pages for row in page]


def test_pages_hold_every_job_once_even_when_some_are_empty_or_short(api: httpx.Client, quick: SandboxServer) -> None:
    made = quick.make_jobs(25)
    for order in ({}, {"types": "custom"}):
        assert _ids(all_pages(api, "jobs", "jobs", pageSize=10, **order)) == made[::-1]
    quick.configure(empty_pages=2, short_pages=True)
    pages = all_pages(api, "jobs", "jobs", pageSize=10, types="custom")
    assert _ids(pages) == made[::-1]
    assert [len(page) for page in pages] == [0, 0, 5] * 5


def test_a_page_that_holds_the_last_job_has_no_token(api: httpx.Client, quick: SandboxServer) -> None:
    quick.make_jobs(10)
    assert len(all_pages(api, "jobs", "jobs", pageSize=10)) == 1
    assert len(all_pages(api, "jobs", "jobs", pageSize=9)) == 2


def test_the_order_is_by_update_with_a_filter_and_by_creation_without(api: httpx.Client, quick: SandboxServer) -> None:
    first, second, third = quick.make_jobs(3)
    quick.set_job(first, "in-progress", progress=0.5)
    assert _ids(all_pages(api, "jobs", "jobs", types="custom")) == [first, third, second]
    assert _ids(all_pages(api, "jobs", "jobs")) == [third, second, first]
    assert api.get("jobs", params={"types": "custom"}).json()["jobs"][0]["progress"] == 0.5


def test_filters(api: httpx.Client, quick: SandboxServer, clip: Path) -> None:
    (waiting,) = quick.make_jobs(1, status="queued")
    ended = submitted(api)
    ended_job(api, ended)
    upload_job = upload(api, clip, "video", "video/mp4")["jobId"]
    assert _ids(all_pages(api, "jobs", "jobs", status="queued")) == [waiting]
    assert _ids(all_pages(api, "jobs", "jobs", type="upload")) == [upload_job]
    assert _ids(all_pages(api, "jobs", "jobs", types="custom", status="success")) == [ended]
    moment = job(api, ended)["updatedAt"]
    assert upload_job in _ids(all_pages(api, "jobs", "jobs", types="upload,custom", updatedAfter=moment))
    assert ended not in _ids(all_pages(api, "jobs", "jobs", types="upload,custom", updatedAfter=moment))
    earlier = (datetime.fromisoformat(moment) - timedelta(milliseconds=2)).isoformat()
    assert ended in _ids(all_pages(api, "jobs", "jobs", types="upload,custom", updatedAfter=earlier))
    assert waiting not in _ids(all_pages(api, "jobs", "jobs", createdAfter=job(api, waiting)["createdAt"]))


def test_parameters_that_do_not_go_together(api: httpx.Client) -> None:
    day = "2026-01-01T00:00:00Z"
    for query in (
        {"types": "custom", "createdAfter": day},
        {"updatedAfter": day},
        {"types": "nonsense"},
        {"status": "failed"},
        {"pageSize": "101"},
        {"pageSize": "0"},
        {"paginationToken": "nonsense"},
        {"createdAfter": "yesterday"},
    ):
        assert api.get("jobs", params=query).status_code == 400, query


def test_the_list_can_lag_behind(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(list_lag_seconds=0.6)
    job_id = submitted(api)
    assert ended_job(api, job_id)["status"] == "success"
    assert api.get("jobs", params={"types": "custom"}).json()["jobs"] == []
    time.sleep(0.7)
    assert [row["status"] for row in api.get("jobs", params={"types": "custom"}).json()["jobs"]] == ["success"]


def test_a_new_job_can_be_hard_to_find(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(not_found_seconds=0.3)
    job_id = submitted(api)
    assert api.get(f"jobs/{job_id}").status_code == 404
    time.sleep(0.35)
    assert api.get(f"jobs/{job_id}").status_code == 200


def test_thousands_of_waiting_jobs_are_listed_quickly(api: httpx.Client, quick: SandboxServer) -> None:
    ids = quick.make_jobs(5000, status="queued")
    api.get("jobs", params={"types": "custom"})
    quick.set_job(ids[17], "success")
    ended_job(api, ids[17])
    times = []
    for _ in range(10):
        started = time.perf_counter()
        page = api.get("jobs", params={"types": "custom", "pageSize": 100}).json()["jobs"]
        times.append(time.perf_counter() - started)
        assert (page[0]["jobId"], len(page)) == (ids[17], 100)
    # A page takes some 5 ms; the rest is for a busy machine.
    assert min(times) < 0.05
    assert set(_ids(all_pages(api, "jobs", "jobs", types="custom", pageSize=100))) == set(ids)


def test_jobs_made_up_can_run_to_their_end(api: httpx.Client, quick: SandboxServer) -> None:
    job_id, _ = quick.make_jobs(2, seconds=0.2, inputs={"seed": 5})
    found = ended_job(api, job_id)
    assert found["status"] == "success"
    assert found["metadata"]["input"]["seed"] == 5
    assert api.get(f"assets/{found['metadata']['assetIds'][0]}").status_code == 200
    assert quick.ledger()["entries"] == []


def test_a_job_can_be_held_and_then_let_go(api: httpx.Client, quick: SandboxServer) -> None:
    job_id = submitted(api)
    ended_job(api, job_id)
    quick.set_job(job_id, "in-progress", progress=0.3)
    assert (job(api, job_id)["status"], job(api, job_id)["progress"]) == ("in-progress", 0.3)
    quick.set_job(job_id, "failure", error="No luck.", hint="Try again.")
    assert job(api, job_id)["metadata"]["error"] == "No luck."
    assert quick.ledger()["totals"]["refunded"] == 2.75


def test_the_servers_clock_can_be_wrong(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(clock_skew_seconds=3600)
    reply = api.get(f"jobs/{submitted(api)}")
    created = datetime.fromisoformat(reply.json()["job"]["createdAt"])
    assert 3590 < created.timestamp() - time.time() < 3610
    shown = datetime.strptime(reply.headers["date"], "%a, %d %b %Y %H:%M:%S %Z")
    assert abs((shown - created.replace(tzinfo=None)).total_seconds()) < 5
    just_before = (created - timedelta(seconds=1)).isoformat()
    assert len(api.get("jobs", params={"types": "custom", "updatedAfter": just_before}).json()["jobs"]) == 1
