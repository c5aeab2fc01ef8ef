import pytest

from tests.sandbox_fixtures import image_id, log, scenario, video_id

__all__ = ["image_id", "log", "scenario", "video_id"]


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a record each retry looks for its job for minutes; the sandbox lists it at once."""
    monkeypatch.setattr("airflow_provider_scenario.submission.job_reader.LIST_LAG_SECONDS", 0.2)
