"""``SandboxServer``: a sandbox in a process of its own, started and steered from Python. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS = 60
STOP_SECONDS = 10
CONTROL_SECONDS = 60
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class SandboxServerError(RuntimeError):
    """The sandbox did not start, or refused a control request."""


class SandboxServer:
    """Use it in a ``with`` block, or call ``start`` and ``stop``. Keyword arguments are settings (``settings.py``).

    ``port`` 0 takes a free port; without ``data_directory`` files live in a temporary folder and end with the server.
    The server stops too when the process that started it ends, however that ends.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        api_secret: str | None = None,
        data_directory: Path | str | None = None,
        renderers: int = 1,
        **settings: object,
    ) -> None:
        options = {"host": host, "port": port, "api-key": api_key, "api-secret": api_secret, "renderers": renderers}
        options |= {"data-directory": data_directory, "settings": json.dumps(settings)}
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        self._command = [sys.executable, "-m", "airflow_provider_scenario.sandbox", "--stop-with-stdin", *given]
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = ExitStack()
        self.base_url = ""
        self.api_key = ""
        self.api_secret = ""
        self.control_url = ""

    def start(self) -> Self:
        """Start the server and wait until it answers; raises ``SandboxServerError`` with what it said otherwise."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        paths = [str(PACKAGE_ROOT), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        details = Path(self._resources.enter_context(tempfile.TemporaryDirectory())) / "stderr.txt"
        with details.open("wb") as errors:
            process = subprocess.Popen(  # noqa: S603
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        self._process = self._resources.enter_context(process)
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        line = process.stdout.readline() if process.stdout else b""
        watchdog.cancel()
        if not line:
            process.wait(STOP_SECONDS)
            reason = details.read_text(errors="replace").strip()
            self.stop()
            raise SandboxServerError(f"the sandbox did not start: {reason}")
        facts = json.loads(line)
        self.base_url, self.control_url = facts["base_url"], facts["control_url"]
        self.api_key, self.api_secret = facts["api_key"], facts["api_secret"]
        self.control("GET", "/health")
        return self

    def stop(self) -> None:
        """Stop the server that this object started; harmless when it has stopped already."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._resources.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process id of the server, while it runs."""
        return self._process.pid if self._process else None

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Call one of the sandbox's controls, such as ``control("GET", "/ledger")``; gives the decoded reply."""
        # Not urllib: its opener reads the system's certificates each time, ten milliseconds of nothing else.
        url = urlsplit(self.control_url)
        data = None if body is None else json.dumps(body).encode()
        with closing(HTTPConnection(url.netloc, timeout=CONTROL_SECONDS)) as connection:
            connection.request(method, f"{url.path}{path}", data)
            reply = connection.getresponse()
            content = reply.read()
        if reply.status >= 300:
            raise SandboxServerError(f"{method} {path}: {content.decode(errors='replace')}")
        return json.loads(content)

    def ledger(self) -> dict[str, Any]:
        """Give ``{"entries": [...], "totals": {"jobs", "charged", "refunded"}}``."""
        return dict(self.control("GET", "/ledger"))

    def requests(self) -> dict[str, Any]:
        """Give ``{"counts": {"GET /v1/jobs": n, ...}, "recent": [...]}``; requests to the controls are not counted."""
        return dict(self.control("GET", "/requests"))

    def leaks(self) -> list[dict[str, Any]]:
        """Give the requests that carried an Authorization header to the CDN or to an upload part's URL."""
        return list(self.control("GET", "/leaks")["leaks"])

    def add_fault(
        self,
        action: dict[str, Any] | str,
        *,
        method: str | None = None,
        path: str = "",
        query: str = "",
        skip: int = 0,
        times: int | None = 1,
    ) -> dict[str, Any]:
        """Order a fault (``web/faults.py`` lists them) for requests that fit; a bare name takes the action's defaults.

        ``path`` and ``query`` are regular expressions; ``times=None`` harms every one.
        """
        detail = {"type": action} if isinstance(action, str) else action
        rule = {"method": method, "path": path, "query": query, "skip": skip, "times": times, "action": detail}
        return dict(self.control("POST", "/faults", rule))

    def faults(self) -> list[dict[str, Any]]:
        """All rules with the numbers of their ``matches`` and ``hits``."""
        return list(self.control("GET", "/faults")["faults"])

    def clear_faults(self) -> None:
        """Forget all rules."""
        self.control("DELETE", "/faults")

    def settings(self) -> dict[str, Any]:
        """All settings as they are now."""
        return dict(self.control("GET", "/settings"))

    def configure(self, **settings: object) -> dict[str, Any]:
        """Change settings while the server runs; gives all of them."""
        return dict(self.control("POST", "/settings", settings))

    def make_jobs(self, count: int, **details: object) -> list[str]:
        """Make jobs up for a load test, and give their ids.

        Details are ``status``, ``seconds``, ``modelId`` and ``inputs``: see ``make_jobs`` in ``web/control.py``.
        """
        return list(self.control("POST", "/jobs", {"count": count, **details})["jobIds"])

    def set_job(self, job_id: str, status: str = "success", **details: object) -> dict[str, Any]:
        """Put a job into a status; details are ``progress``, ``error`` and ``hint``. Gives the job."""
        return dict(self.control("POST", f"/jobs/{job_id}", {"status": status, **details})["job"])

    def finish_job(self, job_id: str) -> None:
        """Let a job succeed, and wait until its files are made; raises ``SandboxServerError`` if they never are."""
        deadline = time.monotonic() + CONTROL_SECONDS
        while (job := self.set_job(job_id))["status"] != "success":
            if time.monotonic() > deadline:
                raise SandboxServerError(
                    f"The files of {job_id} are not made after {CONTROL_SECONDS} s: {job['status']}"
                )
            time.sleep(0.02)

    def add_model(self, record: dict[str, Any]) -> None:
        """Offer one more model, or replace one."""
        self.control("POST", "/models", record)

    def make_asset(self, size: int) -> str:
        """Make a playable video asset of exactly so many bytes; gives its id."""
        return str(self.control("POST", "/assets", {"bytes": size})["assetId"])

    def expire_urls(self) -> None:
        """Let every URL that was signed so far be refused with 403, as if its time were over."""
        self.control("POST", "/expire-urls")

    def reset(self) -> None:
        """Back to the first settings, with nothing in it."""
        self.control("POST", "/reset")

    def connection(self) -> dict[str, str]:
        """Give the Airflow connection to this sandbox, as a dict."""
        return {"conn_type": "scenario", "login": self.api_key, "password": self.api_secret, "host": self.base_url}

    def connection_json(self) -> str:
        """Give the same as the value of an environment variable such as ``AIRFLOW_CONN_SCENARIO_DEFAULT``."""
        return json.dumps(self.connection())
