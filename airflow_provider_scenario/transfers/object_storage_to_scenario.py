"""Uploads a file to Scenario: from any storage to an asset that models take as input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_scenario.api.values import name_or_none
from airflow_provider_scenario.arguments import MAX_INTERVAL, seconds_of
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.retry_policy import task_errors, with_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_scenario.files.upload import AssetUploader


class ObjectStorageToScenarioOperator(BaseOperator):
    """Upload a video, image or audio file and return the id of its Scenario asset.

    Uploads cost nothing. What a file holds is known by its bytes, never by its name. A retry of the task sends no bytes
    again if the asset they became is still there (Airflow 3.3 and later). Where several tasks need one file, upload it
    in one task and hand on the id that it returns.

    :param source: The file: ``file:///data/clip.mp4``, ``/data/clip.mp4``, ``s3://connection@bucket/clip.mp4``, or any
        other URI that ``ObjectStoragePath`` takes.
    :param name: What Scenario shall call it. Default: the file's name.
    :param scenario_conn_id: The connection to Scenario. Default ``scenario_default``.
    :param project_id: The Scenario project to name in each request. Default: the connection's, else the key's own.
    :param import_timeout: Seconds to wait for Scenario's import once all bytes are there. Default 600.
    :param poll_interval: Seconds between two polls of the import, more than 0. Default 2.
    :return: The asset's id.
    :raises ScenarioFileError: if there is no such file; it is empty, cut short, a folder, or a link to a file outside
        its folder; its scheme or type is unknown; or Scenario can't import it.
    :raises ScenarioTransferError: if a part does not get through.
    :raises ScenarioTimeoutError: if the import takes longer than the time-out.
    """

    template_fields: Sequence[str] = ("source", "name", "scenario_conn_id", "project_id")
    ui_color = "#d7ecf4"

    def __init__(
        self,
        *,
        source: str | ObjectStoragePath,
        name: str | None = None,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        import_timeout: float = 600.0,
        poll_interval: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs))
        self.source = source
        self.name = name
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.import_timeout = seconds_of("import_timeout", import_timeout, or_zero=True)
        self.poll_interval = seconds_of("poll_interval", poll_interval, most=MAX_INTERVAL)
        self._uploader: AssetUploader | None = None
        self._is_killed = False

    @task_errors()
    def execute(self, context: Context) -> str:
        """Upload the file."""
        from airflow_provider_scenario.files.source import find_source
        from airflow_provider_scenario.files.upload import AssetUploader, UploadCache

        source = find_source(self.source)
        cache = UploadCache.of(context)
        with ScenarioHook(self.scenario_conn_id, self.project_id).get_conn() as client:
            self._uploader = AssetUploader(
                client, cache, self.log, import_timeout=self.import_timeout, poll_interval=self.poll_interval
            )
            if self._is_killed:
                self._uploader.stop()
            return self._uploader.upload(source, name_or_none(self.name))

    def on_kill(self) -> None:
        """End the transfer."""
        self._is_killed = True
        if self._uploader is not None:
            self._uploader.stop()
