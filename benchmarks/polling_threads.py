"""A loop of threads over scenario-sdk: each job is read every so many seconds, by one of 32 threads.

Reads ``{"base_url", "api_key", "api_secret", "jobs", "every"}`` as JSON from standard input and prints, for each job
that ends, its id and when that was noticed. It runs until it is
terminated.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from scenario_sdk import Scenario

FINISHED = ("success", "failure", "canceled")


def main() -> None:
    """Poll until every job has ended."""
    given = json.loads(sys.stdin.readline())
    client = Scenario(
        api_key=given["api_key"], api_secret=given["api_secret"], base_url=given["base_url"], max_retries=0
    )
    pool = ThreadPoolExecutor(max_workers=32)
    waiting = list(given["jobs"])

    def look(job_id: str) -> str | None:
        job = client.jobs.retrieve(job_id).job
        if job.status not in FINISHED:
            return job_id
        sys.stdout.write(json.dumps([job_id, time.time()]) + "\n")  # One write, so that no two threads' lines mix.
        sys.stdout.flush()
        return None

    while waiting:
        started = time.monotonic()
        waiting = [job_id for job_id in pool.map(look, waiting) if job_id]
        time.sleep(max(0.0, given["every"] - (time.monotonic() - started)))


if __name__ == "__main__":
    main()
