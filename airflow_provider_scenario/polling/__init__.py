"""How tasks wait for jobs: one poll of the job list for all who wait."""

POLL_INTERVAL = 10.0
"""Seconds between two looks at a job, where the DAG's author names no other interval."""
