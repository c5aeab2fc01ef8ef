"""How tasks wait for jobs: one poll of the job list for all who wait."""

POLL_INTERVAL = 10.0
"""Seconds between two polls of a job, where the DAG's author names no other interval."""

WAIT_TIMEOUT = 3600.0
"""Seconds to wait for a job, where the DAG's author names no other time-out. The job runs on."""

CAPACITY_TIMEOUT = 86_400.0
"""Seconds to wait for capacity, where the DAG's author names no other time-out."""

DEFERRAL_MARGIN = 60.0
"""Seconds after a wait's own deadline at which Airflow ends a deferral whose trigger keeps silent."""
