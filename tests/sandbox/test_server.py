"""Starting, steering and stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from airflow_provider_scenario.sandbox.server import PACKAGE_ROOT, SandboxServer, SandboxServerError
from tests.sandbox.asking import SHORT, TEXT_MODEL, original, submit, submitted

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "airflow_provider_scenario.sandbox"]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=PACKAGE_ROOT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line_from_start_to_stop(tmp_path: Path, stop: signal.Signals) -> None:
    kept = tmp_path / "kept"
    arguments = [
        "--api-key=api_k",
        "--api-secret=s",
        "--job-seconds=0",
        "--render=tiny",
        f"--data-directory={kept}",
    ]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PACKAGE_ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout
        facts = json.loads(process.stdout.readline())
        assert (facts["api_key"], facts["api_secret"]) == ("api_k", "s")
        assert httpx.get(f"{facts['base_url']}/jobs", auth=("api_k", "s")).json() == {"jobs": []}
        assert httpx.get(f"{facts['control_url']}/settings").json()["render"] == "tiny"
        process.send_signal(stop)
        rest, said = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, "")
    assert list(tmp_path.iterdir()) == [kept], "no temporary files are left behind"
    line = next(line for line in said.splitlines() if "AIRFLOW_CONN_SCENARIO_DEFAULT=" in line)
    connection = json.loads(line.partition("'")[2].rstrip("'"))
    assert connection == {"conn_type": "scenario", "login": "api_k", "password": "s", "host": facts["base_url"]}
    assert "no money" in said


def test_help_says_that_no_money_is_spent() -> None:
    assert "no money is ever spent" in " ".join(_run("--help").stdout.split())


def test_unfit_settings_are_told_in_one_line() -> None:
    run = _run("--render=huge")
    assert (run.returncode, run.stderr) == (2, "sandbox: render must be one of full, tiny\n")
    run = _run("--settings=[1]")
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    for argument in ("--parallel-jobs=Infinity", "--parallel-jobs=NaN", "--job-seconds=NaN", "--renderers=0"):
        run = _run(argument)
        assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1), argument
    run = _run("--data-directory=/dev/null")
    assert (run.returncode, run.stderr) == (2, "sandbox: can't keep files in '/dev/null': Not a directory\n")
    with pytest.raises(SandboxServerError, match="there is no setting 'job_second'"):
        SandboxServer(job_second=3).start()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/settings", {"job_seconds": float("nan")}),
        ("/settings", {"parallel_jobs": float("inf")}),
        ("/settings", {"job_seconds": 10**400}),
        ("/settings", {"clock_skew_seconds": 1e18}),
        ("/jobs", {"seconds": "1"}),
        ("/jobs", {"inputs": []}),
        ("/jobs", {"modelId": 5}),
        ("/models", {"model": 5}),
        ("/models", {"model": {"id": "m", "inputs": [5]}}),
    ],
)
def test_a_control_of_the_wrong_kind_is_refused(quick: SandboxServer, path: str, body: dict[str, object]) -> None:
    before = quick.settings()
    reply = httpx.post(quick.control_url + path, content=json.dumps(body))
    assert (reply.status_code, list(reply.json())) == (400, ["reason"])
    assert quick.settings() == before
    assert quick.control("GET", "/health")["jobs"] == 0


def test_a_job_is_not_set_to_what_it_can_not_be(quick: SandboxServer) -> None:
    (job_id,) = quick.make_jobs(1)
    for details in ({"progress": "x"}, {"progress": float("nan")}, {"progress": 7}, {"error": 5}, {"hint": []}):
        with pytest.raises(SandboxServerError, match="must be"):
            quick.set_job(job_id, "in-progress", **details)


@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_listens_on_any_address_of_this_machine(host: str) -> None:
    with SandboxServer(host=host) as server:
        assert httpx.get(f"{server.base_url}/jobs", auth=(server.api_key, server.api_secret)).json() == {"jobs": []}
        assert server.settings()["render"] == "full"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--port={busy}",), "in use"),
        (("--host=no.such.host.invalid",), ""),
        (("--port=99999",), "0-65535"),
        (("--host=" + "a" * 70,), "too long"),
        (("--host=a..b",), ""),
        (("--host=localhost\n",), ""),
    ],
)
def test_an_address_that_can_not_be_had_is_told_in_one_line(
    quick: SandboxServer, arguments: tuple[str, ...], reason: str
) -> None:
    run = _run(*(argument.format(busy=httpx.URL(quick.base_url).port) for argument in arguments))
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("sandbox: can't listen on ")
    assert run.stderr.count("\n") == 1
    assert reason in run.stderr


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[evil.example"},
    ],
    ids=str,
)
def test_no_page_of_another_site_steers_it(quick: SandboxServer, headers: dict[str, str]) -> None:
    """Neither by a form, nor by a name of its own that leads to this machine."""
    before = quick.settings()
    sent = {"Content-Type": "text/plain", **headers}
    reply = httpx.post(f"{quick.control_url}/settings", content='{"parallel_jobs": 1}', headers=sent)
    assert reply.status_code == 403
    assert quick.settings() == before


@pytest.mark.parametrize("host", ["localhost:8099", "sandbox", "[::1]:8099", "192.0.2.7", ""])
def test_it_is_steered_from_this_machine_or_its_network(quick: SandboxServer, host: str) -> None:
    headers = {"Host": host} | ({"Origin": f"http://{host}"} if host else {})
    assert httpx.get(f"{quick.control_url}/settings", headers=headers).status_code == 200


def test_a_large_body_fills_no_memory(quick: SandboxServer) -> None:
    process = psutil.Process(quick.pid)
    before = process.memory_info().rss
    body = (b" " * (1 << 20) for _ in range(100))
    assert httpx.post(f"{quick.control_url}/settings", content=body, timeout=30).status_code == 413
    assert process.memory_info().rss - before < 50 << 20


def test_without_pyav_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError('no av', name='av')")
    run = _run(PYTHONPATH=str(tmp_path))
    assert run.returncode == 1
    assert run.stderr == "The sandbox needs av: install airflow-provider-scenario[sandbox].\n"


def test_it_stops_with_the_process_that_started_it() -> None:
    program = (
        "from airflow_provider_scenario.sandbox.server import SandboxServer; import os;"
        "server = SandboxServer().start(); print(server.control_url, flush=True); os._exit(0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE_ROOT, timeout=60, check=True
    )
    # The pipe of the dead process is closed; ten seconds are plenty for the server to notice.
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            httpx.get(f"{run.stdout.strip()}/health", timeout=1)
        except httpx.TransportError:
            return
    raise AssertionError("the server outlived its owner")


def test_keys(api: httpx.Client, quick: SandboxServer) -> None:
    url = f"{quick.base_url}/jobs"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, auth=(quick.api_key, "wrong")).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Basic %%%"}).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer token"}).status_code == 401
    assert api.get("jobs", params={"projectId": "proj_other"}).status_code == 403
    assert api.get("nowhere").status_code == 404
    assert api.delete("jobs").status_code == 405


def test_requests_are_counted_by_route(api: httpx.Client, quick: SandboxServer) -> None:
    submitted(api)
    api.get("jobs/job_one")
    api.get("jobs/job_two")
    found = quick.requests()
    assert found["counts"] == {"POST /v1/generate/custom/{modelId}": 1, "GET /v1/jobs/{jobId}": 2}
    assert [visit["status"] for visit in found["recent"]] == [200, 404, 404]
    assert "authorization" not in json.dumps(found).lower()


def test_settings_change_while_it_runs_and_reset_takes_them_back(quick: SandboxServer) -> None:
    assert quick.configure(parallel_jobs=7)["parallel_jobs"] == 7
    for bad in ({"parallel_jobs": -1}, {"render": "huge"}, {"nonsense": 1}, {"short_pages": 1}, {"failure_share": 2}):
        with pytest.raises(SandboxServerError):
            quick.configure(**bad)
    quick.reset()
    assert quick.settings()["parallel_jobs"] == 20


def test_reset_forgets_everything_but_the_keys(api: httpx.Client, quick: SandboxServer, clip_id: str) -> None:
    submitted(api)
    quick.add_fault("status", times=None)
    quick.reset()
    assert quick.ledger() == {"entries": [], "totals": {"jobs": 0, "charged": 0, "refunded": 0}}
    assert (quick.requests()["counts"], quick.faults()) == ({}, [])
    assert api.get("jobs").json() == {"jobs": []}
    assert api.get(f"assets/{clip_id}").status_code == 404


def test_work_under_way_at_a_reset_leaves_no_trace(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(render="full")
    submit(api, "model_wan-2-5-t2v", {"prompt": "long", "size": "1920*1080"})
    quick.reset()
    quick.configure(job_seconds=0, render="tiny")
    found = None
    job_id = submitted(api)
    while not found:
        found = api.get(f"jobs/{job_id}").json()["job"]["metadata"].get("assetIds")
    assert [asset["id"] for asset in api.get("assets").json()["assets"]] == found


def test_the_catalogue_can_be_added_to_and_be_away(api: httpx.Client, quick: SandboxServer) -> None:
    entry = {"name": "prompt", "type": "string", "required": {"always": True}, "maxLength": 5}
    quick.add_model({"id": "model_new", "inputs": [entry, {"name": "sourceVideo", "type": "file"}]})
    assert api.get("models/model_new").json()["model"]["inputs"][1]["kind"] == "video"
    assert submit(api, "model_new", {"prompt": "123456"}).status_code == 400
    assert submit(api, "model_new", {"prompt": "12345"}).status_code == 200
    quick.configure(models_unavailable=True)
    assert api.get(f"models/{TEXT_MODEL}").status_code == 503
    assert submit(api, TEXT_MODEL, SHORT).status_code == 200


def test_assets_can_be_late(api: httpx.Client, quick: SandboxServer) -> None:
    quick.configure(asset_pending_seconds=60)
    job_id = submitted(api)
    while not (ids := api.get(f"jobs/{job_id}").json()["job"]["metadata"].get("assetIds")):
        pass
    assert original(api, ids[0])["status"] == "pending"
