import pytest

from tests.quick_scenario import image_id, log, scenario, video_id
from tests.this_airflow import has_task_state_store

__all__ = ["image_id", "log", "scenario", "video_id"]


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow keeps no record, each retry looks for its job for minutes; the sandbox lists it at once."""
    if not has_task_state_store():
        monkeypatch.setattr("airflow_provider_scenario.submission.job_reader.SETTLE_SECONDS", 0.2)
